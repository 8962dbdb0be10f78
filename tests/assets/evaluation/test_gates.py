"""The gates of each task: which there are before any model is there, and where each of them turns."""

from collections.abc import Callable
from typing import Any

import pytest

from assets.blessings import bless_model
from assets.evaluation.gates import gates_of, quality_gates
from assets.records import EvaluationReport, Gate, Provenance, SplitManifest
from assets.spec import ProductSpec

Specs = Callable[..., ProductSpec]

# what is measured beside the metrics of a task
MEASURED = {"prediction_bias": 0.01, "prediction_bias_noise": 0.02, "noise_effect": 0.01, "rows": 1000}
# metrics of a model that passes every gate of its task
GOOD: dict[str, dict[str, float]] = {
    "binary": {"roc_auc": 0.8, "predicted_positive_share": 0.5, "positive_share": 0.5, "calibration_error": 0.01},
    "multiclass": {"f1_macro": 0.8, "predicted_classes": 3, "calibration_error": 0.01},
    "regression": {"r2": 0.8, "deviation": 4, "predicted_deviation": 3},
    "forecast": {"mape": 5, "deviation": 4, "predicted_deviation": 3},
    "clustering": {"silhouette": 0.5, "clusters": 4, "smallest_cluster_share": 0.1},
}
CLASSES = {"ale": {"recall": 0.9, "rows": 700}, "stout": {"recall": 0.6, "rows": 600}, "rare": {"recall": 0, "rows": 5}}
# every gate that a spec may ask for
ALL = {
    "gates.slices": {"by": ["kind"], "min_metric": 0.5}, "gates.fairness": {"by": ["kind"]},
    "gates.min_class_recall": 0.5,
}  # fmt: skip
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


def gates(spec: ProductSpec, megabytes: float = 1.0, groups: Any = None, **test: float) -> dict[str, Gate]:
    """Gates of a good model with some metrics changed, against its task's baseline."""
    fields: dict[str, Any] = {"role": "candidate", "split_id": "s", "validation": {}}
    primary = spec.gates.primary
    best = EvaluationReport(
        model_id="best", algorithm="x", test={**GOOD[spec.task], **MEASURED, **test}, classes=CLASSES,
        groups={"kind": {"books": 0.8, "coats": 0.75}} if groups is None else groups, **fields,
    )  # fmt: skip
    baseline = EvaluationReport(model_id="base", algorithm="baseline", test={primary: BASELINES[spec.task]}, **fields)
    return {gate.name: gate for gate in quality_gates(spec, best, baseline, megabytes=megabytes)}


@pytest.mark.parametrize("task", GOOD)
@pytest.mark.parametrize("asked", [{}, ALL], ids=["few", "all"])
def test_the_gates_are_known_before_any_model_is_there(
    spec_for: Callable[..., ProductSpec], task: str, asked: dict[str, Any]
) -> None:
    spec = spec_for(task, {**asked, "gates.slices.min_metric": 0.5} if task != "forecast" else
                    {**asked, "gates.slices.min_metric": 9})  # fmt: skip
    found = gates(spec)
    assert list(found) == list(gates_of(spec))
    wanted = {"worst_slice", "fairness"} if asked and task != "clustering" else set()
    wanted |= {"class_recall"} if asked and task in ("binary", "multiclass") else set()
    assert {"worst_slice", "fairness", "class_recall"} & set(found) == wanted
    assert {gate.verdict for gate in found.values()} == {"PASSED"}
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
        ("binary", "prediction_bias", {"prediction_bias": 0.27}, "PASSED"),
        ("binary", "prediction_bias", {"prediction_bias": 0.28}, "FAILED"),
        ("binary", "prediction_bias", {"prediction_bias": float("nan")}, "FAILED"),
        ("binary", "stability", {"noise_effect": 0.2}, "PASSED"),
        ("binary", "stability", {"noise_effect": 0.21}, "FAILED"),
        ("binary", "stability", {"noise_effect": float("nan")}, "FAILED"),
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


