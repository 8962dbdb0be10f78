{{ config(alias='flights') }}

with source as (

    select * from {{ source('flights_raw', 'flights') }}
    where {{ new_batches('flights') }}

),

renamed as (

    select
        -- ids
        batch_id,
        row_number,
        carrier,
        flight as flight_number,
        tailnum as tail_number,
        origin,
        dest as destination,

        -- times: time_hour is the scheduled hour in UTC; the rest of the file is local time
        date_trunc('hour', time_hour at time zone 'UTC') + to_minutes(minute) as scheduled_at,
        make_timestamp(year, month, day, hour, minute, 0) as scheduled_local_at,

        -- numerics
        (sched_arr_time // 100) * 60 + sched_arr_time % 100 as scheduled_arrival_minute,
        distance as distance_miles,
        arr_delay as arrival_delay_minutes,

        -- the outcome and the moment it happened; it counts as known an hour after the airborne time is over,
        -- which covers taxiing (the files have no landing time in a common time zone)
        case
            when dep_time is null then 'cancelled'
            when arr_delay is null then 'diverted'
            else 'arrived'
        end as outcome,
        case when arr_delay is not null then
            date_trunc('hour', time_hour at time zone 'UTC') + to_minutes(minute)
            + to_minutes((dep_delay + air_time + 60)::bigint)
        end as landed_at

    from source

)

-- the first delivery of a flight counts, whatever the order in which batches arrived
{{ first_of_key('renamed', ['scheduled_at', 'carrier', 'flight_number']) }}
