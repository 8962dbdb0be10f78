"""What predictions were worth, by the labels that are known and no others."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from assets.monitoring.performance import degradation_alert, fall, measure_clusters, measure_performance
from assets.records import PerformanceReport
from assets.spec import ProductSpec

NOW = datetime(2024, 5, 1, tzinfo=UTC)
ROWS = 200


@pytest.fixture(scope="module")
def scores() -> pl.DataFrame:
    """Scores of a batch that rank its labels perfectly."""
    return pl.DataFrame(
        {
            "order_id": range(ROWS), "batch_id": "2024-04", "model_id": "champion",
            "probability": [0.9 if place % 4 == 0 else 0.1 for place in range(ROWS)],
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def labels() -> pl.DataFrame:
    """All labels, known an hour before now."""
    return pl.DataFrame(
        {
            "order_id": range(ROWS), "label": [place % 4 == 0 for place in range(ROWS)],
            "label_known_at": [NOW.replace(tzinfo=None) - timedelta(hours=1)] * ROWS,
        },
    )  # fmt: skip


def measured(
    spec: ProductSpec, scores: pl.DataFrame, labels: pl.DataFrame, *, reference: float = 0.9
) -> PerformanceReport:
    constant = scores.with_columns(probability=pl.lit(0.25))
    return measure_performance(
        spec, batch_id="2024-04", scores=scores, labels=labels, known_until=NOW, baselines=[constant],
        reference=reference,
    )  # fmt: skip


def test_known_labels_judge_the_scores_beside_the_baseline(
    toy: ProductSpec, scores: pl.DataFrame, labels: pl.DataFrame
) -> None:
    found = measured(toy, scores, labels)
    assert (found.verdict, found.rows_scored, found.rows_labelled) == ("OK", ROWS, ROWS)
    assert (found.metrics["roc_auc"], found.baseline_metrics["roc_auc"]) == (1.0, 0.5)
    assert found.metrics["brier"] == pytest.approx(0.01)
    assert found.baseline_metrics["brier"] == pytest.approx(0.25 * 0.75)


def test_labels_not_yet_known_are_not_looked_at(toy: ProductSpec, scores: pl.DataFrame, labels: pl.DataFrame) -> None:
    """The last 50 labels reach us later, and are turned around: if one were read, the ranking would not be perfect."""
    late = pl.col("order_id") >= 150
    turned = labels.with_columns(
        label=pl.when(late).then(~pl.col("label")).otherwise(pl.col("label")),
        label_known_at=pl.when(late)
        .then(pl.col("label_known_at") + timedelta(hours=1, microseconds=1))
        .otherwise(pl.col("label_known_at")),
    )
    found = measured(toy, scores, turned)
    assert (found.rows_scored, found.rows_labelled, found.metrics["roc_auc"]) == (ROWS, 150, 1.0)


def test_a_label_known_this_very_moment_is_known(toy: ProductSpec, scores: pl.DataFrame, labels: pl.DataFrame) -> None:
    now = labels.with_columns(label_known_at=pl.lit(NOW.replace(tzinfo=None)))
    assert measured(toy, scores, now).rows_labelled == ROWS


def test_rows_without_an_outcome_or_a_score_are_left_out(
    toy: ProductSpec, scores: pl.DataFrame, labels: pl.DataFrame
) -> None:
    some = labels.with_columns(label=pl.when(pl.col("order_id") < 20).then(None).otherwise(pl.col("label")))
    found = measured(toy, scores.filter(pl.col("order_id") < 100), some)
    assert (found.rows_scored, found.rows_labelled) == (100, 80)


@pytest.mark.parametrize("order", [1, 7])
def test_rows_are_joined_by_key_not_by_place(
    toy: ProductSpec, scores: pl.DataFrame, labels: pl.DataFrame, order: int
) -> None:
    found = measured(toy, scores.sample(fraction=1, shuffle=True, seed=order), labels.reverse())
    assert found.metrics["roc_auc"] == 1.0


def test_before_any_label_nothing_is_said_and_nothing_alarms(
    toy: ProductSpec, scores: pl.DataFrame, labels: pl.DataFrame
) -> None:
    later = labels.with_columns(pl.col("label_known_at") + timedelta(days=9))
    found = measured(toy, scores, later)
    assert (found.verdict, found.rows_labelled, found.metrics) == ("OK", 0, {"rows": 0.0})
    assert degradation_alert(toy, found) is None


@pytest.mark.parametrize(("reference", "verdict"), [(0.55, "OK"), (0.56, "DEGRADED")])
def test_a_fall_further_than_the_spec_allows_degrades(
    spec_of: Callable[..., ProductSpec], scores: pl.DataFrame, labels: pl.DataFrame, reference: float, verdict: str
) -> None:
    spec = spec_of({"monitoring.max_metric_drop": 0.055})
    constant = scores.with_columns(probability=pl.lit(0.25))
    found = measured(spec, constant, labels, reference=reference)
    assert found.metrics["roc_auc"] == 0.5
    assert found.verdict == verdict
    assert (degradation_alert(spec, found) is not None) == (verdict == "DEGRADED")


def test_an_alert_says_how_far_it_fell_and_is_one_per_batch_and_model(
    toy: ProductSpec, scores: pl.DataFrame, labels: pl.DataFrame
) -> None:
    constant = scores.with_columns(probability=pl.lit(0.25))
    one, again = (degradation_alert(toy, measured(toy, constant, labels, reference=value)) for value in (0.9, 0.91))
    assert one.message == "roc_auc of champion is 0.5000 on 2024-04, 0.4000 below its own test (0.9000)"
    assert one.alert_id == again.alert_id


def test_scores_are_judged_as_they_are_kept(toy: ProductSpec, scores: pl.DataFrame, labels: pl.DataFrame) -> None:
    found = measured(toy, scores.with_columns(probability=pl.Series(np.linspace(1, 0, ROWS))), labels)
    assert 0.4 < found.metrics["roc_auc"] < 0.6


# --- the tasks ------------------------------------------------------------------------------------------------------

FORECAST = {
    "task": "forecast", "gates": {}, "label.known_at": ..., "label.delay_minutes": 0,
    "candidates": [{"algorithm": name} for name in ("baseline", "seasonal_naive", "last_value", "lightgbm")],
}  # fmt: skip


def forecast(spec: ProductSpec, error: float, *, reference: float = 5.0) -> PerformanceReport:
    """A forecast that is everywhere off by so many percent, beside two baselines that are off by 10 and 20."""
    actual = np.linspace(50, 150, ROWS)
    frames = [
        pl.DataFrame({"order_id": range(ROWS), "model_id": "champion", "predicted": actual * (1 + off / 100)})
        for off in (error, 20, 10)
    ]
    labels = pl.DataFrame({"order_id": range(ROWS), "label": actual, "label_known_at": [None] * ROWS})
    return measure_performance(
        spec, batch_id="2024", scores=frames[0], labels=labels, known_until=NOW, baselines=frames[1:],
        reference=reference,
    )  # fmt: skip


@pytest.mark.parametrize(("error", "verdict"), [(4.0, "OK"), (5.2, "OK"), (5.3, "DEGRADED")])
def test_an_error_degrades_when_it_rises_by_the_share_that_the_spec_allows(
    spec_of: Callable[..., ProductSpec], error: float, verdict: str
) -> None:
    """5 percent more than the 5 % of its own test are 5.25 %."""
    spec = spec_of({**FORECAST, "monitoring.max_metric_drop": 0.05})
    found = forecast(spec, error)
    assert (found.verdict, found.rows_labelled) == (verdict, ROWS)
    assert found.metrics["mape"] == pytest.approx(error)
    alert = degradation_alert(spec, found)
    assert (alert is None) == (verdict == "OK")
    if alert:
        assert alert.message == "mape of champion is 5.3000 on 2024, 0.3000 above its own test (5.0000)"


def test_the_best_of_the_baselines_stands_beside_it(spec_of: Callable[..., ProductSpec]) -> None:
    assert forecast(spec_of(FORECAST), 4.0).baseline_metrics["mape"] == pytest.approx(10)


def test_labels_whose_moment_is_not_declared_are_known_with_the_row(spec_of: Callable[..., ProductSpec]) -> None:
    assert forecast(spec_of(FORECAST), 4.0).rows_labelled == ROWS


@pytest.mark.parametrize(
    ("metric", "value", "reference", "lost"),
    [("roc_auc", 0.7, 0.8, 0.1), ("r2", 0.9, 0.8, -0.1), ("log_loss", 0.5, 0.4, 0.1), ("mae", 12, 10, 0.2),
     ("mape", 4, 5, -0.2), ("rmse", 3, 0, 3)],
)  # fmt: skip
def test_a_fall_is_positive_whichever_way_the_metric_goes(
    metric: str, value: float, reference: float, lost: float
) -> None:
    assert fall(metric, value, reference) == pytest.approx(lost)


def test_several_classes_are_judged_by_name(spec_of: Callable[..., ProductSpec]) -> None:
    spec = spec_of({"task": "multiclass", "gates": {}})
    rows = pl.DataFrame(
        {
            "order_id": range(4), "model_id": "champion",
            "probabilities": [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]],
        }
    )  # fmt: skip
    labels = pl.DataFrame(
        {
            "order_id": range(4),
            "label": ["ale", "lager", "lager", "cider"],
            "label_known_at": [NOW.replace(tzinfo=None)] * 4,
        }
    )
    found = measure_performance(
        spec, batch_id="2024-04", scores=rows, labels=labels, known_until=NOW, baselines=[], classes=("ale", "lager"),
        reference=0.5,
    )  # fmt: skip
    assert (found.metrics["accuracy"], found.metrics["unseen_share"], found.baseline_metrics) == (0.5, 0.25, {})


def test_clusters_are_watched_without_labels(spec_of: Callable[..., ProductSpec]) -> None:
    """By how well they hold together in the batch, beside the null."""
    spec = spec_of({
        "task": "clustering", "label": ..., "gates": {},
        "candidates": [{"algorithm": "baseline"}, {"algorithm": "kmeans"}],
    })  # fmt: skip
    random = np.random.default_rng(3)
    groups = np.arange(ROWS) % 2
    matrix = random.normal(0, 1, (ROWS, 2)) + 15 * groups[:, None]
    given = np.eye(2)[groups]
    rows = pl.DataFrame({"order_id": range(ROWS), "model_id": "champion", "scores": given.tolist()})
    common = {
        "batch_id": "2024-04",
        "matrix": matrix,
        "categorical": (),
        "null": (random.permuted(matrix, axis=0), given),
    }
    found = measure_clusters(spec, scores=rows, reference=0.8, **common)
    assert (found.verdict, found.rows_labelled) == ("OK", ROWS)
    assert found.metrics["silhouette"] > 0.8
    assert found.baseline_metrics["silhouette"] < 0.1
    fallen = measure_clusters(spec, scores=rows, reference=0.99, **common)
    assert fallen.verdict == "DEGRADED"
