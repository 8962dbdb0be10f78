{{ config(alias='loans') }}

select
    -- ids
    batch_id,
    row_number,

    -- the applicant
    age_years,
    gender,
    education,
    income_usd,
    employment_years,
    home_ownership,
    credit_history_years,
    credit_score,
    has_earlier_default,

    -- the loan
    loan_usd,
    loan_purpose,
    interest_rate_percent,
    loan_share_of_income
from {{ ref('loans_cleaned') }}
where {{ new_batches('loans') }}
