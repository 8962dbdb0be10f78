{{ config(alias='labels') }}

select
    -- ids
    batch_id,
    carrier,
    flight_number,

    -- times
    scheduled_at,
    landed_at,

    -- the label: null without an arrival, and those rows neither train nor test
    outcome,
    arrival_delay_minutes >= 15 as is_late
from {{ ref('flights_cleaned') }}
where {{ new_batches('flights') }}
