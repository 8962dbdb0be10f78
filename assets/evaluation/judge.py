"""Judge the candidates of a split on its test rows: a report each, the best marked, the gates, the blessing.

The best is chosen on the validation rows, so the test rows judge it only once. What it has to beat is the best of the
baselines on the test rows; how much better than the champion it is there is said with an interval. A clustering has no
outcome: its null is the `baseline` candidate on the same rows with the values of each column shuffled, so that the
columns keep their distributions and lose what they have in common (permuted reference data; Tibshirani et al. 2001 take
uniform ones). Nothing is written here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets import blessings
from assets.candidates import registry
from assets.candidates.predictor import Predictor
from assets.errors import HeadraceError
from assets.evaluation import comparison
from assets.evaluation.gates import quality_gates
from assets.evaluation.groups import Group, fairness_noise, groups_of, nested, slice_metrics
from assets.evaluation.metrics import class_metrics, silhouettes, task_metrics
from assets.evaluation.robustness import noise_changes, prediction_bias
from assets.records import Blessing, Comparison, EvaluationReport, FeatureSchema, Provenance, SplitManifest
from assets.spec import ProductSpec
from assets.tasks import DIRECTIONS, Labels, Scores, encode_labels, predicted_classes


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
        changes: how far scores of the best move under small noise, in their deviations, shape (sampled rows,).
        megabytes: size of the best model's files.
        comparison: of the best with the champion on these rows; None where there is none to compare, or it is the best.
        groups: of the columns of `gates.fairness.by`, also those too small to be judged.
        unblessed: algorithm -> why it could not be the best.
    """

    reports: tuple[EvaluationReport, ...]
    best: EvaluationReport
    baseline: EvaluationReport
    blessing: Blessing
    labels: Labels
    scores: Mapping[str, Scores]
    matrix: NDArray[np.float64] | None
    changes: NDArray[np.float64]
    megabytes: float
    comparison: Comparison | None = None
    groups: Sequence[Group] = ()
    unblessed: Mapping[str, str] = field(default_factory=dict)


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
    *,
    provenance: Provenance,
    megabytes: Mapping[str, float],
    unblessed: Mapping[str, str],
) -> Verdict:
    """Score everyone on the same rows and hold the best candidate against the gates.

    Args:
        spec: the product.
        split: the split whose rows these are.
        validation: rows that chose parameters, inputs with `label` (none for a clustering), shape (rows, columns).
        test: the unseen rows, the same columns.
        candidates: algorithm -> model trained on this split, the baselines among them.
        champion: the live model if it may be compared (`why_not_comparable`), judged on the test rows only.
        provenance: by which code, and at whose word.
        megabytes: algorithm -> size of the model's files (millions of bytes).
        unblessed: algorithm -> why its training has no fresh blessing: such a learner is judged, but is never the best.

    Raises:
        HeadraceError: the baseline or every other candidate is missing, no learner is blessed by its training, or the
            test rows don't define the primary metric.
    """
    learners = _blessed_learners(spec, split, candidates, unblessed)
    held, unseen = (_rows(spec, candidates[learners[0]], frame) for frame in (validation, test))
    scores: dict[str, Scores] = {}
    reports: list[EvaluationReport] = []
    for name, model in candidates.items():
        given, report = _report(spec, split, model, unseen, held, null=is_baseline(name))
        scores[model.manifest.model_id] = given
        reports.append(report)
    if champion and champion.manifest.model_id not in scores:
        given, report = _report(spec, split, champion, unseen, None)
        scores[champion.manifest.model_id] = given
        reports.append(report)
    primary = spec.gates.primary
    _require_primary(spec, split, reports)
    own = [item for item in reports if item.role == "candidate"]
    chosen = max(
        (item for item in own if item.algorithm in learners),
        key=lambda item: (_rank(item.validation, primary), item.model_id),
    )
    model = candidates[chosen.algorithm]
    labels, given = _labels(spec, model, test), scores[chosen.model_id]
    changes = noise_changes(model, test, given, noise=spec.gates.input_noise, seed=spec.seed)
    groups = groups_of(spec, test, labels, given, model.manifest.classes) if spec.label else ()
    fair = {"fairness_noise": fairness_noise(spec, groups)} if groups else {}
    bias = prediction_bias(spec.task, labels, given) if spec.label else {}
    best = chosen.model_copy(
        update={
            "is_best": True,
            "test": {**chosen.test, **bias, "noise_effect": float(changes.mean()), **fair},
            "intervals": comparison.intervals(spec, labels, given, classes=model.manifest.classes),
            "groups": nested(groups),
        }
    )
    baseline = baselines(own, primary)[0]
    gates = quality_gates(spec, best, baseline, megabytes=megabytes[best.algorithm])
    return Verdict(
        reports=tuple(best if item is chosen else item for item in reports),
        best=best,
        baseline=baseline,
        blessing=blessings.bless_model("quality", spec, split, best.model_id, gates, provenance=provenance),
        labels=labels,
        scores=scores,
        matrix=unseen.matrix,
        comparison=_compared(spec, split, model, champion, unseen, scores),
        changes=changes,
        groups=groups,
        megabytes=megabytes[best.algorithm],
        unblessed=unblessed,
    )


