"""Parquet values meet the contract as texts that say exactly them; what can't be read exactly is refused."""

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.raw.reader import parquet
from assets.raw.reader.protocol import ReadRequest, RefusedFileError

Rows = list[tuple[Any, ...]]
WHOLE = {"id": pa.array([1, 2], pa.int64()), "size": pa.array([0.5, None]), "name": pa.array(["a", "b"])}


@pytest.fixture
def read(
    con: duckdb.DuckDBPyConnection, request_of: Callable[..., ReadRequest], written: Callable[..., Any], tmp_path: Path
) -> Callable[..., tuple[Rows, Rows]]:
    """Rows without their leading and trailing columns but the number, and the quarantined ones."""

    def get(content: dict[str, Any] | pa.Table | bytes, **contract: Any) -> tuple[Rows, Rows]:
        path = tmp_path / "file"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            pq.write_table(pa.table(content), path)
        request = request_of(path, **contract)
        rows, bad = written(request, parquet.read(con, path, request))
        return [(*row[1:-2], row[-1]) for row in rows], bad

    return get


def _column(values: list[Any], kind: pa.DataType) -> dict[str, Any]:
    return {"id": pa.array(range(len(values)), pa.int32()), "x": pa.array(values, kind)}


MOMENT = dt.datetime(2020, 7, 1, 10, tzinfo=dt.UTC)
LOCAL = MOMENT.replace(tzinfo=None)


@pytest.mark.parametrize(
    ("value", "kind", "wanted", "found"),
    [
        (7, pa.int8(), "BIGINT", 7),
        (0.1, pa.float32(), "DOUBLE", 0.10000000149011612),
        (0.1, pa.float32(), "VARCHAR", "0.1"),
        (0.1 + 0.2, pa.float64(), "DOUBLE", 0.1 + 0.2),
        (2.0, pa.float64(), "BIGINT", 2),
        (Decimal("1.50"), pa.decimal128(38, 2), "DOUBLE", 1.5),
        (Decimal("9007199254740993.00"), pa.decimal128(38, 2), "VARCHAR", "9007199254740993.00"),
        (True, pa.bool_(), "BOOLEAN", True),
        (MOMENT, pa.timestamp("us", "Europe/Berlin"), "VARCHAR", "2020-07-01 10:00:00+00"),
        (LOCAL, pa.timestamp("ms"), "TIMESTAMP", LOCAL),
        (LOCAL, pa.timestamp("s"), "TIMESTAMP", LOCAL),
        (1593597600_000001_000, pa.timestamp("ns"), "TIMESTAMP", LOCAL.replace(microsecond=1)),
        (1593597600_000001_000, pa.timestamp("ns", "UTC"), "VARCHAR", "2020-07-01 10:00:00.000001+00"),
        (dt.date(2020, 7, 1), pa.date32(), "DATE", dt.date(2020, 7, 1)),
        (dt.time(1, 2, 3), pa.time64("us"), "VARCHAR", "01:02:03"),
        ("é".encode(), pa.binary(), "VARCHAR", "é"),
        ("é", pa.large_string(), "VARCHAR", "é"),
        ("é", pa.dictionary(pa.int8(), pa.string()), "VARCHAR", "é"),
        ({"a": [1, None]}, pa.struct({"a": pa.list_(pa.int64())}), "VARCHAR", '{"a":[1,null]}'),
        ([], pa.list_(pa.int64()), "VARCHAR", "[]"),
        ([("k", 1)], pa.map_(pa.string(), pa.int64()), "VARCHAR", '{"k":1}'),
    ],
)
def test_a_value_keeps_its_meaning(
    read: Callable[..., tuple[Rows, Rows]], value: Any, kind: pa.DataType, wanted: str, found: Any
) -> None:
    rows, bad = read(_column([value, None], kind), columns={"id": "BIGINT", "x": wanted})
    assert rows == [(1, 0, found, None), (2, 1, None, None)]
    assert not bad


@pytest.mark.parametrize(
    ("value", "kind", "wanted", "found"),
    [
        (float("nan"), pa.float64(), "DOUBLE", "nan"),
        (float("inf"), pa.float32(), "DOUBLE", "inf"),
        (1.5, pa.float64(), "BIGINT", "1.5"),
        (2**63, pa.uint64(), "BIGINT", str(2**63)),
        (b"\xff\x00", pa.binary(), "VARCHAR", r"\xFF\x00"),
        ("a\x00b", pa.string(), "VARCHAR", "a\x00b"),
        (1593597600_000000_001, pa.timestamp("ns"), "TIMESTAMP", "2020-07-01 10:00:00.000000001"),
        (LOCAL, pa.timestamp("us"), "DATE", "2020-07-01 10:00:00"),
    ],
)
def test_a_value_that_does_not_fit_is_quarantined_in_its_place(
    read: Callable[..., tuple[Rows, Rows]], value: Any, kind: pa.DataType, wanted: str, found: str
) -> None:
    rows, bad = read(_column([None, value], kind), columns={"id": "BIGINT", "x": wanted})
    assert [row[0] for row in rows] == [1]
    assert (bad[0][:2], bad[0][3]) == ((2, "x"), found)
    assert json.loads(bad[0][4])["id"] == "1"


