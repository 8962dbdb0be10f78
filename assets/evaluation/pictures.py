"""The plots and tables of an evaluation, by task: pure, as markdown and rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from assets import plots
from assets.evaluation.gates import gates_of
from assets.evaluation.groups import measure_name
from assets.evaluation.judge import Verdict, categorical_places
from assets.evaluation.metrics import UNSEEN, calibration_curve, standardised
from assets.records import EvaluationReport, FeatureSchema, ModelManifest
from assets.spec import ProductSpec
from assets.tasks import DIRECTIONS, NUMERIC, UNKNOWN_CLASS, improvement, predicted_classes

# groups of the plot
_GROUPS = 20
# columns of the clusters' table
_PROFILE_COLUMNS = 8
# classes of a bar chart, the most frequent ones
_CLASSES = 20
# changes above this share of the rows' are drawn at the end of the picture
_SHOWN_SHARE = 0.995
# gate -> the picture that explains it, by whatever name the task has it
_EXPLAINS = {
    "beats_baseline": ("leaderboard_plot",),
    "predicts_both_classes": ("confusion",),
    "predicts_several_classes": ("confusion",),
    "not_constant": ("predicted_actual",),
    "no_tiny_cluster": ("cluster_sizes",),
    "calibration": ("calibration",),
    "class_recall": ("per_class_plot",),
    "prediction_bias": ("bias", "residuals"),
    "worst_slice": ("slices_plot",),
    "fairness": ("groups_plot",),
    "stability": ("noise",),
}


def pictures(spec: ProductSpec, verdict: Verdict, test: pl.DataFrame, best: ModelManifest) -> dict[str, str]:
    """Plots of the best candidate on the test rows, as markdown by name.

    Args:
        spec: the product.
        verdict: the outcome of the evaluation.
        test: the test rows; a forecast is drawn over their event time.
        best: the best model's manifest, with its classes and columns.
    """
    if spec.task == "binary":
        found = _binary(spec, verdict)
    elif spec.task == "multiclass":
        found = _multiclass(verdict, best.classes)
    elif spec.task in NUMERIC:
        found = _numeric(spec, verdict, test)
    else:
        found = _clusters(verdict, best.features)
    return {**found, **_of_gates(spec, verdict)}


def explaining(spec: ProductSpec, drawn: Mapping[str, str]) -> dict[str, str]:
    """Of pictures by name those that explain a gate of the product, by the gate's name."""
    return {gate: drawn[name] for gate in gates_of(spec) for name in _EXPLAINS.get(gate, ()) if name in drawn}


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
    scaled = standardised(np.delete(verdict.matrix, categorical_places(features), axis=1))
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
    positive = verdict.labels == 1
    lines = {"mean probability": float(scores.mean()), "observed share": float(positive.mean())}
    parts = {"no": scores[~positive], "yes": scores[positive]}
    return {
        "roc": plots.roc(verdict.labels, by_name, _name(verdict.best)),
        "calibration": plots.calibration(predicted, observed),
        "confusion": plots.confusion(verdict.labels, places, ("no", "yes")),
        "bias": plots.distribution(parts, "Probabilities by outcome", "predicted probability", lines=lines),
        **({"per_class_plot": plots.per_class(verdict.best.classes)} if spec.gates.min_class_recall else {}),
    }


def _multiclass(verdict: Verdict, classes: Sequence[str]) -> dict[str, str]:
    scores = verdict.scores[verdict.best.model_id]
    places = predicted_classes("multiclass", scores, 0)
    predicted, observed, _ = calibration_curve(places == verdict.labels, scores.max(axis=1))
    unseen = verdict.labels == UNKNOWN_CLASS
    names = [*classes, UNSEEN] if unseen.any() else list(classes)
    shares = {
        "observed share": (verdict.labels[:, None] == np.arange(len(classes))).mean(axis=0),
        "mean probability": scores.mean(axis=0),
    }
    first = np.argsort(-shares["observed share"], kind="stable")[:_CLASSES]
    return {
        "confusion": plots.confusion(np.where(unseen, len(classes), verdict.labels), places, names),
        "per_class_plot": plots.per_class(verdict.best.classes),
        "calibration": plots.calibration(predicted, observed),
        "bias": plots.grouped(
            [classes[place] for place in first],
            {name: values[first].tolist() for name, values in shares.items()},
            "Classes observed and predicted",
        ),
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


def _of_gates(spec: ProductSpec, verdict: Verdict) -> dict[str, str]:
    """What explains the gates that every task has, and those of its slices and groups."""
    primary, rules = spec.gates.primary, spec.gates
    ranked = sorted(verdict.reports, key=lambda item: -DIRECTIONS[primary] * item.test[primary])
    values = {f"{item.algorithm}{' (champion)' * (item.role == 'champion')}": item.test[primary] for item in ranked}
    found = {
        "leaderboard_plot": plots.bars(values, f"{primary} on the test rows", best=verdict.best.algorithm),
        "noise": plots.distribution(
            {"rows": np.minimum(verdict.changes, np.quantile(verdict.changes, _SHOWN_SHARE))},
            f"Change of scores when numbers are {rules.input_noise:.3g} of their deviation off",
            "change, in deviations of the scores",
            lines={"mean": float(verdict.changes.mean()), "allowed mean": rules.max_noise_effect},
        ),
    }
    slices = {f"{column}={name}": value for column, part in verdict.best.slices.items() for name, value in part.items()}
    if slices:
        ordered = dict(sorted(slices.items(), key=lambda item: DIRECTIONS[primary] * item[1]))
        limit = rules.slices.min_metric
        failed = [name for name, value in slices.items() if improvement(primary, value, limit) < 0]
        found["slices_plot"] = plots.bars(ordered, f"{primary} of slices, the worst first", limit=limit, failed=failed)
    groups = {f"{item.column}={item.name}": item.value for item in verdict.groups if item.value is not None}
    if groups:
        title = f"{measure_name(spec)} of groups, at most {rules.fairness.max_gap:.3g} apart".capitalize()
        names = sorted(groups, key=groups.__getitem__)
        # the ends are what the gate speaks of
        shown = names if len(names) <= _GROUPS else [*names[: _GROUPS // 2], *names[-_GROUPS // 2 :]]
        found["groups_plot"] = plots.bars({name: groups[name] for name in shown}, title)
    return found
