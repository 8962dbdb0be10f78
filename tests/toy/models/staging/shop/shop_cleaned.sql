{{ config(alias='shop') }}

with source as (

    select * from {{ source('shop_raw', 'shop') }}
    where {{ new_batches('shop') }}

),

named as (

    select batch_id, row_number, order_id, ordered_at, returned_at, customer, amount, is_returned from source

)

{{ first_of_key('named', ['order_id']) }}
