-- What is flagged has no value, and what has a value is in range.
select batch_id, row_number, age_years, employment_years
from {{ ref('loans_cleaned') }}
where is_age_implausible <> (age_years is null)
   or is_employment_implausible <> (employment_years is null)
   or age_years > 100
   or employment_years > 80
