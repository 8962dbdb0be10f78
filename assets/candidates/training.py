"""Train one candidate on a split: read the parts once, fit by the algorithm's module, save by content.

What an algorithm does is in `algorithms/`; this module knows none of them by name.
"""

import importlib.metadata
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.candidates.registry import Algorithm
from assets.features.feature_set import fit_schema
from assets.features.read import read_part
from assets.features.row import RowEncoder
from assets.lake import Lake
from assets.model_store import save_model, sha256_of
from assets.records import FeatureSchema, ModelManifest, SplitManifest
from assets.spec import CandidateSpec, ProductSpec

_VERSIONED = ("lightgbm", "scikit-learn", "skl2onnx", "onnxruntime", "polars", "numpy", "duckdb")


@dataclass(frozen=True)
class TrainingSet:
    """Encoded training and validation rows, sorted by key: matrices (rows, columns), labels (rows,) of 0 and 1."""

    schema: FeatureSchema
    train: NDArray[np.float64]
    train_labels: NDArray[np.int_]
    validation: NDArray[np.float64]
    validation_labels: NDArray[np.int_]

    @property
    def columns(self) -> list[str]:
        """Names of the matrix columns."""
        return self.schema.column_names

    @property
    def categorical(self) -> list[int]:
        """Places of the category columns."""
        return [place for place, (_, kind) in enumerate(self.schema.columns) if kind == "category"]


@dataclass(frozen=True)
class Trained:
    """A saved candidate and how its training went."""

    manifest: ModelManifest
    folder: Path
    seconds: float
    history: Mapping[str, Any]


def load_training_set(lake: Lake, spec: ProductSpec, manifest: SplitManifest) -> TrainingSet:
    """Read and encode the parts that training may see; the last one is kept, as each candidate of a run asks for it."""
    return _training_set(_Key(lake, spec, manifest))


@dataclass(frozen=True)
class _Key:
    lake: Lake
    spec: ProductSpec
    manifest: SplitManifest

    def __hash__(self) -> int:
        return hash((self.lake.catalog, self.spec.spec_hash, self.manifest.split_id))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and hash(self) == hash(other)


@lru_cache(maxsize=1)
def _training_set(key: _Key) -> TrainingSet:
    with key.lake.connect() as con:
        train = read_part(con, key.spec, key.manifest, "train")
        validation = read_part(con, key.spec, key.manifest, "validation")
    schema = fit_schema(key.spec, train)
    encoder = RowEncoder(schema)
    return TrainingSet(
        schema=schema,
        train=encoder.matrix(train),
        train_labels=_labels(train),
        validation=encoder.matrix(validation),
        validation_labels=_labels(validation),
    )


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


def _labels(part: pl.DataFrame) -> NDArray[np.int_]:
    return part.get_column("label").to_numpy().astype(np.int64)
