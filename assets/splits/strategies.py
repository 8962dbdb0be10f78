"""The strategies by which rows become training, validation and test rows.

Each is a pure function over a frame with one row per row of the feature table; the order of the frame's rows doesn't
matter. It answers the part of each row (null: left out), and for folds the fold. Of `random`, `stratified` and
`group` a row's part depends on the rows of its own batch (or its own group) alone: it stays when batches are added,
so a champion doesn't meet a test row that it was trained on (but for a few, where labels of its batch came later).
"""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.errors import HeadraceError

PARTS = ("train", "validation", "test")
_BINS = 10
_MIX_1, _MIX_2, _STEP = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Rule:
    """What a strategy is told.

    Args:
        ratios: shares of training, validation and test rows.
        seed: of every shuffle.
        test_batch: the batch that time-based strategies test on; None without batches.
        options: validation_share, test_share_of_first, folds, function: those of the strategy.
    """

    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0
    test_batch: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """The part of each row, null where it is left out; the fold of each, null without folds; what was known until."""

    part: pl.Series
    fold: pl.Series | None = None
    known_until: datetime | None = None


@dataclass(frozen=True)
class Strategy:
    """One way to split; `needs` are the columns beside `batch_id` that it cannot do without."""

    description: str
    needs: tuple[str, ...]
    assign: Callable[[pl.DataFrame, Rule], Assignment]


def shuffled(values: pl.Series, seed: int) -> NDArray[np.uint64]:
    """Numbers that order rows at random but always alike: SplitMix64 (Steele et al. 2014) of hashes and the seed."""
    with np.errstate(over="ignore"):
        state = values.to_numpy().astype(np.uint64) + np.uint64(seed % 2**63) * _STEP + _STEP
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
        return np.asarray(state ^ (state >> np.uint64(31)))


def random(rows: pl.DataFrame, rule: Rule) -> Assignment:
    """Parts of the given sizes in each batch, by a seeded shuffle of the keys."""
    return Assignment(_by_rank(rows, ["batch_id"], rule))


