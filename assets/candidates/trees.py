"""What the algorithms of scikit-learn's trees share: size, constraints, export."""

from collections.abc import Callable
from typing import Any

import numpy as np

from assets.candidates.preprocessing import fit_preprocessing
from assets.candidates.registry import Fitted
from assets.candidates.training_set import TrainingSet
from assets.tasks import CLASSIFICATION

# Leaf values (leaves times classes) of a whole model: what keeps its file below 20 MB
MAX_LEAF_VALUES = 200_000


def fit_trees(
    rows: TrainingSet, used: dict[str, Any], make: Callable[..., Any], *, trees: int, sampled: int | None = None
) -> Fitted:
    """Fit on float32 rows, as the file compares in float32, and export.

    Args:
        rows: the training rows.
        used: every parameter; `min_samples_leaf` is raised where the file would become too large.
        make: the estimator of scikit-learn from the options that all trees have.
        trees: how many there will be.
        sampled: rows that each tree sees; all where None.
    """
    ready = fit_preprocessing(rows, scale=False)
    values = len(rows.classes) if rows.task == "multiclass" else 1
    smallest = int(np.ceil(trees * (sampled or len(rows.train)) * values / MAX_LEAF_VALUES))
    used = {**used, "min_samples_leaf": max(used["min_samples_leaf"], smallest)}
    estimator = make(
        max_depth=used["max_depth"] or None,
        min_samples_leaf=used["min_samples_leaf"],
        max_features=used["max_features"],
        monotonic_cst=ready.monotone(rows),
    )
    estimator.fit(ready.transform(rows.train), rows.train_labels, sample_weight=rows.weights)
    grown = [item.tree_ for item in getattr(estimator, "estimators_", [estimator])]
    graph, value = ready.graph()
    history = {"leaves": sum(int(tree.n_leaves) for tree in grown), "deepest": max(int(t.max_depth) for t in grown)}
    return Fitted("model.onnx", graph.bytes_of(graph.trees(value, grown, task=rows.task)), used, history)


def is_classification(rows: TrainingSet) -> bool:
    """Whether the tree's classifier is meant, not its regressor."""
    return rows.task in CLASSIFICATION
