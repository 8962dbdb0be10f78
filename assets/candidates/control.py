"""The shuffled-label control: do outcomes reach a candidate's scores on another way than through its training labels?

A fit on shuffled labels can't know anything, so its scores have to be at chance on real labels. What isn't has learned
from the labels of validation rows (in the fit, in resampling), or remembers an earlier fit.
One such fit may be far from chance all the same: a random direction in few features is often near the true one, or
its opposite. So the candidate is fitted on the opposite of the shuffled labels, too, and the mean of both is held
against chance (antithetic variates; Hammersley and Morton 1956). What a column knows that was computed with the
outcome is not seen here, as the labels that it knows are not those of the fit: `point_in_time` and `leak` of the
features look for that.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.candidates.fitting import fit_candidate
from assets.candidates.predictor import score_function
from assets.candidates.registry import Algorithm
from assets.candidates.training_set import TrainingSet
from assets.spec import CandidateSpec
from assets.tasks import CLASSIFICATION, NUMERIC, UNKNOWN_CLASS, Labels, Scores, Task

# what `association` measures
MEASURE = {
    "binary": "ROC AUC",
    "multiclass": "mean ROC AUC of the classes",
    "regression": "rank correlation",
    "forecast": "rank correlation",
}
# classes that change places in turn: of more of them, random directions hardly ever agree
_MAX_TURNS = 4


def control_score(
    candidate: CandidateSpec, algorithm: Algorithm, params: Mapping[str, Any], rows: TrainingSet, seed: int
) -> tuple[float, float, float]:
    """How well fits on shuffled training labels, and on their opposites, order the real labels of validation rows.

    Args:
        candidate: as in the spec.
        algorithm: what is fitted, quickly and on one thread, without monotone columns: those know a direction.
        params: as the candidate used them.
        rows: few rows, prepared.
        seed: of the shuffle and the fits.

    Returns:
        mean of the fits, what chance gives, and its standard error; see `association`.
    """
    from threadpoolctl import threadpool_limits

    free = replace(rows, monotone={})
    shuffled = np.random.default_rng(seed).permutation(rows.train_labels)
    found = []
    with threadpool_limits(1):
        for labels in _opposites(rows.task, shuffled, len(rows.classes)):
            fitted = fit_candidate(
                algorithm, candidate, replace(free, train_labels=labels), quick_params(algorithm, params), seed=seed,
                threads=1, progress=lambda _: None,
            )  # fmt: skip
            score = score_function(fitted.file_name, fitted.content, task=rows.task, columns=rows.columns, threads=1)
            scores = np.nan_to_num(score(rows.validation))  # that a score is a number is another gate's question
            found.append(association(rows.task, rows.validation_labels, scores))
    return float(np.mean([value for value, _, _ in found])), found[0][1], found[0][2]


def _opposites(task: Task, labels: Labels, classes: int) -> list[Labels]:
    """Labels and their opposites: whatever order the first give by luck, the mean over all gives none.

    Binary: the other class. Several: the classes in turn. Numbers: mirrored within their range, so that they stay
    numbers that the objective allows.
    """
    if task == "binary":
        return [labels, 1 - labels]
    if task == "multiclass":
        return [(labels + turn) % classes for turn in range(min(classes, _MAX_TURNS))]
    return [labels, labels.min() + labels.max() - labels]


def association(task: Task, labels: Labels, scores: Scores) -> tuple[float, float, float]:
    """How well scores order labels, what scores that know nothing would give, and the standard error of that.

    Binary: ROC AUC, its error by Hanley and McNeil (1982). Multiclass: its mean over classes against the rest, with
    the mean of their errors (never too small). Numbers: Spearman's rank correlation, error 1 / sqrt(rows - 1).
    """
    if task in NUMERIC:
        return _rank_correlation(labels, scores), 0.0, 1 / math.sqrt(max(len(labels) - 1, 1))
    if task == "binary":
        value, error = _auc(labels == 1, scores)
        return value, 0.5, error
    known = labels != UNKNOWN_CLASS
    each = [_auc(labels[known] == code, scores[known, code]) for code in np.unique(labels[known])]
    value, error = np.mean(each, axis=0) if each else (0.5, 0.5)
    return float(value), 0.5, float(error)


def _auc(truth: NDArray[np.bool_], scores: Scores) -> tuple[float, float]:
    """ROC AUC and its standard error at chance; 0.5 and as much error where one of the classes is missing."""
    from sklearn.metrics import roc_auc_score

    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        return 0.5, 0.5
    error = math.sqrt((positive + negative + 1) / (12 * positive * negative))
    return float(roc_auc_score(truth, scores)), error


def _rank_correlation(labels: Labels, scores: Scores) -> float:
    """Spearman's; 0 where one of both is constant."""
    frame = pl.DataFrame({"labels": labels, "scores": scores}).select(pl.corr("labels", "scores", method="spearman"))
    value = float(frame.item())
    return value if math.isfinite(value) else 0.0


def quick_params(algorithm: Algorithm, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters used, those that bound the cost of a fit made small."""
    return {**params, **{name: min(int(params[name]), most) for name, most in algorithm.quick.items()}}


def few_of(rows: TrainingSet, most: int) -> TrainingSet:
    """Training rows at even distances, and validation rows too, with two of each class that there is."""
    train, validation = (_places(rows.task, labels, most) for labels in (rows.train_labels, rows.validation_labels))
    return replace(
        rows,
        train=rows.train[train],
        train_labels=rows.train_labels[train],
        validation=rows.validation[validation],
        validation_labels=rows.validation_labels[validation],
        folds=None,
    )


def _places(task: Task, labels: Labels, most: int) -> NDArray[np.int64]:
    evenly = np.unique(np.linspace(0, max(len(labels) - 1, 0), min(len(labels), most)).astype(np.int64))
    if task not in CLASSIFICATION or not len(labels):
        return evenly
    some = [np.flatnonzero(labels == code)[:2] for code in np.unique(labels)]
    return np.union1d(evenly, np.concatenate(some))
