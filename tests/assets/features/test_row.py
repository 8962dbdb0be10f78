"""One code path from a row of inputs to the numbers a model sees, whether it comes alone or with others."""

import json
import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assets.errors import HeadraceError
from assets.features.fitting import fit_transform
from assets.features.row import RowEncoder
from assets.records import FeatureSchema, ModelManifest
from assets.spec import FittedSpec

ROW = st.fixed_dictionaries(
    {
        "kind": st.none() | st.sampled_from(["shoes", "books", "coats", "rare", "never seen", "", "Shoes", "ß\u2028"]),
        "size": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "pieces": st.none() | st.integers(-(2**63), 2**63 - 1),
        "ordered_local_at": st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
    }
)


@pytest.fixture(scope="module")
def encoder(schema: FeatureSchema) -> RowEncoder:
    return RowEncoder(schema)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@given(rows=st.lists(ROW, min_size=1, max_size=8))
def test_a_row_gives_the_same_bits_alone_in_a_batch_and_out_of_duckdb(
    encoder: RowEncoder, con: duckdb.DuckDBPyConnection, rows: list[dict[str, Any]]
) -> None:
    together = encoder.matrix(encoder.frame_of(rows))
    alone = np.vstack([encoder.matrix(encoder.frame_of([row])) for row in rows])
    frame = encoder.frame_of(rows)
    con.register("frame", frame.to_arrow())
    stored = encoder.matrix(con.execute("select 1 as order_id, * from frame").pl())
    assert together.shape == (len(rows), len(encoder.schema.columns))
    assert together.tobytes() == alone.tobytes() == stored.tobytes()


@given(rows=st.lists(ROW, min_size=1, max_size=8), order=st.randoms(use_true_random=False))
def test_a_row_does_not_depend_on_its_neighbours(encoder: RowEncoder, rows: list[dict[str, Any]], order: Any) -> None:
    places = list(range(len(rows)))
    order.shuffle(places)
    straight = encoder.matrix(encoder.frame_of(rows))
    shuffled = encoder.matrix(encoder.frame_of([rows[place] for place in places]))
    assert straight[places].tobytes() == shuffled.tobytes()


def test_values_become_numbers_in_the_order_of_the_schema(encoder: RowEncoder) -> None:
    row = {"kind": "books", "size": 2.5, "pieces": 4, "ordered_local_at": datetime(2024, 1, 5, 14, 30)}  # noqa: DTZ001
    assert encoder.schema.column_names == ["kind", "size", "pieces", "hour", "size_of_all"]
    assert encoder.columns(encoder.frame_of([row])).columns == encoder.schema.column_names
    assert encoder.matrix(encoder.frame_of([row])).tolist() == [[0.0, 2.5, 4.0, 14.0, 10.0]]


def test_unknown_categories_and_missing_values_are_nan(encoder: RowEncoder) -> None:
    rows = [{"kind": "never seen"}, {}, {"kind": None, "size": None}]
    assert np.isnan(encoder.matrix(encoder.frame_of(rows))).all()


def test_a_left_out_input_is_the_same_as_null(encoder: RowEncoder) -> None:
    rows = [dict.fromkeys(encoder.schema.inputs), {"size": None}, {}]
    assert len({encoder.matrix(encoder.frame_of([row])).tobytes() for row in rows}) == 1


def test_a_missing_input_column_is_named(encoder: RowEncoder, orders: pl.DataFrame) -> None:
    with pytest.raises(HeadraceError, match="the rows lack inputs") as caught:
        encoder.matrix(orders.drop("size", "pieces"))
    assert caught.value.where == "size, pieces"


def test_columns_that_are_no_input_change_nothing(encoder: RowEncoder, orders: pl.DataFrame) -> None:
    more = orders.with_columns(hour=pl.lit(99), extra=pl.lit("x"))
    assert encoder.matrix(more).tobytes() == encoder.matrix(orders).tobytes()


