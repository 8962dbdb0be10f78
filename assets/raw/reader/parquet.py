"""Parquet: values as text, so that they meet the same contract as those of a CSV file.

What the footer says is held against what is read. What DuckDB would read as another value without a word (nanoseconds
of times with a zone, decimals of more than 38 digits: measured with 1.5.5) is found here first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from assets.naming import literal, quoted
from assets.raw.reader.columns import or_null, plan_columns
from assets.raw.reader.protocol import ReadReport, ReadRequest, RefusedFileError
from assets.raw.reader.typed import write_typed
from assets.spec import ColumnType

_MOST_DIGITS = 38
_TYPES: dict[str, ColumnType] = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"), "BIGINT"),
    **dict.fromkeys(("FLOAT", "DOUBLE"), "DOUBLE"),
    "BOOLEAN": "BOOLEAN",
    "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ",
    "VARCHAR": "VARCHAR",
}
"""What a column becomes that evolution adds; of others the type is inferred from their texts."""
_TIMES = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP", "TIME", "TIME WITH TIME ZONE")


@dataclass(frozen=True)
class _Field:
    """A column as the footer describes it."""

    name: str
    alias: str
    """as DuckDB calls it: nameless and double columns get other names"""
    kind: str
    """DuckDB's type"""
    is_nested: bool
    nanoseconds: bool
    """whether it, or something in it, has nanoseconds that DuckDB cuts off"""
    digits: int
    """of its longest decimal; 0 for none"""


def read(con: duckdb.DuckDBPyConnection, path: Path, request: ReadRequest) -> ReadReport:
    """Read a Parquet file.

    Nested values become JSON text where the contract says VARCHAR or nothing; bytes become text where they are UTF-8,
    else their row goes to quarantine. Times with a zone keep their moment, as text in UTC.

    Raises:
        RefusedFileError: the file is no whole Parquet file, is encrypted, promises more than the limit on unpacked
            size, has a column that can't be read exactly, or its columns don't fit the contract.
    """
    try:
        rows_in = _rows(con, path, request)
        listed = _fields(con, path)
        plan = plan_columns([field.name for field in listed], request)
        fields = {field.name: field for field in listed}
        types = {name: _TYPES[fields[name].kind] for name in plan.unknown if fields[name].kind in _TYPES}
        kinds = {file_name: request.columns[name] for name, file_name in plan.taken.items()}
        if request.contract.contract == "evolve":
            kinds |= types
        for field in fields.values():
            _check_exact(field, kinds.get(field.name, "VARCHAR"), path)
        texts, rejected = _texts(path, fields, kinds, request)
        written = write_typed(con, texts, plan, request, rejected=rejected, types=types)
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise _unreadable(str(error)) from None
    return ReadReport(
        format="parquet",
        rows_in=rows_in,
        rows_loaded=written.rows_loaded,
        rows_quarantined=written.rows_quarantined,
        columns=written.columns,
        changes=written.changes,
    )


def _unreadable(found: str) -> RefusedFileError:
    return RefusedFileError(
        "the file can't be read as Parquet",
        expected="a whole Parquet file that is not encrypted",
        found=found.splitlines()[0][:300] if found else "",
        fix="write the file again and deliver it whole",
    )


def _source(path: Path) -> str:
    # a folder called `a=b` above the file is no column of it
    return f"read_parquet({literal(str(path))}, hive_partitioning=false)"


def _rows(con: duckdb.DuckDBPyConnection, path: Path, request: ReadRequest) -> int:
    """The number of rows that the footer promises.

    Raises:
        RefusedFileError: the footer contradicts itself, or promises more than the limit on unpacked size.
    """
    file = literal(str(path))
    rows, encrypted = con.execute(
        f"select num_rows, encryption_algorithm is not null from parquet_file_metadata({file})"
    ).fetchall()[0]
    if encrypted:
        raise _unreadable("an encrypted file")
    groups, size, columns = con.execute(
        f"""select coalesce(sum(row_group_num_rows) filter (column_id = 0), 0),
            coalesce(sum(total_uncompressed_size), 0), count(distinct column_id) from parquet_metadata({file})"""
    ).fetchall()[0]
    if rows < 0 or rows != groups:
        raise _unreadable(f"{rows:,} rows in the footer, {groups:,} in its row groups")
    most = int(request.unpacked_gigabytes * 1e9)
    # a value takes a byte at least once it is written out, however small it was packed
    if max(size, rows * max(columns, 1)) > most:
        raise RefusedFileError(
            "the file is too large unpacked",
            expected=f"at most {request.unpacked_gigabytes:g} GB",
            found=f"{rows:,} rows of {columns} columns, {size:,} bytes by its footer",
            fix="deliver it in parts, or raise HEADRACE_READ_UNPACKED_GIGABYTES",
        )
    return int(rows)


