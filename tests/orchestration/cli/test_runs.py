"""Batches that stand next to each other among Dagster's partitions go in one run."""

import pytest

from orchestration.cli.runs import neighbours


@pytest.mark.parametrize(
    ("batches", "known", "groups"),
    [
        ([], ["a", "b"], []),
        (["a", "b", "c"], ["a", "b", "c"], [["a", "b", "c"]]),
        (["a", "c"], ["a", "b", "c"], [["a"], ["c"]]),
        (["a", "b", "d"], ["a", "b", "c", "d"], [["a", "b"], ["d"]]),
        (["a", "b"], ["b", "a"], [["b", "a"]]),
        (["a", "c"], ["c", "b", "a"], [["c"], ["a"]]),
    ],
)
def test_only_neighbours_among_the_partitions_share_a_run(
    batches: list[str], known: list[str], groups: list[list[str]]
) -> None:
    """Dagster's order is that of arrival, and a range takes everything between its ends."""
    assert neighbours(batches, known) == groups
