{{ config(alias='loans') }}

{#- Nobody older than this applies for a loan, and nobody has worked for longer than that. -#}
{%- set oldest_years, longest_employment_years = 100, 80 -%}

with source as (

    select * from {{ source('loans_raw', 'loans') }}
    where {{ new_batches('loans') }}

)

-- applications have no key, so batch and row number name one; two equal ones are two applications
select
    -- ids
    batch_id,
    row_number,

    -- the applicant: a value out of range is a slip of the pen, so it counts as unknown and the row stays
    case when person_age between 18 and {{ oldest_years }} then person_age end as age_years,
    person_age not between 18 and {{ oldest_years }} as is_age_implausible,
    person_gender as gender,
    person_education as education,
    person_income as income_usd,
    case when person_emp_exp between 0 and {{ longest_employment_years }} then person_emp_exp end as employment_years,
    person_emp_exp not between 0 and {{ longest_employment_years }} as is_employment_implausible,
    person_home_ownership as home_ownership,
    cb_person_cred_hist_length as credit_history_years,
    credit_score,
    previous_loan_defaults_on_file = 'Yes' as has_earlier_default,

    -- the loan
    loan_amnt as loan_usd,
    loan_intent as loan_purpose,
    loan_int_rate as interest_rate_percent,
    loan_percent_income as loan_share_of_income,

    -- the outcome
    loan_status = 1 as is_approved
from source
