"""Plots as PNG in a `data:` address: the only kind of picture that the Dagster UI shows inside metadata."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_INK, _ACCENT, _QUIET, _WARM = "#1f2933", "#2f6fed", "#9aa5b1", "#d64545"
# points of a scatter plot, a seeded sample: more only make it black
_POINTS = 2_000
# classes of a confusion matrix that still have room for numbers and names
_CELLS = 12


def roc(labels: NDArray[np.int_], scores: Mapping[str, NDArray[np.float64]], best: str) -> str:
    """ROC curves of all models, the best in colour."""
    from sklearn.metrics import roc_curve

    figure, axes = _figure("ROC on the test rows", "false positive rate", "true positive rate")
    for name, values in scores.items():
        x, y, _ = roc_curve(labels, values)
        axes.plot(x, y, color=_ACCENT if name == best else _QUIET, label=name, linewidth=2 if name == best else 1)
    axes.plot([0, 1], [0, 1], color=_QUIET, linestyle=":")
    axes.legend(fontsize=7, frameon=False)
    return _markdown(figure, "ROC")


def calibration(predicted: NDArray[np.float64], observed: NDArray[np.float64]) -> str:
    """Observed share against predicted probability, a point per bin."""
    figure, axes = _figure("Calibration", "predicted probability", "observed share")
    top = float(max(predicted.max(), observed.max())) * 1.05
    axes.plot([0, top], [0, top], color=_QUIET, linestyle=":")
    axes.plot(predicted, observed, color=_ACCENT, marker="o")
    return _markdown(figure, "Calibration")


def confusion(labels: NDArray[np.int_], predicted: NDArray[np.int_], names: Sequence[str]) -> str:
    """Confusion matrix: rows are the actual classes (places in the names), columns the predicted ones."""
    size = len(names)
    counts = np.bincount(labels * size + predicted, minlength=size * size).reshape(size, size)
    figure, axes = _figure("Confusion on the test rows", "predicted", "actual", height=3.2 if size <= _CELLS else 4.6)
    axes.imshow(counts, cmap="Blues")
    if size <= _CELLS:
        for (row, column), value in np.ndenumerate(counts):
            axes.text(column, row, f"{value:,}", ha="center", va="center", color=_INK, fontsize=8 if size < 5 else 6)  # noqa: PLR2004
        axes.set_xticks(range(size), names, rotation=45 if size > 2 else 0)  # noqa: PLR2004
        axes.set_yticks(range(size), names)
    return _markdown(figure, "Confusion")


def per_class(classes: Mapping[str, Mapping[str, float]], top: int = 20) -> str:
    """Precision, recall and F1 of each class, the most frequent ones first."""
    shown = sorted(classes.items(), key=lambda item: -item[1]["rows"])[:top]
    figure, axes = _figure("Classes on the test rows", "", "")
    places = np.arange(len(shown))
    for offset, (name, color) in enumerate((("precision", _QUIET), ("recall", _INK), ("f1", _ACCENT))):
        axes.bar(places + (offset - 1) * 0.27, [part[name] for _, part in shown], 0.25, color=color, label=name)
    axes.set_xticks(places, [name for name, _ in shown], rotation=45, ha="right")
    axes.legend(fontsize=7, frameon=False)
    return _markdown(figure, "Classes")


def predicted_actual(actual: NDArray[np.float64], predicted: NDArray[np.float64]) -> str:
    """Predicted against actual values, a seeded sample of points."""
    figure, axes = _figure("Predicted and actual", "actual", "predicted")
    chosen = sampled(len(actual))
    ends = [min(actual.min(), predicted.min()), max(actual.max(), predicted.max())]
    axes.plot(ends, ends, color=_QUIET, linestyle=":")
    axes.scatter(actual[chosen], predicted[chosen], color=_ACCENT, s=6, alpha=0.5, linewidths=0)
    return _markdown(figure, "Predicted and actual")


def residuals(actual: NDArray[np.float64], predicted: NDArray[np.float64]) -> str:
    """How the errors (predicted - actual) are distributed."""
    figure, axes = _figure("Errors", "predicted - actual", "rows")
    axes.hist(predicted - actual, bins=40, color=_ACCENT)
    axes.axvline(0, color=_INK, linestyle=":")
    return _markdown(figure, "Errors")


def over_time(moments: Sequence[Any], series: Mapping[str, Sequence[float]], title: str) -> str:
    """Lines over time, the first ones in strong colours."""
    figure, axes = _figure(title, "", "", width=8.0)
    for (name, values), color in zip(series.items(), (_INK, _ACCENT, _QUIET, _WARM), strict=False):
        axes.plot(moments, values, color=color, label=name, linewidth=1)
    axes.tick_params(axis="x", labelrotation=30, labelsize=7)
    axes.legend(fontsize=7, frameon=False)
    return _markdown(figure, title)


def cluster_sizes(clusters: NDArray[np.int_]) -> str:
    """How many rows each cluster has."""
    names, counts = np.unique(clusters, return_counts=True)
    figure, axes = _figure("Rows of each cluster", "cluster", "rows")
    axes.bar([str(name) for name in names], counts, color=_ACCENT)
    return _markdown(figure, "Clusters")


def cluster_map(points: NDArray[np.float64], clusters: NDArray[np.int_]) -> str:
    """Clusters on the first two principal components of standardised rows, shape (rows, columns)."""
    centred = points - points.mean(axis=0)
    _, spread, directions = np.linalg.svd(centred, full_matrices=False)
    heads = directions[:2]
    # the sign of a component is arbitrary: its largest weight is positive, so that the picture is always the same
    heads = heads * np.sign(heads[np.arange(len(heads)), np.abs(heads).argmax(axis=1)])[:, None]
    places = np.pad(centred @ heads.T, ((0, 0), (0, 2 - len(heads))))
    share = (spread[:2] ** 2).sum() / max((spread**2).sum(), 1e-12)
    figure, axes = _figure(f"First two components ({share:.0%} of the variance)", "", "")
    axes.scatter(places[:, 0], places[:, 1], c=clusters, cmap="tab10", s=8, alpha=0.7, linewidths=0)
    return _markdown(figure, "Cluster map")


def importance(gains: Mapping[str, float], top: int = 20) -> str:
    """The most important features by total gain."""
    ranked = sorted(gains.items(), key=lambda item: item[1])[-top:]
    figure, axes = _figure("Importance (gain)", "", "", height=4.5)
    axes.barh([name for name, _ in ranked], [value for _, value in ranked], color=_ACCENT)
    axes.tick_params(labelsize=7)
    return _markdown(figure, "Importance")


def over_batches(
    batches: Sequence[str], series: Mapping[str, Sequence[float | None]], title: str, *, every: int = 1
) -> str:
    """One line per series over batches (or rounds); every so many of them is named on the axis."""
    figure, axes = _figure(title, "", "")
    for (name, values), color in zip(series.items(), (_ACCENT, _QUIET, _INK, _WARM), strict=False):
        marker = "o" if every == 1 else None
        axes.plot(
            batches, [np.nan if value is None else value for value in values], marker=marker, label=name, color=color
        )
    axes.set_xticks(range(0, len(batches), every), list(batches)[::every])
    axes.tick_params(axis="x", labelrotation=45, labelsize=7)
    axes.legend(fontsize=7, frameon=False)
    return _markdown(figure, title)


def sampled(rows: int) -> NDArray[np.int_]:
    """Places of a seeded sample of rows, sorted: as many as a scatter plot can show."""
    return np.sort(np.random.default_rng(0).permutation(rows)[:_POINTS])


def _figure(title: str, x: str, y: str, *, height: float = 3.2, width: float = 4.6) -> tuple[Any, Any]:
    # the object interface: pyplot would keep every figure of the process alive
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=9, color=_INK, loc="left")
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _markdown(figure: Any, name: str) -> str:
    from matplotlib.text import Text

    # names are people's: a "$" in them starts no formula
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return f"![{name}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
