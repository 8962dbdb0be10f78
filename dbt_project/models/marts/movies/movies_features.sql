{{ config(alias='movies') }}

select
    -- ids
    batch_id,
    title,
    release_year,

    -- what is known before the release; rating, votes and r1 to r10 come after it
    length_minutes,
    budget_usd,
    mpaa_rating,
    is_action,
    is_animation,
    is_comedy,
    is_drama,
    is_documentary,
    is_romance,
    is_short
from {{ ref('movies_cleaned') }}
where {{ new_batches('movies') }}
