"""Checks of monitoring: drift and degradation. They warn; what they ask for is retraining, not a stop."""

import dagster as dg

from assets.definitions import check_result, check_spec, key_of
from assets.monitoring.performance import fall
from assets.naming import MONITORING
from assets.records import DriftReport, PerformanceReport
from assets.spec import ProductSpec


def drift_specs(spec: ProductSpec) -> list[dg.AssetCheckSpec]:
    """The checks of the drift asset."""
    return [
        check_spec(spec, "columns", "Share of columns that drifted", MONITORING, "drift", blocking=False),
        check_spec(
            spec, "scores", "Stability (PSI) of the predictions' distribution", MONITORING, "drift", blocking=False
        ),
    ]


def performance_specs(spec: ProductSpec) -> list[dg.AssetCheckSpec]:
    """The check of the performance asset."""
    return [
        check_spec(
            spec,
            "degradation",
            "How much worse the primary metric is than on the champion's own test",
            MONITORING,
            "performance",
            blocking=False,
        )
    ]


def drift_results(spec: ProductSpec, report: DriftReport | None) -> list[dg.AssetCheckResult]:
    """The outcome for one batch; a batch that was not scored has none."""
    key, limits = key_of(spec, MONITORING, "drift"), spec.monitoring
    share, scores = (report.share_drifted, report.prediction_psi) if report else (0.0, 0.0)
    detail = ("drifted: " + ", ".join(report.drifted) if report.drifted else "") if report else "batch was not scored"
    return [
        check_result(
            key,
            "columns",
            passed=share < limits.drift_share,
            observed=share,
            threshold=limits.drift_share,
            warn=True,
            detail=detail,
        ),
        check_result(
            key,
            "scores",
            passed=scores < limits.prediction_psi,
            observed=scores,
            threshold=limits.prediction_psi,
            warn=True,
        ),
    ]


def performance_results(spec: ProductSpec, report: PerformanceReport | None) -> list[dg.AssetCheckResult]:
    """The outcome for one batch; a batch that was not scored has none."""
    value = report.metrics.get(spec.gates.primary) if report else None
    return [
        check_result(
            key_of(spec, MONITORING, "performance"),
            "degradation",
            passed=report is None or report.verdict == "OK",
            observed=fall(spec.gates.primary, value, report.reference) if report and value is not None else 0.0,
            threshold=spec.monitoring.max_metric_drop,
            warn=True,
            detail="" if report else "batch was not scored",
        )
    ]