@pytest.mark.parametrize(("limit", "verdict"), [(0.6, "PASSED"), (0.61, "FAILED")])
def test_the_worst_class_is_the_one_that_is_found_least_of_those_with_enough_rows(
    spec_for: Callable[..., ProductSpec], limit: float, verdict: str
) -> None:
    """The rare one has 5 rows and is never found, which says little."""
    gate = gates(spec_for("multiclass", {"gates.min_class_recall": limit}))["class_recall"]
    assert (gate.verdict, gate.observed) == (verdict, 0.6)
    assert "class stout" in gate.detail


def test_where_no_class_has_enough_rows_their_mean_recall_counts(spec_for: Callable[..., ProductSpec]) -> None:
    spec = spec_for("multiclass", {"gates.min_class_recall": 0.5, "gates.slices.min_rows": 9999})
    gate = gates(spec, balanced_accuracy=0.4)["class_recall"]
    assert (gate.verdict, gate.observed) == ("FAILED", 0.4)
    assert gate.detail == "0.4 is below the 0.5 required (mean recall of the classes, as none has 9999 rows)"


@pytest.mark.parametrize(
    ("groups", "verdict", "observed"),
    [
        ({"kind": {"books": 0.8, "coats": 0.7}}, "PASSED", 0.1),
        ({"kind": {"books": 0.8, "coats": 0.6}, "size": {"1": 0.6, "2": 0.65}}, "FAILED", 0.2),
        ({"kind": {"books": 0.8}}, "PASSED", "not measured"),
        ({}, "PASSED", "not measured"),
    ],
)
def test_the_widest_gap_between_two_groups_of_a_column_counts(
    spec_for: Callable[..., ProductSpec], groups: dict[str, dict[str, float]], verdict: str, observed: Any
) -> None:
    gate = gates(spec_for("binary", {"gates.fairness": {"by": ["kind", "size"], "max_gap": 0.11}}), groups=groups)[
        "fairness"
    ]
    assert gate.verdict == verdict
    assert gate.observed == (observed if isinstance(observed, str) else pytest.approx(observed))
    if verdict == "FAILED":
        assert gate.detail == (
            "0.2 is above the 0.11 allowed (true positive rate is 0.6 of kind=coats and 0.8 of kind=books)"
        )


def test_a_model_has_a_size(spec_for: Callable[..., ProductSpec]) -> None:
    spec = spec_for("forecast", {"gates.max_model_megabytes": 2})
    assert gates(spec, megabytes=2)["model_size"].verdict == "PASSED"
    gate = gates(spec, megabytes=2.1)["model_size"]
    assert (gate.verdict, gate.detail) == ("FAILED", "2.1 is above the 2 allowed (megabytes of the model's files)")


def test_outcomes_that_are_all_alike_have_no_bias_to_measure(spec_for: Callable[..., ProductSpec]) -> None:
    spec = spec_for("forecast")
    fields: dict[str, Any] = {"role": "candidate", "split_id": "s", "validation": {}, "algorithm": "baseline"}
    alike = {name: value for name, value in MEASURED.items() if not name.startswith("prediction_bias")}
    best = EvaluationReport(model_id="best", test={**GOOD["forecast"], **alike}, **fields)
    baseline = EvaluationReport(model_id="base", test={"mape": 9}, **fields)
    (gate,) = [item for item in quality_gates(spec, best, baseline, megabytes=1) if item.name == "prediction_bias"]
    assert (gate.verdict, gate.observed) == ("PASSED", "not measured")


def test_a_refusal_reads_like_a_sentence(spec_for: Callable[..., ProductSpec], split: SplitManifest) -> None:
    """Of a gate that doesn't say what it saw, that is added."""
    spec = spec_for("binary", {"gates.max_calibration_error": 0.12})
    found = gates(spec, calibration_error=0.246)["calibration"]
    silent = Gate(name="leak", verdict="FAILED", observed=0.99123, threshold=0.85, detail="destination")
    silenter = Gate(name="boots", verdict="FAILED", observed="no", threshold="yes")
    blessing = bless_model("quality", spec, split, "m", [found, silent, silenter], provenance=Provenance())
    calibration, *others = blessing.reasons
    assert calibration.startswith("calibration: 0.246 is above the 0.12 allowed (expected calibration error on the")
    assert others == ["leak: destination (observed 0.9912, threshold 0.85)", "boots: observed no, threshold yes"]