def test_the_order_of_the_frames_columns_changes_nothing(encoder: RowEncoder, orders: pl.DataFrame) -> None:
    backwards = orders.select(reversed(orders.columns))
    assert encoder.matrix(backwards).tobytes() == encoder.matrix(orders).tobytes()


def test_narrower_types_of_a_table_are_widened(encoder: RowEncoder, orders: pl.DataFrame) -> None:
    narrow = orders.with_columns(
        pl.col("pieces").cast(pl.Int8),
        pl.col("ordered_local_at").cast(pl.Datetime("ns")),
        pl.col("kind").cast(pl.Categorical),
    )
    assert encoder.matrix(narrow).tobytes() == encoder.matrix(orders).tobytes()


def test_a_category_without_any_known_value_is_always_unknown(orders: pl.DataFrame, schema: FeatureSchema) -> None:
    empty = schema.model_copy(update={"categories": {"kind": ()}})
    assert np.isnan(RowEncoder(empty).matrix(orders)[:, 0]).all()


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20), st.integers(1, 1_000))
@example([9.0, 9.0], 49)  # equal pieces: Polars kept one number for both
def test_a_row_feature_divided_by_a_number_has_the_same_bits_alone(values: list[float], divisor: int) -> None:
    """Regression: Polars divides a lone row, but multiplies a column by 1 / divisor: three in ten rows differed."""
    schema = FeatureSchema(
        inputs={"size": "number"}, required=(), descriptions={}, row={"part": f"size / {divisor}"},
        columns=(("part", "number"),), categories={},
    )  # fmt: skip
    encoder = RowEncoder(schema)
    together = encoder.matrix(pl.DataFrame({"size": values, "key": range(len(values))}))
    pieces = [pl.DataFrame({"size": [value], "key": [0]}) for value in values]
    chunked = encoder.matrix(pl.concat(pieces, rechunk=False))
    alone = np.vstack([encoder.matrix(encoder.frame_of([{"size": value}])) for value in values])
    assert together.tobytes() == alone.tobytes() == chunked.tobytes()
    assert np.vstack([encoder.matrix(piece) for piece in pieces]).tobytes() == together.tobytes()


def test_numbers_that_are_not_finite_are_missing() -> None:
    """JSON has neither NaN nor infinity, so serving is never asked for them."""
    schema = FeatureSchema(
        inputs={"size": "number"}, required=(), descriptions={}, row={"known": "size IS NOT NULL"},
        columns=(("size", "number"), ("known", "number")), categories={},
    )  # fmt: skip
    frame = pl.DataFrame({"size": [1.0, float("nan"), float("inf"), -float("inf"), None], "key": range(5)})
    found = RowEncoder(schema).matrix(frame)
    assert found[:, 1].tolist() == [1, 0, 0, 0, 0]
    assert np.isnan(found[1:, 0]).all()


def test_booleans_are_numbers_to_a_model_and_booleans_to_expressions() -> None:
    schema = FeatureSchema(
        inputs={"gift": "boolean", "size": "number"}, required=(), descriptions={},
        row={"wrapped": "CASE WHEN gift THEN size ELSE 0 END"},
        columns=(("gift", "number"), ("wrapped", "number")), categories={},
    )  # fmt: skip
    encoder = RowEncoder(schema)
    rows = [{"gift": True, "size": 3.0}, {"gift": False, "size": 3.0}, {"gift": None, "size": 3.0}]
    assert encoder.columns(encoder.frame_of(rows))["gift"].to_list() == [1.0, 0.0, None]
    assert encoder.matrix(encoder.frame_of(rows))[:2].tolist() == [[1, 3], [0, 0]]


