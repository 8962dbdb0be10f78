-- How many applicants have an age or an employment that cannot be: 7 of the 45,000, with ages up to 144.
-- Only a warning: those values count as unknown, and the rows stay.
{{ config(severity='warn') }}

select batch_id, row_number, is_age_implausible, is_employment_implausible
from {{ ref('loans_cleaned') }}
where is_age_implausible or is_employment_implausible
