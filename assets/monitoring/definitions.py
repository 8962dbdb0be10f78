"""The monitoring assets: drift of the batch, and what its predictions turned out to be worth."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets import plots
from assets.definitions import HomeParam, batch_of, key_of, records_table, shown_errors, stage_asset
from assets.evaluation.metrics import SHOWN
from assets.home import Home
from assets.monitoring import checks
from assets.monitoring.watch import evidently_path, performance_reports, watch_drift, watch_performance
from assets.naming import FEATURES, MONITORING
from assets.records import DriftReport, PerformanceReport
from assets.spec import ProductSpec

_NOT_SCORED = {"verdict": "not scored: no champion had come before this batch"}


def build(spec: ProductSpec) -> list[dg.AssetsDefinition]:
    """Drift and performance of a product."""

    @stage_asset(
        spec,
        MONITORING,
        "drift",
        description="How far this batch is from the champion's training set.",
        kinds={"evidently", "polars"},
        deps=[key_of(spec, "predictions")],
        checks=checks.drift_specs(spec),
        one_run_per_batch=True,
    )
    def drift(context: dg.AssetExecutionContext, home: HomeParam) -> Iterator[Any]:
        with shown_errors():
            report = watch_drift(home, spec, batch_of(context))
        yield dg.MaterializeResult(key_of(spec, MONITORING, "drift"), metadata=_drift_metadata(home, report))
        yield from checks.drift_results(spec, report)

    @stage_asset(
        spec,
        MONITORING,
        "performance",
        description="What this batch's predictions were worth, once labels were known.",
        kinds={"polars", "scikitlearn"},
        # a clustering has no labels: its predictions are held against the rows themselves
        deps=[key_of(spec, "predictions"), *([key_of(spec, FEATURES, "labels")] if spec.label else [])],
        checks=checks.performance_specs(spec),
        one_run_per_batch=True,
    )
    def performance(context: dg.AssetExecutionContext, home: HomeParam) -> Iterator[Any]:
        with shown_errors():
            report = watch_performance(home, spec, batch_of(context))
        yield dg.MaterializeResult(
            key_of(spec, MONITORING, "performance"), metadata=_performance_metadata(home, spec, report)
        )
        yield from checks.performance_results(spec, report)

    return [drift, performance]


def _drift_metadata(home: Home, report: DriftReport | None) -> dict[str, Any]:
    if report is None:
        return dict(_NOT_SCORED)
    ranked = sorted(report.column_psi.items(), key=lambda item: -item[1])
    return {
        "verdict": report.verdict,
        "model_id": report.model_id,
        "share_drifted": report.share_drifted,
        "prediction_psi": report.prediction_psi,
        "persisted_batches": report.persisted_batches,
        "columns": records_table([{"column": name, "psi": value} for name, value in ranked]),
        "evidently_report": dg.MetadataValue.url(home.report_url(evidently_path(home, report))),
    }


def _performance_metadata(home: Home, spec: ProductSpec, report: PerformanceReport | None) -> dict[str, Any]:
    if report is None:
        return dict(_NOT_SCORED)
    primary = spec.gates.primary
    with home.lake(spec.product).connect() as con:
        history = performance_reports(con)
    series: dict[str, list[float | None]] = {
        "champion": [item.metrics.get(primary) for item in history],
        "baseline": [item.baseline_metrics.get(primary) for item in history],
        "champion's own test": [float(item.reference) for item in history],
    }
    plot = plots.over_batches([item.batch_id for item in history], series, f"{primary} over batches")
    return {
        "verdict": report.verdict,
        "model_id": report.model_id,
        "rows_scored": report.rows_scored,
        "rows_labelled": report.rows_labelled,
        "over_batches": dg.MetadataValue.md(plot),
        **report.metrics,
        **{f"baseline_{name}": value for name, value in report.baseline_metrics.items() if name in SHOWN[spec.task]},
    }
