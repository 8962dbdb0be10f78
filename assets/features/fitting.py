"""Fit the transforms of a feature set on training rows: what is learned is JSON data, applied by `row.py`."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from assets.errors import HeadraceError
from assets.features.row import words
from assets.records import FittedTransform
from assets.spec import FittedSpec

# A value seen fewer times than this in training is treated like one never seen: it has taught nothing.
MIN_CATEGORY_ROWS = 20
# frequency: rarer values have a share of (nearly) 0 anyway, and an identifier would fill the manifest
MAX_SHARES = 10_000
_LONGEST_IN_NAME = 40
_CONSTANT = 1e-12  # a deviation of so little of the values is rounding

_DISCRETE = ("category", "text", "boolean", "integer", "number")
_NUMERIC = ("number", "integer", "boolean")
_FITS_ON: dict[str, tuple[str, ...]] = {
    "text": ("text", "category"),
    "one_hot": _DISCRETE,
    "frequency": _DISCRETE,
    "impute": (*_NUMERIC, "category"),
    "scale": _NUMERIC,
}


def floor_of(rows: int) -> int:
    """How many of so many training rows a value must have to be known."""
    return min(MIN_CATEGORY_ROWS, max(1, rows // 100))


def fit_transform(name: str, item: FittedSpec, kind: str, column: pl.Series, taken: set[str]) -> FittedTransform:
    """Fit one transform.

    Args:
        name: of the transform, and of its column if it makes one; of several it is the prefix.
        item: what to fit.
        kind: type of the column that it is made of, as in the spec.
        column: that column in the training rows, shape (rows,); no other row may be among them.
        taken: names of other features; the new columns' names are added.

    Raises:
        HeadraceError: this kind of transform means nothing on such a column.
    """
    if kind not in _FITS_ON[item.kind]:
        raise HeadraceError(
            f"{item.kind} cannot be fitted on a {kind}", where=f"features.fitted.{name}",
            expected=f"of: a feature of type {', '.join(_FITS_ON[item.kind])}", found=f"{item.of} is a {kind}",
            fix="name another feature, another kind of transform, or change the input's type",
        )  # fmt: skip
    data = _FITTERS[item.kind](column, kind, item.terms)
    columns = column_names(name, data["terms"], taken) if item.kind in ("text", "one_hot") else (name,)
    return FittedTransform(name=name, kind=item.kind, of=item.of, columns=columns, data=data)


def column_names(name: str, terms: list[str], taken: set[str]) -> tuple[str, ...]:
    """A name for the column of each term, of ASCII letters, digits and underscores: LightGBM takes no others.

    ``<name>__<term>`` where a term is short ASCII, else ``<name>__<place>``; never one that is taken.
    """
    found: dict[int, str] = {}
    # plain words first: a number that stands for another term must not take the name of the word "7"
    for place, term in enumerate(terms):
        wanted = f"{name}__{_plain(term)}"
        if _plain(term) and wanted not in taken:
            found[place] = wanted
            taken.add(wanted)
    for place in range(len(terms)):
        number = place
        while place not in found:
            if f"{name}__{number}" not in taken:
                found[place] = f"{name}__{number}"
                taken.add(found[place])
            number += len(terms)
    return tuple(found[place] for place in range(len(terms)))


def _plain(term: str) -> str:
    if not term.isascii() or len(term) > _LONGEST_IN_NAME:
        return ""
    return "".join(letter if letter.isalnum() else "_" for letter in term)


def _fit_text(column: pl.Series, _kind: str, terms: int) -> dict[str, Any]:
    """The terms in most training texts, weighted by inverse document frequency: ln((1 + texts) / (1 + with it)) + 1.

    Source: Spärck Jones, A statistical interpretation of term specificity (1972); smoothed as in scikit-learn.
    """
    texts = column.drop_nulls().alias("text").to_frame()
    found = texts.select(words(pl.col("text")).list.unique()).to_series()
    counts = _counts(found.explode(empty_as_null=False, keep_nulls=False))
    # a term of one text is that text's name
    known = counts.filter(pl.col("count") >= max(2, floor_of(len(texts)))).head(terms)
    weights = [math.log((1 + len(texts)) / (1 + count)) + 1 for count in known["count"].to_list()]
    return {"terms": known["term"].to_list(), "weights": weights}


def _fit_one_hot(column: pl.Series, _kind: str, terms: int) -> dict[str, Any]:
    counts = _counts(column)
    return {"terms": counts.filter(pl.col("count") >= floor_of(len(column))).head(terms)["term"].to_list()}


def _fit_frequency(column: pl.Series, _kind: str, _terms: int) -> dict[str, Any]:
    rows = max(len(column), 1)
    counts = _counts(column).head(MAX_SHARES)
    shares = [count / rows for count in counts["count"].to_list()]
    return {"terms": counts["term"].to_list(), "shares": shares, "missing_share": column.null_count() / rows}


def _fit_impute(column: pl.Series, kind: str, _terms: int) -> dict[str, Any]:
    """Median of numbers (null without any: they stay missing), most frequent category (empty without any)."""
    if kind == "category":
        counts = _counts(column)
        return {"fill": counts["term"][0] if counts.height else ""}
    values = _numbers(column)
    return {"fill": float(np.median(values)) if values.size else None}


def _fit_scale(column: pl.Series, _kind: str, _terms: int) -> dict[str, Any]:
    values = _numbers(column)
    if not values.size:
        return {"mean": 0.0, "deviation": 1.0, "one_by_deviation": 1.0}
    deviation = float(values.std())
    if deviation <= _CONSTANT * float(np.abs(values).max()):
        deviation = 1.0
    # multiplied by, not divided by: Polars divides a row alone to other bits than a column
    return {"mean": float(values.mean()), "deviation": deviation, "one_by_deviation": 1 / deviation}


def _counts(values: pl.Series) -> pl.DataFrame:
    """Values as text with their counts, the most frequent first, ties by name."""
    counts = values.drop_nulls().cast(pl.String).alias("term").value_counts()
    return counts.sort(["count", "term"], descending=[True, False])


def _numbers(column: pl.Series) -> Any:
    """Finite values, in one piece: a mean of pieces would round differently."""
    values = column.cast(pl.Float64).drop_nulls()
    return values.filter(values.is_finite()).rechunk().to_numpy()


_FITTERS: dict[str, Callable[[pl.Series, str, int], dict[str, Any]]] = {
    "text": _fit_text,
    "one_hot": _fit_one_hot,
    "frequency": _fit_frequency,
    "impute": _fit_impute,
    "scale": _fit_scale,
}
