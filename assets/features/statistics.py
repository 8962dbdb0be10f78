"""Numbers about feature columns: nulls, stability against a reference, and how well one column alone predicts.

All on full data; pure functions over Polars frames of model columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

BINS = 10
# Keeps a bin that one side lacks from making the index infinite; the customary floor.
_FLOOR = 1e-4
# of the normal distribution, one-sided 95%
_Z95 = 1.645


@dataclass(frozen=True)
class ColumnProfile:
    """A reference column in numbers, so that many batches can be held against it without its rows.

    Args:
        rows: how many.
        null_share: of them.
        edges: of the bins of numbers: the reference's deciles; None for texts.
        names: the values of texts, null as the empty text; None for numbers.
        expected: share of the rows in each bin; of numbers the last one is nulls, of texts values that are not there.
    """

    rows: int
    null_share: float
    edges: NDArray[np.float64] | None
    names: pl.Series | None
    expected: NDArray[np.float64]

    def counted(self, column: pl.Series) -> NDArray[np.float64]:
        """Share of a column's rows in each of the bins."""
        if self.names is None:
            return _binned(column, np.array([]) if self.edges is None else self.edges)
        return _counted(column, self.names)

    def new_share(self, column: pl.Series) -> float:
        """Share of a column's rows with a text that the reference doesn't have; 0 of numbers and nulls."""
        if self.names is None or column.is_empty():
            return 0.0
        known = column.cast(pl.String).drop_nulls()
        return float((~known.is_in(self.names.implode())).sum()) / len(column)


def profile_of(reference: pl.Series) -> ColumnProfile:
    """What a column is like: numbers by their deciles, texts and very frequent numbers by value."""
    if reference.dtype.is_numeric():
        values = reference.drop_nulls().drop_nans().to_numpy()
        edges, names = _edges(values) if values.size else np.array([]), None
        nulls = len(reference) - values.size
        expected = _binned(reference, edges)
    else:
        edges, names = None, reference.cast(pl.String).fill_null("").unique().sort()
        nulls = reference.null_count()
        expected = _counted(reference, names)
    return ColumnProfile(len(reference), nulls / max(len(reference), 1), edges, names, expected)


def population_stability_index(
    reference: pl.Series | ColumnProfile, current: pl.Series, *, floor: float = _FLOOR
) -> float:
    """PSI of two columns: 0 equal, from about 0.1 moved, from about 0.2 moved much.

    Numbers are binned by the reference's deciles, texts and very frequent numbers by value; nulls are a bin of their
    own. An effect size: it doesn't grow with the number of rows. Source: Siddiqi, Credit Risk Scorecards (2006);
    Yurdakul (2018) for limits.

    Args:
        reference: a column, or its profile.
        current: the column to hold against it.
        floor: the share that an empty bin counts as.
    """
    profile = profile_of(reference) if isinstance(reference, pl.Series) else reference
    if not profile.rows or current.is_empty():
        return 0.0
    expected, observed = np.maximum(profile.expected, floor), np.maximum(profile.counted(current), floor)
    return float(np.sum((observed - expected) * np.log(observed / expected)))


def stability(reference: pl.DataFrame | Mapping[str, ColumnProfile], current: pl.DataFrame) -> dict[str, float]:
    """PSI of every column of two frames with the same columns; the reference's profiles will do."""
    names = reference.columns if isinstance(reference, pl.DataFrame) else list(reference)
    return {name: population_stability_index(reference[name], current[name]) for name in names}


def chance_index(profile: ColumnProfile, rows: int) -> float:
    """What PSI gives by chance alone, one time in twenty, between the reference and so many rows like it.

    Of few rows it is not small: 0.6 for 30 rows in ten bins. It holds where an empty bin counts as half a row.
    Source: Yurdakul, Statistical Properties of the Population Stability Index (2018): chi-squared over the rows; its
    quantile by Wilson and Hilferty (1931).
    """
    freedom = max(int(np.count_nonzero(profile.expected)) - 1, 1)
    if not rows or not profile.rows:
        return 0.0
    quantile = freedom * (1 - 2 / (9 * freedom) + _Z95 * np.sqrt(2 / (9 * freedom))) ** 3
    return float(quantile * (1 / rows + 1 / profile.rows))


def null_shares(columns: pl.DataFrame) -> dict[str, float]:
    """Share of nulls of every column."""
    if columns.is_empty():
        return dict.fromkeys(columns.columns, 0.0)
    row = columns.select(pl.all().is_null().mean()).row(0, named=True)
    return {name: float(value) for name, value in row.items()}


def single_feature_aucs(matrix: NDArray[np.float64], names: list[str], labels: NDArray[np.int_]) -> dict[str, float]:
    """How well each column alone ranks the labels: ROC AUC, whichever direction is better; 0.5 is chance.

    Args:
        matrix: encoded columns, shape (rows, columns); NaN is its own rank.
        names: column names.
        labels: 0 or 1, shape (rows,).
    """
    return dict(zip(names, map(float, class_aucs(matrix, labels[:, None])[0]), strict=True))


def class_aucs(matrix: NDArray[np.float64], targets: NDArray[Any]) -> NDArray[np.float64]:
    """ROC AUC of every column for every target, whichever direction is better, shape (targets, columns).

    Args:
        matrix: encoded columns, shape (rows, columns); NaN is its own rank.
        targets: 0 and 1, shape (rows, targets); one that has only one of them is chance.
    """
    if not matrix.size:
        return np.full((targets.shape[1], matrix.shape[1]), 0.5)
    ranks = pl.DataFrame(matrix).fill_nan(None).fill_null(-np.inf).select(pl.all().rank("average")).to_numpy()
    positives = targets.sum(axis=0, dtype=np.float64)[:, None]
    pairs = positives * (len(matrix) - positives)
    # ranks are halves, so these sums are exact
    above = targets.T.astype(np.float64) @ ranks - positives * (positives + 1) / 2
    aucs = np.divide(above, pairs, out=np.full(above.shape, 0.5), where=pairs > 0)
    best: NDArray[np.float64] = np.maximum(aucs, 1 - aucs)
    return best


def _edges(values: NDArray[Any]) -> NDArray[np.float64]:
    """Deciles; a value that fills a tenth alone is a bin of its own, or a column of mostly zeros would be one bin."""
    deciles = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    frequent = deciles[[np.mean(values == decile) >= 1 / BINS for decile in deciles]]
    return np.unique(np.append(deciles, np.nextafter(frequent, np.inf)))


def _binned(column: pl.Series, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    missing = np.isnan(values)
    counts = np.bincount(np.searchsorted(edges, values[~missing], side="right"), minlength=len(edges) + 1)
    return np.append(counts, missing.sum()) / max(len(values), 1)


def _counted(column: pl.Series, names: pl.Series) -> NDArray[np.float64]:
    counts = column.cast(pl.String).fill_null("").alias("name").value_counts()
    known = pl.DataFrame({"name": names}).join(counts, on="name", how="left")["count"].fill_null(0).to_numpy()
    other = max(len(column) - int(known.sum()), 0)
    shares: NDArray[np.float64] = np.append(known, other) / max(len(column), 1)
    return shares
