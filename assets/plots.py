"""Plots as PNG in a `data:` address: the only kind of picture that the Dagster UI shows inside metadata."""

import base64
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

INK, ACCENT, QUIET, WARM = "#1f2933", "#2f6fed", "#9aa5b1", "#d64545"
# points of a scatter plot, a seeded sample: more only make it black
_POINTS = 2_000
# letters of a bar's name that still leave room for the bar
_NAME_LENGTH = 32
# classes of a confusion matrix that still have room for numbers and names
_CELLS = 12


def roc(labels: NDArray[np.int_], scores: Mapping[str, NDArray[np.float64]], best: str) -> str:
    """ROC curves of all models, the best in colour."""
    from sklearn.metrics import roc_curve

    drawn, axes = figure("ROC on the test rows", "false positive rate", "true positive rate")
    for name, values in scores.items():
        x, y, _ = roc_curve(labels, values)
        axes.plot(x, y, color=ACCENT if name == best else QUIET, label=name, linewidth=2 if name == best else 1)
    axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":")
    # searching for the best place among thousands of points costs as much as the rest
    axes.legend(fontsize=7, frameon=False, loc="lower right")
    return markdown(drawn, "ROC")


def calibration(predicted: NDArray[np.float64], observed: NDArray[np.float64]) -> str:
    """Observed share against predicted probability, a point per bin."""
    drawn, axes = figure("Calibration", "predicted probability", "observed share")
    top = float(max(predicted.max(), observed.max())) * 1.05
    axes.plot([0, top], [0, top], color=QUIET, linestyle=":")
    axes.plot(predicted, observed, color=ACCENT, marker="o")
    return markdown(drawn, "Calibration")


def confusion(labels: NDArray[np.int_], predicted: NDArray[np.int_], names: Sequence[str]) -> str:
    """Confusion matrix: rows are the actual classes (places in the names), columns the predicted ones."""
    size = len(names)
    counts = np.bincount(labels * size + predicted, minlength=size * size).reshape(size, size)
    drawn, axes = figure("Confusion on the test rows", "predicted", "actual", height=3.2 if size <= _CELLS else 4.6)
    axes.imshow(counts, cmap="Blues")
    if size <= _CELLS:
        for (row, column), value in np.ndenumerate(counts):
            axes.text(column, row, f"{value:,}", ha="center", va="center", color=INK, fontsize=8 if size < 5 else 6)  # noqa: PLR2004
        axes.set_xticks(range(size), names, rotation=45 if size > 2 else 0)  # noqa: PLR2004
        axes.set_yticks(range(size), names)
    return markdown(drawn, "Confusion")


def per_class(classes: Mapping[str, Mapping[str, float]], top: int = 20) -> str:
    """Precision, recall and F1 of each class, the most frequent ones first."""
    shown = sorted(classes.items(), key=lambda item: -item[1]["rows"])[:top]
    series = {kind: [part[kind] for _, part in shown] for kind in ("precision", "recall", "f1")}
    return grouped([name for name, _ in shown], series, "Classes on the test rows")


def grouped(names: Sequence[str], series: Mapping[str, Sequence[float]], title: str) -> str:
    """Bars side by side at each name: one per series, of which there are at most three."""
    drawn, axes = figure(title, "", "")
    places, width = np.arange(len(names)), 0.81 / len(series)
    for place, (color, (name, values)) in enumerate(zip((QUIET, INK, ACCENT), series.items(), strict=False)):
        middle = places + (place - (len(series) - 1) / 2) * width
        axes.bar(middle, values, 0.93 * width, color=color, label=name)
    axes.set_xticks(places, names, rotation=45, ha="right")
    axes.legend(fontsize=7, frameon=False)
    return markdown(drawn, title)


def bars(
    values: Mapping[str, float],
    title: str,
    *,
    limit: float | None = None,
    best: str = "",
    failed: Collection[str] = (),
    top: int = 20,
) -> str:
    """One bar per name, the first one on top.

    Args:
        values: name -> length of its bar; those after `top` are left out.
        title: of the picture.
        limit: a dashed line: the floor, or the ceiling.
        best: the bar in the strong colour.
        failed: the bars in the colour of what is wrong.
        top: how many are drawn.
    """
    shown = list(values.items())[:top][::-1]
    drawn, axes = figure(title, "", "", height=1.2 + 0.28 * max(len(shown), 2))
    colors = [WARM if name in failed else ACCENT if name == best else QUIET for name, _ in shown]
    places = np.arange(len(shown))
    made = axes.barh(places, [value for _, value in shown], color=colors)
    axes.bar_label(made, fmt="%.4g", fontsize=7, padding=2)
    axes.set_yticks(places, [_cut(name) for name, _ in shown])
    axes.margins(x=0.12)
    if limit is not None:
        axes.axvline(limit, color=INK, linestyle="--", linewidth=1)
    return markdown(drawn, title)


def distribution(
    parts: Mapping[str, NDArray[np.float64]], title: str, x: str, *, lines: Mapping[str, float] | None = None
) -> str:
    """How values are distributed, one outline per part, each with an area of 1.

    Args:
        parts: name -> values; parts without values are left out.
        title: of the picture.
        x: what the values are.
        lines: name -> a place that is marked.
    """
    drawn, axes = figure(title, x, "")
    filled = {name: values for name, values in parts.items() if len(values)}
    edges = np.histogram_bin_edges(np.concatenate(list(filled.values())), bins=40)
    for color, (name, values) in zip((QUIET, ACCENT, INK), filled.items(), strict=False):
        axes.stairs(*np.histogram(values, edges, density=True), color=color, fill=True, alpha=0.6, label=name)
    for color, (name, place) in zip((INK, WARM), (lines or {}).items(), strict=False):
        axes.axvline(place, color=color, linestyle="--", linewidth=1, label=f"{name} {place:.3g}")
    axes.set_yticks([])
    axes.legend(fontsize=7, frameon=False, loc="upper right")
    return markdown(drawn, title)


