"""A request becomes Dagster's: which job, which partitions, which tags."""

from pathlib import Path

from assets.raw.landing import LandedFile
from assets.spec import ProductSpec
from sensors.inbox import Request
from sensors.new_files import RANGE_END, RANGE_START, run_request, why_not


def test_a_batch_that_goes_all_the_way_is_a_run_of_its_partition(toy: ProductSpec) -> None:
    found = run_request(toy, Request(("2024-03",), with_models=True, run_key="key"), "toy_load", "toy_journey")
    assert (found.job_name, found.partition_key, found.run_key) == ("toy_journey", "2024-03", "key")
    assert found.tags == {"headrace/product": "toy", "headrace/cause": "new file 2024-03"}


def test_several_batches_are_one_run_over_their_range_before_the_journey(toy: ProductSpec) -> None:
    """One run of a product is taken at a time, so the load must come first in the queue."""
    batches = ("2024-01", "2024-02")
    found = run_request(toy, Request(batches, with_models=False, run_key="key"), "toy_load", "toy_journey")
    assert (found.job_name, found.partition_key, found.run_key) == ("toy_load", None, "key")
    assert (found.tags[RANGE_START], found.tags[RANGE_END]) == batches
    assert int(found.tags["dagster/priority"]) > 0
    assert found.tags["headrace/product"] == "toy"
    assert found.tags["headrace/cause"] == "new file 2024-01, 2024-02"


def test_a_skipped_look_says_what_it_waits_for() -> None:
    half = LandedFile(Path("orders_2024-01.csv"), "toy", "2024-01", 1, 1)
    assert why_not([], {}) == "no new file"
    assert why_not([half], {"2024-02": ["kinds"], "2024-03": []}) == (
        "waiting until whole: orders_2024-01.csv; 2024-02 waits for kinds"
    )
