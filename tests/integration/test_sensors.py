"""The sensors on a real instance and lake: what they ask for, and that they ask once."""

import os
import time
from collections.abc import Callable

import dagster as dg
import pytest

from assets import ledger
from assets.home import Home
from assets.live import flip_live
from assets.records import DriftReport, LivePointer
from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli.runs import Runner
from orchestration.definitions import build_definitions
from orchestration.instance import open_instance
from tests.toy.shop import drop

pytestmark = pytest.mark.journey


class Watcher:
    """Ticks one sensor as the daemon does: the cursor goes on, and a requested partition is added."""

    def __init__(self, settings: Settings, spec: ProductSpec, name: str) -> None:
        self.home = Home(settings)
        self.instance = open_instance(settings)
        self.definitions = build_definitions(settings, {spec.product: spec})
        self.sensor = self.definitions.resolve_sensor_def(name)
        self.cursor: str | None = None

    def tick(self) -> list[dg.RunRequest]:
        """One evaluation; returns the runs it asks for."""
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"home": self.home}, definitions=self.definitions
        )
        result = self.sensor(context)
        if not isinstance(result, dg.SensorResult):
            return [result] if isinstance(result, dg.RunRequest) else []
        self.cursor = result.cursor
        for request in result.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        return list(result.run_requests or [])


def still_written(settings: Settings, *names: str) -> None:
    """Somebody writes files on; by the clock alone a slow machine would take them for quiet."""
    for name in names:
        with (Home(settings).landing("shop") / name).open("a") as file:
            file.write("\n")


def make_old(settings: Settings, *names: str) -> None:
    """Give files a time at which they have long been quiet."""
    for name in names:
        path = Home(settings).landing("shop") / name
        past = time.time() - 60
        os.utime(path, (past, past))


def test_a_whole_file_becomes_a_partition_and_one_run(
    toy_settings: Callable[[str], Settings], shop: ProductSpec
) -> None:
    """The first look remembers, the second asks; a half-written file waits; a loaded content is never asked again."""
    settings = toy_settings("arrival")
    watcher = Watcher(settings, shop, "shop_new_files")
    assert watcher.tick() == []
    drop(settings, [1])
    assert watcher.tick() == []
    still_written(settings, "orders_01.csv")
    assert watcher.tick() == [], "written a moment ago: it may still be growing"
    make_old(settings, "orders_01.csv", "customers.csv")
    assert watcher.tick() == [], "its time changed since the last look"
    (request,) = watcher.tick()
    assert (request.job_name, request.partition_key) == ("shop_journey", "01")
    assert watcher.instance.get_dynamic_partitions("shop_batches") == ["01"]
    Runner(settings, shop).load(["01"], cause="test")
    assert watcher.tick() == []
    watcher.cursor = None
    watcher.tick()
    assert watcher.tick() == [], "a lost cursor asks nothing twice: the ledger knows the content"


def test_a_lost_cursor_repeats_the_same_run_key(toy_settings: Callable[[str], Settings], shop: ProductSpec) -> None:
    """Between request and load the run key, made of the content, keeps Dagster from running it twice."""
    settings = toy_settings("run_key")
    watcher = Watcher(settings, shop, "shop_new_files")
    drop(settings, [1])
    make_old(settings, "orders_01.csv", "customers.csv")
    watcher.tick()
    first = watcher.tick()
    watcher.cursor = None
    watcher.tick()
    assert [item.run_key for item in watcher.tick()] == [item.run_key for item in first] != []


def test_a_batch_waits_until_every_source_has_delivered(
    toy_settings: Callable[[str], Settings], shop: ProductSpec
) -> None:
    """Orders without the register of customers are nothing to go on; both are, once the register is whole."""
    settings = toy_settings("waits")
    watcher = Watcher(settings, shop, "shop_new_files")
    drop(settings, [1])
    make_old(settings, "orders_01.csv")
    watcher.tick()
    still_written(settings, "customers.csv")
    assert watcher.tick() == [], "the register may still be growing"
    make_old(settings, "customers.csv")
    watcher.tick()
    (request,) = watcher.tick()
    assert request.partition_key == "01"


def test_several_files_are_one_load_and_one_journey(toy_settings: Callable[[str], Settings], shop: ProductSpec) -> None:
    """All but the newest are only loaded, in one run over their range, queued before the newest's journey."""
    settings = toy_settings("several")
    watcher = Watcher(settings, shop, "shop_new_files")
    drop(settings, [1, 2, 3])
    make_old(settings, "customers.csv", "orders_01.csv", "orders_02.csv", "orders_03.csv")
    watcher.tick()
    load, journey = watcher.tick()
    assert (load.job_name, journey.job_name, journey.partition_key) == ("shop_load", "shop_journey", "03")
    assert load.tags["dagster/asset_partition_range_start"] == "01"
    assert load.tags["dagster/asset_partition_range_end"] == "02"
    assert int(load.tags["dagster/priority"]) > int(journey.tags.get("dagster/priority", "0"))


def test_drift_that_persists_asks_for_retraining_once_per_cause(
    toy_settings: Callable[[str], Settings], shop: ProductSpec
) -> None:
    """One drifted batch asks nothing, the second asks with the cause in the tags, a third of the same drift nothing."""
    settings = toy_settings("drift")
    watcher = Watcher(settings, shop, "shop_drift")
    pointer = LivePointer(
        product="shop", as_of="01", model_id="m1", bento="shop:m1", decision_id="d", offline_parity="1 of 1 rows",
        latency_p50_ms=1, latency_p99_ms=1,
    )  # fmt: skip
    assert watcher.tick() == []
    flip_live(settings.home, pointer)

    def drifted(batch_id: str, persisted: int) -> None:
        report = DriftReport(
            product="shop", batch_id=batch_id, model_id="m1", verdict="DRIFTED", column_psi={"amount": 1.0},
            drifted=("amount",), share_drifted=1.0, prediction_psi=1.0, persisted_batches=persisted,
        )  # fmt: skip
        ledger.append_to_lake(watcher.home.lake("shop"), "drift", [(batch_id, batch_id, report)])

    drifted("02", 1)
    assert watcher.tick() == []
    drifted("03", 2)
    (request,) = watcher.tick()
    assert request.tags["headrace/cause"] == "drift-m1-since-02" == request.run_key
    assert request.partition_key == "03"
    drifted("04", 3)
    assert watcher.tick() == [], "the same drift was answered"