def _fields(con: duckdb.DuckDBPyConnection, path: Path) -> list[_Field]:
    """The columns in their order, with their names as they are written in the file.

    Raises:
        RefusedFileError: the schema is not a tree with one root.
    """
    nodes = con.execute(
        f"""select name, coalesce(num_children, 0), coalesce(precision, 0), type = 'INT96' or
                contains(coalesce(logical_type, ''), 'NANOS=NanoSeconds'), coalesce(duckdb_type, '')
            from parquet_schema({literal(str(path))})"""
    ).fetchall()
    described = con.execute(f"describe select * from {_source(path)}").fetchall()
    tops = list(_tops(nodes))
    if len(tops) != len(described):
        raise _unreadable(f"{len(tops)} columns in the footer, {len(described)} read")
    return [
        _Field(
            name=str(nodes[first][0]),
            alias=str(alias),
            kind="NULL" if nodes[first][4] == '"NULL"' else str(kind),
            is_nested=nodes[first][1] > 0,
            # of a top-level column without a zone DuckDB keeps them, as TIMESTAMP_NS
            nanoseconds=any(node[3] and node[4] in _TIMES for node in nodes[first:behind]),
            digits=max(node[2] for node in nodes[first:behind]),
        )
        for (first, behind), (alias, kind, *_) in zip(tops, described, strict=True)
    ]


def _tops(nodes: list[tuple[str, int, int, bool, str]]) -> Iterator[tuple[int, int]]:
    """Where each column begins in the schema's list, and behind its last part: the list is a tree, parents first."""
    place = 1
    for _ in range(min(nodes[0][1], len(nodes) - 1)):
        first, open_nodes = place, 1
        while open_nodes > 0 and place < len(nodes):
            open_nodes += nodes[place][1] - 1
            place += 1
        yield first, place


def _check_exact(field: _Field, kind: str, path: Path) -> None:
    """Refuse a column whose values would be read as others."""
    where = f"column {field.name[:60]}"
    if field.is_nested and kind != "VARCHAR":
        raise RefusedFileError(
            "a column is nested",
            where=where,
            expected=kind,
            found=field.kind[:200],
            fix="deliver one plain value per row, or write VARCHAR in the product's spec to keep it as JSON text",
        )
    if field.digits > _MOST_DIGITS:
        raise RefusedFileError(
            "a column's decimals are too long",
            where=where,
            expected=f"at most {_MOST_DIGITS} digits",
            found=f"{field.digits} digits",
            fix="write the column as text, or with fewer digits",
        )
    if field.nanoseconds and (field.is_nested or _has_nanoseconds(path, field.name)):
        raise RefusedFileError(
            "a column has times in nanoseconds, which would be cut to microseconds",
            where=where,
            expected="times in microseconds or milliseconds",
            fix="write the column in microseconds",
        )


def _has_nanoseconds(path: Path, name: str) -> bool:
    """Whether any time of a column is no whole microsecond."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return any(
            bool(np.any(batch.column(0).drop_null().view("int64").to_numpy() % 1000))
            for batch in file.iter_batches(columns=[name])
        )


def _texts(
    path: Path, fields: dict[str, _Field], kinds: dict[str, ColumnType], request: ReadRequest
) -> tuple[str, str]:
    """SQL of the rows as text, and of those with bytes that are no text; `kinds` are the types of known columns."""
    numbered = f"(select row_number() over () as headrace_row, * from {_source(path)})"
    values = {name: or_null(_as_text(field, kinds.get(name, "VARCHAR")), request) for name, field in fields.items()}
    selected = ", ".join(f"{value} as {quoted(name)}" for name, value in values.items())
    binary = {name: f for name, f in fields.items() if f.kind == "BLOB" and name in kinds}
    faults = {name: f"({quoted(f.alias)} is not null and {_decoded(f)} is null)" for name, f in binary.items()}
    if not faults:
        return f"select headrace_row, {selected} from {numbered}", ""
    is_bad = " or ".join(faults.values())
    column = "case " + " ".join(f"when {test} then {literal(name)}" for name, test in faults.items()) + " end"
    found = "case " + " ".join(f"when {faults[name]} then {quoted(f.alias)}" for name, f in binary.items()) + " end"
    whole = ", ".join(f"{literal(name)}: {value}" for name, value in values.items())
    return (
        f"select headrace_row, {selected} from {numbered} where not ({is_bad})",
        f"""select headrace_row as row_number, {column} as column_name, 'UTF-8 text' as expected,
            left({found}::varchar, 200) as found, to_json({{{whole}}})::varchar as raw_text
            from {numbered} where {is_bad}""",
    )


def _decoded(field: _Field) -> str:
    return f"try(decode({quoted(field.alias)}))"


def _as_text(field: _Field, kind: str) -> str:
    """SQL of a value as the text that says exactly it."""
    value = quoted(field.alias)
    if field.is_nested:
        return f"to_json({value})::varchar"
    if field.kind == "BLOB":
        return f"coalesce({_decoded(field)}, {value}::varchar)"
    if field.kind == "FLOAT" and kind != "VARCHAR":
        # the text of a FLOAT is short: 0.1 for 0.10000000149011612
        return f"{value}::double::varchar"
    if field.kind == "TIMESTAMP WITH TIME ZONE":
        # whatever zone the session is in
        moment = f"make_timestamp(epoch_us({value}))::varchar"
        return f"case when isfinite({value}) then {moment} || '+00' when {value} is not null then 'infinity' end"
    return f"{value}::varchar"
