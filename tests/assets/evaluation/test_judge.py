"""Who is best, and whether the best is good enough: the gates that decide, each with what it saw."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets.errors import HeadraceError
from assets.evaluation.judge import Verdict, judge, quality_gates, slice_metrics
from assets.records import EvaluationReport, Gate, ModelManifest, SplitManifest
from assets.spec import ProductSpec

ROWS = 400
Specs = Callable[..., ProductSpec]
Manifests = Callable[..., ModelManifest]
Evaluations = Callable[..., EvaluationReport]


@dataclass(frozen=True)
class Scorer:
    """A model whose scores are a column of the rows: the judge only ever asks for these two."""

    manifest: ModelManifest
    column: str

    def probabilities(self, frame: pl.DataFrame) -> np.ndarray:
        """The column."""
        return frame[self.column].to_numpy()


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """Rows with labels and the scores of imaginary models."""
    random = np.random.default_rng(11)
    labels = random.integers(0, 2, ROWS)
    noise = random.normal(0, 1, ROWS)

    def squeezed(strength: float) -> np.ndarray:
        return 1 / (1 + np.exp(-(strength * (2 * labels - 1) + noise)))

    return pl.DataFrame(
        {
            "order_id": range(ROWS),
            "kind": [["shoes", "books", None, "coats"][place % 4] for place in range(ROWS)],
            "size": noise,
            "pieces": labels,
            "ordered_local_at": [None] * ROWS,
            "label": labels,
            "share": np.full(ROWS, labels.mean()),
            "weak": squeezed(0.5),
            "good": squeezed(1.5),
            "great": squeezed(2.5),
            "timid": squeezed(2.5) * 0.4,
            "boastful": np.clip(squeezed(2.5) ** 0.05, 0, 1),
        }
    )


@pytest.fixture
def judged(frame: pl.DataFrame, split: SplitManifest, manifest_of: Manifests) -> Callable[..., Verdict]:
    """Judge models by the columns that are their scores; validation rows may be others than the test rows."""

    def decide(
        spec: ProductSpec, columns: dict[str, str], *, validation: pl.DataFrame = frame, champion: Scorer | None = None
    ) -> Verdict:
        candidates = {name: Scorer(manifest_of(algorithm=name), column) for name, column in columns.items()}
        return judge(spec, split, validation, frame, candidates, champion)

    return decide


def gates(verdict: Verdict) -> dict[str, str]:
    return {gate.name: gate.verdict for gate in verdict.blessing.gates}


# --- the best -------------------------------------------------------------------------------------------------------


def test_the_best_is_chosen_on_validation_not_on_test(
    toy: ProductSpec, judged: Callable[..., Verdict], frame: pl.DataFrame
) -> None:
    """Chosen on the test rows, its result there would be a lucky one."""
    validation = frame.with_columns(good=pl.col("great"), great=pl.col("good"))
    verdict = judged(
        toy, {"baseline": "share", "lightgbm": "great", "logistic_regression": "good"}, validation=validation
    )
    assert verdict.best.algorithm == "logistic_regression"
    on_test = {report.algorithm: report.test["roc_auc"] for report in verdict.reports}
    assert on_test["lightgbm"] > on_test["logistic_regression"]
    assert [report.algorithm for report in verdict.reports if report.is_best] == ["logistic_regression"]


def test_the_baseline_is_never_the_best(toy: ProductSpec, judged: Callable[..., Verdict]) -> None:
    verdict = judged(toy, {"baseline": "great", "lightgbm": "weak"})
    assert verdict.best.algorithm == "lightgbm"
    assert verdict.blessing.verdict == "NOT_BLESSED"


def test_the_primary_metric_of_the_spec_chooses(spec_of: Specs, judged: Callable[..., Verdict]) -> None:
    verdict = judged(spec_of({"gates.primary": "average_precision"}), {"baseline": "share", "lightgbm": "great"})
    gate = next(gate for gate in verdict.blessing.gates if gate.name == "beats_baseline")
    assert gate.observed == pytest.approx(
        verdict.best.test["average_precision"] - verdict.reports[0].test["average_precision"]
    )


@pytest.mark.parametrize("columns", [{}, {"baseline": "share"}, {"lightgbm": "great", "logistic_regression": "good"}])
def test_without_the_baseline_or_a_learner_nothing_is_judged(
    toy: ProductSpec, judged: Callable[..., Verdict], columns: dict[str, str]
) -> None:
    with pytest.raises(HeadraceError, match="candidates are missing") as caught:
        judged(toy, columns)
    assert caught.value.expected == "baseline, logistic_regression, lightgbm"
    assert caught.value.found == (", ".join(columns) or "none")


def test_the_champion_is_scored_on_the_same_rows_but_not_on_those_it_may_have_trained_on(
    toy: ProductSpec, judged: Callable[..., Verdict], manifest_of: Manifests
) -> None:
    champion = Scorer(manifest_of(seed=2), "good")
    verdict = judged(toy, {"baseline": "share", "lightgbm": "great"}, champion=champion)
    report = verdict.reports[-1]
    assert (report.role, report.model_id, report.is_best) == ("champion", champion.manifest.model_id, False)
    assert report.validation == {}
    assert report.test["rows"] == ROWS


def test_a_champion_that_is_a_candidate_is_not_judged_twice(
    toy: ProductSpec, judged: Callable[..., Verdict], manifest_of: Manifests
) -> None:
    champion = Scorer(manifest_of(algorithm="lightgbm"), "great")
    verdict = judged(toy, {"baseline": "share", "lightgbm": "great"}, champion=champion)
    assert [report.role for report in verdict.reports] == ["candidate", "candidate"]


def test_a_champion_that_needs_other_inputs_is_left_out(
    toy: ProductSpec, judged: Callable[..., Verdict], manifest_of: Manifests
) -> None:
    features = manifest_of().features
    other = features.model_copy(update={"inputs": {**features.inputs, "colour": "category"}})
    champion = Scorer(manifest_of(features=other), "great")
    verdict = judged(toy, {"baseline": "share", "lightgbm": "good"}, champion=champion)
    assert {report.role for report in verdict.reports} == {"candidate"}


def test_a_champion_newer_than_the_test_batch_is_left_out(
    toy: ProductSpec, judged: Callable[..., Verdict], manifest_of: Manifests
) -> None:
    """In a backtest the champion of today has trained on the rows it would be tested on."""
    champion = Scorer(manifest_of(as_of="2024-04"), "great")
    verdict = judged(toy, {"baseline": "share", "lightgbm": "good"}, champion=champion)
    assert {report.role for report in verdict.reports} == {"candidate"}


# --- the gates ------------------------------------------------------------------------------------------------------


def test_a_good_model_is_blessed_about_exactly_this_model_data_and_spec(
    toy: ProductSpec, judged: Callable[..., Verdict], split: SplitManifest
) -> None:
    verdict = judged(toy, {"baseline": "share", "lightgbm": "great"})
    blessing = verdict.blessing
    assert set(gates(verdict).values()) == {"PASSED"}
    assert (blessing.kind, blessing.verdict, blessing.reasons) == ("quality", "BLESSED", ())
    assert (blessing.model_id, blessing.as_of) == (verdict.best.model_id, split.as_of)
    assert (blessing.split_id, blessing.test_row_set_hash) == (split.split_id, split.parts["test"].row_set_hash)
    assert (blessing.feature_set_id, blessing.spec_hash) == (split.feature_set_id, toy.spec_hash)


def test_a_model_of_one_class_cannot_pass_however_well_it_ranks(spec_of: Specs, judged: Callable[..., Verdict]) -> None:
    """Its ROC AUC is near 1, and it calls nothing positive; even a spec that allows any share doesn't allow none."""
    spec = spec_of({"gates.positive_share": [0, 1], "gates.max_calibration_error": 1})
    verdict = judged(spec, {"baseline": "share", "lightgbm": "timid"})
    assert verdict.best.test["roc_auc"] > 0.95
    assert gates(verdict) == {
        "beats_baseline": "PASSED", "predicts_both_classes": "FAILED", "worst_slice": "PASSED", "calibration": "PASSED",
    }  # fmt: skip
    assert verdict.blessing.verdict == "NOT_BLESSED"
    assert verdict.blessing.reasons == ("predicts_both_classes: observed 0, threshold 0 to 1",)


