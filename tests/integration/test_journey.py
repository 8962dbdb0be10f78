"""Whole journeys of a toy product through the real jobs: land, load, train, gate, promote, serve, watch."""

import json
from collections.abc import Callable

import dagster as dg
import pytest

from assets import ledger
from assets.errors import HeadraceError
from assets.home import Home
from assets.naming import asset_key
from assets.promotion.live import read_live
from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli.runs import Runner
from orchestration.definitions import build_definitions
from orchestration.instance import open_instance
from orchestration.status import is_complete, product_status
from tests.toy.shop import drop, headrace, killed_python

pytestmark = pytest.mark.journey
HISTORY = ["01", "02", "03"]


@pytest.fixture(scope="module")
def journey(toy_settings: Callable[[str], Settings], shop: ProductSpec) -> Runner:
    """Three batches landed and loaded in one run, the third taken all the way: a first champion is live."""
    settings = toy_settings("journey")
    drop(settings, [1, 2, 3])
    runner = Runner(settings, shop)
    runner.load(HISTORY, cause="test")
    runner.go_all_the_way("03", cause="test")
    return runner


def ledger_counts(home: Home) -> dict[str, int]:
    """Rows of every table of the lake that a rerun must not add to."""
    with home.lake("shop").connect() as con:
        names = con.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'lake' order by all"
        ).fetchall()
        return {
            f"{schema}.{name}": con.execute(f'select count(*) from lake."{schema}"."{name}"').fetchall()[0][0]
            for schema, name in names
        }


def test_the_first_journey_ends_with_a_live_champion_that_beats_the_baseline(journey: Runner) -> None:
    """Everything of the story is there after it: rows accounted for, a blessed champion, a bento that answered."""
    status = product_status(journey.home, journey.spec)
    assert status["batches"] == 3
    assert status["rows_in"] == status["rows_loaded"] + status["rows_quarantined"] == 720
    assert status["champion"]["metrics"]["roc_auc"] > status["champion"]["baseline_metrics"]["roc_auc"] + 0.2
    assert {gate["verdict"] for gate in status["gates"]} == {"PASSED"}
    assert {gate["name"] for gate in status["gates"]} >= {"beats_baseline", "parity", "latency", "boots"}
    assert status["live"]["model_id"] == status["champion"]["model_id"]
    assert [item["verdict"] for item in status["decisions"]] == ["PROMOTED_FIRST_CHAMPION"]


def test_a_later_batch_is_scored_by_the_champion_and_watched(journey: Runner) -> None:
    """The champion of then scores the new batch, and performance and drift are about that model."""
    before = read_live(journey.settings.home, "shop")
    assert before is not None
    drop(journey.settings, [4])
    journey.go_all_the_way("04", cause="test")
    status = product_status(journey.home, journey.spec)
    assert [item["model_id"] for item in status["performance"]] == [before.model_id]
    assert [item["model_id"] for item in status["drift"]] == [before.model_id]
    assert status["performance"][0]["rows_labelled"] < status["performance"][0]["rows_scored"] == 240
    assert status["decisions"][-1]["champion_id"] == before.model_id
    assert all(report.endswith(".html") for report in status["reports"])


def test_running_again_changes_nothing(journey: Runner) -> None:
    """A second run of every stage finds everything done: the same rows in every table, the same pointer."""
    assert is_complete(journey.home, journey.spec, "03")
    before, live = ledger_counts(journey.home), read_live(journey.settings.home, "shop")
    assert journey.load(HISTORY, cause="again") == 0
    assert journey.go_all_the_way("03", cause="again") is False
    journey.run("train", ["03"], cause="again, through every stage", title="again")
    assert ledger_counts(journey.home) == before
    assert read_live(journey.settings.home, "shop") == live


def test_the_event_log_has_every_check_with_observed_value_and_threshold(journey: Runner) -> None:
    """What the UI shows of a check is what it saw and what it was held against."""
    records = journey.instance.get_event_records(dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION))
    checks = [record.event_log_entry.dagster_event.event_specific_data for record in records]
    assert len({(check.asset_key, check.check_name) for check in checks}) >= 35
    assert all({"observed", "threshold"} <= set(check.metadata) for check in checks)


def test_a_lone_promotion_without_evaluation_is_refused(toy_settings: Callable[[str], Settings], shop: ProductSpec) -> None:
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
    """A gate that says no blocks promotion in its run, and alone later; the reason is in the ledger; nothing is live."""
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


def test_a_model_that_predicts_one_class_cannot_pass(
    toy_settings: Callable[[str], Settings], shop: ProductSpec
) -> None:
    """With a threshold that no score reaches, every row gets one class, and the gate names it."""
    settings = toy_settings("one_class")
    drop(settings, [1, 2])
    runner = Runner(settings, shop.model_copy(update={"decision_threshold": 1.0}))
    runner.load(["01", "02"], cause="test")
    with pytest.raises(HeadraceError, match="predicts_both_classes"):
        runner.go_all_the_way("02", cause="test")


