{{ config(alias='planes', materialized='table') }}

-- the register of planes is delivered whole: the newest delivery replaces the last one
with newest as (

    select batch_id from {{ target.database }}.ledger.batches
    where source = 'planes' and status = 'LOADED'
    order by version desc
    limit 1

)

select
    -- ids
    batch_id,
    row_number,
    tailnum as tail_number,

    -- strings
    type as plane_type,
    manufacturer as plane_manufacturer,
    engine as plane_engine,

    -- numerics
    year as plane_year,
    seats as plane_seats,
    engines as plane_engines
from {{ source('flights_raw', 'planes') }}
where batch_id = (select batch_id from newest)
qualify row_number() over (partition by tailnum order by row_number) = 1