def test_a_model_that_does_not_beat_the_baseline_cannot_pass(spec_of: Specs, judged: Callable[..., Verdict]) -> None:
    spec = spec_of({"gates.beats_baseline_by": 0.4, "gates.max_calibration_error": 1})
    verdict = judged(spec, {"baseline": "share", "lightgbm": "weak"})
    assert gates(verdict)["beats_baseline"] == "FAILED"
    assert verdict.blessing.verdict == "NOT_BLESSED"
    (reason,) = verdict.blessing.reasons
    assert reason.startswith("beats_baseline: observed 0.")
    assert reason.endswith("threshold 0.4")


def test_a_miscalibrated_model_cannot_pass(toy: ProductSpec, judged: Callable[..., Verdict]) -> None:
    verdict = judged(toy, {"baseline": "share", "lightgbm": "boastful"})
    assert verdict.best.test["roc_auc"] > 0.95
    assert gates(verdict)["calibration"] == "FAILED"
    assert verdict.blessing.verdict == "NOT_BLESSED"


def test_a_bad_slice_cannot_hide_behind_good_ones(
    spec_of: Specs, frame: pl.DataFrame, split: SplitManifest, manifest_of: Manifests
) -> None:
    """Scores of coats are turned around; of all rows the model still ranks well."""
    spec = spec_of({"gates.slices": {"by": ["kind"], "min_metric": 0.6, "min_rows": 50}})
    turned = frame.with_columns(
        great=pl.when(pl.col("kind") == "coats").then(1 - pl.col("great")).otherwise(pl.col("great"))
    )
    candidates = {
        "baseline": Scorer(manifest_of(algorithm="baseline"), "share"), "lightgbm": Scorer(manifest_of(), "great"),
    }  # fmt: skip
    verdict = judge(spec, split, turned, turned, candidates, None)
    assert verdict.best.test["roc_auc"] > 0.7
    gate = next(gate for gate in verdict.blessing.gates if gate.name == "worst_slice")
    assert gate.verdict == "FAILED"
    assert gate.detail == "roc_auc of kind=coats"
    assert gate.observed == verdict.best.slices["kind"]["coats"] < 0.2


