"""Row features and encoding: the one code path from a row of inputs to the numbers a model sees.

Training, offline scoring and serving all call this module, so a feature cannot mean two things. It imports neither
Dagster nor DuckDB; what is fitted (categories) is data in the ``FeatureSchema``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.errors import HeadraceError
from assets.records import FeatureSchema

_POLARS_TYPES: dict[str, Any] = {
    "number": pl.Float64,
    "integer": pl.Int64,
    "category": pl.String,
    "timestamp": pl.Datetime("us"),
}


class RowEncoder:
    """Turns frames of inputs into model columns and matrices; built once per model."""

    def __init__(self, schema: FeatureSchema) -> None:
        self.schema = schema
        self._polars_schema = {name: _POLARS_TYPES[kind] for name, kind in schema.inputs.items()}
        self._inputs = [pl.col(name).cast(kind) for name, kind in self._polars_schema.items()]
        self._row = [pl.sql_expr(sql).alias(name) for name, sql in schema.row.items()]
        self._encoded = [self._encode(name, kind) for name, kind in schema.columns]

    def _encode(self, name: str, kind: str) -> pl.Expr:
        if kind == "category":
            known = pl.Enum(list(self.schema.categories[name]))
            codes = pl.col(name).cast(pl.String).cast(known, strict=False).to_physical()
            return codes.cast(pl.Float64).fill_null(float("nan")).alias(name)
        return pl.col(name).cast(pl.Float64).fill_null(float("nan"))

    def frame_of(self, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
        """A typed frame of request rows; inputs that are left out are null."""
        return pl.from_dicts(rows, schema=self._polars_schema)

    def columns(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Model columns before encoding, shape (rows, columns): inputs as they are and row features computed.

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
        typed = frame if frame.schema == self._polars_schema else frame.select(self._inputs)
        return typed.with_columns(self._row).select(self.schema.column_names)

    def matrix(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """The numbers a model sees, shape (rows, columns), float64; unknown categories and nulls are NaN."""
        encoded = self.columns(frame).select(self._encoded)
        return np.ascontiguousarray(encoded.to_numpy(), dtype=np.float64)
