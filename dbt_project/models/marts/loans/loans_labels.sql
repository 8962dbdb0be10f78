{{ config(alias='labels') }}

select
    batch_id,
    row_number,
    is_approved
from {{ ref('loans_cleaned') }}
where {{ new_batches('loans') }}
