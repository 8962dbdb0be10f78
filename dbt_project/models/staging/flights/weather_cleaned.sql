{{ config(alias='weather') }}

with source as (

    select * from {{ source('flights_raw', 'weather') }}
    where {{ new_batches('weather') }}

),

renamed as (

    select
        -- ids
        batch_id,
        row_number,
        origin,

        -- times: an observation of an hour is known when the hour is over
        time_hour at time zone 'UTC' as observed_at,
        (time_hour at time zone 'UTC') + interval 1 hour as known_at,

        -- numerics
        temp as temperature_f,
        dewp as dew_point_f,
        humid as humidity_percent,
        wind_dir as wind_direction_degrees,
        -- one reading of 1,048 mph is a known fault of the station
        case when wind_speed < 200 then wind_speed end as wind_speed_mph,
        precip as precipitation_inches,
        pressure as pressure_millibars,
        visib as visibility_miles

    from source

)

{{ first_of_key('renamed', ['origin', 'observed_at']) }}
