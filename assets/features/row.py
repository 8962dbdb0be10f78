"""Row features and encoding: the one code path from a row of inputs to the numbers a model sees.

Training, offline scoring and serving all call this module, so a feature cannot mean two things. It imports neither
Dagster nor DuckDB; what is fitted (categories, transforms) is data in the ``FeatureSchema``. A row's bits don't depend
on its neighbours: nothing is summed over rows or columns, and nothing fitted is divided by (see `RowEncoder.values`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.errors import HeadraceError
from assets.records import FeatureSchema, FittedTransform

_POLARS_TYPES: dict[str, Any] = {
    "number": pl.Float64,
    "integer": pl.Int64,
    "boolean": pl.Boolean,
    "category": pl.String,
    "text": pl.String,
    "timestamp": pl.Datetime("us"),
}
_WORD = r"[\p{L}\p{N}]+"
_MARKS = r"\p{M}+"
_WORDS = " words"  # no identifier has a space, so no feature has such a name


class RowEncoder:
    """Turns frames of inputs into model columns and matrices; built once per model, and only for its columns."""

    def __init__(self, schema: FeatureSchema) -> None:
        self.schema = schema
        # a Schema, not a mapping: equal ones have the same order
        self._polars_schema = pl.Schema({name: _POLARS_TYPES[kind] for name, kind in schema.inputs.items()})
        self._inputs = [_typed(name, kind) for name, kind in self._polars_schema.items()]
        wanted = set(schema.column_names)
        transforms = [item for item in schema.fitted if wanted & set(item.columns)]
        needed = wanted | {item.of for item in transforms}
        self._null_row = pl.DataFrame({name: [None] for name in self._polars_schema}, schema=self._polars_schema)
        self._row = [pl.sql_expr(sql).alias(name) for name, sql in schema.row.items() if name in needed]
        kinds = self._null_row.lazy().select(self._row).collect_schema()
        self._floats = [name for name, kind in kinds.items() if kind.is_float()]
        self._finite = [_finite(pl.col(name)).alias(name) for name in self._floats]
        texts = dict.fromkeys(item.of for item in transforms if item.kind == "text")
        self._words = [words(pl.col(name)).alias(name + _WORDS) for name in texts]
        made = {name: value for item in transforms for name, value in _TRANSFORMS[item.kind](item).items()}
        self._columns = [self._column(made.get(name, pl.col(name)), name, kind) for name, kind in schema.columns]
        floats = {name for name, kind in schema.inputs.items() if kind in ("number", "boolean")} | set(made)
        self._encoded = [
            self._encode(name, kind) for name, kind in schema.columns if kind == "category" or name not in floats
        ]

    def _column(self, value: pl.Expr, name: str, kind: str) -> pl.Expr:
        if kind == "category":
            return value.cast(pl.String).alias(name)
        return (value.cast(pl.Float64) if self.schema.inputs.get(name) == "boolean" else value).alias(name)

    def _encode(self, name: str, kind: str) -> pl.Expr:
        if kind == "category":
            known = pl.Enum(list(self.schema.categories[name]))
            return pl.col(name).cast(known, strict=False).to_physical().cast(pl.Float64).alias(name)
        return pl.col(name).cast(pl.Float64)

    def frame_of(self, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
        """A typed frame of request rows; inputs that are left out are null."""
        return pl.from_dicts(rows, schema=self._polars_schema)

    def typed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The inputs in their types, as a request carries them; a number that is not finite is missing.

        Raises:
            HeadraceError: the frame lacks an input of the feature set.
        """
        missing = [name for name in self._polars_schema if name not in frame.columns]
        if missing:
            raise HeadraceError(
                "the rows lack inputs of the model's feature set",
                where=", ".join(missing),
                expected=", ".join(self._polars_schema),
                found=", ".join(frame.columns),
                fix="build the feature table again; it no longer matches the product's spec",
            )
        # rows of a request have the right types already, and casting them again would double what a row costs
        return (frame if frame.schema == self._polars_schema else frame.select(self._inputs)).rechunk()

    def values(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Inputs in their types and the row features that this schema needs: what transforms are fitted on.

        As of an input, a number of a row feature that is not finite (x / 0) is missing.
        """
        typed = self.typed(frame)
        if not self._row:
            return typed
        if typed.height == 1:
            # Polars computes x / 3 of a column as x * (1 / 3), but divides a lone number (also one that is a chunk of
            # its own), which gives other bits; so a row is never alone here
            found = typed.vstack(self._null_row).rechunk().with_columns(self._row).head(1)
            # asking the few numbers costs a lone row much less than another pass of expressions
            if all(math.isfinite(found.item(0, name) or 0.0) for name in self._floats):
                return found
        else:
            # for the same reason no column is one that Polars keeps as a single number, as of pieces that are all equal
            found = pl.DataFrame(typed.get_columns()).with_columns(self._row)
        return found.with_columns(self._finite) if self._finite else found

    def columns(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Model columns before encoding, shape (rows, columns): numbers (also what was fitted) and categories as text.

        Raises:
            HeadraceError: the frame lacks an input of the feature set.
        """
        values = self.values(frame)
        return (values.with_columns(self._words) if self._words else values).select(self._columns)

    def matrix(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """The numbers a model sees, shape (rows, columns), float64; unknown categories and nulls are NaN."""
        columns = self.columns(frame)
        encoded = columns.with_columns(self._encoded) if self._encoded else columns
        return np.ascontiguousarray(encoded.to_numpy(), dtype=np.float64)


def _typed(name: str, kind: Any) -> pl.Expr:
    value = pl.col(name).cast(kind)
    # JSON has neither NaN nor infinity: what serving can't be asked is nothing that training sees
    return _finite(value).alias(name) if kind == pl.Float64 else value


def _finite(value: pl.Expr) -> pl.Expr:
    return pl.when(value.is_finite()).then(value)


def words(text: pl.Expr) -> pl.Expr:
    """Words of a text: runs of letters and digits of any script, in lower case, decomposed (NFKD) and without marks.

    A script that writes no spaces gives one token per run. Null stays null.
    """
    # lower case after decomposing, as that may give capitals, and before the marks go, as that may give marks
    plain = text.str.normalize("NFKD").str.to_lowercase().str.replace_all(_MARKS, "")
    return plain.str.extract_all(_WORD)


def _text(item: FittedTransform) -> dict[str, pl.Expr]:
    """Times a term occurs, by its weight; a null text is null.

    Not divided by the row's norm, as scikit-learn does: a term's number would depend on which others are known.
    """
    found = pl.col(item.of + _WORDS).list
    terms = zip(item.columns, item.data["terms"], item.data["weights"], strict=True)
    return {name: found.count_matches(term).cast(pl.Float64) * weight for name, term, weight in terms}


def _one_hot(item: FittedTransform) -> dict[str, pl.Expr]:
    """1 where the value is the column's, else 0, also where it is missing."""
    value = pl.col(item.of).cast(pl.String)
    return {
        name: (value == term).fill_null(value=False).cast(pl.Float64)
        for name, term in zip(item.columns, item.data["terms"], strict=True)
    }


def _frequency(item: FittedTransform) -> dict[str, pl.Expr]:
    """Share of the value among the training rows; 0 if it wasn't there. Missing has a share like any value."""
    value = pl.col(item.of).cast(pl.String)
    place = value.cast(pl.Enum(item.data["terms"]), strict=False).to_physical()
    share = pl.lit(pl.Series(item.data["shares"], dtype=pl.Float64)).gather(place).fill_null(0.0)
    return {item.name: pl.when(value.is_null()).then(item.data["missing_share"]).otherwise(share)}


def _impute(item: FittedTransform) -> dict[str, pl.Expr]:
    """The value, or what training rows have in their middle or most often."""
    fill = item.data["fill"]
    if isinstance(fill, str):
        return {item.name: pl.col(item.of).cast(pl.String).fill_null(fill)}
    value = pl.col(item.of).cast(pl.Float64).fill_nan(None)
    return {item.name: value if fill is None else value.fill_null(fill)}


def _scale(item: FittedTransform) -> dict[str, pl.Expr]:
    """Deviations from the training rows' mean, in their standard deviation."""
    return {item.name: (pl.col(item.of).cast(pl.Float64) - item.data["mean"]) * item.data["one_by_deviation"]}


_TRANSFORMS: dict[str, Callable[[FittedTransform], dict[str, pl.Expr]]] = {
    "text": _text,
    "one_hot": _one_hot,
    "frequency": _frequency,
    "impute": _impute,
    "scale": _scale,
}
