"""Gaussian naive Bayes: each column on its own says which class is likely."""

from typing import Any

import numpy as np

from assets.candidates.preprocessing import fit_preprocessing
from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet
from assets.tasks import CLASSIFICATION

# the smoothing is a share of the largest variance; without it a category that a class lacks would decide alone
DEFAULTS: dict[str, Any] = {"smoothing": 0.01}


def fit(rows: TrainingSet, params: dict[str, Any], _seed: int, _threads: int, progress: Progress) -> Fitted:
    """Mean and variance of each column in each class; categories count as columns of 0 and 1."""
    from sklearn.naive_bayes import GaussianNB

    used = merged(DEFAULTS, params, name="naive_bayes")
    ready = fit_preprocessing(rows, scale=True)
    progress(f"naive_bayes: {len(rows.train_labels):,} rows, {ready.width} columns")
    model = GaussianNB(var_smoothing=used["smoothing"])
    model.fit(ready.transform(rows.train).astype(np.float64), rows.train_labels, sample_weight=rows.weights)
    graph, value = ready.graph()
    densities = graph.log_densities(value, model.theta_, model.var_, model.class_prior_)
    return Fitted("model.onnx", graph.bytes_of(graph.add("Softmax", densities, axis=1)), used)


ALGORITHM = Algorithm(
    description="Gaussian naive Bayes",
    tasks=CLASSIFICATION,
    kinds=frozenset({"scikitlearn", "onnx"}),
    fit=fit,
    defaults=DEFAULTS,
    space={"smoothing": (1e-4, 1.0)},
    supports_weights=True,
)
