"""Checks of a candidate: it was trained, its scores are proper, and a second fit gives the same bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
import numpy as np
from numpy.typing import NDArray

from assets.candidates.fitting import fit_candidate, prepared
from assets.candidates.predictor import load_predictor
from assets.candidates.registry import Algorithm
from assets.candidates.training import Trained
from assets.candidates.training_set import TrainingSet
from assets.definitions import check_result, check_spec, key_of
from assets.model_store import sha256_of
from assets.spec import CandidateSpec, ProductSpec
from assets.tasks import CLASSIFICATION, Scores, Task

STAGE = "candidates"
# Enough rows for every code path of a fit; a second fit on all rows would double the cost of training.
_REFIT_ROWS = 4_000
# Probabilities are float32 in an ONNX file, so those of many classes add up to one but for rounding.
_SUM_TOLERANCE = 1e-3


def specs(spec: ProductSpec, name: str) -> list[dg.AssetCheckSpec]:
    """The checks of one candidate."""
    proper = "Every score is a probability" if spec.task in CLASSIFICATION else "Every score is a finite number"
    return [
        check_spec(spec, "trained", "Rows it was trained on", STAGE, name, blocking=True),
        check_spec(spec, "finite", proper, STAGE, name, blocking=True),
        check_spec(spec, "deterministic", "Two fits of the same rows give the same file", STAGE, name, blocking=True),
    ]


def results(
    spec: ProductSpec, candidate: CandidateSpec, algorithm: Algorithm, trained: Trained, rows: TrainingSet, threads: int
) -> list[dg.AssetCheckResult]:
    """The outcome for one trained candidate."""
    key = key_of(spec, STAGE, candidate.algorithm)
    scores = load_predictor(trained.folder, threads=threads).scores_of_matrix(rows.validation)
    improper = improper_rows(spec.task, scores, trained.manifest.classes)
    first, second = refit_hashes(candidate, algorithm, trained.manifest.params, rows, spec.seed, threads)
    return [
        check_result(
            key,
            "trained",
            passed=trained.manifest.training_rows >= spec.split.min_train_rows,
            observed=trained.manifest.training_rows,
            threshold=spec.split.min_train_rows,
        ),
        check_result(key, "finite", passed=improper == 0, observed=improper, threshold=0),
        check_result(
            key,
            "deterministic",
            passed=first == second,
            observed=second[:16],
            threshold=first[:16],
            detail=f"two fits on {min(_REFIT_ROWS, len(rows.train_labels)):,} training rows",
        ),
    ]


def improper_rows(task: Task, scores: Scores, classes: Sequence[str] = ()) -> int:
    """How many rows have a score that is not finite, or no probability (of multiclass: of each class) where it should.

    Args:
        task: says what a score is.
        scores: see `assets.tasks`.
        classes: of multiclass: in the order of the probabilities.
    """
    wide = scores.reshape(len(scores), -1)
    proper = np.isfinite(wide).all(axis=1)
    if task in CLASSIFICATION:
        proper &= ((wide >= 0) & (wide <= 1)).all(axis=1)
    if task == "multiclass":
        proper &= (np.abs(wide.sum(axis=1) - 1) <= _SUM_TOLERANCE) & (wide.shape[1] == len(classes))
    return int((~proper).sum())


def refit_hashes(
    candidate: CandidateSpec,
    algorithm: Algorithm,
    params: Mapping[str, Any],
    rows: TrainingSet,
    seed: int,
    threads: int,
) -> tuple[str, str]:
    """Hashes of two fits on the same few rows with the same seed and the parameters used, made quick."""
    quick = {name: min(int(params[name]), most) for name, most in algorithm.quick.items()}
    few = _few(prepared(algorithm, candidate, rows))
    files = [
        fit_candidate(
            algorithm, candidate, few, {**params, **quick}, seed=seed, threads=threads, progress=lambda _: None
        ).content
        for _ in range(2)
    ]
    return sha256_of(files[0]), sha256_of(files[1])


def _few(rows: TrainingSet) -> TrainingSet:
    """Training rows at even distances, and validation rows too, with two of each class that there is."""
    train = _evenly(len(rows.train_labels))
    if rows.task in CLASSIFICATION:
        some = [np.flatnonzero(rows.train_labels == code)[:2] for code in np.unique(rows.train_labels)]
        train = np.union1d(train, np.concatenate(some))
    validation = _evenly(len(rows.validation_labels))
    return replace(
        rows,
        train=rows.train[train],
        train_labels=rows.train_labels[train],
        validation=rows.validation[validation],
        validation_labels=rows.validation_labels[validation],
        folds=None,
    )


def _evenly(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, _REFIT_ROWS)).astype(np.int64))