def _blessed_learners(
    spec: ProductSpec, split: SplitManifest, candidates: Mapping[str, Predictor], unblessed: Mapping[str, str]
) -> list[str]:
    """The candidates that may be the best."""
    where = f"evaluation as of {split.as_of}"
    learners = [name for name in candidates if not is_baseline(name)]
    if "baseline" not in candidates or not learners:
        raise HeadraceError(
            "candidates are missing",
            product=spec.product,
            where=where,
            expected=", ".join(item.algorithm for item in spec.candidates),
            found=", ".join(candidates) or "none",
            fix="materialise the candidates of this partition first",
        )
    blessed = [name for name in learners if name not in unblessed]
    if not blessed:
        raise HeadraceError(
            "no candidate is blessed by its training",
            product=spec.product,
            where=where,
            expected="a fresh training blessing of at least one candidate that is no baseline",
            found="; ".join(f"{name}: {unblessed[name]}" for name in learners),
            fix="look at the checks of these candidates, mend what failed and train again: "
            f"headrace run {spec.product} --as-of {split.as_of}",
        )
    return blessed


def _compared(
    spec: ProductSpec,
    split: SplitManifest,
    best: Predictor,
    champion: Predictor | None,
    test: _Rows,
    scores: Mapping[str, Scores],
) -> Comparison | None:
    """The best beside the champion on the test rows; each is right by the classes that it knows."""
    if champion is None or champion.manifest.model_id == best.manifest.model_id:
        return None
    given, held = scores[best.manifest.model_id], scores[champion.manifest.model_id]
    labels, own = _labels(spec, best, test.frame), _labels(spec, champion, test.frame)
    if test.matrix is not None:
        given, held = (
            silhouettes(test.matrix, predicted_classes(spec.task, item, 0), test.categorical, spec.seed)
            for item in (given, held)
        )
        labels = own = np.zeros(len(given), dtype=np.int64)
    return comparison.compare(
        spec,
        split.split_id,
        best.manifest.model_id,
        champion.manifest.model_id,
        labels,
        given,
        held,
        classes=best.manifest.classes,
        champion_labels=own,
        champion_classes=champion.manifest.classes,
        days=_days(spec, test.frame),
    )


def _days(spec: ProductSpec, rows: pl.DataFrame) -> NDArray[np.int64] | None:
    """The number of each row's day from 0, if the spec compares by days."""
    if spec.gates.comparison.resample == "rows" or spec.time is None or spec.task == "clustering":
        return None
    days = rows.get_column(spec.time.event).cast(pl.Date)
    return days.rank("dense").cast(pl.Int64).to_numpy() - 1


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
