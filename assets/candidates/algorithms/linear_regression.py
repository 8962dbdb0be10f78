"""Ridge regression on standardised numbers and one-hot categories: the linear model to hold trees against."""

from typing import Any

import numpy as np

from assets.candidates.preprocessing import fit_preprocessing
from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet
from assets.tasks import NUMERIC

DEFAULTS: dict[str, Any] = {"l2": 1.0}


def fit(rows: TrainingSet, params: dict[str, Any], _seed: int, _threads: int, progress: Progress) -> Fitted:
    """Solve least squares with a penalty on large weights (Hoerl and Kennard 1970); validation rows aren't used."""
    from sklearn.linear_model import Ridge

    used = merged(DEFAULTS, params, name="linear_regression")
    ready = fit_preprocessing(rows, scale=True)
    progress(f"linear_regression: {len(rows.train_labels):,} rows, {ready.width} weights")
    model = Ridge(alpha=used["l2"], solver="cholesky")
    model.fit(ready.transform(rows.train).astype(np.float64), rows.train_labels, sample_weight=rows.weights)
    graph, value = ready.graph()
    weights, intercept = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    return Fitted("model.onnx", graph.bytes_of(graph.linear(value, weights, intercept)), used)


ALGORITHM = Algorithm(
    description="Linear model with a penalty on large weights (ridge)",
    tasks=NUMERIC,
    kinds=frozenset({"scikitlearn", "onnx"}),
    fit=fit,
    defaults=DEFAULTS,
    space={"l2": (0.01, 1000.0)},
    supports_weights=True,
)
