{{ config(alias='parcels') }}

with source as (

    select * from {{ source('parcels_raw', 'parcels') }}
    where {{ new_batches('parcels') }}

),

named as (

    select batch_id, row_number, parcel_id, sent_at, depot, grams, is_late from source

)

{{ first_of_key('named', ['parcel_id']) }}