def stratified(rows: pl.DataFrame, rule: Rule) -> Assignment:
    """The same within each class of each batch; a number's classes are the tenths of its distribution."""
    label = rows["label"]
    if label.dtype.is_float():
        below = pl.col("label").rank("min").over("batch_id") - 1
        bins = rows.select(below * _BINS // pl.col("label").count().over("batch_id")).to_series()
        return Assignment(_by_rank(rows.with_columns(bins.alias("stratum")), ["batch_id", "stratum"], rule))
    return Assignment(_by_rank(rows, ["batch_id", "label"], rule))


def group(rows: pl.DataFrame, rule: Rule) -> Assignment:
    """Rows of a group stay together, in every batch; a group's part is drawn by a seeded hash of its name."""
    place = shuffled(rows["group_hash"], rule.seed).astype(np.float64) / 2.0**64
    first, second = rule.ratios[0], rule.ratios[0] + rule.ratios[1]
    return Assignment(_where_labelled(rows, _named(np.where(place < first, 0, np.where(place < second, 1, 2)))))


def sequential(rows: pl.DataFrame, rule: Rule) -> Assignment:
    """The oldest rows train, the newest test: by event time where rows have one, else in the order of the keys."""
    order = ["event", "place"] if "event" in rows.columns else ["place"]
    labelled = rows.with_row_index("row").filter(_has_label(rows)).sort(order)
    return Assignment(_cut(rows, labelled["row"], rule.ratios))


def temporal(rows: pl.DataFrame, rule: Rule) -> Assignment:
    """The batch is the test; of the earlier rows whose label was known before it began, the newest validate.

    With only one batch, its newest `test_share_of_first` is the test.
    """
    test, pool, test_from = _test_and_pool(rows, rule)
    boundary = _discrete_quantile(rows["event"].filter(pool), 1 - rule.options["validation_share"])
    part = (
        pl.when(test)
        .then(pl.lit("test"))
        .when(pool & (pl.col("event") >= boundary))
        .then(pl.lit("validation"))
        .when(pool)
        .then(pl.lit("train"))
    )
    return Assignment(rows.select(part.alias("part")).to_series(), known_until=test_from)


def time_series_folds(rows: pl.DataFrame, rule: Rule) -> Assignment:
    """As temporal, with the earlier rows cut by time into folds of equal size: the newest validates.

    A search validates fold n by a model of the folds before it (rolling origin; Tashman 2000).
    """
    test, pool, test_from = _test_and_pool(rows, rule)
    folds = int(rule.options["folds"])
    ordered = rows.with_row_index("row").filter(pool).sort("event", "key_hash")
    fold = np.full(rows.height, -1, dtype=np.int64)
    fold[ordered["row"].to_numpy()] = np.arange(ordered.height) * folds // max(ordered.height, 1)
    codes = np.where(test.to_numpy(), 2, np.where(fold == folds - 1, 1, np.where(fold >= 0, 0, -1)))
    return Assignment(_named(codes), pl.Series([None if n < 0 else n for n in fold.tolist()]), test_from)


def custom(rows: pl.DataFrame, rule: Rule) -> Assignment:
    """A function of your own: `assign(rows, ratios, seed) -> Series of parts` in a module of assets/splits/custom."""
    name = str(rule.options["function"])
    part = custom_function(name)(rows, rule.ratios, rule.seed)
    found = set(part.drop_nulls().unique()) if isinstance(part, pl.Series) else {type(part).__name__}
    if not isinstance(part, pl.Series) or len(part) != rows.height or found - set(PARTS):
        raise HeadraceError(
            "a split function answers one part for each row",
            where=f"assets/splits/custom/{name}.py",
            expected=f"a Polars Series of {rows.height} texts: {', '.join(PARTS)} or null",
            found=", ".join(sorted(map(str, found))),
            fix="correct what `assign` returns",
        )
    return Assignment(_where_labelled(rows, part.cast(pl.String)))


STRATEGIES: dict[str, Strategy] = {
    "temporal": Strategy("train on what was known when the batch began, test on the batch", ("event",), temporal),
    "time_series_folds": Strategy("the same, validated on folds by time", ("event", "key_hash"), time_series_folds),
    "stratified": Strategy(
        "random, with the same share of each class in every part", ("label", "key_hash"), stratified
    ),
    "random": Strategy("random parts of each batch", ("key_hash",), random),
    "sequential": Strategy("oldest rows train, newest test", ("place",), sequential),
    "group": Strategy("rows of a group stay together", ("group_hash",), group),
    "custom": Strategy("a function of your own", ("key_hash", "place"), custom),
}


def custom_function(name: str) -> Callable[[pl.DataFrame, tuple[float, float, float], int], pl.Series]:
    """The `assign` of a module in `assets/splits/custom`.

    Raises:
        HeadraceError: there is no such module, or it has no `assign`.
    """
    try:
        found: Callable[..., pl.Series] = importlib.import_module(f"assets.splits.custom.{name}").assign
    except (ModuleNotFoundError, AttributeError) as error:
        raise HeadraceError(
            "there is no such split function",
            where=f"split.function: {name}",
            expected=f"assets/splits/custom/{name}.py with `def assign(rows, ratios, seed)`",
            found=str(error),
            fix="add the module (assets/splits/custom/newest_batch.py is an example), or choose another strategy",
        ) from None
    return found


def _has_label(rows: pl.DataFrame) -> pl.Series:
    if "label" not in rows.columns:
        return pl.Series([True]).new_from_index(0, rows.height)
    return rows["label"].is_not_null()


def _where_labelled(rows: pl.DataFrame, part: pl.Series) -> pl.Series:
    return pl.select(pl.when(_has_label(rows)).then(part)).to_series()


def _by_rank(rows: pl.DataFrame, strata: list[str], rule: Rule) -> pl.Series:
    """Cut each stratum's shuffled rows at the ratios, rounded so that all strata together come near them, too."""
    ranked = (
        rows.with_columns(pl.Series("order", shuffled(rows["key_hash"], rule.seed)))
        .with_row_index("row")
        .filter(_has_label(rows))
        .sort("order", "key_hash")
        .with_columns(
            rank=pl.int_range(pl.len()).over(strata),
            size=pl.len().over(strata),
            lowest=pl.col("order").min().over(strata),
        )
    )
    first, second = (ranked["size"] * share for share in (rule.ratios[0], rule.ratios[0] + rule.ratios[1]))
    # half rows are rounded by each stratum's own draw, or small strata would all lose their test row
    draw = shuffled(ranked["lowest"], rule.seed) / 2.0**64
    rank, codes = ranked["rank"].to_numpy(), np.full(rows.height, -1)
    codes[ranked["row"].to_numpy()] = np.where(
        rank < np.floor(first.to_numpy() + draw), 0, np.where(rank < np.floor(second.to_numpy() + draw), 1, 2)
    )
    return _named(codes)


def _named(codes: NDArray[Any]) -> pl.Series:
    """Parts by their place among `PARTS`; -1 is none."""
    return pl.Series(codes).replace_strict(range(len(PARTS)), PARTS, default=None, return_dtype=pl.String)


def _cut(rows: pl.DataFrame, ordered: pl.Series, ratios: tuple[float, float, float]) -> pl.Series:
    """Parts by place in an order of (some of) the rows."""
    size = len(ordered)
    first, second = round(size * ratios[0]), round(size * (ratios[0] + ratios[1]))
    codes, places = np.full(rows.height, -1), ordered.to_numpy()
    codes[places[:first]], codes[places[first:second]], codes[places[second:]] = 0, 1, 2
    return _named(codes)


def _test_and_pool(rows: pl.DataFrame, rule: Rule) -> tuple[pl.Series, pl.Series, datetime | None]:
    """The test rows of a batch, the earlier rows whose label was known before its first event, and that moment."""
    batch = pl.col("batch_id") == rule.test_batch if rule.test_batch is not None else pl.lit(value=True)
    here = rows.select(batch.alias("here") & pl.lit(_has_label(rows))).to_series()
    events = rows["event"].filter(here)
    if events.is_empty():
        nothing = pl.Series([False]).new_from_index(0, rows.height)
        return nothing, nothing, None
    if rule.test_batch is not None and (rows["batch_id"] < rule.test_batch).any():
        test_from = events.min()
    else:
        test_from = _discrete_quantile(events, 1 - rule.options["test_share_of_first"])
    test = here & (rows["event"] >= test_from)
    known = rows["label_known_at"].fill_null(rows["event"]) if "label_known_at" in rows.columns else rows["event"]
    pool = _has_label(rows) & (rows["event"] < test_from) & (known < test_from)
    if rule.test_batch is not None:
        pool &= rows["batch_id"] <= rule.test_batch
    return test, pool, test_from  # type: ignore[return-value]  # a datetime column's


def _discrete_quantile(values: pl.Series, share: float) -> Any:
    """The smallest value that at least this share of the values doesn't exceed; None of none."""
    ordered = values.drop_nulls().sort()
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] if len(ordered) else None
