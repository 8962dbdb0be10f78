"""Train one candidate on a split: fit by the algorithm's module, save by content.

What an algorithm does is in `algorithms/`; this module knows none of them by name.
"""

import importlib.metadata
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.candidates.registry import Algorithm
from assets.candidates.training_set import TrainingSet
from assets.model_store import save_model, sha256_of
from assets.records import ModelManifest, SplitManifest
from assets.spec import CandidateSpec, ProductSpec

_VERSIONED = ("lightgbm", "scikit-learn", "skl2onnx", "onnxruntime", "polars", "numpy", "duckdb")


@dataclass(frozen=True)
class Trained:
    """A saved candidate and how its training went."""

    manifest: ModelManifest
    folder: Path
    seconds: float
    history: Mapping[str, Any]


def train(
    algorithm: Algorithm,
    candidate: CandidateSpec,
    *,
    spec: ProductSpec,
    split: SplitManifest,
    rows: TrainingSet,
    folder: Path,
    threads: int,
    progress: Callable[[str], None],
) -> Trained:
    """Fit and save one candidate.

    The same split, spec and versions give the same bytes and so the same model id.

    Raises:
        HeadraceError: the algorithm doesn't know a parameter.
    """
    started = time.perf_counter()
    fitted = algorithm.fit(rows, dict(candidate.params), spec.seed, threads, progress)
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
        features=rows.schema,
        label=spec.label.column,
        positive_meaning=spec.label.description or spec.label.column,
        decision_threshold=spec.decision_threshold,
        params=fitted.params,
        seed=spec.seed,
        versions={name: importlib.metadata.version(name) for name in _VERSIONED}
        | {"python": platform.python_version()},
        files={fitted.file_name: sha256_of(fitted.content)},
        model_file=fitted.file_name,
    )
    target = save_model(folder, manifest, {fitted.file_name: fitted.content})
    return Trained(manifest, target, time.perf_counter() - started, fitted.history)
