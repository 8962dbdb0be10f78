"""Load one delivered file: every row goes to the raw table or to quarantine, with the ledger row that counts them.

All in one transaction. Everything is read as text by header name and cast in SQL, so a value that doesn't fit its
column is quarantined with its place instead of stopping the file. That holds for Parquet (by the file's suffix) as for
CSV. What a file of another shape means is decided here; which file to read is decided by the caller.
"""

import csv
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb

from assets import ledger
from assets.errors import HeadraceError
from assets.lake import Lake, has_table
from assets.naming import literal, quoted, table
from assets.raw.landing import REFERENCE_BATCH, stage_copy
from assets.records import Batch
from assets.spec import ColumnType, SourceSpec

QUARANTINE = "quarantine"
_QUARANTINE_DDL = f"""create table if not exists {table("raw", QUARANTINE)} (
    source varchar, batch_id varchar, row_number bigint, column_name varchar, expected varchar, found varchar,
    raw_text varchar, quarantined_at timestamptz)"""


class RefusedFileError(HeadraceError):
    """A whole file was refused; nothing of it was loaded and the file is where it was."""


def is_parquet(name: str) -> bool:
    """Whether a file of this name is read as Parquet; every other one is CSV."""
    return name.lower().endswith((".parquet", ".pq"))


def count_rows(path: Path) -> int:
    """Data rows of a CSV file counted apart from the parser that loads them: records after the header."""
    content = path.read_bytes()
    if b'"' not in content:
        return max(sum(1 for _ in re.finditer(rb"[^\r\n]+", content)) - 1, 0)
    return max(sum(1 for row in _csv_rows(content.decode("utf-8-sig", errors="replace")) if row) - 1, 0)


def _csv_rows(text: str) -> Iterator[list[str]]:
    """Rows of CSV text. Lines end where CSV says (`str.splitlines` ends them at a form feed or U+2028, too)."""
    csv.field_size_limit(sys.maxsize)  # Python's own limit of 128 KB would stop a file that DuckDB reads
    return csv.reader(io.StringIO(text, newline=""))


def as_type(text: str, kind: ColumnType) -> str:
    """SQL of a text as a value of its column's type, null where it isn't one."""
    return f"try_cast({_bare(text, kind)} as {kind})"


def _bare(text: str, kind: ColumnType) -> str:
    """SQL of a text without the spaces around it, which belong to no number, boolean or time.

    DuckDB's own casts pass over them for some types only: ` 1` is a number, but ` True` is no boolean.
    """
    return text if kind == "VARCHAR" else f"trim({text})"


def read_header(path: Path) -> list[str]:
    """Column names of a CSV file's first line.

    Raises:
        RefusedFileError: the file is empty or its first line is not UTF-8 text.
    """
    with path.open("rb") as file:
        first = file.readline(1 << 20)
    try:
        text = first.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RefusedFileError(
            "the file isn't UTF-8 text", expected="UTF-8", found=repr(first[:20]), fix="save it as UTF-8"
        ) from None
    header = next(_csv_rows(text), [])
    if not header or "\x00" in text:
        raise RefusedFileError(
            "the file has no header",
            expected="column names on the first line",
            found=repr(text[:40]),
            fix="deliver the file again, with its header",
        )
    return header


def check_header(header: list[str], source: SourceSpec) -> None:
    """Hold a header against the file contract, by name; the order is free.

    Raises:
        RefusedFileError: a column is missing, unknown or there twice.
    """
    missing = [name for name in source.columns if name not in header]
    unknown = [name for name in header if name not in source.columns]
    double = sorted({name for name in header if header.count(name) > 1})
    parts = [
        f"{what} {', '.join(names)}"
        for what, names in (("missing", missing), ("unknown", unknown), ("twice", double))
        if names
    ]
    if parts:
        raise RefusedFileError(
            "the columns are not the ones of the file contract",
            where="header",
            expected=", ".join(source.columns),
            found="; ".join(parts),
            fix="deliver the file with these columns, or change `columns:` in the product's spec",
        )


def prepare_raw_table(lake: Lake, name: str, source: SourceSpec) -> None:
    """Create a source's raw table, so that what reads it works before the first file has come."""
    with lake.connect() as con:
        if has_table(con, "raw", name):
            return
    lake.transact(lambda con: con.execute(_raw_ddl(name, source)))


def load_file(lake: Lake, name: str, source: SourceSpec, path: Path, batch_id: str) -> Batch:
    """Load a landed file once.

    Args:
        lake: the product's lake.
        name: the source; also its raw table.
        source: its contract.
        path: the landed file.
        batch_id: the batch it is; for a source without batches the content's own hash is used.

    Returns:
        the ledger's row; that of the first delivery when the content was loaded before.

    Raises:
        RefusedFileError: the file as a whole can't be loaded; that is in the ledger, with the reason.
    """
    staged, sha256, size_bytes = stage_copy(path, lake.staging)
    batch_id = sha256[:12] if batch_id == REFERENCE_BATCH else batch_id
    facts: dict[str, str | int] = {
        "source": name,
        "batch_id": batch_id,
        "file_name": path.name,
        "sha256": sha256,
        "size_bytes": size_bytes,
    }
    try:
        return lake.transact(lambda con: _load(con, facts, source, staged))
    except RefusedFileError as error:
        refusal = RefusedFileError(
            error.what,
            product=lake.product,
            where=f"{path.name}{': ' + error.where if error.where else ''}",
            expected=error.expected,
            found=error.found,
            fix=error.fix,
        )
        reason = refusal.one_line
        lake.transact(lambda con: _refuse(con, facts, reason))
        raise refusal from None
    finally:
        staged.unlink(missing_ok=True)


