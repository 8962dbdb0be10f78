{{ config(alias='labels') }}

select batch_id, order_id, ordered_at, returned_at, is_returned
from {{ ref('shop_cleaned') }}
where {{ new_batches('shop') }}
