{{ config(alias='labels', materialized='table') }}

select batch_id, loan_id, loan_status = 1 as is_approved
from {{ ref('loans_cleaned') }}
where {{ new_batches('loans') }}