def _load(con: duckdb.DuckDBPyConnection, facts: dict[str, str | int], source: SourceSpec, staged: Path) -> Batch:
    name, batch_id = str(facts["source"]), str(facts["batch_id"])
    for batch in ledger.batches(con, name):
        if batch.status == "LOADED" and batch.sha256 == facts["sha256"]:
            return batch
        if batch.status == "LOADED" and batch.batch_id == batch_id:
            raise RefusedFileError(
                f"batch {batch_id} was loaded before with other content",
                expected=f"the content of {batch.file_name}, SHA-256 {batch.sha256[:12]}…",
                found=f"SHA-256 {str(facts['sha256'])[:12]}…",
                fix="deliver the corrected rows under a new batch id; what is loaded stays as it is",
            )
    as_parquet = is_parquet(str(facts["file_name"]))
    header, rows_in = _parquet_facts(con, staged) if as_parquet else (read_header(staged), None)
    check_header(header, source)
    rows_in = count_rows(staged) if rows_in is None else rows_in
    con.execute(_raw_ddl(name, source))
    con.execute(_QUARANTINE_DDL)
    (_read_parquet if as_parquet else _read_csv)(con, staged, header, source)
    _parse(con, header, source)
    columns = ", ".join(quoted(column) for column in source.columns)
    casts = ", ".join(as_type(quoted(column), kind) for column, kind in source.columns.items())
    loaded = con.execute(
        f"insert into {table('raw', name)} (batch_id, row_number, {columns}) "
        f"select ?, row_number, {casts} from temp.parsed where headrace_bad_column is null order by row_number",
        [batch_id],
    ).fetchall()[0][0]
    quarantined = con.execute(
        f"""insert into {table("raw", QUARANTINE)}
        select $source, $batch, *, $now
        from (
            select row_number, headrace_bad_column, headrace_expected, headrace_found, headrace_text
            from temp.parsed where headrace_bad_column is not null
            union all select line - 1, column_name, 'a row of {len(header)} fields', error_message, csv_line
            from temp.rejected
        )""",
        {"source": name, "batch": batch_id, "now": ledger.now()},
    ).fetchall()[0][0]
    batch = Batch.model_validate(
        {
            **facts,
            "status": "LOADED",
            "rows_in": rows_in,
            "rows_loaded": loaded,
            "rows_quarantined": quarantined,
            "loaded_at": ledger.now(),
        }
    )
    if batch.rows_in != batch.rows_loaded + batch.rows_quarantined:
        raise RefusedFileError(
            "rows are unaccounted for",
            expected=f"{rows_in} rows counted in the file",
            found=f"{loaded} loaded + {quarantined} quarantined",
            fix="look for an unclosed quote or stray control characters; nothing was loaded",
        )
    ledger.append_batch(con, batch)
    return batch


def _refuse(con: duckdb.DuckDBPyConnection, facts: dict[str, str | int], reason: str) -> None:
    known = ledger.batches(con, str(facts["source"]))
    if not any(item.sha256 == facts["sha256"] and item.reason == reason for item in known):
        ledger.append_batch(
            con, Batch.model_validate({**facts, "status": "REFUSED", "reason": reason, "loaded_at": ledger.now()})
        )


def _raw_ddl(name: str, source: SourceSpec) -> str:
    columns = ", ".join(f"{quoted(column)} {kind}" for column, kind in source.columns.items())
    return f"create table if not exists {table('raw', name)} (batch_id varchar, row_number bigint, {columns})"


def _read_csv(con: duckdb.DuckDBPyConnection, staged: Path, header: list[str], source: SourceSpec) -> None:
    """Fill `temp.read_rows` (the fields as text) and `temp.rejected` (rows that have another number of fields)."""
    names = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in header)
    nulls = ", ".join(literal(text) for text in source.nulls)
    fields = ", ".join(quoted(column) for column in header)
    try:
        con.execute(
            f"""create or replace temp table read_rows as
            select row_number() over () as headrace_place, {fields} from read_csv(
                {literal(str(staged))}, columns={{{names}}}, header=true, auto_detect=false, delim=',', quote='"',
                escape='"', nullstr=[{nulls}], strict_mode=true, ignore_errors=true, store_rejects=true)"""
        )
    except duckdb.Error as error:
        raise RefusedFileError(
            "the file can't be read as CSV",
            expected="comma-separated UTF-8 text",
            found=str(error).splitlines()[0],
            fix="open the file at the place named, mend it and deliver it again",
        ) from None
    con.execute(
        """create or replace temp table rejected as
        select line, any_value(column_name) as column_name, any_value(error_message) as error_message,
            any_value(csv_line) as csv_line from reject_errors group by line"""
    )


