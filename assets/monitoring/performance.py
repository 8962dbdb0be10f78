"""What earlier predictions turned out to be worth, once labels are known."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.evaluation.metrics import task_metrics
from assets.records import Alert, PerformanceReport
from assets.spec import ProductSpec
from assets.tasks import DIRECTIONS, Scores, encode_labels, improvement, scores_of

# errors in the label's unit (or in percent of it): how far one may rise is a share of what it was
_RELATIVE = frozenset({"mae", "rmse", "pinball", "mape", "smape"})


def measure_performance(
    spec: ProductSpec,
    *,
    batch_id: str,
    scores: pl.DataFrame,
    labels: pl.DataFrame,
    known_until: datetime,
    baselines: Sequence[pl.DataFrame],
    classes: Sequence[str] = (),
    reference: float,
) -> PerformanceReport:
    """Join a batch's scores with the labels that are known by now.

    Args:
        spec: the metric and how far it may fall.
        batch_id: the batch.
        scores: its rows in the predictions table.
        labels: its keys with `label` (null: no outcome) and, if the spec declares it, `label_known_at` (UTC).
        known_until: labels known later than this moment (UTC) are not looked at.
        baselines: the same rows as the baselines of the champion's split score them; the best of them is kept.
        classes: multiclass: of the champion.
        reference: the champion's primary metric on its own test rows.
    """
    known = labels.filter(pl.col("label").is_not_null())
    if spec.label and spec.label.known_at:
        known = known.filter(pl.col("label_known_at") <= known_until.replace(tzinfo=None))
    known = known.select(*spec.key, "label")
    joined = [
        frame.join(known, on=list(spec.key), how="inner", maintain_order="left") for frame in (scores, *baselines)
    ]
    metrics, *others = (
        task_metrics(
            spec.task,
            encode_labels(spec.task, rows.get_column("label"), classes),
            scores_of(spec.task, rows),
            threshold=spec.decision_threshold,
            classes=classes,
        )
        for rows in joined
    )
    return _report(spec, batch_id, scores, joined[0].height, metrics, others, reference)


def measure_clusters(
    spec: ProductSpec,
    *,
    batch_id: str,
    scores: pl.DataFrame,
    matrix: NDArray[np.float64],
    categorical: Sequence[int],
    null: tuple[NDArray[np.float64], Scores] | None,
    reference: float,
) -> PerformanceReport:
    """Without labels: how well the champion's clusters hold together in a batch.

    Args:
        spec: the metric and how far it may fall.
        batch_id: the batch.
        scores: its rows in the predictions table.
        matrix: the same rows as the champion sees them, shape (rows, columns).
        categorical: places of its columns that hold codes of categories.
        null: the rows with shuffled columns, and the baseline's scores of them (see `assets.evaluation.judge`).
        reference: the champion's silhouette on its own test rows.
    """
    labels = np.zeros(scores.height, dtype=np.int64)
    given = [(matrix, scores_of(spec.task, scores)), *([null] if null else [])]
    metrics, *others = (
        task_metrics(spec.task, labels, found, matrix=rows, categorical=categorical, seed=spec.seed)
        for rows, found in given
    )
    return _report(spec, batch_id, scores, scores.height, metrics, others, reference)


def fall(metric: str, value: float, reference: float) -> float:
    """How much worse a metric is than it was: its difference, of an error in the label's unit its relative rise."""
    lost = improvement(metric, reference, value)
    return lost / abs(reference) if metric in _RELATIVE and reference else lost


def degradation_alert(spec: ProductSpec, report: PerformanceReport) -> Alert | None:
    """An alert when the champion's metric fell further than the spec allows."""
    if report.verdict == "OK":
        return None
    primary = spec.gates.primary
    value = report.metrics[primary]
    moved = f"{abs(value - report.reference):.4f} {'below' if DIRECTIONS[primary] > 0 else 'above'} its own test"
    return Alert(
        product=spec.product,
        kind="degradation",
        batch_id=report.batch_id,
        cause=report.model_id,
        message=f"{primary} of {report.model_id} is {value:.4f} on {report.batch_id}, {moved} ({report.reference:.4f})",
    )


def _report(
    spec: ProductSpec,
    batch_id: str,
    scores: pl.DataFrame,
    rows_labelled: int,
    metrics: dict[str, float],
    baselines: Sequence[dict[str, float]],
    reference: float,
) -> PerformanceReport:
    primary = spec.gates.primary
    value = metrics.get(primary)
    fell = value is not None and fall(primary, value, reference) > spec.monitoring.max_metric_drop
    ranked = sorted(
        (item for item in baselines if primary in item), key=lambda item: -DIRECTIONS[primary] * item[primary]
    )
    return PerformanceReport(
        product=spec.product,
        batch_id=batch_id,
        model_id=str(scores.get_column("model_id")[0]),
        verdict="DEGRADED" if fell else "OK",
        rows_scored=scores.height,
        rows_labelled=rows_labelled,
        metrics=metrics,
        baseline_metrics=ranked[0] if ranked else {},
        reference=reference,
    )
