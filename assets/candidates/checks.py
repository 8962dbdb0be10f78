"""Checks of a candidate: it was trained, its scores are finite, and a second fit gives the same bytes."""

from dataclasses import replace
from typing import Any

import dagster as dg
import numpy as np

from assets.candidates.predictor import load_predictor
from assets.candidates.registry import Algorithm
from assets.candidates.training import Trained
from assets.candidates.training_set import TrainingSet
from assets.definitions import check_result, check_spec, key_of
from assets.model_store import sha256_of
from assets.spec import CandidateSpec, ProductSpec

STAGE = "candidates"
# Enough rows for every code path of a fit; a second fit on all rows would double the cost of training.
_REFIT_ROWS = 4_000


def specs(spec: ProductSpec, name: str) -> list[dg.AssetCheckSpec]:
    """The checks of one candidate."""
    return [
        check_spec(spec, "trained", "Rows it was trained on", STAGE, name, blocking=True),
        check_spec(spec, "finite", "Every score is a probability", STAGE, name, blocking=True),
        check_spec(spec, "deterministic", "Two fits of the same rows give the same file", STAGE, name, blocking=True),
    ]


def results(
    spec: ProductSpec, candidate: CandidateSpec, algorithm: Algorithm, trained: Trained, rows: TrainingSet, threads: int
) -> list[dg.AssetCheckResult]:
    """The outcome for one trained candidate."""
    key = key_of(spec, STAGE, candidate.algorithm)
    scores = load_predictor(trained.folder, threads=threads).probabilities_of_matrix(rows.validation)
    improper = int(np.sum(~(np.isfinite(scores) & (scores >= 0) & (scores <= 1))))
    first, second = refit_hashes(candidate, algorithm, rows, spec.seed, threads)
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
            detail=f"two fits on the first {min(_REFIT_ROWS, len(rows.train_labels)):,} training rows",
        ),
    ]


def refit_hashes(
    candidate: CandidateSpec, algorithm: Algorithm, rows: TrainingSet, seed: int, threads: int
) -> tuple[str, str]:
    """Hashes of two fits on the same few rows with the same seed."""
    params: dict[str, Any] = {name: value for name, value in candidate.params.items() if name != "max_rounds"}
    if "max_rounds" in candidate.params:
        params["max_rounds"] = min(int(candidate.params["max_rounds"]), 10)
    few = replace(rows, train=rows.train[:_REFIT_ROWS], train_labels=rows.train_labels[:_REFIT_ROWS])
    files = [algorithm.fit(few, params, seed, threads, lambda _: None).content for _ in range(2)]
    return sha256_of(files[0]), sha256_of(files[1])
