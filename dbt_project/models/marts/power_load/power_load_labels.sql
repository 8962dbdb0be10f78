{{ config(alias='labels') }}

select
    batch_id,
    day,
    date_trunc('year', day) as forecast_made_at,
    known_at as measured_at,
    -- the first year has none before it that it could be forecast from: it is history, not an example to learn
    case when year(day) > (select min(year(day)) from {{ ref('power_load_cleaned') }}) then load_mwh end as load_mwh
from {{ ref('power_load_cleaned') }}
where {{ new_batches('power_load') }}
