-- One row per day, and no day is missing between a year's first and last one (366 of a leap year).
select batch_id, count(*) as days, count(distinct day) as different_days
from {{ ref('power_load_cleaned') }}
group by batch_id
having count(*) <> count(distinct day)
    or count(*) <> date_diff('day', min(day), max(day)) + 1
