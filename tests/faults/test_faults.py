"""kill -9 anywhere, then one rerun: nothing is lost, doubled or left over, and every table is that of a quiet day.

`make faults` prints the summary of the long one; a slice of it, chosen by a seed, is in the default suite.
"""

from collections.abc import Callable, Sequence

import pytest

from tests.faults.deliveries import chance
from tests.faults.harness import Harness, Outcome, Trial, summary
from tests.faults.points import KILL_POINTS

SEEDS, RANDOM_KILLS = 10, 200
FEW_POINTS, FEW_RANDOM_KILLS = 10, 4


def check(points: int, seeds: int, trials: Sequence[Trial], outcomes: Sequence[Outcome]) -> None:
    """Print what came of the trials; nothing may be wrong with any."""
    said = summary(points, seeds, trials, outcomes)
    print(f"\n{said}")  # noqa: T201 - `make faults` shows it
    assert not any(item.is_bad for item in outcomes), said


def test_a_few_kills_of_each_kind_leave_nothing_lost_doubled_or_orphaned(days: Callable[[int], Harness]) -> None:
    found = days(1)
    points = chance("a few").sample(KILL_POINTS, FEW_POINTS)
    trials = [*found.point_trials(points, [0]), *found.random_trials(FEW_RANDOM_KILLS, seed=0)]
    check(len(points), 1, trials, found.outcomes(trials))


@pytest.mark.faults
def test_kills_at_every_point_and_at_random_leave_nothing_lost_doubled_or_orphaned(
    days: Callable[[int], Harness],
) -> None:
    found = days(SEEDS)
    trials = [*found.point_trials(KILL_POINTS, range(SEEDS)), *found.random_trials(RANDOM_KILLS, seed=1)]
    check(len(KILL_POINTS), SEEDS, trials, found.outcomes(trials))