@pytest.mark.parametrize(
    ("value", "kind", "wanted", "said"),
    [
        ({"a": 1}, pa.struct({"a": pa.int64()}), "BIGINT", "a column is nested"),
        ([1], pa.list_(pa.int64()), "DOUBLE", "a column is nested"),
        (Decimal("1.50"), pa.decimal256(60, 2), "DOUBLE", "60 digits"),
        ([Decimal("1.50")], pa.list_(pa.decimal256(60, 2)), "VARCHAR", "60 digits"),
        (1593597600_000000_001, pa.timestamp("ns", "UTC"), "TIMESTAMPTZ", "nanoseconds"),
        ([1593597600_000000_001], pa.list_(pa.timestamp("ns", "UTC")), "VARCHAR", "nanoseconds"),
        (1, pa.time64("ns"), "VARCHAR", "nanoseconds"),
    ],
)
def test_a_column_that_would_be_read_as_something_else_is_refused(
    read: Callable[..., tuple[Rows, Rows]], value: Any, kind: pa.DataType, wanted: str, said: str
) -> None:
    with pytest.raises(RefusedFileError, match=said) as refusal:
        read(_column([value], kind), columns={"id": "BIGINT", "x": wanted})
    assert refusal.value.where == "column x"


def test_old_times_of_96_bits_keep_microseconds_and_are_refused_with_nanoseconds(
    read: Callable[..., tuple[Rows, Rows]], tmp_path: Path
) -> None:
    for nanoseconds, fits in ((1593597600_000001_000, True), (1593597600_000001_001, False)):
        path = tmp_path / "old"
        pq.write_table(pa.table(_column([nanoseconds], pa.timestamp("ns"))), path, use_deprecated_int96_timestamps=True)
        columns = {"id": "BIGINT", "x": "TIMESTAMP"}
        if fits:
            assert read(path.read_bytes(), columns=columns)[0][0][2] == LOCAL.replace(microsecond=1)
        else:
            with pytest.raises(RefusedFileError, match="nanoseconds"):
                read(path.read_bytes(), columns=columns)


def test_names_are_those_of_the_file_and_double_ones_are_refused(read: Callable[..., tuple[Rows, Rows]]) -> None:
    rows, _ = read({**WHOLE, "file_row_number": [9, 9]})
    assert [row[0] for row in rows] == [1, 2]
    assert json.loads(rows[0][4]) == {"file_row_number": "9"}
    for names, said in ((["id", "size", "name", "ID"], "same name"), (["id", "size", "name", ""], "no usable name")):
        with pytest.raises(RefusedFileError, match=said):
            read(pa.table([*WHOLE.values(), pa.array([1, 1])], names=names))


def test_columns_that_evolution_adds_have_the_types_of_the_file(
    con: duckdb.DuckDBPyConnection, request_of: Callable[..., ReadRequest], tmp_path: Path
) -> None:
    path = tmp_path / "more"
    more = {
        "third": [1 / 3, float("nan")],
        "short": pa.array([0.1, None], pa.float32()),
        "code": ["007", "1"],
        "at": pa.array([MOMENT, None], pa.timestamp("us", "UTC")),
        "none": pa.nulls(2),
        "tags": [["x"], None],
    }
    pq.write_table(pa.table({**WHOLE, **more}), path)
    report = parquet.read(con, path, request_of(path, contract="evolve"))
    kinds = {"third": "DOUBLE", "short": "DOUBLE", "code": "VARCHAR", "at": "TIMESTAMPTZ", "none": "VARCHAR"}
    assert {name: kind for name, kind in report.columns.items() if name in more} == {**kinds, "tags": "VARCHAR"}
    assert (report.rows_loaded, report.rows_quarantined) == (1, 1)


def test_an_empty_table_loads_as_no_rows(read: Callable[..., tuple[Rows, Rows]]) -> None:
    assert read(pa.table(WHOLE)[:0]) == ([], [])


def test_rows_keep_their_order_over_many_row_groups(read: Callable[..., tuple[Rows, Rows]], tmp_path: Path) -> None:
    path = tmp_path / "many"
    table = pa.table({"id": range(5000), "size": [0.0] * 5000, "name": ["x"] * 4999 + ["\x00"]})
    pq.write_table(table, path, row_group_size=100)
    rows, bad = read(path.read_bytes())
    assert [row[:2] for row in rows] == [(n + 1, n) for n in range(4999)]
    assert bad[0][:2] == (5000, "name")


def test_a_folder_that_looks_like_a_partition_is_no_column(
    con: duckdb.DuckDBPyConnection, request_of: Callable[..., ReadRequest], tmp_path: Path
) -> None:
    path = tmp_path / "year=2020" / "file.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table(WHOLE), path)
    assert parquet.read(con, path, request_of(path)).changes == ()


def test_a_file_that_is_cut_or_no_parquet_or_encrypted_is_refused(
    read: Callable[..., tuple[Rows, Rows]], tmp_path: Path
) -> None:
    path = tmp_path / "whole"
    pq.write_table(pa.table(WHOLE), path)
    content = path.read_bytes()
    cuts = [content[:size] for size in (0, 1, 4, 8, len(content) // 2, len(content) - 1)]
    for broken in (*cuts, b"PAR1" + bytes(100) + b"PAR1", b"id,size,name\n1,2,3\n", content[:-4] + b"PARE"):
        with pytest.raises(RefusedFileError, match="can't be read as Parquet"):
            read(broken)


def test_a_file_that_promises_more_rows_than_may_be_unpacked_is_refused(
    con: duckdb.DuckDBPyConnection, request_of: Callable[..., ReadRequest], tmp_path: Path
) -> None:
    path = tmp_path / "bomb"
    pq.write_table(
        pa.table({"id": pa.array([1] * 1_000_000), "size": [0.0] * 1_000_000, "name": ["x"] * 1_000_000}), path
    )
    request = request_of(path).model_copy(update={"unpacked_gigabytes": 0.002})
    with pytest.raises(RefusedFileError, match="too large unpacked"):
        parquet.read(con, path, request)
