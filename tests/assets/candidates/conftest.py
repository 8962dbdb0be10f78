"""Rows of every task: six numbers and two categories, with gaps, and outcomes that depend on some of them."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from assets.candidates.predictor import Predictor, Score, score_function
from assets.candidates.registry import Fitted, algorithm
from assets.candidates.training_set import TrainingSet
from assets.records import FeatureSchema, ModelManifest
from assets.tasks import Task

NUMBERS, KINDS, TRAINED = 6, 5, 420
CLASSES: dict[str, tuple[str, ...]] = {"binary": ("false", "true"), "multiclass": ("high", "low", "middle")}
# few trees and rounds: enough for every code path
SMALL: dict[str, dict[str, Any]] = {
    "lightgbm": {"max_rounds": 20, "min_data_in_leaf": 5, "num_leaves": 7},
    "random_forest": {"trees": 8},
    "extra_trees": {"trees": 8},
    "seasonal_naive": {"column": "n1"},
    "last_value": {"column": "n0"},
    "kmeans": {"max_clusters": 5},
    "gaussian_mixture": {"max_clusters": 4},
}


@cache
def make_rows(task: Task, count: int = 600) -> TrainingSet:
    random = np.random.default_rng(11)
    numbers = random.normal(size=(count, NUMBERS))
    kinds = random.integers(0, KINDS, (count, 2)).astype(float)
    if task == "clustering":
        group = random.integers(0, 3, count)
        numbers += 6 * np.eye(NUMBERS)[group]
        kinds = group[:, None] + np.array([[0.0, 1.0]])
    value = numbers[:, 0] + numbers[:, 1] * numbers[:, 2] + kinds[:, 0] / 2 + random.normal(0, 0.3, count)
    labels = {
        "binary": (value > 1).astype(np.int64),
        "multiclass": np.digitize(value, [0.2, 1.6]).astype(np.int64),
        "clustering": np.zeros(count, dtype=np.int64),
    }.get(task, 5_000 + 100 * value)
    matrix = np.hstack([numbers * np.array([1, 5, 0.01, 300, 2, 40]) + np.arange(NUMBERS), kinds])
    matrix[random.random(matrix.shape) < 0.05] = np.nan
    columns = [(f"n{place}", "number") for place in range(NUMBERS)] + [("c0", "category"), ("c1", "category")]
    known = tuple(f"kind {code}" for code in range(KINDS))
    schema = FeatureSchema(
        inputs=dict(columns), required=(), descriptions={}, row={}, columns=tuple(columns),
        categories={"c0": known, "c1": known},
    )  # fmt: skip
    return TrainingSet(
        schema, matrix[:TRAINED], labels[:TRAINED], matrix[TRAINED:], labels[TRAINED:], task=task,
        classes=CLASSES.get(task, ()),
    )  # fmt: skip


@pytest.fixture(scope="session")
def rows_of() -> Callable[[Task], TrainingSet]:
    """420 training and 180 validation rows of a task."""
    return make_rows


@pytest.fixture(scope="session")
def small() -> Mapping[str, dict[str, Any]]:
    """Parameters that make a fit quick."""
    return SMALL


@pytest.fixture(scope="session")
def fit() -> Callable[..., Fitted]:
    """One quick fit of an algorithm."""

    def one(name: str, rows: TrainingSet, *, seed: int = 1, **params: Any) -> Fitted:
        # one thread: on a busy machine LightGBM's threads wait for each other with all their might
        return algorithm(name).fit(rows, {**SMALL.get(name, {}), **params}, seed, 1, lambda _: None)

    return one


@pytest.fixture(scope="session")
def fitted_of(fit: Callable[..., Fitted]) -> Callable[[str, Task], Fitted]:
    """A quick fit on the rows of a task, made once."""
    return cache(lambda name, task: fit(name, make_rows(task)))


@pytest.fixture(scope="session")
def score_of() -> Callable[..., Score]:
    """The scores of a file."""

    def one(item: Fitted, rows: TrainingSet, *, threads: int = 1) -> Score:
        return score_function(item.file_name, item.content, task=rows.task, columns=rows.columns, threads=threads)

    return one


@pytest.fixture(scope="session")
def predictor_of(manifest_of: Callable[..., ModelManifest]) -> Callable[[Fitted, TrainingSet], Predictor]:
    """A predictor of a file."""

    def one(item: Fitted, rows: TrainingSet) -> Predictor:
        manifest = manifest_of(
            item.content, model_file=item.file_name, features=rows.schema, task=rows.task, classes=rows.classes
        )
        return Predictor(manifest, item.content)

    return one
