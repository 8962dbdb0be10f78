"""The rows that training may see, read and encoded once for all candidates of a split."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.errors import HeadraceError
from assets.features.feature_set import fit_schema
from assets.features.read import read_part
from assets.features.row import RowEncoder
from assets.features.selection import select_features
from assets.lake import Lake
from assets.records import FeatureSchema, SplitManifest
from assets.spec import ProductSpec
from assets.tasks import Task, classes_of, encode_labels


@dataclass(frozen=True)
class TrainingSet:
    """Encoded training and validation rows, sorted by key: matrices (rows, columns), labels (rows,) by `encode_labels`.

    Args:
        schema: names and kinds of the matrix columns, categories and fitted transforms.
        train, train_labels, validation, validation_labels: see above; of clustering the labels are zeros.
        task: decides the objective.
        classes: of the labels' codes, sorted; empty where the outcome is a number.
        weights: of the training rows, shape (rows,); None where all weigh the same.
        folds: for time_series_folds the fold of each training row, 0 the oldest; fold n is validated by a model of
            the folds before it. None elsewhere: then `validation` judges a search.
        monotone: model column -> 1 or -1.
    """

    schema: FeatureSchema
    train: NDArray[np.float64]
    train_labels: NDArray[Any]
    validation: NDArray[np.float64]
    validation_labels: NDArray[Any]
    task: Task = "binary"
    classes: tuple[str, ...] = ("false", "true")
    weights: NDArray[np.float64] | None = None
    folds: NDArray[np.int_] | None = None
    monotone: Mapping[str, int] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Names of the matrix columns."""
        return self.schema.column_names

    @property
    def categorical(self) -> list[int]:
        """Places of the category columns."""
        return [place for place, (_, kind) in enumerate(self.schema.columns) if kind == "category"]


def load_training_set(lake: Lake, spec: ProductSpec, manifest: SplitManifest) -> TrainingSet:
    """Read and encode the parts that training may see; the last one is kept, as each candidate of a run asks for it.

    Everything fitted (categories, transforms, selection, classes) comes from the training rows alone.
    """
    return _training_set(_Key(lake, spec, manifest, lake.settings.threads))


@dataclass(frozen=True)
class _Key:
    lake: Lake
    spec: ProductSpec
    manifest: SplitManifest
    threads: int

    def __hash__(self) -> int:
        return hash((self.lake.catalog, self.spec.spec_hash, self.manifest.split_id))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and hash(self) == hash(other)


@lru_cache(maxsize=1)
def _training_set(key: _Key) -> TrainingSet:
    spec, split = key.spec, key.manifest
    with key.lake.connect() as con:
        train = read_part(con, spec, split, "train", with_fold=True)
        validation = read_part(con, spec, split, "validation")
    schema = fit_schema(spec, train)
    classes = classes_of(spec.task, train["label"]) if spec.label else ()
    if not schema.columns:
        raise HeadraceError(
            "no feature is left for a model",
            product=spec.product,
            where="features",
            expected="at least one column after transforms",
            found=f"{len(spec.features.inputs)} inputs, none of which becomes a column",
            fix="add inputs or row features; a text whose words are all rare gives no column",
        )
    encoder = RowEncoder(schema)
    matrix, labels = encoder.matrix(train), labels_of(spec, train, classes)
    chosen = select_features(spec.task, schema, matrix, labels, split.selection, seed=spec.seed, threads=key.threads)
    if chosen.columns != schema.columns:
        encoder = RowEncoder(chosen)
        matrix = encoder.matrix(train)
    folds = train["fold"]
    return TrainingSet(
        schema=chosen,
        train=matrix,
        train_labels=labels,
        validation=encoder.matrix(validation),
        validation_labels=labels_of(spec, validation, classes),
        task=spec.task,
        classes=classes,
        folds=None if folds.null_count() else folds.to_numpy().astype(np.int64),
    )


def labels_of(spec: ProductSpec, part: pl.DataFrame, classes: tuple[str, ...]) -> NDArray[Any]:
    """The labels of a part as algorithms and metrics take them, shape (rows,); zeros for a clustering."""
    if spec.label is None:
        return np.zeros(part.height, dtype=np.int64)
    return encode_labels(spec.task, part.get_column("label"), classes)