def test_only_what_a_selected_column_needs_is_computed(schema: FeatureSchema) -> None:
    """A row feature that would fail is not asked where no column is made of it."""
    broken = schema.model_copy(
        update={"row": {**schema.row, "hour": "CAST('x' AS INT)"}, "columns": (("size", "number"),)}
    )
    encoder = RowEncoder(broken)
    assert encoder.matrix(encoder.frame_of([{"size": 2.0}])).tolist() == [[2.0]]


def test_a_row_feature_can_be_a_category() -> None:
    schema = FeatureSchema(
        inputs={"size": "number"}, required=(), descriptions={},
        row={"band": "CASE WHEN size > 5 THEN 'large' ELSE 'small' END"}, columns=(("band", "category"),),
        categories={"band": ("large", "small")},
    )  # fmt: skip
    encoder = RowEncoder(schema)
    assert encoder.matrix(encoder.frame_of([{"size": 9.0}, {"size": 1.0}])).tolist() == [[0.0], [1.0]]


def test_the_order_of_columns_survives_the_manifests_json(manifest_of: Any, orders: pl.DataFrame) -> None:
    """Regression: canonical JSON sorted a mapping of columns, so a loaded model saw them in another order.

    Its ROC AUC on real flights fell below 0.5.
    """
    manifest: ModelManifest = manifest_of()
    loaded = ModelManifest.model_validate(json.loads(manifest.to_json()))
    names = manifest.features.column_names
    assert names != sorted(names), "the toy's columns must be able to show the bug"
    assert loaded.features.column_names == names
    matrices = [RowEncoder(features).matrix(orders) for features in (loaded.features, manifest.features)]
    assert matrices[0].tobytes() == matrices[1].tobytes()


RATIO = FeatureSchema(
    inputs={"a": "number", "b": "number"}, required=(), descriptions={},
    row={"ratio": "a / b", "root": "ln(a)", "whole": "1", "band": "CASE WHEN a > b THEN 'more' ELSE 'less' END"},
    columns=(("ratio", "number"), ("root", "number"), ("whole", "number"), ("band", "category")),
    categories={"band": ("less", "more")},
)  # fmt: skip


def test_a_row_feature_that_is_not_finite_is_missing() -> None:
    """Regression: a / 0 was infinity in the matrix, on which scaling, SMOTE and silhouettes fail."""
    encoder = RowEncoder(RATIO)
    rows = [{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 0.0}, {"a": -1.0, "b": 0.0}, {"a": 1.0, "b": 2.0}]
    frame = encoder.frame_of(rows)
    assert encoder.values(frame)["ratio"].to_list() == [None, None, None, 0.5]
    assert encoder.values(frame)["root"].to_list() == [0.0, None, None, 0.0]
    assert not np.isinf(encoder.matrix(frame)).any()
    assert encoder.matrix(frame)[3].tolist() == [0.5, 0.0, 1.0, 0.0]


NUMBER = st.none() | st.sampled_from([0.0, -0.0, 1e-308, 1e308]) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.fixed_dictionaries({"a": NUMBER, "b": NUMBER}), min_size=1, max_size=8))
def test_a_row_feature_that_may_be_infinite_has_the_same_bits_alone(rows: list[dict[str, Any]]) -> None:
    encoder = RowEncoder(RATIO)
    together = encoder.matrix(encoder.frame_of(rows))
    alone = np.vstack([encoder.matrix(encoder.frame_of([row])) for row in rows])
    assert together.tobytes() == alone.tobytes()
    assert not np.isinf(together).any()


@pytest.mark.parametrize("kind", ["scale", "impute"])
def test_a_transform_learns_from_finite_numbers_alone(kind: Any) -> None:
    """Regression: one infinity made the mean and the deviation NaN, and with them the whole column."""
    found = fit_transform("made", FittedSpec(kind=kind, of="x"), "number", pl.Series([1.0, 3.0, math.inf, None]), set())
    same = fit_transform("made", FittedSpec(kind=kind, of="x"), "number", pl.Series([1.0, 3.0]), set())
    assert found == same
    assert all(math.isfinite(value) for value in found.data.values())
