"""The quality gates of each task: which there are, and what each says of a best candidate, in words."""

from collections.abc import Callable

from assets.evaluation.groups import measure_name
from assets.evaluation.robustness import NOISE_ROWS
from assets.records import EvaluationReport, Gate
from assets.spec import ProductSpec
from assets.tasks import CLASSIFICATION, DIRECTIONS, improvement

# a cluster with a smaller share of the test rows is an outlier, not a group
TINY_CLUSTER_SHARE = 0.01
# predictions that vary less than this share of the outcomes' deviation are a constant
CONSTANT_SHARE = 0.001

Judge = Callable[[ProductSpec, EvaluationReport], Gate]


def gates_of(spec: ProductSpec) -> dict[str, str]:
    """The gates of a product and what each asks, known without any model: by its task, and by what its spec names."""
    gates = spec.gates
    of_task = {
        "binary": {"predicts_both_classes": "The best candidate predicts both classes"},
        "multiclass": {"predicts_several_classes": "The best candidate predicts several classes"},
        "clustering": {"no_tiny_cluster": "There are at least two clusters, none of them tiny"},
    }
    found = {
        "beats_baseline": "The best candidate beats the best of the baselines on the test rows",
        **of_task.get(spec.task, {"not_constant": "The best candidate doesn't predict one value for all"}),
    }
    if spec.task in CLASSIFICATION:
        found["calibration"] = "Predicted probabilities are about what happens"
        if gates.min_class_recall > 0:
            found["class_recall"] = "Also the class that is found least often is found often enough"
    if spec.label:
        found["prediction_bias"] = "On average the predictions are what happens"
        if gates.slices.by:
            found["worst_slice"] = "The metric in the worst slice"
        if gates.fairness.by:
            found["fairness"] = "Declared groups are treated alike"
    return {
        **found,
        "stability": "Scores hardly move when numbers are a little off",
        "model_size": "The model's files are small enough to be packed and loaded",
    }


def quality_gates(
    spec: ProductSpec, best: EvaluationReport, baseline: EvaluationReport, *, megabytes: float
) -> tuple[Gate, ...]:
    """Every quality gate of the spec, each with what was observed, its threshold and a sentence.

    Args:
        spec: says which gates there are, and their thresholds.
        best: the best candidate; beside the metrics of its task `test` has what `assets.evaluation.robustness` measures
            (`prediction_bias`, `prediction_bias_noise`, `noise_effect`), and `groups` the measure of fairness.
        baseline: the best of the baselines.
        megabytes: size of the best candidate's files (millions of bytes).

    Returns:
        the gates in the order of `gates_of`; what is no number fails.
    """
    judges: dict[str, Judge] = {
        "beats_baseline": lambda spec, best: _beats_baseline(spec, best, baseline),
        "predicts_both_classes": _both_classes,
        "predicts_several_classes": _several_classes,
        "not_constant": _not_constant,
        "no_tiny_cluster": _no_tiny_cluster,
        "calibration": _calibration,
        "class_recall": _class_recall,
        "prediction_bias": _prediction_bias,
        "worst_slice": _worst_slice,
        "fairness": _fairness,
        "stability": _stability,
        "model_size": lambda spec, _best: at_most(
            "model_size", megabytes, spec.gates.max_model_megabytes, "megabytes of the model's files"
        ),
    }
    return tuple(judges[name](spec, best) for name in gates_of(spec))


def at_most(name: str, observed: float, limit: float, of_what: str) -> Gate:
    """A gate with a ceiling."""
    passed = observed <= limit
    said = "is within" if passed else "is above" if observed > limit else "is no number and can't be held against"
    return _gate(name, observed, limit, f"{observed:.4g} {said} the {limit:.4g} allowed ({of_what})", passed=passed)


def at_least(name: str, observed: float, limit: float, of_what: str) -> Gate:
    """A gate with a floor."""
    passed = observed >= limit
    said = "reaches" if passed else "is below" if observed < limit else "is no number and can't be held against"
    return _gate(name, observed, limit, f"{observed:.4g} {said} the {limit:.4g} required ({of_what})", passed=passed)


def _beats_baseline(spec: ProductSpec, best: EvaluationReport, baseline: EvaluationReport) -> Gate:
    primary, needed = spec.gates.primary, spec.gates.beats_baseline_by
    value, null = best.test[primary], baseline.test[primary]
    gain = improvement(primary, value, null)
    of_whom = "of shuffled columns" if spec.task == "clustering" else f"of {baseline.algorithm}"
    asked = f"{needed:.4g} or more" if needed else "more than 0"
    return _gate(
        "beats_baseline",
        gain,
        needed or "more than 0",
        f"{primary} {value:.4f} is {abs(gain):.4g} {'worse' if gain < 0 else 'better'} than the {null:.4f} {of_whom}, "
        f"{asked} is required",
        passed=gain >= needed and gain > 0,
    )


def _both_classes(spec: ProductSpec, best: EvaluationReport) -> Gate:
    low, high = spec.gates.positive_share
    share = best.test["predicted_positive_share"]
    passed = low <= share <= high and 0 < share < 1
    hint = "" if passed else "; change decision_threshold, or give candidates class_weight: balanced"
    said = {0.0: "no row is", 1.0: "every row is"}.get(share, f"{_percent(share)} of the rows are")
    return _gate(
        "predicts_both_classes",
        share,
        f"{low:g} to {high:g}",
        f"{said} predicted positive; {_percent(low)} to {_percent(high)} may be, never none and never all "
        f"({_percent(best.test['positive_share'])} are positive){hint}",
        passed=passed,
    )


