-- A forecast of a year may know nothing of that year: neither by its times nor by its values.
with expected as (
  select
    features.*,
    (
      select avg(load_mwh) from {{ ref('power_load_cleaned') }} as earlier
      where earlier.day < forecast_made_at
        and earlier.day >= forecast_made_at - interval 28 days
        and isodow(earlier.day) = isodow(features.day)
    ) as last_4_weeks_mwh
  from {{ ref('power_load_features') }} as features
)

select day, forecast_made_at, known_at
from expected
where known_at >= make_timestamp(target_year, 1, 1, 0, 0, 0)
   or forecast_made_at <> make_timestamp(target_year, 1, 1, 0, 0, 0)
   or abs(load_last_4_weeks_mwh - last_4_weeks_mwh) > 1e-6
