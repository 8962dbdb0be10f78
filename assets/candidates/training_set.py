"""The rows that training may see, read and encoded once for all candidates of a split."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.features.feature_set import fit_schema
from assets.features.read import read_part
from assets.features.row import RowEncoder
from assets.lake import Lake
from assets.records import FeatureSchema, SplitManifest
from assets.spec import ProductSpec


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


def _labels(part: pl.DataFrame) -> NDArray[np.int_]:
    return part.get_column("label").to_numpy().astype(np.int64)
