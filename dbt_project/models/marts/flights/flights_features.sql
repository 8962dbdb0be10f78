{{ config(alias='flights') }}

{#- History is over windows, so facts older than the longest one are not read. -#}
{%- set keys = ['scheduled_at', 'carrier', 'flight_number'] -%}
{%- set sums = {'flights': '1', 'late': 'is_late', 'delay': 'arrival_delay_minutes'} -%}

with spine as (

    select *
    from {{ ref('flights_cleaned') }}
    where {{ new_batches('flights') }}

),

landed as (

    select
        carrier,
        origin,
        destination,
        landed_at,
        arrival_delay_minutes,
        (arrival_delay_minutes >= 15)::int as is_late
    from {{ ref('flights_cleaned') }}
    where landed_at is not null
      and landed_at >= (select min(scheduled_at) - interval 31 days from spine)
      and landed_at <= (select max(scheduled_at) from spine)

),

{{ history('route', 'landed', 'spine', keys, ['origin', 'destination'], 'scheduled_at', 'landed_at', sums,
           {'last_30d': '30 days', 'last_24h': '24 hours'}) }},

{{ history('carrier_history', 'landed', 'spine', keys, ['carrier'], 'scheduled_at', 'landed_at', sums,
           {'last_30d': '30 days', 'last_6h': '6 hours'}) }},

{{ history('airport', 'landed', 'spine', keys, ['origin'], 'scheduled_at', 'landed_at', sums,
           {'last_24h': '24 hours', 'last_3h': '3 hours'}) }},

{{ history('arrival_airport', 'landed', 'spine', keys, ['destination'], 'scheduled_at', 'landed_at', sums,
           {'last_24h': '24 hours', 'last_6h': '6 hours'}) }},

weather_known as (

    select
        spine.scheduled_at,
        spine.carrier,
        spine.flight_number,
        weather.* exclude (batch_id, row_number, origin, observed_at)
    from spine
    asof join {{ ref('weather_cleaned') }} as weather
        on spine.origin = weather.origin and spine.scheduled_at >= weather.known_at
    -- an observation of yesterday says nothing about now
    where spine.scheduled_at - weather.known_at < interval 6 hours

)

select
    -- ids
    spine.batch_id,
    spine.carrier,
    spine.flight_number,
    spine.origin,
    spine.destination,

    -- times
    spine.scheduled_at,
    spine.scheduled_local_at,
    greatest(
        weather_known.known_at, route_known_at, carrier_history_known_at, airport_known_at, arrival_airport_known_at
    ) as known_at,

    -- schedule
    spine.scheduled_arrival_minute,
    spine.distance_miles,

    -- plane
    planes.plane_type,
    planes.plane_manufacturer,
    planes.plane_engine,
    planes.plane_year,
    planes.plane_seats,
    planes.plane_engines,

    -- weather at the origin
    temperature_f,
    dew_point_f,
    humidity_percent,
    wind_direction_degrees,
    wind_speed_mph,
    precipitation_inches,
    pressure_millibars,
    visibility_miles,

    -- history: null where there was none
    route_flights_last_30d::bigint as route_flights_30d,
    route_late_last_30d / nullif(route_flights_last_30d, 0) as route_late_share_30d,
    route_delay_last_24h / nullif(route_flights_last_24h, 0) as route_delay_minutes_24h,
    carrier_history_late_last_30d / nullif(carrier_history_flights_last_30d, 0) as carrier_late_share_30d,
    carrier_history_late_last_6h / nullif(carrier_history_flights_last_6h, 0) as carrier_late_share_6h,
    carrier_history_delay_last_6h / nullif(carrier_history_flights_last_6h, 0) as carrier_delay_minutes_6h,
    airport_late_last_24h / nullif(airport_flights_last_24h, 0) as airport_late_share_24h,
    airport_late_last_3h / nullif(airport_flights_last_3h, 0) as airport_late_share_3h,
    airport_delay_last_3h / nullif(airport_flights_last_3h, 0) as airport_delay_minutes_3h,
    arrival_airport_late_last_24h / nullif(arrival_airport_flights_last_24h, 0) as arrival_airport_late_share_24h,
    arrival_airport_delay_last_6h / nullif(arrival_airport_flights_last_6h, 0) as arrival_airport_delay_minutes_6h

from spine
left join {{ ref('planes_cleaned') }} as planes on spine.tail_number = planes.tail_number
left join weather_known using (scheduled_at, carrier, flight_number)
left join route using (scheduled_at, carrier, flight_number)
left join carrier_history using (scheduled_at, carrier, flight_number)
left join airport using (scheduled_at, carrier, flight_number)
left join arrival_airport using (scheduled_at, carrier, flight_number)
