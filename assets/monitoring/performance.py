"""What earlier predictions turned out to be worth, once labels are known."""

from datetime import datetime

import numpy as np
import polars as pl

from assets.evaluation.metrics import binary_metrics
from assets.records import Alert, PerformanceReport
from assets.spec import ProductSpec


def measure_performance(
    spec: ProductSpec,
    *,
    batch_id: str,
    scores: pl.DataFrame,
    labels: pl.DataFrame,
    known_until: datetime,
    base_share: float,
    reference: float,
) -> PerformanceReport:
    """Join a batch's scores with the labels that are known by now.

    Args:
        spec: the metric and how far it may fall.
        batch_id: the batch.
        scores: its rows in the predictions table.
        labels: its keys with `label` (null: no outcome) and `label_known_at` (UTC).
        known_until: labels known later than this moment (UTC) are not looked at.
        base_share: the baseline's constant probability, from the champion's training rows.
        reference: the champion's primary metric on its own test rows.
    """
    known = labels.filter(
        pl.col("label").is_not_null() & (pl.col("label_known_at") <= known_until.replace(tzinfo=None))
    )
    rows = scores.join(known, on=list(spec.key), how="inner", maintain_order="left")
    actual = rows.get_column("label").cast(pl.Int64).to_numpy()
    probabilities = rows.get_column("probability").to_numpy()
    metrics = binary_metrics(actual, probabilities, threshold=spec.decision_threshold)
    baseline = binary_metrics(actual, np.full(len(actual), base_share), threshold=spec.decision_threshold)
    primary = metrics.get(spec.gates.primary)
    fell = primary is not None and reference - primary > spec.monitoring.max_metric_drop
    return PerformanceReport(
        product=spec.product,
        batch_id=batch_id,
        model_id=str(scores.get_column("model_id")[0]),
        verdict="DEGRADED" if fell else "OK",
        rows_scored=scores.height,
        rows_labelled=rows.height,
        metrics=metrics,
        baseline_metrics=baseline,
        reference=reference,
    )


def degradation_alert(spec: ProductSpec, report: PerformanceReport) -> Alert | None:
    """An alert when the champion's metric fell further than the spec allows."""
    if report.verdict == "OK":
        return None
    primary = spec.gates.primary
    return Alert(
        product=spec.product,
        kind="degradation",
        batch_id=report.batch_id,
        cause=report.model_id,
        message=(
            f"{primary} of {report.model_id} is {report.metrics[primary]:.4f} on {report.batch_id}, "
            f"{report.reference - report.metrics[primary]:.4f} below its own test ({report.reference:.4f})"
        ),
    )