def _several_classes(_spec: ProductSpec, best: EvaluationReport) -> Gate:
    count = best.test["predicted_classes"]
    return _gate(
        "predicts_several_classes",
        count,
        "2 or more",
        f"{count:.0f} of {len(best.classes)} classes {'is' if count == 1 else 'are'} predicted, 2 or more are required",
        passed=count > 1,
    )


def _not_constant(_spec: ProductSpec, best: EvaluationReport) -> Gate:
    actual = best.test["deviation"]
    what = f"deviation of the predictions; that of the outcomes is {actual:.4g}"
    return at_least("not_constant", best.test["predicted_deviation"], CONSTANT_SHARE * actual, what)


def _no_tiny_cluster(_spec: ProductSpec, best: EvaluationReport) -> Gate:
    share, clusters = best.test["smallest_cluster_share"], best.test["clusters"]
    if clusters > 1:
        what = f"share of the test rows in the smallest of {clusters:.0f} clusters"
        return at_least("no_tiny_cluster", share, TINY_CLUSTER_SHARE, what)
    return _gate(
        "no_tiny_cluster", share, TINY_CLUSTER_SHARE, "all rows are in 1 cluster, 2 or more are required", passed=False
    )


def _calibration(spec: ProductSpec, best: EvaluationReport) -> Gate:
    """The error may be what the spec allows, and on top what chance gives on so few rows."""
    noise = best.test.get("calibration_noise", 0.0)
    of_whom = "" if spec.task == "binary" else " of the class predicted"
    return at_most(
        "calibration",
        best.test["calibration_error"],
        spec.gates.max_calibration_error + noise,
        f"expected calibration error{of_whom} on the test rows; {noise:.2g} of it may be chance",
    )


def _class_recall(spec: ProductSpec, best: EvaluationReport) -> Gate:
    limit, least = spec.gates.min_class_recall, spec.gates.slices.min_rows
    large = {name: part["recall"] for name, part in best.classes.items() if part["rows"] >= least}
    if not large:
        what = f"mean recall of the classes, as none has {least} rows"
        return at_least("class_recall", best.test["balanced_accuracy"], limit, what)
    worst = min(large, key=large.__getitem__)
    return at_least("class_recall", large[worst], limit, f"share of the rows of class {worst} that are found")


def _prediction_bias(spec: ProductSpec, best: EvaluationReport) -> Gate:
    """The bias may be what the spec allows, and on top what chance gives on so few rows."""
    allowed = spec.gates.max_prediction_bias
    if "prediction_bias" not in best.test:
        what = "the outcomes of the test rows are all alike"
        return _gate("prediction_bias", "not measured", allowed, what, passed=True)
    noise = best.test["prediction_bias_noise"]
    what = {
        "binary": "gap of mean probability and observed share",
        "multiclass": "gap of mean probability and observed share, of the class where it is largest",
    }.get(spec.task, "gap of mean prediction and mean outcome, in deviations of the outcome")
    what = f"{what}; {noise:.2g} of it may be chance"
    return at_most("prediction_bias", best.test["prediction_bias"], allowed + noise, what)


def _worst_slice(spec: ProductSpec, best: EvaluationReport) -> Gate:
    """The metric's floor in the worst slice, or its ceiling where less is better."""
    primary, limit = spec.gates.primary, spec.gates.slices.min_metric
    slices = [(f"{column}={value}", metric) for column, part in best.slices.items() for value, metric in part.items()]
    name, value = min(
        slices,
        key=lambda item: DIRECTIONS[primary] * item[1],
        default=("all rows, as no slice is large enough", best.test[primary]),
    )
    held = at_least if DIRECTIONS[primary] > 0 else at_most
    return held("worst_slice", value, limit, f"{primary} of {name}")


def _fairness(spec: ProductSpec, best: EvaluationReport) -> Gate:
    """The largest gap between two groups of a column."""
    rule = spec.gates.fairness
    gaps = {
        column: (max(part.values()) - min(part.values()), part) for column, part in best.groups.items() if len(part) > 1
    }
    if not gaps:
        what = f"no two groups have the {rule.min_rows} rows that are needed to be judged"
        return _gate("fairness", "not measured", rule.max_gap, what, passed=True)
    column = max(gaps, key=lambda name: gaps[name][0])
    gap, part = gaps[column]
    least, most = (pick(part, key=part.__getitem__) for pick in (min, max))
    noise = best.test.get("fairness_noise", 0.0)
    what = f"{measure_name(spec)} is {part[least]:.3g} of {column}={least} and {part[most]:.3g} of {column}={most}"
    chance = f"; {noise:.3g} of the gap may be chance" if noise else ""
    return at_most("fairness", gap, rule.max_gap + noise, what + chance)


def _stability(spec: ProductSpec, best: EvaluationReport) -> Gate:
    rows = min(int(best.test["rows"]), NOISE_ROWS)
    what = (
        f"mean change of {rows:,} scores, in deviations of the scores, when each number is off by "
        f"{spec.gates.input_noise:.3g} of its own deviation"
    )
    return at_most("stability", best.test["noise_effect"], spec.gates.max_noise_effect, what)


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _gate(name: str, observed: float | str, threshold: float | str, detail: str, *, passed: bool) -> Gate:
    return Gate(
        name=name, verdict="PASSED" if passed else "FAILED", observed=observed, threshold=threshold, detail=detail
    )
