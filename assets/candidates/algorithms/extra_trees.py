"""Extremely randomised trees: like a random forest, but each branch parts the rows at a random place."""

from functools import partial
from typing import Any

from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet
from assets.candidates.trees import fit_trees, is_classification
from assets.tasks import CLASSIFICATION, NUMERIC

DEFAULTS: dict[str, Any] = {"trees": 100, "max_depth": 0, "min_samples_leaf": 5, "max_features": 0.5}


def fit(rows: TrainingSet, params: dict[str, Any], seed: int, threads: int, progress: Progress) -> Fitted:
    """Grow the trees side by side. Source: Geurts, Ernst and Wehenkel (2006)."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    used = merged(DEFAULTS, params, name="extra_trees")
    make = ExtraTreesClassifier if is_classification(rows) else ExtraTreesRegressor
    progress(f"extra_trees: {used['trees']} trees on {len(rows.train):,} rows")
    return fit_trees(rows, used, partial(make, used["trees"], random_state=seed, n_jobs=threads), trees=used["trees"])


ALGORITHM = Algorithm(
    description="Extremely randomised trees",
    tasks=CLASSIFICATION | NUMERIC,
    kinds=frozenset({"scikitlearn", "onnx"}),
    fit=fit,
    defaults=DEFAULTS,
    space={"max_features": (0.1, 1.0), "min_samples_leaf": (1, 100)},
    quick={"trees": 5},
    supports_monotone=True,
    supports_weights=True,
)