def _parquet_facts(con: duckdb.DuckDBPyConnection, staged: Path) -> tuple[list[str], int]:
    """Column names and the number of rows that a Parquet file's footer promises.

    Raises:
        RefusedFileError: it isn't a Parquet file, or it is cut off.
    """
    file = literal(str(staged))
    try:
        rows = con.execute(f"select num_rows from parquet_file_metadata({file})").fetchall()[0][0]
        columns = con.execute(f"describe select * from read_parquet({file})").fetchall()
    except duckdb.Error as error:
        raise _unreadable_parquet(error) from None
    return [str(column[0]) for column in columns], int(rows)


def _read_parquet(con: duckdb.DuckDBPyConnection, staged: Path, header: list[str], source: SourceSpec) -> None:
    """Fill `temp.read_rows` with the values as text, so that they meet the same contract as those of a CSV file."""
    nulls = ", ".join(literal(text) for text in source.nulls)
    texts = {column: f"{quoted(column)}::varchar" for column in header}
    fields = ", ".join(
        (f"case when {text} not in ({nulls}) then {text} end" if nulls else text) + f" as {quoted(column)}"
        for column, text in texts.items()
    )
    try:
        con.execute(
            f"""create or replace temp table read_rows as
            select file_row_number + 1 as headrace_place, {fields}
            from read_parquet({literal(str(staged))}, file_row_number=true)"""
        )
    except duckdb.Error as error:
        raise _unreadable_parquet(error) from None
    con.execute(
        """create or replace temp table rejected
        (line bigint, column_name varchar, error_message varchar, csv_line varchar)"""
    )


def _unreadable_parquet(error: duckdb.Error) -> RefusedFileError:
    return RefusedFileError(
        "the file can't be read as Parquet",
        expected="a whole Parquet file",
        found=str(error).splitlines()[0],
        fix="write the file again and deliver it whole",
    )


def _parse(con: duckdb.DuckDBPyConnection, header: list[str], source: SourceSpec) -> None:
    """Fill `temp.parsed`: every row that has the right shape, with its number in the file and its first fault."""
    raw_text = ", ".join(f"{literal(column)}: {quoted(column)}" for column in header)
    # A rejected row keeps its number, so the rows after it are numbered as they stand in the file.
    con.execute(
        f"""create or replace temp table parsed as
        with numbered as (
            select number as row_number, row_number() over (order by number) as headrace_place
            from range(1, (select count(*) from read_rows) + (select count(*) from rejected) + 1) as numbers(number)
            where number not in (select line - 1 from rejected)
        )
        select numbered.row_number, read_rows.* exclude (headrace_place), {_first_fault(source)},
            to_json({{{raw_text}}})::varchar as headrace_text
        from read_rows join numbered using (headrace_place)"""
    )


def _first_fault(source: SourceSpec) -> str:
    """SQL for the first column whose text isn't what the contract says: its name, what was expected, what was found.

    Names of our own start with `headrace_`, which the spec keeps free: a file may well have a column `found`.
    """
    faults = []
    for column, kind in source.columns.items():
        if column in source.required:
            faults.append((column, f"{quoted(column)} is null", "a value"))
        faults.append((column, _does_not_fit(column, kind), "text without NUL" if kind == "VARCHAR" else kind))
    parts = {
        "bad_column": [(test, literal(column)) for column, test, _ in faults],
        "expected": [(test, literal(expected)) for _, test, expected in faults],
        "found": [(test, quoted(column)) for column, test, _ in faults],
    }
    return ", ".join(
        "case " + " ".join(f"when {test} then {value}" for test, value in cases) + f" end as headrace_{name}"
        for name, cases in parts.items()
    )


def _does_not_fit(column: str, kind: ColumnType) -> str:
    """SQL that is true where a cast would fail, or would succeed by changing the value."""
    field = _bare(quoted(column), kind)
    cast = f"try_cast({field} as {kind})"
    finite = f"coalesce(isfinite({cast}), false)"
    fits = {
        "VARCHAR": f"not contains({field}, chr(0))",
        "BOOLEAN": f"{cast} is not null",
        "DOUBLE": finite,
        # a cast would round 1.5; beyond 2^52 a double has no place for the half, so there only digits count
        "BIGINT": f"case when {cast} between -{1 << 52} and {1 << 52} "
        f"then coalesce({cast} = try_cast({field} as double), false) "
        f"else {cast} is not null and regexp_full_match({field}, '[+-]?[0-9]+([.]0*)?') end",
        # a cast would leave out the time of day, and of a timestamp its zone
        "DATE": f"({finite} and coalesce({cast} = try_cast({field} as timestamp), true))",
        "TIMESTAMP": f"({finite} and coalesce({cast}::timestamptz = try_cast({field} as timestamptz), true))",
        "TIMESTAMPTZ": finite,
    }
    return f"({field} is not null and not {fits[kind]})"
