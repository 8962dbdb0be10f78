"""The plots and tables of an evaluation, by task: pure, as markdown and rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from assets import plots
from assets.evaluation.judge import Verdict, categorical_places
from assets.evaluation.metrics import UNSEEN, calibration_curve, standardised
from assets.records import EvaluationReport, FeatureSchema, ModelManifest
from assets.spec import ProductSpec
from assets.tasks import NUMERIC, UNKNOWN_CLASS, predicted_classes

# columns of the clusters' table
_PROFILE_COLUMNS = 8


def pictures(spec: ProductSpec, verdict: Verdict, test: pl.DataFrame, best: ModelManifest) -> dict[str, str]:
    """Plots of the best candidate on the test rows, as markdown by name.

    Args:
        spec: the product.
        verdict: the outcome of the evaluation.
        test: the test rows; a forecast is drawn over their event time.
        best: the best model's manifest, with its classes and columns.
    """
    if spec.task == "binary":
        return _binary(spec, verdict)
    if spec.task == "multiclass":
        return _multiclass(verdict, best.classes)
    if spec.task in NUMERIC:
        return _numeric(spec, verdict, test)
    return _clusters(verdict, best.features)


def cluster_profile(verdict: Verdict, features: FeatureSchema) -> list[dict[str, Any]]:
    """Each cluster's rows and the means of the numbers that tell the clusters apart most, in deviations from all rows.

    Args:
        verdict: the outcome of a clustering's evaluation; of any other task there are no rows.
        features: says which columns the matrix has.
    """
    if verdict.matrix is None:
        return []
    places = predicted_classes("clustering", verdict.scores[verdict.best.model_id], 0)
    names = np.unique(places)
    columns = [name for name, kind in features.columns if kind == "number"]
    scaled = standardised(verdict.matrix, categorical_places(features))[:, : len(columns)]
    means = np.array([scaled[places == name].mean(axis=0) for name in names])
    telling = np.argsort(-means.std(axis=0), kind="stable")[:_PROFILE_COLUMNS]
    return [
        {
            "cluster": int(name),
            "rows": int((places == name).sum()),
            **{columns[column]: float(means[row, column]) for column in telling},
        }
        for row, name in enumerate(names)
    ]


def _binary(spec: ProductSpec, verdict: Verdict) -> dict[str, str]:
    scores = verdict.scores[verdict.best.model_id]
    predicted, observed, _ = calibration_curve(verdict.labels, scores)
    by_name = {_name(report): verdict.scores[report.model_id] for report in verdict.reports}
    places = predicted_classes(spec.task, scores, spec.decision_threshold)
    return {
        "roc": plots.roc(verdict.labels, by_name, _name(verdict.best)),
        "calibration": plots.calibration(predicted, observed),
        "confusion": plots.confusion(verdict.labels, places, ("no", "yes")),
    }


def _multiclass(verdict: Verdict, classes: Sequence[str]) -> dict[str, str]:
    scores = verdict.scores[verdict.best.model_id]
    places = predicted_classes("multiclass", scores, 0)
    predicted, observed, _ = calibration_curve(places == verdict.labels, scores.max(axis=1))
    unseen = verdict.labels == UNKNOWN_CLASS
    names = [*classes, UNSEEN] if unseen.any() else list(classes)
    return {
        "confusion": plots.confusion(np.where(unseen, len(classes), verdict.labels), places, names),
        "per_class_plot": plots.per_class(verdict.best.classes),
        "calibration": plots.calibration(predicted, observed),
    }


def _numeric(spec: ProductSpec, verdict: Verdict, test: pl.DataFrame) -> dict[str, str]:
    scores = verdict.scores[verdict.best.model_id]
    found = {
        "predicted_actual": plots.predicted_actual(verdict.labels, scores),
        "residuals": plots.residuals(verdict.labels, scores),
    }
    if spec.task != "forecast" or spec.time is None:
        return found
    naive = next((item for item in verdict.reports if item.algorithm == "seasonal_naive"), verdict.baseline)
    series = {"actual": verdict.labels, "predicted": scores, naive.algorithm: verdict.scores[naive.model_id]}
    # several rows of one moment (shops, say) are drawn as their mean
    lines = pl.DataFrame({"at": test.get_column(spec.time.event), **series}).group_by("at").mean().sort("at")
    found["over_time"] = plots.over_time(
        lines["at"].to_list(), {name: lines[name].to_list() for name in series}, "Actual and predicted over the test"
    )
    return found


def _clusters(verdict: Verdict, features: FeatureSchema) -> dict[str, str]:
    if verdict.matrix is None:
        return {}
    places = predicted_classes("clustering", verdict.scores[verdict.best.model_id], 0)
    chosen = plots.sampled(len(places))
    points = standardised(verdict.matrix[chosen], categorical_places(features))
    return {
        "cluster_sizes": plots.cluster_sizes(places),
        "cluster_map": plots.cluster_map(points, places[chosen]),
    }


def _name(report: EvaluationReport) -> str:
    return f"{report.algorithm} ({report.model_id})"
