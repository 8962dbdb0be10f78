{{ config(alias='depots', materialized='table') }}

select depot, max(country) as country
from {{ source('parcels_raw', 'depots') }}
group by depot