def predicted_actual(actual: NDArray[np.float64], predicted: NDArray[np.float64]) -> str:
    """Predicted against actual values, a seeded sample of points."""
    drawn, axes = figure("Predicted and actual", "actual", "predicted")
    chosen = sampled(len(actual))
    ends = [min(actual.min(), predicted.min()), max(actual.max(), predicted.max())]
    axes.plot(ends, ends, color=QUIET, linestyle=":")
    axes.scatter(actual[chosen], predicted[chosen], color=ACCENT, s=6, alpha=0.5, linewidths=0)
    return markdown(drawn, "Predicted and actual")


def residuals(actual: NDArray[np.float64], predicted: NDArray[np.float64]) -> str:
    """How the errors (predicted - actual) are distributed."""
    drawn, axes = figure("Errors", "predicted - actual", "rows")
    axes.hist(predicted - actual, bins=40, color=ACCENT)
    axes.axvline(0, color=INK, linestyle=":")
    return markdown(drawn, "Errors")


def over_time(moments: Sequence[Any], series: Mapping[str, Sequence[float]], title: str) -> str:
    """Lines over time, the first ones in strong colours."""
    drawn, axes = figure(title, "", "", width=8.0)
    for (name, values), color in zip(series.items(), (INK, ACCENT, QUIET, WARM), strict=False):
        axes.plot(moments, values, color=color, label=name, linewidth=1)
    axes.tick_params(axis="x", labelrotation=30, labelsize=7)
    axes.legend(fontsize=7, frameon=False)
    return markdown(drawn, title)


def cluster_sizes(clusters: NDArray[np.int_]) -> str:
    """How many rows each cluster has."""
    names, counts = np.unique(clusters, return_counts=True)
    drawn, axes = figure("Rows of each cluster", "cluster", "rows")
    axes.bar([str(name) for name in names], counts, color=ACCENT)
    return markdown(drawn, "Clusters")


def cluster_map(points: NDArray[np.float64], clusters: NDArray[np.int_]) -> str:
    """Clusters on the first two principal components of standardised rows, shape (rows, columns)."""
    centred = points - points.mean(axis=0)
    _, spread, directions = np.linalg.svd(centred, full_matrices=False)
    heads = directions[:2]
    # the sign of a component is arbitrary: its largest weight is positive, so that the picture is always the same
    heads = heads * np.sign(heads[np.arange(len(heads)), np.abs(heads).argmax(axis=1)])[:, None]
    places = np.pad(centred @ heads.T, ((0, 0), (0, 2 - len(heads))))
    share = (spread[:2] ** 2).sum() / max((spread**2).sum(), 1e-12)
    drawn, axes = figure(f"First two components ({share:.0%} of the variance)", "", "")
    axes.scatter(places[:, 0], places[:, 1], c=clusters, cmap="tab10", s=8, alpha=0.7, linewidths=0)
    return markdown(drawn, "Cluster map")


def importance(gains: Mapping[str, float], top: int = 20) -> str:
    """The most important features by total gain."""
    ranked = sorted(gains.items(), key=lambda item: item[1])[-top:]
    drawn, axes = figure("Importance (gain)", "", "", height=4.5)
    axes.barh([name for name, _ in ranked], [value for _, value in ranked], color=ACCENT)
    axes.tick_params(labelsize=7)
    return markdown(drawn, "Importance")


def over_batches(
    batches: Sequence[str], series: Mapping[str, Sequence[float | None]], title: str, *, every: int = 1
) -> str:
    """One line per series over batches (or rounds); every so many of them is named on the axis."""
    drawn, axes = figure(title, "", "")
    for (name, values), color in zip(series.items(), (ACCENT, QUIET, INK, WARM), strict=False):
        marker = "o" if every == 1 else None
        axes.plot(
            batches, [np.nan if value is None else value for value in values], marker=marker, label=name, color=color
        )
    axes.set_xticks(range(0, len(batches), every), list(batches)[::every])
    axes.tick_params(axis="x", labelrotation=45, labelsize=7)
    axes.legend(fontsize=7, frameon=False)
    return markdown(drawn, title)


def sampled(rows: int) -> NDArray[np.int_]:
    """Places of a seeded sample of rows, sorted: as many as a scatter plot can show."""
    return np.sort(np.random.default_rng(0).permutation(rows)[:_POINTS])


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"


def figure(title: str, x: str, y: str, *, height: float = 3.2, width: float = 4.6) -> tuple[Any, Any]:
    """An empty matplotlib figure and its axes in our style, sizes in inches; `markdown` makes the picture of it."""
    # the object interface: pyplot would keep every figure of the process alive
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    axes = drawn.add_subplot()
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return drawn, axes


def markdown(drawn: Any, name: str) -> str:
    """A figure as a PNG inside markdown, with its name for who can't see it."""
    from matplotlib.text import Text

    # names are people's: a "$" in them starts no formula
    for text in drawn.findobj(Text):
        text.set_parse_math(False)
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return f"![{name}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
