{{ config(alias='wines') }}

select * exclude (cultivar)
from {{ ref('wines_cleaned') }}
where {{ new_batches('wines') }}
