"""Metrics of every task, all rows, by scikit-learn where it has them; which way each goes is in `assets.tasks`.

`mape` and `smape` are in percent, as they are published; `mae`, `rmse` and `pinball` in the label's unit.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from assets.errors import HeadraceError
from assets.tasks import NUMERIC, UNKNOWN_CLASS, Labels, Scores, Task, predicted_classes

CALIBRATION_BINS = 10
# rows of the silhouette's sample: it costs the square of them
SILHOUETTE_ROWS = 5_000
# of the pinball loss: the median, so it is half the mean absolute error
PINBALL_QUANTILE = 0.5
UNSEEN = "(not in training)"
# what a table shows of a task, the most telling first
SHOWN: dict[Task, tuple[str, ...]] = {
    "binary": ("roc_auc", "average_precision", "log_loss", "brier", "f1", "f1_weighted"),
    "multiclass": ("f1_macro", "f1_weighted", "accuracy", "roc_auc", "log_loss", "brier"),
    "regression": ("r2", "rmse", "mae", "mape", "smape"),
    "forecast": ("mape", "r2", "smape", "mae", "rmse"),
    "clustering": ("silhouette", "clusters", "smallest_cluster_share"),
}
# probabilities of 0 and 1 would make the log loss infinite
_CLIP = 1e-15


def task_metrics(
    task: Task,
    labels: Labels,
    scores: Scores,
    *,
    threshold: float = 0.5,
    classes: Sequence[str] = (),
    matrix: NDArray[np.float64] | None = None,
    categorical: Sequence[int] = (),
    seed: int = 0,
) -> dict[str, float]:
    """The metrics of a task; those that these rows don't define are left out.

    Args:
        task: which metrics.
        labels: as `assets.tasks.encode_labels` gives them, shape (rows,); not looked at for clustering.
        scores: as models give them, see `assets.tasks`.
        threshold: binary: probability from which the class is positive.
        classes: multiclass: in the order of the probabilities.
        matrix: clustering: the rows as numbers, shape (rows, columns), NaN where there is none.
        categorical: clustering: places of the matrix columns that hold codes of categories.
        seed: of the silhouette's sample.

    Raises:
        HeadraceError: a score is no number.
    """
    if len(scores) == 0:
        return {"rows": 0.0}
    if not np.isfinite(scores).all():
        raise HeadraceError(
            "a model's scores are NaN or infinite",
            where="metrics",
            expected="finite scores",
            found=f"{int((~np.isfinite(scores)).sum())} of {scores.size}",
            fix="look at the candidate's parameters and features, and train it again",
        )
    if task == "binary":
        return binary_metrics(labels, scores, threshold=threshold)
    if task == "multiclass":
        return _multiclass_metrics(labels, scores, classes)
    if task in NUMERIC:
        return _numeric_metrics(labels, scores)
    if matrix is None:
        raise ValueError("the metrics of a clustering need the rows' matrix")
    return _clustering_metrics(matrix, predicted_classes(task, scores, threshold), categorical, seed)


def binary_metrics(labels: Labels, probabilities: Scores, *, threshold: float) -> dict[str, float]:
    """Ranking, probability and class metrics of two classes.

    Args:
        labels: 0 or 1, shape (rows,).
        probabilities: of class 1, shape (rows,).
        threshold: probability from which the class is 1.

    Returns:
        metric name -> value; `roc_auc` is 0.5 where only one class is present.
    """
    from sklearn import metrics

    if len(labels) == 0:
        return {"rows": 0.0}
    predicted = (probabilities >= threshold).astype(int)
    both = 0 < labels.sum() < len(labels)
    by_class, averages = _of_classes(labels, predicted)
    return {
        "rows": float(len(labels)),
        "positive_share": float(labels.mean()),
        "predicted_positive_share": float(predicted.mean()),
        "roc_auc": float(metrics.roc_auc_score(labels, probabilities)) if both else 0.5,
        "average_precision": float(metrics.average_precision_score(labels, probabilities)) if both else 0.0,
        "log_loss": float(metrics.log_loss(labels, probabilities, labels=[0, 1])),
        "brier": float(np.mean((probabilities - labels) ** 2)),
        "calibration_error": calibration_error(labels, probabilities),
        "calibration_noise": calibration_noise(probabilities),
        **by_class.get(1, {"precision": 0.0, "recall": 0.0, "f1": 0.0}),
        **averages,
    }


def class_metrics(
    task: Task, labels: Labels, scores: Scores, *, threshold: float = 0.5, classes: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and rows of each class, by its name; rows of classes training hasn't seen are one more.

    Args:
        task: binary or multiclass; other tasks have no classes and so no rows.
        labels: places in `classes`, shape (rows,).
        scores: see `assets.tasks`.
        threshold: binary: probability from which the class is positive.
        classes: names; of binary false and true.
    """
    from sklearn import metrics

    if task not in ("binary", "multiclass") or len(labels) == 0:
        return {}
    names = dict(enumerate(("false", "true") if task == "binary" else classes))
    if (labels == UNKNOWN_CLASS).any():
        names[UNKNOWN_CLASS] = UNSEEN
    parts = metrics.precision_recall_fscore_support(
        labels, predicted_classes(task, scores, threshold), labels=list(names), average=None, zero_division=0.0
    )
    return {
        name: dict(zip(("precision", "recall", "f1", "rows"), map(float, values), strict=True))
        for name, values in zip(names.values(), zip(*parts, strict=True), strict=True)
    }


