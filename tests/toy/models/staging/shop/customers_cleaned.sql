{{ config(alias='customers', materialized='table') }}

select customer, any_value(country) as country
from {{ source('shop_raw', 'customers') }}
group by customer
