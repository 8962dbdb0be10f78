"""A request becomes Dagster's: which job, which partitions, which tags; and Dagster's runs are the sensor's memory."""

import dataclasses
import time
from collections.abc import Callable

import boto3
import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from assets.home import Home
from assets.raw.places import LandedFile
from assets.spec import ProductSpec
from sensors.inbox import Arrival, Cursor, Inbox, Request, look
from sensors.new_files import (
    ARRIVALS_TAG,
    RANGE_END,
    RANGE_START,
    build,
    for_a_while,
    requests_before,
    run_request,
    why_not,
)
from tests import servers

JANUARY = LandedFile("orders_2024-01.csv", "toy", "2024-01", "", 1, 1, "", "landing")
NOTHING = Inbox((), (), Cursor())


def test_a_batch_that_goes_all_the_way_is_a_run_of_its_partition(toy: ProductSpec) -> None:
    request = Request(("2024-03",), with_models=True, run_key="key", arrivals=("a1", "b2"))
    found = run_request(toy, request, "toy_load", "toy_journey")
    assert (found.job_name, found.partition_key, found.run_key) == ("toy_journey", "2024-03", "key")
    assert found.tags == {
        "headrace/product": "toy", "headrace/cause": "new file 2024-03", "headrace/arrivals": "a1 b2"
    }  # fmt: skip


def test_several_batches_are_one_run_over_their_range_before_the_journey(toy: ProductSpec) -> None:
    """One run of a product is taken at a time, so the load must come first in the queue."""
    batches = ("2024-01", "2024-02")
    found = run_request(toy, Request(batches, with_models=False, run_key="key"), "toy_load", "toy_journey")
    assert (found.job_name, found.partition_key, found.run_key) == ("toy_load", None, "key")
    assert (found.tags[RANGE_START], found.tags[RANGE_END]) == batches
    assert int(found.tags["dagster/priority"]) > 0
    assert found.tags["headrace/product"] == "toy"
    assert found.tags["headrace/cause"] == "new file 2024-01, 2024-02"


@pytest.mark.parametrize(
    ("status", "is_under_way", "has_failed"),
    [
        ("NOT_STARTED", True, False),
        ("STARTED", True, False),
        ("SUCCESS", False, False),
        ("FAILURE", False, True),
        ("CANCELED", False, True),
    ],
)
def test_a_run_under_way_answers_for_its_arrivals_and_an_ended_one_is_counted(
    toy: ProductSpec, status: str, is_under_way: bool, has_failed: bool
) -> None:
    """So a run that was killed before the ledger knew its file is asked for again, and no lost cursor asks twice."""
    with dg.DagsterInstance.ephemeral() as instance:
        for sensor, arrivals in (("toy_new_files", "a b"), ("toy_drift", "c"), ("other_new_files", "d")):
            tags = {"dagster/sensor_name": sensor, ARRIVALS_TAG: arrivals}
            create_run_for_test(instance, "toy_load", status=dg.DagsterRunStatus[status], tags=tags)
        found = requests_before(instance, toy)
    assert found.times == {"a": 1, "b": 1}
    assert found.under_way == ({"a", "b"} if is_under_way else set())
    assert found.failed == ({"a": 1, "b": 1} if has_failed else {})


def test_a_skipped_look_says_what_it_waits_for_and_what_is_passed_over() -> None:
    assert why_not(NOTHING, (), {}) == "no new file"
    waiting = Inbox((), ((JANUARY, "still changing"),), Cursor())
    assert why_not(waiting, [("x.csv", "a pipe")], {"2024-02": ["kinds"], "2024-03": []}) == (
        "waiting until whole: orders_2024-01.csv (still changing); 2024-02 waits for kinds; passed over: x.csv (a pipe)"
    )
    given_up = why_not(NOTHING, (), {}, [Arrival(JANUARY, "0" * 64)])
    assert given_up == ("3 runs failed before they could load it, see them and then `headrace run`: orders_2024-01.csv")


def test_a_look_reads_for_a_while_and_the_next_one_goes_on() -> None:
    """Dagster would end it, forget what was read, and begin with the same files for ever."""
    files = [dataclasses.replace(JANUARY, name=f"{number}.csv", etag='"1"') for number in range(4)]
    cursor, arrived, read = Cursor(), [], []

    def content_of(file: LandedFile) -> str:
        read.append(file.name)
        time.sleep(0.03)
        return file.name

    while len(arrived) < len(files):
        found = look(
            files, cursor, now_ns=0, settle_seconds={"toy": 0.0}, newest={}, content_of=for_a_while(content_of, 0.05)
        )
        cursor, arrived = found.cursor, found.arrivals
        assert all(why == "it is read at the next look" for _, why in found.waiting)
    assert read == [file.name for file in files]


def test_of_many_names_some_are_said() -> None:
    said = why_not(NOTHING, [(f"{number:03}.txt", "?") for number in range(500)], {})
    assert said.startswith("passed over: 000.txt (?), 001.txt (?)")
    assert said.endswith("019.txt (?) and 480 more")


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job
def toy_load() -> None:
    nothing()


@dg.job
def toy_journey() -> None:
    nothing()


def test_an_object_becomes_a_run_and_a_store_that_is_down_a_skipped_look(
    spec_of: Callable[..., ProductSpec],
    home: Home,
    bucket: str,
    object_store_server: servers.ObjectStoreServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tick that failed would show a stack trace, and the daemon would ask less often."""
    spec = spec_of({"source.location": f"s3://{bucket}/landing/", "references": ...})
    sensor = build(spec, load_job=toy_load, journey_job=toy_journey)
    client = boto3.client("s3", endpoint_url=object_store_server.address, region_name="us-east-1")
    client.put_object(Bucket=bucket, Key="landing/orders_2024-01.csv", Body=b"order_id\n1\n")
    client.put_object(Bucket=bucket, Key="landing/../orders_2024-02.csv", Body=b"order_id\n1\n")
    cursor: str | None = None

    def tick() -> dg.SensorResult:
        nonlocal cursor
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"home": home})
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor
        return result

    (request,) = tick().run_requests or []
    assert (request.job_name, request.partition_key) == ("toy_journey", "2024-01")
    before = cursor
    with monkeypatch.context() as down:
        down.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{servers.free_port()}")
        result = tick()
    assert result.skip_reason is not None
    assert "the object store doesn't answer" in str(result.skip_reason.skip_message)
    assert cursor == before
    assert [item.run_key for item in tick().run_requests or []] == [request.run_key]
