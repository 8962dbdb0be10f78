"""What a product is like right now, told from its lake alone."""

import json
from pathlib import Path

import pytest

from assets import blessings, ledger
from assets.home import Home
from assets.live import flip_live
from assets.raw.reader.protocol import RefusedFileError
from assets.records import Alert, Decision, EvaluationReport, LivePointer, Provenance
from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.status import is_loaded, product_history, product_status
from tests.loading import load_file

HEADER = "order_id,ordered_at,size,kind\n"


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, toy: ProductSpec) -> Home:
    """A home with a loaded batch, a refused file, two decisions and a champion."""
    home = Home(Settings(home=tmp_path_factory.mktemp("busy")))
    lake, folder = home.lake("toy"), home.landing("toy")
    (folder / "good.csv").write_text(HEADER + "1,2024-01-05,2.5,shoes\nbad,2024-01-06,1,books\n")
    load_file(lake, "toy", toy.source, folder / "good.csv", "2024-01")
    (folder / "bad.csv").write_text("other\n1\n")
    with pytest.raises(RefusedFileError):
        load_file(lake, "toy", toy.source, folder / "bad.csv", "2024-02")
    for algorithm, value in (("baseline", 0.5), ("lightgbm", 0.8)):
        report = EvaluationReport(
            model_id=f"{algorithm}-1", algorithm=algorithm, role="candidate", split_id="s", validation={},
            test={"roc_auc": value}, is_best=algorithm == "lightgbm",
        )  # fmt: skip
        ledger.append_to_lake(lake, "evaluations", [(report.model_id, "2024-01", report)])
    for verdict in ("PROMOTED_FIRST_CHAMPION", "LIVE"):
        decision = Decision.model_validate(
            {
                "product": "toy", "as_of": "2024-01", "verdict": verdict, "model_id": "lightgbm-1",
                "champion_id": None, "split_id": "s", "reason": "the first",
            }
        )  # fmt: skip
        ledger.append_to_lake(lake, "decisions", [(decision.decision_id, "2024-01", decision)])
    alert = Alert(product="toy", kind="drift", batch_id="2024-01", cause="c", message="it drifts")
    ledger.append_to_lake(lake, "alerts", [(alert.alert_id, "2024-01", alert)])
    flip_live(
        home.settings.home,
        LivePointer(
            product="toy", as_of="2024-01", model_id="lightgbm-1", bento="toy:lightgbm-1-x", decision_id="d",
            offline_parity="1/1", latency_p50_ms=1.0, latency_p99_ms=2.0,
        ),
    )  # fmt: skip
    return home


def test_a_product_without_anything_has_a_status(home: Home, toy: ProductSpec) -> None:
    status = product_status(home, toy)
    assert (status["product"], status["batches"], status["rows_in"]) == ("toy", 0, 0)
    assert status["champion"] is None
    assert status["live"] is None
    assert status["decisions"] == status["alerts"] == status["refused_files"] == status["gates"] == []
    assert product_history(home, toy) == []


def test_a_status_counts_rows_and_names_what_was_refused(busy: Home, toy: ProductSpec) -> None:
    status = product_status(busy, toy)
    assert (status["batches"], status["rows_in"], status["rows_loaded"], status["rows_quarantined"]) == (1, 2, 1, 1)
    (refused,) = status["refused_files"]
    assert refused["file_name"] == "bad.csv"
    assert "missing order_id" in refused["reason"]
    assert [alert["message"] for alert in status["alerts"]] == ["it drifts"]


def test_the_champion_stands_beside_the_baseline_of_its_own_test(busy: Home, toy: ProductSpec) -> None:
    champion = product_status(busy, toy)["champion"]
    assert (champion["model_id"], champion["as_of"]) == ("lightgbm-1", "2024-01")
    assert (champion["metrics"], champion["baseline_metrics"]) == ({"roc_auc": 0.8}, {"roc_auc": 0.5})
    assert champion["baseline"] == "baseline"


def test_a_status_is_plain_json(busy: Home, toy: ProductSpec) -> None:
    """Programs read it: `headrace status --json`."""
    status = product_status(busy, toy)
    assert json.loads(json.dumps(status)) == status


def test_history_has_every_decision_in_its_order_and_status_leaves_out_going_live(busy: Home, toy: ProductSpec) -> None:
    assert [row["verdict"] for row in product_history(busy, toy)] == ["PROMOTED_FIRST_CHAMPION", "LIVE"]
    assert [row["verdict"] for row in product_status(busy, toy)["decisions"]] == ["PROMOTED_FIRST_CHAMPION"]


def test_a_batch_is_loaded_when_it_has_become_features(busy: Home, toy: ProductSpec) -> None:
    assert not is_loaded(busy, toy, "2024-01")
    busy.lake("toy").transact(
        lambda con: con.execute("create or replace table lake.features.toy as select '2024-01' as batch_id")
    )
    assert not is_loaded(busy, toy, "2024-01"), "without a word about its data it is validated first"
    with busy.lake("toy").connect() as con:
        batch = next(item for item in ledger.batches(con, "toy") if item.batch_id == "2024-01")
    blessing = blessings.bless_data(toy, batch, [], champion_id="", snapshot=1, provenance=Provenance())
    busy.lake("toy").transact(lambda con: blessings.write(con, blessing))
    assert is_loaded(busy, toy, "2024-01")
    assert not is_loaded(busy, toy, "2024-02")


def test_reports_are_listed_by_batch(busy: Home, toy: ProductSpec) -> None:
    for batch in ("2024-02", "2024-01"):
        busy.report("toy", batch, "drift.html").write_text("<html>")
    names = [Path(path).parent.name for path in product_status(busy, toy)["reports"]]
    assert names == ["2024-01", "2024-02"]
