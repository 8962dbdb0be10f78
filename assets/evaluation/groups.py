"""What a model is worth in parts of the rows: the primary metric of slices, and how alike declared groups are treated.

Fairness is measured as Hardt et al., Equality of Opportunity in Supervised Learning (2016) do (true positive rate), as
demographic parity (positive rate), or by the primary metric.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.evaluation.metrics import task_metrics
from assets.spec import ProductSpec
from assets.tasks import CLASSIFICATION, Labels, Scores, predicted_classes

_MISSING = "(missing)"
# labels and scores of some rows -> how many rows count, and the measure of them (None: they don't define it)
Measure = Callable[[Labels, Scores], tuple[int, float | None]]


@dataclass(frozen=True)
class Group:
    """One group of a declared column.

    Args:
        column: an input of `gates.fairness.by`.
        name: its value; rows without one are a group, too.
        rows: those that the measure is of (of the true positive rate: those that are positive).
        value: the measure; None where the group is too small, or its rows don't define it.
    """

    column: str
    name: str
    rows: int
    value: float | None


def slice_metrics(
    spec: ProductSpec, rows: pl.DataFrame, labels: Labels, scores: Scores, classes: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """Primary metric of each large enough slice: column -> value -> metric; one of a single class has none."""
    found: dict[str, dict[str, float]] = {}
    for column in spec.gates.slices.by:
        if column not in rows.columns:
            continue
        found[column] = {}
        for name, mask in _parts(rows.get_column(column)):
            if mask.sum() >= spec.gates.slices.min_rows:
                metric = _primary(spec, labels[mask], scores[mask], classes)
                found[column] |= {} if metric is None else {name: metric}
    return found


def groups_of(
    spec: ProductSpec, rows: pl.DataFrame, labels: Labels, scores: Scores, classes: Sequence[str] = ()
) -> tuple[Group, ...]:
    """Every group of the columns of `gates.fairness.by`, with its measure if it has `min_rows` rows.

    Args:
        spec: says the columns, the measure and the threshold of a positive.
        rows: inputs of the test rows, shape (rows, columns).
        labels: as `assets.tasks.encode_labels` gives them, shape (rows,).
        scores: as models give them, see `assets.tasks`.
        classes: multiclass: in the order of the probabilities.
    """
    measure, least = _measure(spec, classes), spec.gates.fairness.min_rows
    found = []
    for column in spec.gates.fairness.by:
        for name, mask in _parts(rows.get_column(column)):
            count, value = measure(labels[mask], scores[mask])
            found.append(Group(column, name, count, value if count >= least else None))
    return tuple(found)


def nested(groups: Sequence[Group]) -> dict[str, dict[str, float]]:
    """The judged groups as a report keeps them: column -> group -> measure."""
    found: dict[str, dict[str, float]] = {}
    for group in groups:
        if group.value is not None:
            found.setdefault(group.column, {})[group.name] = group.value
    return found


def fairness_noise(spec: ProductSpec, groups: Sequence[Group]) -> float:
    """How far apart the most different groups may be by chance, where the measure is a share of rows; else 0.

    Normal approximation of the difference of two shares, at 5% over all pairs of the column (Bonferroni).
    """
    if spec.task != "binary" or spec.gates.fairness.measure == "metric":
        return 0.0
    found, widest = 0.0, -1.0
    for column in dict.fromkeys(group.column for group in groups):
        judged = [(group.value, group.rows) for group in groups if group.column == column and group.value is not None]
        if len(judged) < 2:  # noqa: PLR2004 - a gap needs two
            continue
        (low, few), (high, many) = min(judged), max(judged)
        if high - low > widest:
            pairs = len(judged) * (len(judged) - 1) / 2
            error = np.sqrt(low * (1 - low) / few + high * (1 - high) / many)
            widest, found = high - low, float(NormalDist().inv_cdf(1 - 0.05 / pairs) * error)
    return found


def measure_name(spec: ProductSpec) -> str:
    """What groups are compared by, in words; a number has no positives, and several classes have one each."""
    measure = spec.gates.fairness.measure
    if spec.task == "binary" and measure != "metric":
        return measure.replace("_", " ")
    if spec.task == "multiclass" and measure == "true_positive_rate":
        return "mean true positive rate of the classes"
    return spec.gates.primary


def _parts(values: pl.Series) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each value of a column, sorted, with the places of its rows."""
    texts = values.cast(pl.String).fill_null(_MISSING)
    for name in texts.unique().sort():
        yield name, (texts == name).to_numpy()


def _measure(spec: ProductSpec, classes: Sequence[str]) -> Measure:
    """Binary: a share of the rows, or of the positive rows, predicted positive; else a metric of the task."""
    measure, threshold = spec.gates.fairness.measure, spec.decision_threshold
    if spec.task == "binary" and measure == "positive_rate":
        return lambda _labels, scores: _share(scores >= threshold)
    if spec.task == "binary" and measure == "true_positive_rate":
        return lambda labels, scores: _share(scores[labels == 1] >= threshold)
    if spec.task == "multiclass" and measure == "true_positive_rate":
        return lambda labels, scores: (len(labels), _mean_recall(labels, predicted_classes("multiclass", scores, 0)))
    return lambda labels, scores: (len(labels), _primary(spec, labels, scores, classes))


def _share(called: NDArray[np.bool_]) -> tuple[int, float | None]:
    return len(called), float(called.mean()) if len(called) else None


def _mean_recall(labels: Labels, predicted: NDArray[np.int64]) -> float:
    names, places = np.unique(labels, return_inverse=True)
    hits = np.bincount(places, weights=labels == predicted, minlength=len(names))
    return float((hits / np.bincount(places)).mean())


def _primary(spec: ProductSpec, labels: Labels, scores: Scores, classes: Sequence[str]) -> float | None:
    """The primary metric of some rows; of a single class there is none."""
    if spec.task in CLASSIFICATION and len(np.unique(labels)) < 2:  # noqa: PLR2004 - two classes or more
        return None
    metrics = task_metrics(
        spec.task, labels, scores, threshold=spec.decision_threshold, classes=classes, seed=spec.seed
    )
    return metrics.get(spec.gates.primary)