def test_slices_are_the_large_enough_ones_with_both_classes_and_missing_values_are_one(
    spec_of: Specs, frame: pl.DataFrame
) -> None:
    rows = frame.with_columns(kind=pl.when(pl.col("order_id") < 10).then(pl.lit("few")).otherwise(pl.col("kind")))
    rows = rows.with_columns(label=pl.when(pl.col("kind") == "books").then(1).otherwise(pl.col("label")))
    spec = spec_of({"gates.slices": {"by": ["kind", "pieces"], "min_rows": 50}})
    found = slice_metrics(spec, rows, rows["label"].to_numpy(), rows["great"].to_numpy())
    assert set(found["kind"]) == {"shoes", "coats", "(missing)"}
    assert found["pieces"].keys() <= {"0", "1"}


def report_gates(spec: ProductSpec, scores: np.ndarray, **test: float) -> dict[str, Gate]:
    """Gates of a model with these metrics against a baseline of 0.5."""
    fields: dict[str, Any] = {"algorithm": "x", "role": "candidate", "split_id": "s", "validation": {}}
    metrics = {
        "roc_auc": 0.8,
        "predicted_positive_share": 0.5,
        "positive_share": 0.5,
        "calibration_error": 0.01,
        **test,
    }
    best = EvaluationReport(model_id="best", test=metrics, **fields)
    baseline = EvaluationReport(model_id="base", test={"roc_auc": 0.5}, **fields)
    return {gate.name: gate for gate in quality_gates(spec, best, baseline, scores)}


@pytest.mark.parametrize(
    ("name", "test", "verdict"),
    [
        ("beats_baseline", {"roc_auc": 0.55}, "PASSED"),
        ("beats_baseline", {"roc_auc": 0.549}, "FAILED"),
        ("beats_baseline", {"roc_auc": 0.4}, "FAILED"),
        ("predicts_both_classes", {"predicted_positive_share": 0.001}, "PASSED"),
        ("predicts_both_classes", {"predicted_positive_share": 0.0009}, "FAILED"),
        ("predicts_both_classes", {"predicted_positive_share": 1.0}, "FAILED"),
        ("calibration", {"calibration_error": 0.1}, "PASSED"),
        ("calibration", {"calibration_error": 0.1001}, "FAILED"),
        ("calibration", {"calibration_error": float("nan")}, "FAILED"),
        ("beats_baseline", {"roc_auc": float("nan")}, "FAILED"),
        ("worst_slice", {"roc_auc": 0.49}, "FAILED"),
    ],
)
def test_a_gate_holds_at_its_threshold(toy: ProductSpec, name: str, test: dict[str, float], verdict: str) -> None:
    """And a number that is none never passes."""
    spec = toy.model_copy(update={"gates": toy.gates.model_copy(update={"beats_baseline_by": 0.05})})
    assert report_gates(spec, np.array([0.1, 0.9]), **test)[name].verdict == verdict


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_no_number_fails(toy: ProductSpec, bad: float) -> None:
    assert report_gates(toy, np.array([0.1, bad]))["predicts_both_classes"].verdict == "FAILED"


def test_every_gate_says_what_it_saw_and_its_threshold(toy: ProductSpec, judged: Callable[..., Verdict]) -> None:
    for gate in judged(toy, {"baseline": "share", "lightgbm": "great"}).blessing.gates:
        assert gate.detail
        assert isinstance(gate.observed, float)
        assert gate.threshold != ""
