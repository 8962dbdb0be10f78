"""Random forest: many trees, each on a sample of the rows and, at each branch, of the columns."""

from functools import partial
from typing import Any

from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet
from assets.candidates.trees import fit_trees, is_classification
from assets.tasks import CLASSIFICATION, NUMERIC

DEFAULTS: dict[str, Any] = {"trees": 100, "max_depth": 0, "min_samples_leaf": 5, "max_features": 0.3}
# rows that each tree sees: from there on, more trees help more than more rows
_SAMPLED = 20_000


def fit(rows: TrainingSet, params: dict[str, Any], seed: int, threads: int, progress: Progress) -> Fitted:
    """Grow the trees side by side. Source: Breiman (2001)."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    used = merged(DEFAULTS, params, name="random_forest")
    sampled = min(len(rows.train), _SAMPLED)
    make = RandomForestClassifier if is_classification(rows) else RandomForestRegressor
    progress(f"random_forest: {used['trees']} trees on {sampled:,} of {len(rows.train):,} rows each")
    options = {"max_samples": sampled, "random_state": seed, "n_jobs": threads}
    return fit_trees(rows, used, partial(make, used["trees"], **options), trees=used["trees"], sampled=sampled)


ALGORITHM = Algorithm(
    description="Random forest",
    tasks=CLASSIFICATION | NUMERIC,
    kinds=frozenset({"scikitlearn", "onnx"}),
    fit=fit,
    defaults=DEFAULTS,
    space={"max_features": (0.1, 1.0), "min_samples_leaf": (1, 100)},
    quick={"trees": 5},
    supports_monotone=True,
    supports_weights=True,
)
