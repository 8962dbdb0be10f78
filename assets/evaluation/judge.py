"""Judge the candidates of a split on its test rows: a report each, the best marked, the gates, the blessing.

The best is chosen on the validation rows, so the test rows judge it only once. Nothing is written here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.candidates.predictor import Predictor
from assets.errors import HeadraceError
from assets.evaluation.metrics import binary_metrics
from assets.records import Blessing, EvaluationReport, Gate, SplitManifest
from assets.spec import ProductSpec

BASELINE = "baseline"


@dataclass(frozen=True)
class Verdict:
    """The outcome of one evaluation, with what its plots and report are made of."""

    reports: tuple[EvaluationReport, ...]
    best: EvaluationReport
    blessing: Blessing
    labels: NDArray[np.int_]
    probabilities: Mapping[str, NDArray[np.float64]]


def judge(
    spec: ProductSpec,
    split: SplitManifest,
    validation: pl.DataFrame,
    test: pl.DataFrame,
    candidates: Mapping[str, Predictor],
    champion: Predictor | None,
) -> Verdict:
    """Score everyone on the same rows and hold the best candidate against the gates.

    Args:
        spec: the product.
        split: the split whose rows these are.
        validation: rows that chose the early stop, inputs with `label`, shape (rows, columns).
        test: the unseen batch, the same columns.
        candidates: algorithm -> model trained on this split, the baseline among them.
        champion: the live model, scored on the test rows beside the candidates.

    Raises:
        HeadraceError: the baseline or every other candidate is missing.
    """
    if BASELINE not in candidates or len(candidates) < 2:  # noqa: PLR2004 - the baseline and one that learns
        raise HeadraceError(
            "candidates are missing",
            product=spec.product,
            where=f"evaluation as of {split.as_of}",
            expected=", ".join(item.algorithm for item in spec.candidates),
            found=", ".join(candidates) or "none",
            fix="materialise the candidates of this partition first",
        )
    labels = test.get_column("label").to_numpy().astype(np.int64)
    validation_labels = validation.get_column("label").to_numpy().astype(np.int64)
    probabilities: dict[str, NDArray[np.float64]] = {}
    reports: list[EvaluationReport] = []
    everyone = [("candidate", model) for model in candidates.values()]
    if champion and _is_comparable(champion, split, test, candidates):
        everyone.append(("champion", champion))
    for role, model in everyone:
        manifest, scores = model.manifest, model.probabilities(test)
        probabilities[manifest.model_id] = scores
        unseen = role == "candidate"
        reports.append(
            EvaluationReport.model_validate(
                {
                    "model_id": manifest.model_id,
                    "algorithm": manifest.algorithm,
                    "role": role,
                    "split_id": split.split_id,
                    "validation": binary_metrics(
                        validation_labels, model.probabilities(validation), threshold=spec.decision_threshold
                    )
                    if unseen
                    else {},
                    "test": binary_metrics(labels, scores, threshold=spec.decision_threshold),
                    "slices": slice_metrics(spec, test, labels, scores),
                }
            )
        )
    learners = [item for item in reports if item.role == "candidate" and item.algorithm != BASELINE]
    best = max(learners, key=lambda item: (item.validation[spec.gates.primary], item.model_id))
    best = best.model_copy(update={"is_best": True})
    baseline = next(item for item in reports if item.algorithm == BASELINE and item.role == "candidate")
    gates = quality_gates(spec, best, baseline, probabilities[best.model_id])
    blessing = Blessing(
        kind="quality",
        verdict="NOT_BLESSED" if any(gate.verdict == "FAILED" for gate in gates) else "BLESSED",
        product=spec.product,
        as_of=split.as_of,
        model_id=best.model_id,
        split_id=split.split_id,
        test_row_set_hash=split.parts["test"].row_set_hash,
        feature_set_id=split.feature_set_id,
        spec_hash=spec.spec_hash,
        gates=gates,
    )
    marked = tuple(best if item.model_id == best.model_id and item.role == "candidate" else item for item in reports)
    return Verdict(marked, best, blessing, labels, probabilities)


def _is_comparable(
    champion: Predictor, split: SplitManifest, test: pl.DataFrame, candidates: Mapping[str, Predictor]
) -> bool:
    """Whether the champion is another model, has not trained on these rows, and can score them."""
    manifest = champion.manifest
    is_other = manifest.model_id not in {model.manifest.model_id for model in candidates.values()}
    return is_other and manifest.as_of <= split.as_of and manifest.features.can_score(test.columns)


def slice_metrics(
    spec: ProductSpec, rows: pl.DataFrame, labels: NDArray[np.int_], scores: NDArray[np.float64]
) -> dict[str, dict[str, float]]:
    """Primary metric of each large enough slice: column -> value -> metric."""
    found: dict[str, dict[str, float]] = {}
    for column in spec.gates.slices.by:
        if column not in rows.columns:
            continue
        values = rows.get_column(column).cast(pl.String).fill_null("(missing)")
        found[column] = {}
        for value in values.unique().sort():
            mask = (values == value).to_numpy()
            part = labels[mask]
            if len(part) >= spec.gates.slices.min_rows and 0 < part.sum() < len(part):
                metrics = binary_metrics(part, scores[mask], threshold=spec.decision_threshold)
                found[column][value] = metrics[spec.gates.primary]
    return found


def quality_gates(
    spec: ProductSpec, best: EvaluationReport, baseline: EvaluationReport, scores: NDArray[np.float64]
) -> tuple[Gate, ...]:
    """Every quality gate of the spec, each with what was observed and its threshold."""
    gates, primary = spec.gates, spec.gates.primary
    gain = best.test[primary] - baseline.test[primary]
    low, high = gates.positive_share
    predicted = best.test["predicted_positive_share"]
    slices = [(f"{column}={value}", metric) for column, part in best.slices.items() for value, metric in part.items()]
    worst = min(slices, key=lambda item: item[1], default=("no slice", best.test[primary]))
    return (
        _gate(
            "beats_baseline",
            passed=gain >= gates.beats_baseline_by,
            observed=gain,
            threshold=gates.beats_baseline_by,
            detail=f"{primary} {best.test[primary]:.4f}, baseline's {baseline.test[primary]:.4f}",
        ),
        _gate(
            "predicts_both_classes",
            passed=low <= predicted <= high and 0 < predicted < 1 and bool(np.isfinite(scores).all()),
            observed=predicted,
            threshold=f"{low:g} to {high:g}",
            detail=f"share predicted positive; {best.test['positive_share']:.1%} are",
        ),
        _gate(
            "worst_slice",
            passed=worst[1] >= gates.slices.min_metric,
            observed=worst[1],
            threshold=gates.slices.min_metric,
            detail=f"{primary} of {worst[0]}",
        ),
        _gate(
            "calibration",
            passed=best.test["calibration_error"] <= gates.max_calibration_error,
            observed=best.test["calibration_error"],
            threshold=gates.max_calibration_error,
            detail="expected calibration error on the test rows",
        ),
    )


def failed(gates: Iterable[Gate]) -> list[Gate]:
    """The gates that say no."""
    return [gate for gate in gates if gate.verdict == "FAILED"]


def _gate(name: str, *, passed: bool, observed: float, threshold: float | str, detail: str) -> Gate:
    return Gate(
        name=name, verdict="PASSED" if passed else "FAILED", observed=observed, threshold=threshold, detail=detail
    )