def _multiclass_metrics(labels: Labels, probabilities: Scores, classes: Sequence[str]) -> dict[str, float]:
    """Of more than two classes; a row whose class training hasn't seen (-1) is always wrong.

    The Brier score is the sum over classes (0 to 2; Brier 1950), `roc_auc` the mean over the classes of one against
    the rest, and `calibration_error` that of the class called, whose probability should be how often it is right
    (Guo et al. 2017).
    """
    from sklearn import metrics

    predicted = predicted_classes("multiclass", probabilities, 0)
    truth = labels[:, None] == np.arange(len(classes))
    ranked = [place for place in range(len(classes)) if 0 < truth[:, place].sum() < len(labels)]
    aucs = [float(metrics.roc_auc_score(truth[:, place], probabilities[:, place])) for place in ranked]
    own = np.where(truth, probabilities, 0).sum(axis=1)
    unseen = labels == UNKNOWN_CLASS
    return {
        "rows": float(len(labels)),
        "predicted_classes": float(len(np.unique(predicted))),
        "unseen_share": float(unseen.mean()),
        "roc_auc": float(np.mean(aucs)) if aucs else 0.5,
        "log_loss": float(-np.log(np.clip(own, _CLIP, 1)).mean()),
        "brier": float((((probabilities - truth) ** 2).sum(axis=1) + unseen).mean()),
        "calibration_error": calibration_error(predicted == labels, probabilities.max(axis=1)),
        "calibration_noise": calibration_noise(probabilities.max(axis=1)),
        **_of_classes(labels, predicted)[1],
    }


def _of_classes(labels: Labels, predicted: NDArray[np.int64]) -> tuple[dict[int, dict[str, float]], dict[str, float]]:
    """Precision, recall and F1 of each class that is there or is predicted, and what they are on average.

    One call of scikit-learn instead of one per average: each checks its arguments for milliseconds.
    """
    from sklearn import metrics

    names = np.union1d(labels, predicted)
    precision, recall, f1, rows = metrics.precision_recall_fscore_support(
        labels, predicted, labels=names, average=None, zero_division=0.0
    )
    by_class = {
        int(name): {"precision": float(precision[place]), "recall": float(recall[place]), "f1": float(f1[place])}
        for place, name in enumerate(names)
    }
    return by_class, {
        "accuracy": float((predicted == labels).mean()),
        "balanced_accuracy": float(recall[rows > 0].mean()),
        "f1_weighted": float(np.average(f1, weights=rows)),
        "f1_macro": float(f1.mean()),
    }


def _numeric_metrics(actual: Labels, predicted: Scores) -> dict[str, float]:
    """Of a number. Rows whose actual value is 0 have no relative error: `mape` is of the other `mape_rows`.

    `smape` is |predicted - actual| by the mean of both magnitudes, 0 to 200 percent, 0 where both are 0 (Makridakis
    1993); `r2` needs two rows; `bias` is the mean of predicted - actual.
    """
    from sklearn import metrics

    error = np.abs(predicted - actual)
    size = (np.abs(predicted) + np.abs(actual)) / 2
    nonzero = actual != 0
    found = {
        "rows": float(len(actual)),
        "mae": float(error.mean()),
        "rmse": float(metrics.root_mean_squared_error(actual, predicted)),
        "pinball": float(metrics.mean_pinball_loss(actual, predicted, alpha=PINBALL_QUANTILE)),
        "smape": float(100 * np.divide(error, size, out=np.zeros_like(error), where=size > 0).mean()),
        "bias": float((predicted - actual).mean()),
        "deviation": float(actual.std()),
        "predicted_deviation": float(predicted.std()),
        "mape_rows": float(nonzero.sum()),
    }
    if nonzero.any():
        found["mape"] = float(100 * (error[nonzero] / np.abs(actual[nonzero])).mean())
    if len(actual) > 1:
        found["r2"] = float(metrics.r2_score(actual, predicted))
    return found


