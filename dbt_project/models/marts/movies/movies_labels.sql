{{ config(alias='labels') }}

select
    batch_id,
    title,
    release_year,
    -- rounded, so 5.5 and more
    round(rating) > 5 as is_well_rated
from {{ ref('movies_cleaned') }}
where {{ new_batches('movies') }}
