"""Delimited text: every record is a row with a field for each column, or goes to quarantine with its line.

DuckDB parses; the header is read by name first, the records are counted apart from the parser (`records.py`), and a
file of which not every record is accounted for is refused. What a value must be is in `typed.py`.
"""

import contextlib
import csv
import io
import os
import secrets
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import PythonUDFType
from duckdb.sqltypes import BIGINT

from assets.naming import literal, quoted
from assets.raw.reader import plain, records
from assets.raw.reader.columns import ColumnPlan, plan_columns
from assets.raw.reader.protocol import ROWS_FILE, ReadReport, ReadRequest, RefusedFileError, rows_files
from assets.raw.reader.typed import Written, as_type, copy_to, does_not_fit, rescued_json, write_typed
from assets.spec import ColumnType, CsvSpec

_HEADER_CHARACTERS = 1 << 20
_MOST_REJECTED = 1_000_000
# numbering rows takes one thread, so a larger file is read in parts side by side
_PART_BYTES = 32 << 20
_FAULT = "headrace: a value does not fit"
_WIDE = "headrace: a whole number that no double holds"
# typed scans that keep every value, or can be seen not to: a BIGINT scan would round 1.5
_SCANNED = {"DOUBLE": "DOUBLE", "BIGINT": "DOUBLE", "BOOLEAN": "BOOLEAN"}


