"""Numbers about feature columns: nulls, stability against a reference, and how well one column alone predicts.

All on full data; pure functions over Polars frames of model columns.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

BINS = 10
# Keeps a bin that one side lacks from making the index infinite; the customary floor.
_FLOOR = 1e-4


def population_stability_index(reference: pl.Series, current: pl.Series) -> float:
    """PSI of two columns: 0 equal, from about 0.1 moved, from about 0.2 moved much.

    Numbers are binned by the reference's deciles, texts and very frequent numbers by value; nulls are a bin of their
    own. An effect size: it doesn't grow with the number of rows. Source: Siddiqi, Credit Risk Scorecards (2006);
    Yurdakul (2018) for limits.
    """
    if reference.is_empty() or current.is_empty():
        return 0.0
    if reference.dtype.is_numeric():
        values = reference.drop_nulls().drop_nans().to_numpy()
        edges = _edges(values) if values.size else np.array([])
        expected, observed = _binned(reference, edges), _binned(current, edges)
    else:
        names = reference.cast(pl.String).fill_null("").unique().sort()
        expected, observed = _counted(reference, names), _counted(current, names)
    expected, observed = np.maximum(expected, _FLOOR), np.maximum(observed, _FLOOR)
    return float(np.sum((observed - expected) * np.log(observed / expected)))


def stability(reference: pl.DataFrame, current: pl.DataFrame) -> dict[str, float]:
    """PSI of every column of two frames with the same columns."""
    return {name: population_stability_index(reference[name], current[name]) for name in reference.columns}


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