@pytest.mark.parametrize(
    "point", ["assets.raw.ingest.ledger.append_batch", "bentos.release.flip_live", "bentos.release._record_live"]
)
def test_kill_9_and_one_rerun_converge(toy_settings: Callable[[str], Settings], shop: ProductSpec, point: str) -> None:
    """Killed amid ingest, before the pointer flips, or after it: one rerun ends as an undisturbed run would."""
    settings = toy_settings("killed")
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
    again = headrace(settings, "run", "shop")
    assert again.returncode == 0, again.stdout + again.stderr
    status = json.loads(headrace(settings, "status", "shop", "--json").stdout)
    assert status["rows_in"] == status["rows_loaded"] == 480
    history = json.loads(headrace(settings, "history", "shop", "--json").stdout)
    assert [item["verdict"] for item in history] == ["PROMOTED_FIRST_CHAMPION", "LIVE"]
    assert status["live"]["model_id"] == history[0]["model_id"]
    with Home(settings).lake("shop").connect() as con:
        rows, keys = con.execute("select count(*), count(distinct order_id) from lake.features.shop").fetchall()[0]
    assert rows == keys == 480


def test_any_order_of_arrival_gives_the_same_tables(toy_settings: Callable[[str], Settings], shop: ProductSpec) -> None:
    """A batch that comes late changes the history of those after it, so they are built again."""
    hashes = []
    for name, order in (("in_order", [[1, 2, 3]]), ("out_of_order", [[3], [1], [2]])):
        settings = toy_settings(name)
        runner = Runner(settings, shop)
        for batches in order:
            drop(settings, batches)
            runner.load([f"{batch:02}" for batch in batches], cause="test")
        with runner.home.lake("shop").connect() as con:
            hashes.append(
                con.execute(
                    "select (select bit_xor(hash(f)) from lake.features.shop f), "
                    "(select bit_xor(hash(l)) from lake.features.labels l), (select count(*) from lake.features.shop)"
                ).fetchall()
            )
    assert hashes[0] == hashes[1]
    assert hashes[0][0][2] == 720


def test_the_command_tells_the_same_story(journey: Runner) -> None:
    """Status, history, sql and doctor read what the journey wrote; --json prints JSON alone."""
    status = json.loads(headrace(journey.settings, "status", "shop", "--json").stdout)
    assert status["live"]["model_id"]
    rows = json.loads(headrace(journey.settings, "sql", "select count(*) as n from raw.shop", "--json").stdout)
    assert rows == [{"n": status["rows_loaded"]}]
    refused = headrace(journey.settings, "sql", "delete from raw.shop")
    assert refused.returncode == 1
    assert "read-only" in refused.stderr
    doctor = headrace(journey.settings, "doctor", "--json")
    assert doctor.returncode == 0, doctor.stdout
    assert "Champion" in headrace(journey.settings, "status", "shop").stdout


def test_bad_input_is_refused_in_words(journey: Runner) -> None:
    """A wrong product, batch or file is one message with a fix and exit code 1, never a stack trace."""
    for arguments in (("status", "nobody"), ("run", "shop", "--as-of", "99"), ("land", "shop", "README.md")):
        found = headrace(journey.settings, *arguments)
        assert found.returncode == 1
        assert "fix:" in found.stderr
        assert "Traceback" not in found.stderr


def materialise_alone(runner: Runner, stage: str, batch: str) -> dg.ExecuteInProcessResult:
    """Materialise one asset on its own, as a click in the UI would."""
    definitions = build_definitions(runner.settings, {runner.spec.product: runner.spec})
    job = definitions.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=open_instance(runner.settings), partition_key=batch, raise_on_error=False,
        asset_selection=[dg.AssetKey(asset_key(runner.spec.product, stage))],
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """What the failed step says."""
    data = next(event for event in result.all_events if event.is_step_failure).step_failure_data
    assert data.user_failure_data is not None
    return str(data.user_failure_data.description)


def test_quarantined_rows_are_counted_and_kept(toy_settings: Callable[[str], Settings], shop: ProductSpec) -> None:
    """Bad rows of a delivery go to quarantine with their place, the rest goes on."""
    settings = toy_settings("quarantine")
    drop(settings, [1])
    path = Home(settings).landing("shop") / "orders_01.csv"
    text = path.read_text().splitlines()
    text[5] = text[5].replace(text[5].split(",")[0], "not a number", 1)
    path.write_text("\n".join(text) + "\n")
    runner = Runner(settings, shop)
    runner.load(["01"], cause="test")
    with runner.home.lake("shop").connect() as con:
        found = con.execute("select row_number, column_name, found from lake.raw.quarantine").fetchall()
        batch = ledger.batches(con, "shop")[0]
    assert found == [(5, "order_id", "not a number")]
    assert (batch.rows_in, batch.rows_loaded, batch.rows_quarantined) == (240, 239, 1)
