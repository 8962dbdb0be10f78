"""Gates that block: in their run, and alone later, where Dagster itself would let everything pass."""

from collections.abc import Callable

import dagster as dg
import pytest

from assets.errors import HeadraceError
from assets.live import read_live
from assets.naming import asset_key
from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli.runs import Runner
from orchestration.definitions import build_definitions
from orchestration.instance import open_instance
from orchestration.status import product_status
from tests.toy.shop import drop

pytestmark = pytest.mark.journey


def test_a_lone_promotion_without_evaluation_is_refused(
    toy_settings: Callable[[str], Settings], shop: ProductSpec
) -> None:
    """Dagster blocks nothing across runs, so promotion reads the blessing itself and a missing one means no."""
    settings = toy_settings("lone")
    drop(settings, [1, 2])
    runner = Runner(settings, shop)
    runner.load(["01", "02"], cause="test")
    lone = materialise_alone(runner, "split", "02")
    assert lone.success
    refused = materialise_alone(runner, "promotion", "02")
    assert not refused.success
    assert "no quality blessing" in failure_of(refused)
    assert materialise_alone(runner, "bento", "02").success, "nothing was promoted, so nothing is built"
    assert read_live(settings.home, "shop") is None


def test_a_rejected_challenger_stops_the_run_and_is_a_written_refusal(
    toy_settings: Callable[[str], Settings], shop: ProductSpec
) -> None:
    """A gate that says no blocks promotion in its run, and alone later; it is in the ledger; nothing is live."""
    settings = toy_settings("rejected")
    drop(settings, [1, 2])
    strict = shop.model_copy(update={"gates": shop.gates.model_copy(update={"beats_baseline_by": 0.49})})
    runner = Runner(settings, strict)
    runner.load(["01", "02"], cause="test")
    with pytest.raises(HeadraceError, match="beats_baseline"):
        runner.go_all_the_way("02", cause="test")
    decisions = product_status(runner.home, strict)["decisions"]
    assert [item["verdict"] for item in decisions] == ["REFUSED_NOT_BLESSED"]
    assert "beats_baseline" in decisions[0]["reason"]
    alone = materialise_alone(runner, "promotion", "02")
    assert not alone.success
    assert "did not bless" in failure_of(alone)
    assert read_live(settings.home, "shop") is None


def materialise_alone(runner: Runner, stage: str, batch: str) -> dg.ExecuteInProcessResult:
    """Materialise one asset on its own, as a click in the UI would."""
    definitions = build_definitions(runner.settings, {runner.spec.product: runner.spec})
    job = definitions.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=open_instance(runner.settings),
        partition_key=batch,
        raise_on_error=False,
        asset_selection=[dg.AssetKey(asset_key(runner.spec.product, stage))],
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """What the failed step says."""
    data = next(event for event in result.all_events if event.is_step_failure).step_failure_data
    assert data.user_failure_data is not None
    return str(data.user_failure_data.description)
