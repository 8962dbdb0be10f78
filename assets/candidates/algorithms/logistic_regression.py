"""Logistic regression on standardised numbers and one-hot categories: the linear model to hold trees against."""

import warnings
from typing import Any

import numpy as np

from assets.candidates.preprocessing import fit_preprocessing
from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet
from assets.tasks import CLASSIFICATION

DEFAULTS: dict[str, Any] = {"l2": 1.0, "max_iterations": 50, "tolerance": 1e-4}
# Newton's method solves for all weights at once: it needs the square of their number
_NEWTON_WEIGHTS = 1_000
_STEPS_WITHOUT_NEWTON = 10


def fit(rows: TrainingSet, params: dict[str, Any], _seed: int, _threads: int, progress: Progress) -> Fitted:
    """Fit by Newton's method, or L-BFGS where there are many weights; the validation rows aren't used."""
    from sklearn.linear_model import LogisticRegression

    used = merged(DEFAULTS, params, name="logistic_regression")
    ready = fit_preprocessing(rows, scale=True)
    weights = ready.width * (len(rows.classes) if rows.task == "multiclass" else 1)
    newton = weights <= _NEWTON_WEIGHTS
    most = used["max_iterations"] * (1 if newton else _STEPS_WITHOUT_NEWTON)
    model = LogisticRegression(
        C=1 / used["l2"] if used["l2"] else np.inf,
        solver="newton-cholesky" if newton else "lbfgs",
        max_iter=most,
        tol=used["tolerance"],
    )
    progress(f"logistic_regression: {len(rows.train_labels):,} rows, {weights} weights")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of slow or ill-conditioned steps: the history says how many it took
        model.fit(ready.transform(rows.train).astype(np.float64), rows.train_labels, sample_weight=rows.weights)
    found, intercept = model.coef_, model.intercept_
    if rows.task == "multiclass" and len(found) == 1:
        # of two classes scikit-learn keeps the log odds of the second: those of the first to itself are 0
        found, intercept = np.vstack([np.zeros_like(found), found]), np.array([0.0, intercept[0]])
    graph, value = ready.graph()
    scores = graph.probabilities(graph.linear(value, found, intercept), rows.task)
    history = {"iterations": int(np.max(model.n_iter_)), "max_iterations": most}
    return Fitted("model.onnx", graph.bytes_of(scores), used, history)


ALGORITHM = Algorithm(
    description="Linear model of the log odds",
    tasks=CLASSIFICATION,
    kinds=frozenset({"scikitlearn", "onnx"}),
    fit=fit,
    defaults=DEFAULTS,
    space={"l2": (0.01, 1000.0)},
    supports_weights=True,
)
