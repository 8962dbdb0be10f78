-- Well rated is a rounded rating above 5, in the outcome as it was delivered.
select labels.title, labels.release_year, rating, is_well_rated
from {{ ref('movies_labels') }} as labels
join {{ ref('movies_cleaned') }} as movies using (title, release_year)
where is_well_rated <> (rating >= 5.5)
