-- A flight without an arrival has no label, one with an arrival has one, and it is known after the departure was due.
select scheduled_at, carrier, flight_number, outcome, is_late, landed_at
from {{ ref('flights_labels') }}
where (outcome = 'arrived') <> (is_late is not null)
   or (landed_at is null) <> (is_late is null)
