"""The quality gates of each task: which there are, and what each says of a best candidate."""

from assets.records import EvaluationReport, Gate
from assets.spec import ProductSpec
from assets.tasks import CLASSIFICATION, DIRECTIONS, NUMERIC, Task, improvement

# a cluster with a smaller share of the test rows is an outlier, not a group
TINY_CLUSTER_SHARE = 0.01
# predictions that vary less than this share of the outcomes' deviation are a constant
CONSTANT_SHARE = 0.001

_BEATS = {"beats_baseline": "The best candidate beats the best of the baselines on the test rows"}
_CALIBRATION = {"calibration": "Predicted probabilities are about what happens"}
_CONSTANT = {"not_constant": "The best candidate doesn't predict one value for all"}
_BY_TASK: dict[Task, dict[str, str]] = {
    "binary": {**_BEATS, "predicts_both_classes": "The best candidate predicts both classes", **_CALIBRATION},
    "multiclass": {**_BEATS, "predicts_several_classes": "The best candidate predicts several classes", **_CALIBRATION},
    "regression": {**_BEATS, **_CONSTANT},
    "forecast": {**_BEATS, **_CONSTANT},
    "clustering": {**_BEATS, "no_tiny_cluster": "There are at least two clusters, none of them tiny"},
}


def gates_of(spec: ProductSpec) -> dict[str, str]:
    """The gates of a product and what each asks, known without any model: by its task, and by whether it has slices."""
    sliced = {"worst_slice": "The metric in the worst slice"} if spec.gates.slices.by and spec.label else {}
    return {**_BY_TASK[spec.task], **sliced}


def quality_gates(spec: ProductSpec, best: EvaluationReport, baseline: EvaluationReport) -> tuple[Gate, ...]:
    """Every quality gate of the spec, each with what was observed and its threshold; what is no number fails."""
    found = {gate.name: gate for gate in (_beats_baseline(spec, best, baseline), *_of_task(spec, best))}
    if "worst_slice" in gates_of(spec):
        found["worst_slice"] = _worst_slice(spec, best)
    return tuple(found[name] for name in gates_of(spec))


def _beats_baseline(spec: ProductSpec, best: EvaluationReport, baseline: EvaluationReport) -> Gate:
    primary, needed = spec.gates.primary, spec.gates.beats_baseline_by
    gain = improvement(primary, best.test[primary], baseline.test[primary])
    what = "silhouette of shuffled columns" if spec.task == "clustering" else f"{baseline.algorithm}'s"
    return _gate(
        "beats_baseline",
        passed=gain >= needed and gain > 0,
        observed=gain,
        threshold=needed or "more than 0",
        detail=f"{primary} {best.test[primary]:.4f}, {what} {baseline.test[primary]:.4f}",
    )


def _of_task(spec: ProductSpec, best: EvaluationReport) -> list[Gate]:
    if spec.task in CLASSIFICATION:
        return [_several_classes(spec, best), _calibration(spec, best)]
    return [_not_constant(best) if spec.task in NUMERIC else _no_tiny_cluster(best)]


def _several_classes(spec: ProductSpec, best: EvaluationReport) -> Gate:
    if spec.task == "multiclass":
        count = best.test["predicted_classes"]
        return _gate(
            "predicts_several_classes",
            passed=count > 1,
            observed=count,
            threshold="2 or more",
            detail=f"different classes predicted, of {len(best.classes)}",
        )
    low, high = spec.gates.positive_share
    share = best.test["predicted_positive_share"]
    passed = low <= share <= high and 0 < share < 1
    hint = "" if passed else "; change decision_threshold, or give candidates class_weight: balanced"
    return _gate(
        "predicts_both_classes",
        passed=passed,
        observed=share,
        threshold=f"{low:g} to {high:g}",
        detail=f"share predicted positive; {best.test['positive_share']:.1%} are{hint}",
    )


def _calibration(spec: ProductSpec, best: EvaluationReport) -> Gate:
    """The error may be what the spec allows, and on top what chance gives on so few rows."""
    error, noise = best.test["calibration_error"], best.test.get("calibration_noise", 0.0)
    of = "" if spec.task == "binary" else " of the class predicted"
    return _gate(
        "calibration",
        passed=error <= spec.gates.max_calibration_error + noise,
        observed=error,
        threshold=spec.gates.max_calibration_error + noise,
        detail=f"expected calibration error{of} on the test rows; {noise:.4f} of it may be chance",
    )


def _not_constant(best: EvaluationReport) -> Gate:
    actual, predicted = best.test["deviation"], best.test["predicted_deviation"]
    return _gate(
        "not_constant",
        passed=predicted >= CONSTANT_SHARE * actual,
        observed=predicted,
        threshold=CONSTANT_SHARE * actual,
        detail=f"deviation of the predictions; that of the outcomes is {actual:.4g}",
    )


def _no_tiny_cluster(best: EvaluationReport) -> Gate:
    share = best.test["smallest_cluster_share"]
    return _gate(
        "no_tiny_cluster",
        passed=best.test["clusters"] > 1 and share >= TINY_CLUSTER_SHARE,
        observed=share,
        threshold=TINY_CLUSTER_SHARE,
        detail=f"share of the test rows in the smallest of {best.test['clusters']:.0f} clusters",
    )


def _worst_slice(spec: ProductSpec, best: EvaluationReport) -> Gate:
    """The metric's floor in the worst slice, or its ceiling where less is better."""
    primary, limit = spec.gates.primary, spec.gates.slices.min_metric
    slices = [(f"{column}={value}", metric) for column, part in best.slices.items() for value, metric in part.items()]
    name, value = min(
        slices,
        key=lambda item: DIRECTIONS[primary] * item[1],
        default=("all rows: no slice is large enough", best.test[primary]),
    )
    return _gate(
        "worst_slice",
        passed=improvement(primary, value, limit) >= 0,
        observed=value,
        threshold=limit,
        detail=f"{primary} of {name}",
    )


def _gate(name: str, *, passed: bool, observed: float, threshold: float | str, detail: str) -> Gate:
    return Gate(
        name=name, verdict="PASSED" if passed else "FAILED", observed=observed, threshold=threshold, detail=detail
    )
