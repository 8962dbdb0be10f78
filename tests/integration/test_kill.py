"""kill -9 at named points of a journey, then one rerun."""

from collections.abc import Callable

import dagster as dg
import pytest

from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli.runs import Runner
from orchestration.status import product_history, product_status
from tests.toy.shop import drop, killed_python

pytestmark = pytest.mark.journey


@pytest.mark.parametrize(
    "point", ["assets.raw.ingest.ledger.append_batch", "bentos.release.flip_live", "bentos.release.record_live"]
)
def test_kill_9_and_one_rerun_converge(
    toy_settings: Callable[[str], Settings],
    loaded_settings: Callable[[str], Settings],
    shop: ProductSpec,
    point: str,
) -> None:
    """Killed amid ingest, before the pointer flips, or after it: one rerun ends as an undisturbed run would."""
    settings = (toy_settings if point.startswith("assets.raw") else loaded_settings)("killed")
    drop(settings, [1, 2])
    module, _, name = point.rpartition(".")
    code = f"""
import os, signal, importlib
import assets.raw.ingest, bentos.release
from operator import attrgetter
target = attrgetter({module.removeprefix("assets.raw.").removeprefix("bentos.")!r})(
    assets.raw if {module!r}.startswith("assets") else bentos)
setattr(target, {name!r}, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
from orchestration.cli.main import app
app(["run", "shop"])
"""
    assert killed_python(settings, code) == -9
    runner = Runner(settings, shop)
    under_way = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
    assert runner.instance.get_runs(under_way) == [], "the killed run would hold the product's place in the queue"
    runner.load(["01", "02"], cause="after the kill")
    runner.go_all_the_way("02", cause="after the kill")
    status, history = product_status(runner.home, shop), product_history(runner.home, shop)
    assert status["rows_in"] == status["rows_loaded"] == 480
    assert [item["verdict"] for item in history] == ["PROMOTED_FIRST_CHAMPION", "LIVE"]
    assert status["live"]["model_id"] == history[0]["model_id"]
    with runner.home.lake("shop").connect() as con:
        rows, keys = con.execute("select count(*), count(distinct order_id) from lake.features.shop").fetchall()[0]
    assert rows == keys == 480
