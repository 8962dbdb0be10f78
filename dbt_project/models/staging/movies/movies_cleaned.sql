{{ config(alias='movies') }}

with source as (

    select * from {{ source('movies_raw', 'movies') }}
    where {{ new_batches('movies') }}

),

renamed as (

    select
        -- ids: a title is filmed again, but not in the same year (the archive tells such apart by a suffix)
        batch_id,
        row_number,
        title,
        year as release_year,

        -- known before the release; a budget of nothing is one that nobody knows
        length as length_minutes,
        case when budget > 0 then budget end as budget_usd,
        mpaa as mpaa_rating,
        "Action" = 1 as is_action,
        "Animation" = 1 as is_animation,
        "Comedy" = 1 as is_comedy,
        "Drama" = 1 as is_drama,
        "Documentary" = 1 as is_documentary,
        "Romance" = 1 as is_romance,
        "Short" = 1 as is_short,

        -- known afterwards, from those who have seen it
        rating,
        votes,
        {% for score in range(1, 11) %}r{{ score }}{{ "," if not loop.last }} {% endfor %}

    from source

)

{{ first_of_key('renamed', ['title', 'release_year']) }}
