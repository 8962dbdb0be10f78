"""Train one candidate on a split: prepare the training rows, search parameters, fit, save by content.

What an algorithm does is in `algorithms/`; this module knows none of them by name.
"""

import importlib.metadata
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assets.candidates.calibration import Chosen, choose, require_binary
from assets.candidates.fitting import fit_candidate, prepared
from assets.candidates.predictor import score_function
from assets.candidates.registry import Algorithm, Fitted, Progress
from assets.candidates.search import Search, Searched
from assets.candidates.training_set import TrainingSet
from assets.model_store import save_model, sha256_of
from assets.records import ModelManifest, Provenance, SplitManifest
from assets.spec import CandidateSpec, ProductSpec

_VERSIONED = (
    "lightgbm", "scikit-learn", "imbalanced-learn", "optuna", "onnx", "onnxruntime", "polars", "numpy",
    "duckdb",
)  # fmt: skip
_UNSAID = Provenance()


@dataclass(frozen=True)
class Trained:
    """A saved candidate and how its training went.

    Args:
        manifest, folder: what was saved, and where.
        seconds: `search` and `fit`, which includes resampling, calibrating and writing.
        trials: finished ones of the search; 0 without one.
        history: of the fit (rounds, importance, ...), of the calibration (in words, log losses) and, of a search,
            `trials`: a row each with number, value, best and parameters.
    """

    manifest: ModelManifest
    folder: Path
    seconds: Mapping[str, float]
    trials: int = 0
    history: Mapping[str, Any] = field(default_factory=dict)


def train(
    algorithm: Algorithm,
    candidate: CandidateSpec,
    *,
    spec: ProductSpec,
    split: SplitManifest,
    rows: TrainingSet,
    folder: Path,
    threads: int,
    progress: Progress,
    provenance: Provenance = _UNSAID,
) -> Trained:
    """Search where the candidate asks for it, fit, calibrate and save.

    The same split, spec and versions give the same bytes and so the same model id. A search that was stopped goes on
    with the next trial.

    Raises:
        HeadraceError: the algorithm doesn't know a parameter or an option, the rows hold one class only, or they can't
            be calibrated as the spec says.
    """
    require_binary(candidate, spec.task)
    started = time.perf_counter()
    rows = prepared(algorithm, candidate, rows)
    versions = versions_used()
    searched = Searched({}, ())
    if candidate.search is not None:
        searched = Search(algorithm, candidate, candidate.search, spec, threads, progress).run(
            rows, folder / ".searches", identity=[split.split_id, rows.schema.fitted_id, versions]
        )
    search_seconds = time.perf_counter() - started
    fitted = fit_candidate(
        algorithm, candidate, rows, searched.params, seed=spec.seed, threads=threads, progress=progress
    )
    chosen = _calibration(algorithm, candidate, fitted, rows, split=split, seed=spec.seed, threads=threads)
    manifest = ModelManifest(
        product=spec.product,
        algorithm=candidate.algorithm,
        task=spec.task,
        as_of=split.as_of,
        split_id=split.split_id,
        training_row_set_hash=split.parts["train"].row_set_hash,
        data_snapshot=split.data_snapshot,
        training_rows=len(rows.train_labels),
        spec_hash=spec.spec_hash,
        feature_set_id=split.feature_set_id,
        fitted_features_id=rows.schema.fitted_id,
        features=rows.schema,
        label=spec.label.column if spec.label else "",
        classes=rows.classes,
        positive_meaning=(spec.label.description or spec.label.column) if spec.label else "",
        decision_threshold=spec.decision_threshold,
        params=fitted.params,
        config=candidate.model_dump(mode="json"),
        seed=spec.seed,
        versions=versions,
        files={fitted.file_name: sha256_of(fitted.content)},
        model_file=fitted.file_name,
        calibration=chosen.calibration,
        provenance=provenance,
    )
    target = save_model(folder, manifest, {fitted.file_name: fitted.content})
    seconds = {"search": search_seconds, "fit": time.perf_counter() - started - search_seconds}
    trials = {"trials": list(searched.trials)} if searched.trials else {}
    return Trained(manifest, target, seconds, len(searched.trials), {**fitted.history, **chosen.history, **trials})


def _calibration(
    algorithm: Algorithm,
    candidate: CandidateSpec,
    fitted: Fitted,
    rows: TrainingSet,
    *,
    split: SplitManifest,
    seed: int,
    threads: int,
) -> Chosen:
    """What makes the fitted file's probabilities true, judged on the validation rows; nothing for a baseline."""
    if rows.task != "binary" or algorithm.is_baseline:
        return Chosen()
    score = score_function(fitted.file_name, fitted.content, task=rows.task, columns=rows.columns, threads=threads)
    return choose(candidate, rows.validation_labels, score(rows.validation), strategy=split.strategy, seed=seed)


def versions_used() -> dict[str, str]:
    """Versions of what decides a model's bytes."""
    return {name: importlib.metadata.version(name) for name in _VERSIONED} | {"python": platform.python_version()}
