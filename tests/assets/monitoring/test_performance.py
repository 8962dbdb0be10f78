"""What predictions were worth, by the labels that are known and no others."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from assets.monitoring.performance import degradation_alert, measure_performance
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
    return measure_performance(
        spec, batch_id="2024-04", scores=scores, labels=labels, known_until=NOW, base_share=0.25, reference=reference
    )


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
