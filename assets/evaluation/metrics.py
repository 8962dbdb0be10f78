"""Metrics of a binary classifier, all rows, by scikit-learn where it has them."""

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 10


def binary_metrics(
    labels: NDArray[np.int_], probabilities: NDArray[np.float64], *, threshold: float
) -> dict[str, float]:
    """Ranking, probability and class metrics.

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
    classes = (probabilities >= threshold).astype(int)
    both = 0 < labels.sum() < len(labels)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, classes, average="binary", zero_division=0.0
    )
    return {
        "rows": float(len(labels)),
        "positive_share": float(labels.mean()),
        "predicted_positive_share": float(classes.mean()),
        "roc_auc": float(metrics.roc_auc_score(labels, probabilities)) if both else 0.5,
        "average_precision": float(metrics.average_precision_score(labels, probabilities)) if both else 0.0,
        "log_loss": float(metrics.log_loss(labels, probabilities, labels=[0, 1])),
        "brier": float(np.mean((probabilities - labels) ** 2)),
        "calibration_error": calibration_error(labels, probabilities),
        "accuracy": float((classes == labels).mean()),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def calibration_curve(
    labels: NDArray[np.int_], probabilities: NDArray[np.float64]
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


def calibration_error(labels: NDArray[np.int_], probabilities: NDArray[np.float64]) -> float:
    """Expected calibration error over equally filled bins. Source: Naeini et al. (2015); Nixon et al. (2019)."""
    predicted, observed, weights = calibration_curve(labels, probabilities)
    return float(np.sum(np.abs(predicted - observed) * weights))
