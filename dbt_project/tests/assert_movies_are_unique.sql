-- One row per title and year, across all batches.
select title, release_year, count(*) as rows_with_this_key
from {{ ref('movies_cleaned') }}
group by title, release_year
having count(*) > 1
