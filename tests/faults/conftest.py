"""Warm processes that days are lived and killed in."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.harness import Harness, harness
from tests.faults.scenarios import SCENARIOS


@pytest.fixture(scope="package")
def days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Harness]]:
    """Gives the harness with all days of so many seeds, lived undisturbed; one harness for all tests."""
    with harness(tmp_path_factory.mktemp("faults"), workers=2) as found:

        def lived(seeds: int) -> Harness:
            found.live([(scenario, seed) for seed in range(seeds) for scenario in SCENARIOS])
            return found

        yield lived
