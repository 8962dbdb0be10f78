-- One row per flight, across all batches.
select scheduled_at, carrier, flight_number, count(*) as rows_with_this_key
from {{ ref('flights_cleaned') }}
group by scheduled_at, carrier, flight_number
having count(*) > 1
