-- A file holds days of its year only: a partition is a target year.
select batch_id, day
from {{ ref('power_load_cleaned') }}
where batch_id <> year(day)::varchar
