"""How well one column alone tells the target: what finds a leak before a model does."""

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.naming import quoted
from assets.tasks import NUMERIC, Task
from orchestration.new.profile import Column

MAX_ROWS, MAX_CELLS = 100_000, 10_000_000  # enough to tell a leak; taken evenly from all rows
_BINS = 32


def strengths(
    con: duckdb.DuckDBPyConnection, columns: list[Column], target: str, task: Task, rows: int
) -> dict[str, float]:
    """Strength of each column alone, 1 for one that determines the target.

    Binary: ROC AUC (chance 0.5). Multiclass: accuracy gained over always naming the largest class, as a share of what
    could be gained. A number: the larger of Spearman's correlation and R². A column is cut into at most 32 bins (a
    category: its values, missing is one, too); what a bin says is learned on every other row and measured on the
    rest, so a column with a value of its own in each row isn't taken for a leak.

    Args:
        con: has the table `typed`.
        columns: the columns to measure.
        target: SQL of the target over `typed`.
        task: decides the measure.
        rows: of `typed`.
    """
    if not columns:
        return {}
    every = max(1, rows // MAX_ROWS, rows * len(columns) // MAX_CELLS)
    fields = ", ".join(quoted(column.name) for column in columns)
    frame = con.execute(
        f"select {fields}, {target} as headrace_target from typed where headrace_row % {every} = 0 "
        "and headrace_target is not null order by headrace_file, headrace_row"
    ).pl()
    if frame.is_empty():
        return {}
    outcome = frame.get_column("headrace_target")
    learns = np.random.default_rng(0).permutation(np.arange(len(outcome)) % 2 == 0)
    return {column.name: _strength(column, frame.get_column(column.name), outcome, task, learns) for column in columns}


def _strength(column: Column, values: pl.Series, outcome: pl.Series, task: Task, learns: NDArray[np.bool_]) -> float:
    number = values.dt.epoch("ms").cast(pl.Float64) if column.kind == "timestamp" else values
    number = number.cast(pl.Float64) if number.dtype.is_numeric() or number.dtype == pl.Boolean else number
    bins = _bins(number)
    if task == "multiclass":
        return _accuracy_gain(bins, outcome.cast(pl.String), learns)
    y = outcome.cast(pl.Float64).to_numpy()
    expected = _bin_means(bins, y, learns)
    tested = ~learns
    if task in NUMERIC:
        residual = float(((y[tested] - expected[tested]) ** 2).sum())
        spread = float(((y[tested] - y[tested].mean()) ** 2).sum())
        explained = 1 - residual / spread if spread > 0 else 0.0
        return max(explained, _spearman(number, y), 0.0)
    found = roc_auc(expected[tested], y[tested])
    return max(found, _ranked_auc(number, y))


def roc_auc(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """ROC AUC by ranks (Mann-Whitney), ties counted half; 0.5 where a class is missing."""
    positives = float(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return 0.5
    ranks = pl.Series(scores).rank("average").to_numpy()
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _ranked_auc(number: pl.Series, labels: NDArray[np.float64]) -> float:
    """ROC AUC of a number itself, whichever direction is better."""
    if not number.dtype.is_numeric():
        return 0.5
    found = roc_auc(number.fill_null(-np.inf).to_numpy(), labels)
    return max(found, 1 - found)


def _spearman(number: pl.Series, y: NDArray[np.float64]) -> float:
    if not number.dtype.is_numeric():
        return 0.0
    present = number.is_not_null().to_numpy()
    if present.sum() < 3 or number.n_unique() < 3:  # noqa: PLR2004 - a correlation of two points is 1
        return 0.0
    ranks = number.filter(pl.Series(present)).rank().to_numpy(), pl.Series(y[present]).rank().to_numpy()
    if ranks[1].std() == 0:
        return 0.0
    return float(abs(np.corrcoef(*ranks)[0, 1]))


def _bins(number: pl.Series) -> NDArray[np.int64]:
    """The bin of each row, shape (rows,): of numbers by quantiles, else by value; missing is a bin."""
    if number.dtype.is_numeric() and number.n_unique() > _BINS:
        values = number.to_numpy()
        edges = np.unique(np.nanquantile(values, np.linspace(0, 1, _BINS + 1)[1:-1]))
        codes = np.searchsorted(edges, values, side="right")
        return np.where(np.isnan(values), len(edges) + 1, codes).astype(np.int64)
    return number.cast(pl.String).fill_null("\x00missing").rank("dense").to_numpy().astype(np.int64)


def _bin_means(bins: NDArray[np.int64], y: NDArray[np.float64], learns: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What each row's bin says, learned on half of the rows and drawn to the mean as if by one row more."""
    size = int(bins.max()) + 1
    counts = np.bincount(bins[learns], minlength=size)
    sums = np.bincount(bins[learns], weights=y[learns], minlength=size)
    mean = float(y[learns].mean()) if learns.any() else 0.0
    return ((sums + mean) / (counts + 1))[bins]


def _accuracy_gain(bins: NDArray[np.int64], classes: pl.Series, learns: NDArray[np.bool_]) -> float:
    frame = pl.DataFrame({"bin": bins, "class": classes, "learns": learns})
    largest = frame.filter("learns")["class"].mode().sort()[0]
    said = (
        frame.filter("learns").group_by("bin", "class").len()
        .sort(["bin", "len", "class"], descending=[False, True, False])
        .unique("bin", keep="first", maintain_order=True).select("bin", pl.col("class").alias("said"))
    )  # fmt: skip
    tested = (
        frame.filter(~pl.col("learns")).join(said, on="bin", how="left").with_columns(pl.col("said").fill_null(largest))
    )
    hits = float((tested["said"] == tested["class"]).to_numpy().mean())
    chance = float((tested["class"] == largest).to_numpy().mean())
    return max((hits - chance) / (1 - chance), 0.0) if chance < 1 else 0.0
