"""What algorithms other than LightGBM need before they fit: no gaps, one scale, categories as columns.

Fitted on training rows, and written into the model's ONNX graph: the same float32 arithmetic on both sides, so the
file sees to the bit what the estimator was fitted on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assets.candidates.graph import INPUT, Graph
from assets.candidates.predictor import as_float32
from assets.candidates.training_set import TrainingSet

# The most frequent categories of a column that get a column each; the others share that of the unknown.
MAX_CATEGORIES = 100
# Standard deviations beyond which a number is as far out as can be: products of larger ones would leave float32.
_FAR_OUT = np.float32(1e6)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Preprocessing:
    """Medians, scales and categories of the training rows.

    Args:
        columns: of the matrix.
        numbers: places of the number columns; they come first, in this order, in what is made.
        medians: stand for missing numbers, shape (numbers,).
        means, deviations: what scales numbers, shape (numbers,); None where they stay as they are.
        categories: (place, codes that have a column of their own) of each category column. Before these columns is one
            for everything else: unknown, missing and rare.
    """

    columns: int
    numbers: NDArray[np.int64]
    medians: Floats
    means: Floats | None
    deviations: Floats | None
    categories: tuple[tuple[int, Floats], ...]

    @property
    def width(self) -> int:
        """Columns that are made."""
        return len(self.numbers) + sum(len(codes) + 1 for _, codes in self.categories)

    def transform(self, matrix: NDArray[np.float64]) -> Floats:
        """What the estimator sees, shape (rows, width)."""
        fed = as_float32(matrix)
        numbers = fed[:, self.numbers]
        numbers = np.where(np.isnan(numbers), self.medians, numbers)
        if self.means is not None and self.deviations is not None:
            with np.errstate(over="ignore"):
                numbers = np.clip((numbers - self.means) / self.deviations, -_FAR_OUT, _FAR_OUT)
        parts = [numbers]
        for place, codes in self.categories:
            known = (fed[:, place, None] == codes).astype(np.float32)
            parts += [1 - known.sum(axis=1, keepdims=True, dtype=np.float32), known]
        return np.concatenate(parts, axis=1)

    def graph(self) -> tuple[Graph, str]:
        """A graph that has done the same, and the name of what is made."""
        graph = Graph(self.columns)
        parts = []
        if len(self.numbers):
            numbers = graph.add("Gather", INPUT, graph.constant(self.numbers, np.int64), axis=1)
            numbers = graph.add("Where", graph.add("IsNaN", numbers), graph.constant(self.medians), numbers)
            if self.means is not None and self.deviations is not None:
                numbers = graph.add("Sub", numbers, graph.constant(self.means))
                numbers = graph.add("Div", numbers, graph.constant(self.deviations))
                numbers = graph.add("Clip", numbers, graph.constant(-_FAR_OUT), graph.constant(_FAR_OUT))
            parts.append(numbers)
        for place, codes in self.categories:
            found = graph.add("Gather", INPUT, graph.constant([place], np.int64), axis=1)
            known = graph.add("Cast", graph.add("Equal", found, graph.constant([codes])), to=1)
            total = graph.add("ReduceSum", known, graph.constant([1], np.int64), keepdims=1)
            parts += [graph.add("Sub", graph.constant([1.0]), total), known]
        return graph, graph.add("Concat", *parts, axis=1)

    def monotone(self, rows: TrainingSet) -> list[int] | None:
        """The constraint of each column that is made; None where there is no constraint."""
        if not rows.monotone:
            return None
        signs = [rows.monotone.get(rows.columns[place], 0) for place in self.numbers]
        return signs + [0] * (self.width - len(signs))


def fit_preprocessing(rows: TrainingSet, *, scale: bool) -> Preprocessing:
    """Fit on the training rows, which weigh the same here.

    Args:
        rows: only `train` is looked at.
        scale: whether numbers get mean 0 and deviation 1; trees don't care.
    """
    fed = as_float32(rows.train)
    categorical = rows.categorical
    numbers = np.setdiff1d(np.arange(fed.shape[1]), categorical).astype(np.int64)
    present = [column[~np.isnan(column)] for column in fed[:, numbers].T]
    medians = np.array([np.median(column) if len(column) else 0 for column in present], dtype=np.float32)
    means = deviations = None
    if scale:
        filled = np.where(np.isnan(fed[:, numbers]), medians, fed[:, numbers]).astype(np.float64)
        means, spread = filled.mean(axis=0).astype(np.float32), filled.std(axis=0)
        # a constant column's deviation is a rounding error of its mean
        constant = spread <= np.finfo(np.float32).eps * np.abs(filled.mean(axis=0))
        deviations = as_float32(np.where(constant, 1, spread))
    return Preprocessing(
        columns=fed.shape[1],
        numbers=numbers,
        medians=medians,
        means=means,
        deviations=deviations,
        categories=tuple((place, _frequent(fed[:, place])) for place in categorical),
    )


def _frequent(codes: Floats) -> Floats:
    """The most frequent codes of a column, sorted."""
    found, counts = np.unique(codes[~np.isnan(codes)], return_counts=True)
    kept = np.argsort(-counts, kind="stable")[:MAX_CATEGORIES]
    return np.sort(found[kept])