def read(con: duckdb.DuckDBPyConnection, path: Path, request: ReadRequest) -> ReadReport:
    """Read an unpacked local file.

    Raises:
        RefusedFileError: it is no text, its columns are not the contract's, or a record is unaccounted for.
    """
    style, scratch = request.contract.csv, plain.scratch_of(request)
    path = plain.as_utf8(path, style.encoding, scratch)
    parts = max(1, min(request.threads, path.stat().st_size // _PART_BYTES))
    survey = records.survey(path, style, parts=parts)
    if survey.line_ends == "mixed":
        path = records.with_line_feeds(path, style, scratch)
        survey.cuts.clear()
    header = _header(path, style) if style.header else list(request.contract.columns)
    plan = plan_columns(header, request)
    if not style.header and records.opens_quote(path, style):
        # DuckDB's strict parser takes the line ends in the first record for those of the file, and fails at others
        path = records.with_header(path, style, survey, len(header), scratch)
        request = _with_header(request)
        style = request.contract.csv
    count_empty = len(header) == 1  # the one value of the line is then an empty one
    rows_in = survey.records + (survey.empty if count_empty else 0) - style.header
    cuts = [(cut.place, cut.records + (cut.empty if count_empty else 0) - style.header) for cut in survey.cuts]
    # what a scan of doubles would change
    as_texts: tuple[ColumnType, ...] = ("BIGINT",) if survey.nearly_whole else ()
    as_texts = ("BIGINT", "DOUBLE") if survey.odd_numbers else as_texts
    parts_read = _parts(path, cuts, rows_in, scratch)
    try:
        clean = _fast(con, parts_read, header, plan, request, as_texts)
    except _WideNumberError:
        clean = _fast(con, parts_read, header, plan, request, ("BIGINT", *as_texts))
    written = clean or _exact(con, path, header, plan, request)
    if rows_in != written.rows_loaded + written.rows_quarantined:
        raise RefusedFileError(
            "rows are unaccounted for",
            expected=f"{rows_in:,} rows counted in the file",
            found=f"{written.rows_loaded:,} loaded + {written.rows_quarantined:,} quarantined",
            fix="look for a quote that is never closed or stray control characters; nothing was loaded",
        )
    return ReadReport(
        format="csv",
        rows_in=rows_in,
        rows_loaded=written.rows_loaded,
        rows_quarantined=written.rows_quarantined,
        columns=written.columns,
        changes=written.changes,
    )


def _with_header(request: ReadRequest) -> ReadRequest:
    contract = request.contract
    style = contract.csv.model_copy(update={"header": True})
    return request.model_copy(update={"contract": contract.model_copy(update={"csv": style})})


class _WideNumberError(Exception):
    """A whole number is beyond what a scan of doubles keeps."""


def _header(path: Path, style: CsvSpec) -> list[str]:
    """The column names in the first record.

    Raises:
        RefusedFileError: there is none, or it can't be parsed.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        text = file.read(_HEADER_CHARACTERS)
    names: list[str] = []
    found = repr(text[:40])
    csv.field_size_limit(sys.maxsize)  # Python's own limit of 128 KB would be another error
    try:
        names = next(
            csv.reader(
                io.StringIO(text, newline=""),
                delimiter=style.delimiter,
                quotechar=style.quote or None,
                quoting=csv.QUOTE_MINIMAL if style.quote else csv.QUOTE_NONE,
                doublequote=style.escape == style.quote,
                escapechar=style.escape if style.escape not in ("", style.quote) else None,
                strict=True,
            ),
            [],
        )
    except csv.Error as error:
        found = f"{error}: {found}"
        names = []
    if not names or any("\x00" in name for name in names):
        raise RefusedFileError(
            "the file has no header",
            where="line 1",
            expected="column names on the first line",
            found=found,
            fix="deliver the file again, with its header; set source.csv.header: false if it never has one",
        )
    # a delimiter behind the last name, and then behind the last value of each row: no column
    return names[:-1] if len(names) > 1 and not names[-1] else names


@dataclass(frozen=True)
class _Part:
    """A part of the file, in a file of its own, and the rows that it must have."""

    path: Path
    rows_before: int
    rows: int


def _parts(path: Path, cuts: Sequence[tuple[int, int]], rows_in: int, scratch: Path) -> list[_Part]:
    """Cut the file: each of `cuts` is a place in it and the rows before; without any it is its own part."""
    if not cuts:
        return [_Part(path, 0, rows_in)]
    parts = []
    with path.open("rb") as file:
        ends = [*cuts, (path.stat().st_size, rows_in)]
        for number, ((begin, before), (end, until)) in enumerate(zip([(0, 0), *cuts], ends, strict=True)):
            target = scratch / f"part-{number}"
            with target.open("wb") as out:
                file.seek(begin)
                while (left := end - file.tell()) > 0:
                    os.copy_file_range(file.fileno(), out.fileno(), left)
            parts.append(_Part(target, before, until - before))
    return parts


def _scan(
    path: Path, kinds: Sequence[str], request: ReadRequest, options: str = "", *, header: bool | None = None
) -> str:
    """SQL of a strict scan of the file with the fields `headrace_0` and so on, of these types."""
    style = request.contract.csv
    # without a null text DuckDB reads an empty field as null
    nulls = request.contract.nulls or (_unlikely_text(style),)
    columns = ", ".join(f"headrace_{place}: {literal(kind)}" for place, kind in enumerate(kinds))
    header = style.header if header is None else header
    return f"""read_csv({literal(str(path))}, columns={{{columns}}}, auto_detect=false, header={header},
        delim={literal(style.delimiter)}, quote={literal(style.quote)}, escape={literal(style.escape)},
        nullstr=[{", ".join(literal(text) for text in nulls)}], strict_mode=true{options})"""


def _unlikely_text(style: CsvSpec) -> str:
    """A text that no field of a file can be meant to have; DuckDB allows none of the signs of CSV in it."""
    signs = [sign for sign in "0123456789abcdef" if sign not in (style.delimiter, style.quote, style.escape)]
    return "".join(secrets.choice(signs) for _ in range(32))


def _fast(
    con: duckdb.DuckDBPyConnection,
    parts: Sequence[_Part],
    header: list[str],
    plan: ColumnPlan,
    request: ReadRequest,
    as_texts: Sequence[ColumnType],
) -> Written | None:
    """Read a file in which nothing is wrong, in one pass; None when something is, or types have to be inferred.

    The pass ends at the first fault: which record has it, and what it says, is for the exact one. Each part becomes a
    file of rows.

    Raises:
        _WideNumberError: whole numbers have to be among `as_texts`, the types that are scanned as texts.
    """
    if request.contract.contract == "evolve" and plan.unknown:
        return None
    style, place_of = request.contract.csv, {name: f"headrace_{place}" for place, name in enumerate(header)}
    kinds = dict.fromkeys(header, "VARCHAR")
    for name, field in plan.taken.items():
        kinds[field] = _scanned(request.columns[name], style, as_texts)
    values, faults, wide = [], [], ["false"]
    for name, kind in request.columns.items():
        if name not in plan.taken:
            values.append(f"null::{kind} as {quoted(name)}")
            continue
        field = place_of[plan.taken[name]]
        value, fault = _value_and_fault(field, kind, style, as_texts)
        values.append(f"{value} as {quoted(name)}")
        if kind == "BIGINT" and kinds[plan.taken[name]] == "DOUBLE":
            wide.append(f"(abs({field}) >= {1 << 52} and isfinite({field}))")
        faults += [fault, *([f"{field} is null"] if name in request.contract.required else [])]
    batch = f"""case when {" or ".join(wide)} then error({literal(_WIDE)})
        when {" or ".join(faults)} then error({literal(_FAULT)}) else {literal(request.batch_id)} end"""
    rescued = rescued_json({name: place_of[name] for name in plan.unknown})

    def query(number: int, part: _Part) -> str:
        scan = _scan(part.path, list(kinds.values()), request, header=style.header and number == 0)
        return f"""select {batch} as batch_id, {part.rows_before} + row_number() over () as row_number,
            {", ".join(values)}, {literal(request.delivery_id)} as headrace_delivery, {rescued} as headrace_rescued
            from {scan}"""

    try:
        loaded = _copy_side_by_side(con, [query(*item) for item in enumerate(parts)], Path(request.folder))
    except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
        _remove(request)
        if _WIDE in str(error):
            raise _WideNumberError from None
        return None
    if loaded != [part.rows for part in parts]:
        _remove(request)
        return None
    return Written(sum(loaded), 0, dict(request.columns), plan.changes)


def _remove(request: ReadRequest) -> None:
    for file in rows_files(Path(request.folder)):
        file.unlink()


def _copy_side_by_side(con: duckdb.DuckDBPyConnection, queries: Sequence[str], folder: Path) -> list[int]:
    """Write the rows of each query to a file of its own, all at once; when one fails, the others are ended.

    Returns:
        the rows of each.
    """
    if len(queries) == 1:
        return [copy_to(con, queries[0], folder / ROWS_FILE)]
    cursors = [con.cursor() for _ in queries]
    names = [ROWS_FILE, *(f"rows_{number}.parquet" for number in range(1, len(queries)))]
    with ThreadPoolExecutor(len(queries)) as pool:
        copies = [
            pool.submit(copy_to, cursor, query, folder / name)
            for cursor, query, name in zip(cursors, queries, names, strict=True)
        ]
        done, _ = wait(copies, return_when=FIRST_EXCEPTION)
        for error in (copy.exception() for copy in done):
            if error:
                for cursor in cursors:
                    cursor.interrupt()
                raise error
        return [copy.result() for copy in copies]


def _scanned(kind: ColumnType, style: CsvSpec, as_texts: Sequence[ColumnType]) -> str:
    """The type that a column is scanned as in the fast pass."""
    is_number = kind in ("BIGINT", "DOUBLE")
    if kind in as_texts or (is_number and (style.decimal != "." or style.thousands)):
        return "VARCHAR"
    return _SCANNED.get(kind, "VARCHAR")


def _value_and_fault(field: str, kind: ColumnType, style: CsvSpec, as_texts: Sequence[ColumnType]) -> tuple[str, str]:
    """SQL of a scanned field's value and of what makes it no value of its column; both as `typed.py` has it."""
    if kind == "TIMESTAMP" and not style.timestamp_format:
        # most are written like 2013-01-01 05:17:00, and have no zone and no spaces
        usual = f"strlen({field}) = 19 and {field}[14] = ':' and {field}[17] = ':'"
        fault = f"case when {usual} then false else {does_not_fit(field, kind, style)} end"
        return f"{field}::timestamp", fault
    if kind == "DATE" and not style.date_format:
        # most are written like 2013-01-01, where no time has a place; unlike a date's, this cast fails at text behind
        usual = f"strlen({field}) = 10 and {field}[5] = '-'"
        fault = f"case when {usual} then false else {does_not_fit(field, kind, style)} end"
        return f"{field}::timestamp::date", fault
    if kind == "VARCHAR" or _scanned(kind, style, as_texts) == "VARCHAR":
        return as_type(field, kind, style), does_not_fit(field, kind, style)
    faults = {
        "DOUBLE": f"not isfinite({field})",
        "BIGINT": f"not isfinite({field}) or {field} <> trunc({field})",
        "BOOLEAN": "false",
    }
    return f"{field}::{kind}", faults[kind]


def _exact(
    con: duckdb.DuckDBPyConnection, path: Path, header: list[str], plan: ColumnPlan, request: ReadRequest
) -> Written:
    """Read every record as texts and split good rows from bad ones."""
    style, texts = request.contract.csv, plain.scratch_of(request) / "texts.parquet"
    most = f"max_line_size={records.MOST_LINE_BYTES}, buffer_size={records.MOST_LINE_BYTES}"
    scan = _scan(path, ["VARCHAR"] * len(header), request, f", ignore_errors=true, store_rejects=true, {most}")
    for table in ("reject_errors", "reject_scans"):  # of another file that this connection read
        con.execute(f"drop table if exists {table}")
    copy_to(con, f"from {scan}", texts)
    row_number, rejected = "file_row_number + 1", ""
    if _count(con, "reject_errors"):
        row_number, rejected = _rejected(con, path, len(header), style)
    names = ", ".join(f"headrace_{place} as {quoted(name)}" for place, name in enumerate(header))
    relation = f"""select {row_number} as headrace_row, {names}
        from read_parquet({literal(str(texts))}, file_row_number=true)"""
    return write_typed(con, relation, plan, request, rejected=rejected, style=style)


def _count(con: duckdb.DuckDBPyConnection, table: str) -> int:
    row = con.execute(f"select count(*) from {table}").fetchone()
    return int(row[0]) if row else 0


def _rejected(con: duckdb.DuckDBPyConnection, path: Path, fields: int, style: CsvSpec) -> tuple[str, str]:
    """What the parser rejected: SQL of the number of each record that it kept, and of the rejected ones.

    The parser says at which byte a rejected record begins; its line numbers count empty lines, too.
    """
    con.execute(
        """create or replace temp table headrace_lines as
        select line_byte_position - 1 as place, arg_min(error_message, byte_position) as message,
            arg_min(error_type::varchar, byte_position) as kind, any_value(csv_line) as line
        from reject_errors group by all order by place"""
    )
    if _count(con, "headrace_lines") > _MOST_REJECTED:
        raise RefusedFileError(
            f"more than {_MOST_REJECTED:,} records are no rows of {fields} fields",
            fix="deliver the file again as it was meant, or correct source.csv in the spec",
        )
    places = con.execute("select place from headrace_lines order by place").fetchnumpy()["place"]
    numbers = records.record_numbers(path, style, places, count_empty=fields == 1) - style.header
    kept_before = numbers - np.arange(1, len(numbers) + 1)

    def number(kept: pa.ChunkedArray) -> pa.Array:
        place = kept.to_numpy()
        return pa.array(place + 1 + np.searchsorted(kept_before, place, side="right"))

    with contextlib.suppress(duckdb.InvalidInputException):  # of another file that this connection read
        con.remove_function("headrace_number")
    con.create_function("headrace_number", number, [BIGINT], BIGINT, type=PythonUDFType.ARROW)
    con.register("headrace_numbers", pa.table({"place": places, "row_number": numbers}))
    wrong = "kind in ('MISSING COLUMNS', 'TOO MANY COLUMNS')"
    rejected = f"""select row_number, null::varchar as column_name,
        case when {wrong} then 'a row of {fields} fields' else 'fields as CSV has them' end as expected,
        case when {wrong} then regexp_extract(message, 'Found: ([0-9]+)', 1) || ' of them' else message end as found,
        ltrim(line, chr(13) || chr(10)) as raw_text
        from headrace_lines join headrace_numbers using (place)"""
    return "headrace_number(file_row_number)", rejected
