{{ config(alias='power_load') }}

with source as (

    select * from {{ source('power_load_raw', 'power_load') }}
    where {{ new_batches('power_load') }}

),

renamed as (

    select
        -- ids: the batch is the year
        batch_id,
        row_number,
        "Date"::timestamp as day,

        -- the load of a day is known with its last minute
        "Date"::timestamp + interval 1439 minutes as known_at,

        -- a load of nothing is a gap in the measurements
        case when "Load" > 0 then "Load" end as load_mwh
    from source

)

{{ first_of_key('renamed', ['day']) }}
