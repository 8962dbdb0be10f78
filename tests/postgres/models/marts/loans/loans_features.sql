{{ config(alias='loans', materialized='table') }}

select batch_id, loan_id, person_age, person_income, person_home_ownership, loan_amnt
from {{ ref('loans_cleaned') }}
where {{ new_batches('loans') }}
