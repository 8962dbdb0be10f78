"""Judge the candidates of a split on its test rows: a report each, the best marked, the gates, the blessing.

The best is chosen on the validation rows, so the test rows judge it only once. What it has to beat is the best of the
baselines on the test rows. A clustering has no outcome: its null is the `baseline` candidate on the same rows with the
values of each column shuffled, so that the columns keep their distributions and lose what they have in common
(permuted reference data; Tibshirani et al. 2001 take uniform ones). Nothing is written here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.candidates import registry
from assets.candidates.predictor import Predictor
from assets.errors import HeadraceError
from assets.evaluation.gates import quality_gates
from assets.evaluation.metrics import class_metrics, task_metrics
from assets.records import Blessing, EvaluationReport, FeatureSchema, SplitManifest
from assets.spec import ProductSpec
from assets.tasks import CLASSIFICATION, DIRECTIONS, Labels, Scores, encode_labels


@dataclass(frozen=True)
class Verdict:
    """The outcome of one evaluation, with what its plots and report are made of.

    Args:
        reports: of every candidate, and of the champion if it was judged.
        best: the candidate to promote if it is blessed.
        baseline: the best of the baselines.
        blessing: about the best.
        labels: of the test rows as the best model encodes them, shape (rows,).
        scores: model id -> its scores of the test rows.
        matrix: clustering: the test rows as the candidates see them, shape (rows, columns).
    """

    reports: tuple[EvaluationReport, ...]
    best: EvaluationReport
    baseline: EvaluationReport
    blessing: Blessing
    labels: Labels
    scores: Mapping[str, Scores]
    matrix: NDArray[np.float64] | None


@dataclass(frozen=True)
class _Rows:
    """Rows to judge on; of a clustering with the matrix in which distances are measured for everyone."""

    frame: pl.DataFrame
    matrix: NDArray[np.float64] | None
    categorical: Sequence[int]


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
        validation: rows that chose parameters, inputs with `label` (none for a clustering), shape (rows, columns).
        test: the unseen rows, the same columns.
        candidates: algorithm -> model trained on this split, the baselines among them.
        champion: the live model if it may be compared (`why_not_comparable`), judged on the test rows only.

    Raises:
        HeadraceError: the baseline or every other candidate is missing, or the test rows don't define the primary
            metric.
    """
    learners = [name for name in candidates if not is_baseline(name)]
    if "baseline" not in candidates or not learners:
        raise HeadraceError(
            "candidates are missing",
            product=spec.product,
            where=f"evaluation as of {split.as_of}",
            expected=", ".join(item.algorithm for item in spec.candidates),
            found=", ".join(candidates) or "none",
            fix="materialise the candidates of this partition first",
        )
    held, unseen = (_rows(spec, candidates[learners[0]], frame) for frame in (validation, test))
    scores: dict[str, Scores] = {}
    reports: list[EvaluationReport] = []
    for name, model in candidates.items():
        given, chosen = _report(spec, split, model, unseen, held, null=is_baseline(name))
        scores[model.manifest.model_id] = given
        reports.append(chosen)
    if champion and champion.manifest.model_id not in scores:
        given, compared = _report(spec, split, champion, unseen, None)
        scores[champion.manifest.model_id] = given
        reports.append(compared)
    primary = spec.gates.primary
    _require_primary(spec, split, reports)
    own = [item for item in reports if item.role == "candidate"]
    best = max(
        (item for item in own if item.algorithm in learners),
        key=lambda item: (_rank(item.validation, primary), item.model_id),
    ).model_copy(update={"is_best": True})
    baseline = baselines(own, primary)[0]
    gates = quality_gates(spec, best, baseline)
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
    labels = _labels(spec, candidates[best.algorithm], test)
    return Verdict(marked, best, baseline, blessing, labels, scores, unseen.matrix)


def is_baseline(algorithm: str) -> bool:
    """Whether an algorithm is what learners have to beat; one that is there no more learned nothing we could ask."""
    return algorithm in registry.names() and registry.algorithm(algorithm).is_baseline


def baselines(reports: Iterable[EvaluationReport], primary: str) -> list[EvaluationReport]:
    """Of the candidates those that are baselines, the best on the test rows first."""
    found = [item for item in reports if item.role == "candidate" and is_baseline(item.algorithm)]
    return sorted(found, key=lambda item: (-_rank(item.test, primary), item.model_id))


