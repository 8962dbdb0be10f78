{{ config(alias='parcels') }}

select parcels.batch_id, parcel_id, sent_at, depot, country, grams, is_late
from {{ ref('parcels_cleaned') }} as parcels
left join {{ ref('depots_cleaned') }} using (depot)
where {{ new_batches('parcels', 'parcels.batch_id') }}
