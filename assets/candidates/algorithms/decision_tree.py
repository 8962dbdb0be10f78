"""One decision tree: the model a person can read."""

from functools import partial
from typing import Any

from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet
from assets.candidates.trees import fit_trees, is_classification
from assets.tasks import CLASSIFICATION, NUMERIC

DEFAULTS: dict[str, Any] = {"max_depth": 8, "min_samples_leaf": 20, "max_features": 1.0}


def fit(rows: TrainingSet, params: dict[str, Any], seed: int, _threads: int, progress: Progress) -> Fitted:
    """Part the rows where that makes their outcomes most alike. Source: Breiman et al. (1984)."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    used = merged(DEFAULTS, params, name="decision_tree")
    make = DecisionTreeClassifier if is_classification(rows) else DecisionTreeRegressor
    progress(f"decision_tree: {len(rows.train):,} rows")
    return fit_trees(rows, used, partial(make, random_state=seed), trees=1)


ALGORITHM = Algorithm(
    description="One decision tree",
    tasks=CLASSIFICATION | NUMERIC,
    kinds=frozenset({"scikitlearn", "onnx"}),
    fit=fit,
    defaults=DEFAULTS,
    space={"max_depth": (2, 20), "min_samples_leaf": (1, 200)},
    quick={"max_depth": 8},
    supports_monotone=True,
    supports_weights=True,
)