def permuted(matrix: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """The same columns, each shuffled by itself: what a clustering finds in them is the null."""
    return np.random.default_rng(seed).permuted(matrix, axis=0)


def _rows(spec: ProductSpec, model: Predictor, frame: pl.DataFrame) -> _Rows:
    if spec.task != "clustering":
        return _Rows(frame, None, ())
    return _Rows(frame, model.encoder.matrix(frame), categorical_places(model.manifest.features))


def _report(
    spec: ProductSpec,
    split: SplitManifest,
    model: Predictor,
    test: _Rows,
    validation: _Rows | None,
    *,
    null: bool = False,
) -> tuple[Scores, EvaluationReport]:
    """The scores of the test rows and the report; without validation rows it is the champion's."""
    scores, metrics = _measured(spec, model, test, null=null)
    labels = _labels(spec, model, test.frame)
    classes = model.manifest.classes
    return scores, EvaluationReport(
        model_id=model.manifest.model_id,
        algorithm=model.manifest.algorithm,
        role="candidate" if validation else "champion",
        split_id=split.split_id,
        validation=_measured(spec, model, validation, null=null)[1] if validation else {},
        test=metrics,
        slices=slice_metrics(spec, test.frame, labels, scores, classes) if spec.label else {},
        classes=class_metrics(spec.task, labels, scores, threshold=spec.decision_threshold, classes=classes),
    )


def categorical_places(features: FeatureSchema) -> list[int]:
    """Places of the matrix columns that hold codes of categories."""
    return [place for place, (_, kind) in enumerate(features.columns) if kind == "category"]


def _measured(spec: ProductSpec, model: Predictor, rows: _Rows, *, null: bool) -> tuple[Scores, dict[str, float]]:
    matrix = rows.matrix
    if matrix is not None and null:
        matrix = permuted(matrix, spec.seed)
        scores = model.scores_of_matrix(matrix)
    else:
        scores = model.scores(rows.frame)
    return scores, task_metrics(
        spec.task,
        _labels(spec, model, rows.frame),
        scores,
        threshold=spec.decision_threshold,
        classes=model.manifest.classes,
        matrix=matrix,
        categorical=rows.categorical,
        seed=spec.seed,
    )


def _labels(spec: ProductSpec, model: Predictor, frame: pl.DataFrame) -> Labels:
    """Encoded by this model's classes: the champion may know others than today's candidates."""
    if spec.label is None:
        return np.zeros(frame.height, dtype=np.int64)
    return encode_labels(spec.task, frame.get_column("label"), model.manifest.classes)


def _rank(metrics: Mapping[str, float], primary: str) -> float:
    """The primary metric with more being better; rows that don't define it rank last."""
    return DIRECTIONS[primary] * metrics[primary] if primary in metrics else -np.inf


def _require_primary(spec: ProductSpec, split: SplitManifest, reports: Iterable[EvaluationReport]) -> None:
    primary = spec.gates.primary
    if any(primary not in item.test for item in reports):
        raise HeadraceError(
            f"the test rows don't define {primary}",
            product=spec.product,
            where=f"evaluation as of {split.as_of}",
            expected="actual values other than 0" if primary == "mape" else "at least two test rows",
            found=f"{split.parts['test'].rows} rows without",
            fix="choose another metric: gates.primary: mae",
        )


def slice_metrics(
    spec: ProductSpec, rows: pl.DataFrame, labels: Labels, scores: Scores, classes: tuple[str, ...] = ()
) -> dict[str, dict[str, float]]:
    """Primary metric of each large enough slice: column -> value -> metric; one of a single class has none."""
    found: dict[str, dict[str, float]] = {}
    for column in spec.gates.slices.by:
        if column not in rows.columns:
            continue
        values = rows.get_column(column).cast(pl.String).fill_null("(missing)")
        found[column] = {}
        for value in values.unique().sort():
            mask = (values == value).to_numpy()
            part = labels[mask]
            if len(part) < spec.gates.slices.min_rows or (
                spec.task in CLASSIFICATION and len(np.unique(part)) < 2  # noqa: PLR2004 - two classes or more
            ):
                continue
            metrics = task_metrics(
                spec.task, part, scores[mask], threshold=spec.decision_threshold, classes=classes, seed=spec.seed
            )
            if spec.gates.primary in metrics:
                found[column][value] = metrics[spec.gates.primary]
    return found
