{{ config(alias='loans', materialized='table') }}

with source as (

    {{ current_rows(source('loans_raw', 'loans'), ['loan_id']) }}

)

select
    batch_id, loan_id, person_age, person_income, person_home_ownership, loan_amnt, loan_status, is_new, applied_on,
    changed_at, note
from source
