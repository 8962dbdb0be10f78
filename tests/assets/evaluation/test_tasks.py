"""Tasks through the stages after training, on a lake: judged, scored, watched, told. Only dbt is left out.

Binary goes the same way in tests/integration, and regression is a forecast without its baselines and its time.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets import blessings, ledger
from assets.candidates.registry import algorithm
from assets.candidates.training import train
from assets.candidates.training_set import load_training_set
from assets.errors import HeadraceError
from assets.evaluation.definitions import evaluate
from assets.evaluation.gates import gates_of
from assets.evaluation.judge import Verdict
from assets.features.read import batch_inputs
from assets.home import Home
from assets.lake import Lake
from assets.live import flip_live
from assets.monitoring.watch import watch_drift, watch_performance
from assets.predictions.definitions import score_batch
from assets.records import Comparison, Gate, LivePointer, Provenance, SplitManifest, Training
from assets.spec import ProductSpec
from assets.splits.service import make_split
from orchestration.cli.summary import print_summary
from orchestration.status import product_status

BATCHES = ("2024-01", "2024-02", "2024-03")
ROWS = 200
NAIVE = [
    {"algorithm": "seasonal_naive", "params": {"column": "earlier"}},
    {"algorithm": "last_value", "params": {"column": "size"}},
]
LEARNERS = {"multiclass": "decision_tree", "forecast": "linear_regression", "clustering": "kmeans"}
PAGES = {"multiclass": "classification", "forecast": "regression", "clustering": "clustering"}
SPLITS = {"multiclass": "stratified", "forecast": "temporal", "clustering": "random"}


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Three months of orders of two sizes; the outcome follows from the size, and a category and gaps are there."""
    random = np.random.default_rng(4)
    count = ROWS * len(BATCHES)
    large = random.random(count) < 0.4
    size = np.where(large, 40.0, 10.0) + random.normal(0, 2, count)
    outcome = 3 * size + 5 + random.normal(0, 3, count)
    frame = pl.DataFrame(
        {
            "order_id": range(count), "batch_id": np.repeat(BATCHES, ROWS),
            "kind": np.where(large, "coats", "books"), "size": size, "pieces": np.where(large, 30, 3),
            "earlier": outcome + random.normal(0, 9, count), "number": outcome, "text": np.where(large, "big", "small"),
        }
    )  # fmt: skip
    return frame.with_columns(
        pl.when(pl.col("order_id") % 17 == 0).then(None).otherwise(pl.col("pieces")).alias("pieces"),
        ordered_at=pl.datetime(2024, 1, 1)
        + pl.duration(days=30 * (pl.col("order_id") // ROWS), minutes=60 * (pl.col("order_id") % ROWS)),
    )


@pytest.fixture
def product_of(home: Home, rows: pl.DataFrame, spec_of: Callable[..., ProductSpec]) -> Callable[[str], ProductSpec]:
    """The toy as a product of a task, with feature and label tables as dbt would have built them."""
    label = {"multiclass": "text", "forecast": "number", "clustering": "null"}

    def make(task: str) -> ProductSpec:
        def write(con: Any) -> None:
            con.register("rows", rows.to_arrow())
            con.execute(
                "create table lake.features.toy as "
                "select order_id, batch_id, ordered_at, ordered_at as known_at, kind, size, pieces, earlier from rows"
            )
            con.execute(
                "create table lake.features.labels as "
                "select order_id, batch_id, ordered_at, ordered_at as returned_at, "
                f"{label[task]} as outcome from rows"
            )
            con.unregister("rows")

        home.lake("toy").transact(write)
        inputs = {"kind": {"type": "category"}, **{name: {"type": "number"} for name in ("size", "pieces", "earlier")}}
        fields = {
            "task": task, "features": {"inputs": inputs},
            **({"label": ...} if task == "clustering" else {"label.column": "outcome", "label.delay_minutes": 0}),
            "gates": {"slices": {"by": ["kind"], "min_rows": 10, "min_metric": 99 if task == "forecast" else 0}},
            "split.strategy": SPLITS[task], "monitoring.report_rows": 100,
            "candidates": [
                {"algorithm": "baseline"}, *(NAIVE if task == "forecast" else []), {"algorithm": LEARNERS[task]}
            ],
        }  # fmt: skip
        return spec_of(fields)

    return make


def run(home: Home, spec: ProductSpec, as_of: str) -> tuple[Verdict, dict[str, Any], SplitManifest]:
    """Split, train every candidate, judge."""
    lake = home.lake("toy")
    with lake.connect() as con:
        split = make_split(con, spec, as_of, "features-1")
    ledger.append_to_lake(lake, "splits", [(split.split_id, as_of, split)])
    for candidate in spec.candidates:
        trained = train(
            algorithm(candidate.algorithm), candidate, spec=spec, split=split, folder=home.models("toy"), threads=1,
            rows=load_training_set(lake, spec, split), progress=lambda _: None,
        )  # fmt: skip
        manifest = trained.manifest
        training = Training(
            model_id=manifest.model_id, algorithm=manifest.algorithm, as_of=as_of, seconds={},
            history=dict(trained.history),
        )  # fmt: skip
        ledger.append_to_lake(lake, "models", [(manifest.model_id, as_of, manifest)])
        ledger.append_to_lake(lake, "trainings", [(manifest.model_id, as_of, training)])
        bless_training(lake, spec, split, manifest.model_id)
    verdict, metadata, plots = evaluate(home, spec, split, Provenance(asked_by="a test"))
    # the only slices of the several classes have one class each, so there is nothing to draw of them
    assert {*gates_of(spec), "worst_slice"} - set(plots) <= {"model_size", "worst_slice"}
    return verdict, metadata, split


def bless_training(lake: Lake, spec: ProductSpec, split: SplitManifest, model_id: str, *, passed: bool = True) -> None:
    """Training's word about a model."""
    verdict = "PASSED" if passed else "FAILED"
    gate = Gate.model_validate({"name": "finite", "verdict": verdict, "observed": "yes", "threshold": "yes"})
    blessing = blessings.bless_model("training", spec, split, model_id, [gate], provenance=Provenance())
    lake.transact(lambda con: blessings.write(con, blessing))


def go_live(home: Home, verdict: Verdict, as_of: str) -> None:
    flip_live(
        home.settings.home,
        LivePointer(
            product="toy", as_of=as_of, model_id=verdict.best.model_id, bento="toy:x", decision_id="d",
            offline_parity="1/1", latency_p50_ms=1.0, latency_p99_ms=2.0,
        ),
    )  # fmt: skip


@pytest.mark.journey
@pytest.mark.parametrize("task", LEARNERS)
def test_a_task_is_judged_scored_watched_and_told(
    home: Home, product_of: Callable[[str], ProductSpec], capsys: pytest.CaptureFixture[str], task: str
) -> None:
    spec = product_of(task)
    primary = spec.gates.primary
    verdict, metadata, _ = run(home, spec, "2024-02")
    assert (verdict.blessing.verdict, verdict.blessing.reasons) == ("BLESSED", ())
    assert verdict.best.algorithm == LEARNERS[task]
    assert {"leaderboard", "backtest", "backtest_plot", f"test_{primary}"} <= set(metadata)
    shown = metadata["gates"].records
    assert [row.data["gate"] for row in shown] == [gate.name for gate in verdict.blessing.gates]
    assert all(row.data["in words"] and row.data["verdict"] == "PASSED" for row in shown)
    assert ("intervals" in metadata) == (task != "clustering")
    assert "compared" not in metadata
    assert verdict.blessing.provenance.asked_by == "a test"
    assert metadata["champion"] == "no champion"
    page = home.settings.reports / "toy" / "2024-02" / f"{PAGES[task]}.html"
    assert "could not draw" not in page.read_text()
    go_live(home, verdict, "2024-02")

    scores = score_batch(home, spec, "2024-03", batch_inputs(home.lake("toy"), spec, "2024-03"))
    assert scores.height == ROWS
    drift, performance = watch_drift(home, spec, "2024-03"), watch_performance(home, spec, "2024-03")
    assert (drift.verdict, performance.verdict) == ("STABLE", "OK")
    assert performance.rows_labelled == ROWS
    assert set(performance.baseline_metrics) == set(performance.metrics)
    assert performance.metrics[primary] == pytest.approx(
        verdict.best.test[primary], abs=3 if task == "forecast" else 0.1
    )

    later, metadata, split = run(home, spec, "2024-03")
    assert later.reports[-1].role == "champion"
    with home.lake("toy").connect() as con:
        written = [item for _, item in ledger.records(con, "comparisons", Comparison)]
    assert written == [later.comparison]
    assert f"the champion {verdict.best.model_id} (" in metadata["compared"]
    assert " rows: improvement " in metadata["compared"]
    assert metadata["champion"] == verdict.best.model_id
    assert [row.data["as_of"] for row in metadata["backtest"].records] == ["2024-02", "2024-03"]
    assert metadata["backtest"].records[1].data[f"champion_{primary}"] == pytest.approx(
        later.reports[-1].test[primary], abs=1e-5
    )

    champion = product_status(home, spec)["champion"]
    assert champion["metrics"][primary] == verdict.best.test[primary]
    assert champion["baseline"] == verdict.baseline.algorithm
    print_summary(home, spec)
    told = capsys.readouterr().out
    assert primary in told
    assert "2024-03" in told

    # training takes its word back: nothing is judged, and the reason is told
    bless_training(home.lake("toy"), spec, split, later.best.model_id, passed=False)
    with pytest.raises(HeadraceError, match="no candidate is blessed by its training") as caught:
        evaluate(home, spec, split, Provenance())
    assert caught.value.found == (
        f"{LEARNERS[task]}: the training gates did not bless this model (finite: observed yes, threshold yes)"
    )
