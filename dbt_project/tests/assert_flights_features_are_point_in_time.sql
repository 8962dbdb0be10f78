-- No flight may know anything that was not known at its scheduled departure.
select scheduled_at, carrier, flight_number, known_at
from {{ ref('flights_features') }}
where known_at > scheduled_at
