"""The tasks a product can have, and what differs between them in one place: outcomes, scores, metrics' directions.

A model's *scores* are what its file gives for encoded rows: binary (rows,) probability of the positive class;
multiclass (rows, classes) probabilities; regression and forecast (rows,) values; clustering (rows, clusters), of
which the largest is the row's cluster. Serving imports this module, so it knows neither Dagster nor scikit-learn.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

Task = Literal["binary", "multiclass", "regression", "forecast", "clustering"]
Labels = NDArray[Any]
Scores = NDArray[np.float64]

TASKS: tuple[Task, ...] = get_args(Task)
CLASSIFICATION = frozenset({"binary", "multiclass"})
NUMERIC = frozenset({"regression", "forecast"})

# metric -> 1 where more is better, -1 where less is
DIRECTIONS: dict[str, int] = {
    "roc_auc": 1,
    "average_precision": 1,
    "f1": 1,
    "f1_weighted": 1,
    "f1_macro": 1,
    "accuracy": 1,
    "balanced_accuracy": 1,
    "log_loss": -1,
    "brier": -1,
    "r2": 1,
    "mae": -1,
    "rmse": -1,
    "mape": -1,
    "smape": -1,
    "pinball": -1,
    "silhouette": 1,
}
# what may decide, the default first
PRIMARIES: dict[Task, tuple[str, ...]] = {
    "binary": ("roc_auc", "average_precision", "f1_weighted", "f1_macro", "f1", "accuracy", "log_loss", "brier"),
    "multiclass": ("f1_macro", "f1_weighted", "roc_auc", "accuracy", "balanced_accuracy", "log_loss", "brier"),
    "regression": ("r2", "rmse", "mae", "mape", "smape", "pinball"),
    "forecast": ("mape", "smape", "mae", "rmse", "r2", "pinball"),
    "clustering": ("silhouette",),
}
# how much better than the baseline, in the metric's own unit, unless the spec says
BEATS_BASELINE_BY: dict[Task, float] = {
    "binary": 0.05,
    "multiclass": 0.05,
    "regression": 0.05,
    "forecast": 0.0,
    "clustering": 0.05,
}
# type of the label column in the label table
LABEL_TYPES: dict[Task, str] = {
    "binary": "BOOLEAN",
    "multiclass": "VARCHAR",
    "regression": "DOUBLE",
    "forecast": "DOUBLE",
}
UNKNOWN_CLASS = -1


def improvement(metric: str, value: float, reference: float) -> float:
    """How much better a value of a metric is than another, whichever way the metric goes."""
    return DIRECTIONS[metric] * (value - reference)


def classes_of(task: Task, labels: pl.Series) -> tuple[str, ...]:
    """The classes of training labels, sorted; none where the outcome is a number or there is none."""
    if task == "binary":
        return ("false", "true")
    if task == "multiclass":
        return tuple(labels.drop_nulls().cast(pl.String).unique().sort().to_list())
    return ()


def encode_labels(task: Task, labels: pl.Series, classes: Sequence[str]) -> Labels:
    """Labels as algorithms and metrics take them, shape (rows,).

    Binary 0 and 1, multiclass the place in `classes` (-1 for a class that training has not seen), else float64.
    """
    if task == "binary":
        return labels.cast(pl.Int64).to_numpy()
    if task == "multiclass":
        codes = labels.cast(pl.String).replace_strict(list(classes), range(len(classes)), default=UNKNOWN_CLASS)
        return codes.cast(pl.Int64).to_numpy()
    if task == "clustering":
        return np.zeros(len(labels), dtype=np.int64)
    return labels.cast(pl.Float64).to_numpy()


def predicted_classes(task: Task, scores: Scores, threshold: float) -> NDArray[np.int64]:
    """The class (or cluster) that scores mean, as its place, shape (rows,)."""
    if task == "binary":
        return (scores >= threshold).astype(np.int64)
    return np.argmax(scores, axis=1).astype(np.int64) if len(scores) else np.empty(0, dtype=np.int64)


def prediction_columns(task: Task, scores: Scores, classes: Sequence[str], threshold: float) -> dict[str, pl.Series]:
    """What the predictions table keeps of scores, by column name; `scores_of` is the way back.

    binary: `probability`, `is_positive`; multiclass: `predicted`, `probability` (of that class), `probabilities`;
    regression and forecast: `predicted`; clustering: `cluster`, `scores`.
    """
    if task == "binary":
        return {
            "probability": pl.Series(scores, dtype=pl.Float64),
            "is_positive": pl.Series(scores >= threshold, dtype=pl.Boolean),
        }
    if task in NUMERIC:
        return {"predicted": pl.Series(scores, dtype=pl.Float64)}
    places = predicted_classes(task, scores, threshold)
    lists = pl.Series(scores.tolist(), dtype=pl.List(pl.Float64))
    if task == "clustering":
        return {"cluster": pl.Series(places, dtype=pl.Int64), "scores": lists}
    return {
        "predicted": pl.Series([classes[place] for place in places], dtype=pl.String),
        "probability": pl.Series(scores.max(axis=1) if len(scores) else [], dtype=pl.Float64),
        "probabilities": lists,
    }


def scores_of(task: Task, predictions: pl.DataFrame) -> Scores:
    """The scores behind rows of the predictions table."""
    column = {"binary": "probability", "multiclass": "probabilities", "clustering": "scores"}.get(task, "predicted")
    values = predictions.get_column(column)
    if task in ("multiclass", "clustering"):
        return np.array(values.to_list(), dtype=np.float64)
    return values.to_numpy().astype(np.float64)


def watched_series(task: Task, scores: Scores, classes: Sequence[str]) -> pl.Series:
    """The one column whose distribution says whether predictions drifted: probability, value, class or cluster."""
    if task == "multiclass":
        return pl.Series([classes[place] for place in predicted_classes(task, scores, 0)], dtype=pl.String)
    if task == "clustering":
        return pl.Series(predicted_classes(task, scores, 0)).cast(pl.String)
    return pl.Series(scores, dtype=pl.Float64)
