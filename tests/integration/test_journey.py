"""Whole journeys of a toy product through the real jobs: land, load, train, gate, promote, serve, watch."""

import json
from collections.abc import Callable

import dagster as dg
import pytest

from assets import ledger
from assets.card.card import write_card
from assets.home import Home
from assets.live import read_live
from assets.records import Notification
from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli.runs import Runner
from orchestration.score.evidence import read_evidence
from orchestration.score_card import judge_all
from orchestration.status import is_complete, product_status
from tests.toy.shop import drop, headrace

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
    assert {gate["name"] for gate in status["gates"] if gate["verdict"] != "PASSED"} <= {"converged", "beats_linear"}
    assert {gate["kind"] for gate in status["gates"]} == {"data", "training", "quality", "infrastructure"}
    assert {gate["name"] for gate in status["gates"]} >= {"beats_baseline", "parity", "latency", "boots"}
    assert status["live"]["model_id"] == status["champion"]["model_id"]
    assert [item["verdict"] for item in status["decisions"]] == ["PROMOTED_FIRST_CHAMPION"]
    with journey.home.lake("shop").connect() as con:
        told = [item for _, item in ledger.records(con, "notifications", Notification)]
    assert [(item.batch_id, item.rows) for item in told] == [(batch, 240) for batch in HISTORY]


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


def test_score_card_and_model_card_name_the_checks_that_ran(journey: Runner) -> None:
    """What the real gates are called is what the lines look for, and the live model's card has all four blessings."""
    card = judge_all(read_evidence(journey.settings, journey.spec))
    told = {f"{line.section} {line.number}": line.finding for line in card.lines}
    for line, check in {
        "Data 1": "schema passed", "Data 3": "latency passed", "Data 4": "point_in_time passed",
        "Model 6": "worst_slice passed", "Infrastructure 1": "deterministic passed",
        "Infrastructure 4": "quality blessing", "Monitoring 3": "served as offline",
    }.items():  # fmt: skip
        assert told[line].points == 1, (line, told[line])
        assert check in "; ".join(told[line].evidence)
    assert told["Model 7"].missing == "no groups are declared"
    live = read_live(journey.settings.home, "shop")
    assert live is not None
    _, text = write_card(journey.home, journey.spec, live.model_id)
    for kind in ("Data: batch", "Training: this model", "Quality: this model", "Infrastructure: this model"):
        assert f"**{kind}" in text.read_text()


def test_bad_input_is_refused_in_words(journey: Runner) -> None:
    """A wrong product, batch or file is one message with a fix and exit code 1, never a stack trace."""
    for arguments in (("status", "nobody"), ("run", "shop", "--as-of", "99"), ("land", "shop", "README.md")):
        found = headrace(journey.settings, *arguments)
        assert found.returncode == 1
        assert "fix:" in found.stderr
        assert "Traceback" not in found.stderr
