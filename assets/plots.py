"""Plots as PNG in a `data:` address: the only kind of picture that the Dagster UI shows inside metadata."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_INK, _ACCENT, _QUIET = "#1f2933", "#2f6fed", "#9aa5b1"


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


def confusion(labels: NDArray[np.int_], scores: NDArray[np.float64], threshold: float) -> str:
    """Confusion matrix at the decision threshold, in rows."""
    counts = np.bincount(labels * 2 + (scores >= threshold), minlength=4).reshape(2, 2)
    figure, axes = _figure(f"Confusion at {threshold:g}", "predicted", "actual")
    axes.imshow(counts, cmap="Blues")
    for (row, column), value in np.ndenumerate(counts):
        axes.text(column, row, f"{value:,}", ha="center", va="center", color=_INK)
    axes.set_xticks([0, 1], ["no", "yes"])
    axes.set_yticks([0, 1], ["no", "yes"])
    return _markdown(figure, "Confusion")


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
    for (name, values), color in zip(series.items(), (_ACCENT, _QUIET, _INK, "#d64545"), strict=False):
        marker = "o" if every == 1 else None
        axes.plot(
            batches, [np.nan if value is None else value for value in values], marker=marker, label=name, color=color
        )
    axes.set_xticks(range(0, len(batches), every), list(batches)[::every])
    axes.tick_params(axis="x", labelrotation=45, labelsize=7)
    axes.legend(fontsize=7, frameon=False)
    return _markdown(figure, title)


def _figure(title: str, x: str, y: str, *, height: float = 3.2) -> tuple[Any, Any]:
    # the object interface: pyplot would keep every figure of the process alive
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=9, color=_INK, loc="left")
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _markdown(figure: Any, name: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return f"![{name}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
