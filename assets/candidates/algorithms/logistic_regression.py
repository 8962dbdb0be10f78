"""Logistic regression on standardised numbers and one-hot categories: the linear model to hold trees against."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet

DEFAULTS: dict[str, Any] = {"l2": 1.0, "max_iterations": 50, "tolerance": 1e-4}


def fit(rows: TrainingSet, params: dict[str, Any], _seed: int, _threads: int, progress: Progress) -> Fitted:
    """Fit by Newton's method and fold imputation and scaling into one ONNX graph.

    Everything fitted (medians, scales, weights) comes from the training rows; the validation rows aren't used.
    """
    from skl2onnx import to_onnx
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    used = merged(DEFAULTS, params, name="logistic_regression")
    categorical = rows.categorical
    numeric = [place for place in range(len(rows.columns)) if place not in set(categorical)]
    sizes = [len(rows.schema.categories[rows.columns[place]]) for place in categorical]
    # place -1 stands for an unknown or missing category, so that it is a column of its own
    places: list[NDArray[np.float32]] = [np.arange(-1, size, dtype=np.float32) for size in sizes]
    model = make_pipeline(
        ColumnTransformer(
            [
                (
                    # a column without any value stays, as zeros: the graph has the columns of the manifest
                    "numbers",
                    make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()),
                    numeric,
                ),
                (
                    "categories",
                    make_pipeline(
                        SimpleImputer(strategy="constant", fill_value=-1.0, keep_empty_features=True),
                        OneHotEncoder(
                            categories=places, handle_unknown="ignore", sparse_output=False, dtype=np.float32
                        ),
                    ),
                    categorical,
                ),
            ]
        ),
        LogisticRegression(
            C=1 / used["l2"], solver="newton-cholesky", max_iter=used["max_iterations"], tol=used["tolerance"]
        ),
    )
    progress(f"logistic_regression: {len(rows.train_labels):,} rows, {len(numeric)} numbers, {sum(sizes)} categories")
    matrix = rows.train.astype(np.float32)
    model.fit(matrix, rows.train_labels)
    graph = to_onnx(model, matrix[:1], options={"zipmap": False}, target_opset=17)
    linear = model[-1]
    return Fitted(
        "model.onnx", graph.SerializeToString(deterministic=True), used, {"iterations": int(np.max(linear.n_iter_))}
    )


ALGORITHM = Algorithm(
    description="Linear model of the log odds",
    tasks=frozenset({"binary"}),
    kinds=frozenset({"scikitlearn", "onnx"}),
    fit=fit,
)
