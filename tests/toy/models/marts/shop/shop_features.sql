{{ config(alias='shop') }}

with spine as (

    select * from {{ ref('shop_cleaned') }}
    where {{ new_batches('shop') }}

),

returned as (

    select customer, returned_at, is_returned::int as is_returned
    from {{ ref('shop_cleaned') }}
    where is_returned is not null

),

{{ history('earlier', 'returned', 'spine', ['order_id'], ['customer'], 'ordered_at', 'returned_at',
           {'returns': 'is_returned'}, {'7d': '7 days'}) }}

select
    spine.batch_id,
    spine.order_id,
    spine.ordered_at,
    earlier_known_at as known_at,
    spine.customer,
    customers.country,
    spine.amount,
    earlier_returns_7d
from spine
left join earlier using (order_id)
left join {{ ref('customers_cleaned') }} as customers using (customer)