def _clustering_metrics(
    matrix: NDArray[np.float64], clusters: NDArray[np.int64], categorical: Sequence[int], seed: int
) -> dict[str, float]:
    counts = np.unique(clusters, return_counts=True)[1]
    return {
        "rows": float(len(matrix)),
        "clusters": float(len(counts)),
        "smallest_cluster_share": float(counts.min() / len(matrix)),
        "silhouette": float(np.mean(silhouettes(matrix, clusters, categorical, seed))),
    }


def silhouettes(
    matrix: NDArray[np.float64], clusters: NDArray[np.int64], categorical: Sequence[int], seed: int
) -> NDArray[np.float64]:
    """Silhouette (Rousseeuw 1987) of each of a seeded sample of the standardised rows; 0 where there is one cluster.

    The same rows for every clustering of equally many, so that two can be compared row by row.
    """
    from sklearn import metrics

    rows = np.sort(np.random.default_rng(seed).permutation(len(matrix))[:SILHOUETTE_ROWS])
    sample, places = standardised(matrix[rows], categorical), clusters[rows]
    if not 1 < len(np.unique(places)) < len(places):
        return np.zeros(len(rows))
    return np.asarray(metrics.silhouette_samples(sample, places), dtype=np.float64)


def standardised(matrix: NDArray[np.float64], categorical: Sequence[int] = ()) -> NDArray[np.float64]:
    """Rows between which distances mean something.

    Args:
        matrix: encoded rows, shape (rows, columns), NaN where there is no value.
        categorical: places of the columns that hold codes of categories.

    Returns:
        the number columns with mean 0 and deviation 1, their median where there is no value, then a column of 0 and 1
        for each code that is there.
    """
    numbers = np.delete(matrix, list(categorical), axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without any number has no median: 0 does
        medians = np.nan_to_num(np.nanmedian(numbers, axis=0))
    filled = np.where(np.isnan(numbers), medians, numbers)
    deviations = filled.std(axis=0)
    # a constant column's deviation may be a rounding error of its mean
    varied = deviations > np.finfo(np.float32).eps * np.abs(filled.mean(axis=0))
    scaled = (filled - filled.mean(axis=0)) / np.where(varied, deviations, 1)
    codes = (matrix[:, place] for place in categorical)
    flags = [(column[:, None] == np.unique(column[~np.isnan(column)])).astype(np.float64) for column in codes]
    return np.concatenate([scaled, *flags], axis=1)


def calibration_curve(
    labels: Labels, probabilities: Scores
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean probability, observed share and weight of each of at most ten bins with about equally many rows.

    Equal probabilities share a bin: divided, their bins would differ by the order of the rows alone.
    """
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]))
    places = np.searchsorted(edges, probabilities, side="right")
    counts = np.bincount(places)
    filled = counts > 0
    predicted = np.bincount(places, weights=probabilities)[filled] / counts[filled]
    observed = np.bincount(places, weights=labels)[filled] / counts[filled]
    return predicted, observed, counts[filled] / len(labels)


def calibration_error(labels: Labels, probabilities: Scores) -> float:
    """Expected calibration error over equally filled bins. Source: Naeini et al. (2015); Nixon et al. (2019)."""
    predicted, observed, weights = calibration_curve(labels, probabilities)
    return float(np.sum(np.abs(predicted - observed) * weights))


def calibration_noise(probabilities: Scores) -> float:
    """The calibration error that chance alone gives probabilities that are exactly right, on so many rows.

    A bin of n rows is off by sqrt(2 p (1 - p) / (pi n)) on average: the mean of a half-normal. With few rows much of
    the error is this. Source: Roelofs et al., Mitigating Bias in Calibration Error Estimation (2022).
    """
    predicted, _, weights = calibration_curve(np.zeros(len(probabilities)), probabilities)
    likely = np.clip(predicted, 0, 1)
    return float(np.sum(weights * np.sqrt(2 * likely * (1 - likely) / (np.pi * weights * len(probabilities)))))
