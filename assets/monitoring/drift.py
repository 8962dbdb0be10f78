"""Drift of a batch against the champion's training set: effect sizes on all rows, so more rows aren't more drift."""

from collections.abc import Mapping, Sequence

import polars as pl

from assets.features.statistics import ColumnProfile, population_stability_index, stability
from assets.records import Alert, DriftReport
from assets.spec import ProductSpec


def measure_drift(
    spec: ProductSpec,
    *,
    batch_id: str,
    model_id: str,
    reference: pl.DataFrame | Mapping[str, ColumnProfile],
    current: pl.DataFrame,
    reference_scores: pl.Series,
    current_scores: pl.Series,
    earlier: Sequence[DriftReport],
) -> DriftReport:
    """Compare model columns and scores.

    Args:
        spec: the thresholds.
        batch_id: the batch.
        model_id: the champion.
        reference: the champion's training rows as model columns, shape (rows, columns), or the columns' profiles.
        current: the batch's rows, the same columns.
        reference_scores: the champion's scores of its own test rows as one column (`assets.tasks.watched_series`).
        current_scores: the same of the batch.
        earlier: this champion's reports of earlier batches, oldest first.
    """
    column_psi = stability(reference, current)
    limits = spec.monitoring
    drifted = tuple(sorted(name for name, value in column_psi.items() if value >= limits.drift_psi))
    share = len(drifted) / max(len(column_psi), 1)
    prediction = population_stability_index(reference_scores, current_scores)
    is_drifted = share >= limits.drift_share or prediction >= limits.prediction_psi
    return DriftReport(
        product=spec.product,
        batch_id=batch_id,
        model_id=model_id,
        verdict="DRIFTED" if is_drifted else "STABLE",
        column_psi=column_psi,
        drifted=drifted,
        share_drifted=share,
        prediction_psi=prediction,
        persisted_batches=_persisted(earlier) + 1 if is_drifted else 0,
    )


def drift_alert(spec: ProductSpec, report: DriftReport) -> Alert | None:
    """An alert once drift has persisted as long as the spec says."""
    if report.persisted_batches < spec.monitoring.persist_batches:
        return None
    worst = sorted(report.column_psi, key=lambda name: -report.column_psi[name])[:3]
    return Alert(
        product=spec.product,
        kind="drift",
        batch_id=report.batch_id,
        cause=report.model_id,
        message=(
            f"{report.share_drifted:.0%} of the columns and the scores (PSI {report.prediction_psi:.2f}) drifted from "
            f"the champion's training set for {report.persisted_batches} batches; most: {', '.join(worst)}"
        ),
    )


def persistent_cause(spec: ProductSpec, reports: Sequence[DriftReport]) -> str | None:
    """The cause for which retraining is due: champion and the batch in which its drift began; None without one.

    Args:
        spec: says how many batches drift must persist.
        reports: all drift reports of the live champion, in the order of batches.
    """
    if not reports or reports[-1].persisted_batches < spec.monitoring.persist_batches:
        return None
    began = reports[-reports[-1].persisted_batches]
    return f"drift-{began.model_id}-since-{began.batch_id}"


def _persisted(earlier: Sequence[DriftReport]) -> int:
    return earlier[-1].persisted_batches if earlier and earlier[-1].verdict == "DRIFTED" else 0
