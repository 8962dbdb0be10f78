"""The gates of each task: which there are before any model is there, and where each of them turns."""

from collections.abc import Callable
from typing import Any

import pytest

from assets.evaluation.gates import gates_of, quality_gates
from assets.records import EvaluationReport, Gate
from assets.spec import ProductSpec

Specs = Callable[..., ProductSpec]

# metrics of a model that passes every gate of its task
GOOD: dict[str, dict[str, float]] = {
    "binary": {"roc_auc": 0.8, "predicted_positive_share": 0.5, "positive_share": 0.5, "calibration_error": 0.01},
    "multiclass": {"f1_macro": 0.8, "predicted_classes": 3, "calibration_error": 0.01},
    "regression": {"r2": 0.8, "deviation": 4, "predicted_deviation": 3},
    "forecast": {"mape": 5, "deviation": 4, "predicted_deviation": 3},
    "clustering": {"silhouette": 0.5, "clusters": 4, "smallest_cluster_share": 0.1},
}
BASELINES = {"binary": 0.5, "multiclass": 0.2, "regression": 0.0, "forecast": 5.5, "clustering": 0.2}


@pytest.fixture(scope="module")
def spec_for(spec_of: Specs) -> Callable[..., ProductSpec]:
    """The toy as a product of a task."""

    def make(task: str, changes: dict[str, Any] | None = None) -> ProductSpec:
        names = {"forecast": ["baseline", "seasonal_naive", "last_value", "lightgbm"]}.get(task, ["baseline", "kmeans"])
        fields: dict[str, Any] = {"task": task, "gates": {}, "candidates": [{"algorithm": name} for name in names]}
        if task == "clustering":
            fields["label"] = ...
        return spec_of({**fields, **(changes or {})})

    return make


def gates(spec: ProductSpec, **test: float) -> dict[str, Gate]:
    """Gates of a good model with some metrics changed, against its task's baseline."""
    fields: dict[str, Any] = {"role": "candidate", "split_id": "s", "validation": {}}
    primary = spec.gates.primary
    best = EvaluationReport(model_id="best", algorithm="x", test={**GOOD[spec.task], **test}, **fields)
    baseline = EvaluationReport(model_id="base", algorithm="baseline", test={primary: BASELINES[spec.task]}, **fields)
    return {gate.name: gate for gate in quality_gates(spec, best, baseline)}


@pytest.mark.parametrize("task", GOOD)
@pytest.mark.parametrize("slices", [False, True])
def test_the_gates_are_known_before_any_model_is_there(
    spec_for: Callable[..., ProductSpec], task: str, slices: bool
) -> None:
    spec = spec_for(task, {"gates.slices": {"by": ["kind"] if slices else [], "min_metric": 0.5}})
    found = gates(spec)
    assert list(found) == list(gates_of(spec))
    assert ("worst_slice" in found) == (slices and task != "clustering")
    wanted = {name: gate.verdict for name, gate in found.items() if name != "worst_slice"}
    assert set(wanted.values()) == {"PASSED"}
    assert all(gate.detail and gate.threshold != "" and isinstance(gate.observed, float) for gate in found.values())


@pytest.mark.parametrize(
    ("task", "name", "test", "verdict"),
    [
        ("binary", "beats_baseline", {"roc_auc": 0.55}, "PASSED"),
        ("binary", "beats_baseline", {"roc_auc": 0.549}, "FAILED"),
        ("binary", "beats_baseline", {"roc_auc": 0.4}, "FAILED"),
        ("binary", "beats_baseline", {"roc_auc": float("nan")}, "FAILED"),
        ("binary", "predicts_both_classes", {"predicted_positive_share": 0.001}, "PASSED"),
        ("binary", "predicts_both_classes", {"predicted_positive_share": 0.0009}, "FAILED"),
        ("binary", "predicts_both_classes", {"predicted_positive_share": 1.0}, "FAILED"),
        ("binary", "calibration", {"calibration_error": 0.1}, "PASSED"),
        ("binary", "calibration", {"calibration_error": 0.1001}, "FAILED"),
        ("binary", "calibration", {"calibration_error": float("nan")}, "FAILED"),
        ("binary", "calibration", {"calibration_error": 0.12, "calibration_noise": 0.03}, "PASSED"),
        ("binary", "calibration", {"calibration_error": 0.14, "calibration_noise": 0.03}, "FAILED"),
        ("multiclass", "beats_baseline", {"f1_macro": 0.24}, "FAILED"),
        ("multiclass", "predicts_several_classes", {"predicted_classes": 2}, "PASSED"),
        ("multiclass", "predicts_several_classes", {"predicted_classes": 1}, "FAILED"),
        ("multiclass", "calibration", {"calibration_error": 0.2}, "FAILED"),
        ("regression", "beats_baseline", {"r2": 0.05}, "PASSED"),
        ("regression", "beats_baseline", {"r2": 0.04}, "FAILED"),
        ("regression", "not_constant", {"predicted_deviation": 0.004}, "PASSED"),
        ("regression", "not_constant", {"predicted_deviation": 1e-12}, "FAILED"),
        ("regression", "not_constant", {"deviation": 0, "predicted_deviation": 0}, "PASSED"),
        ("forecast", "beats_baseline", {"mape": 5.4999}, "PASSED"),
        ("forecast", "beats_baseline", {"mape": 5.5}, "FAILED"),
        ("forecast", "beats_baseline", {"mape": 6}, "FAILED"),
        ("clustering", "beats_baseline", {"silhouette": 0.24}, "FAILED"),
        ("clustering", "no_tiny_cluster", {"smallest_cluster_share": 0.01}, "PASSED"),
        ("clustering", "no_tiny_cluster", {"smallest_cluster_share": 0.009}, "FAILED"),
        ("clustering", "no_tiny_cluster", {"clusters": 1, "smallest_cluster_share": 1}, "FAILED"),
    ],
)
def test_a_gate_turns_at_its_threshold(
    spec_for: Callable[..., ProductSpec], task: str, name: str, test: dict[str, float], verdict: str
) -> None:
    """And a number that is none never passes."""
    assert gates(spec_for(task), **test)[name].verdict == verdict


@pytest.mark.parametrize(
    ("task", "value", "verdict"),
    [
        ("binary", 0.5, "PASSED"),
        ("binary", 0.49, "FAILED"),
        ("binary", float("nan"), "FAILED"),
        ("forecast", 0.5, "PASSED"),
        ("forecast", 0.51, "FAILED"),
    ],
)
def test_a_slice_has_a_floor_or_where_less_is_better_a_ceiling(
    spec_for: Callable[..., ProductSpec], task: str, value: float, verdict: str
) -> None:
    spec = spec_for(task, {"gates.slices": {"by": ["kind"], "min_metric": 0.5}})
    assert gates(spec, **{spec.gates.primary: value})["worst_slice"].verdict == verdict
