"""JSON lines: one object a line, its keys are the columns.

Lines are split here, as bytes and whole chunks at a time; DuckDB parses them. Both of DuckDB's own ways to a line would
lose something: `read_csv` ends lines at a lone carriage return and `read_ndjson` leaves out the text of a broken one.
A file that is one JSON document is not read.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from assets.naming import literal, quoted
from assets.raw.reader.columns import MOST_COLUMNS, ColumnPlan, or_null, plan_columns
from assets.raw.reader.protocol import ReadReport, ReadRequest, RefusedFileError
from assets.raw.reader.typed import write_typed
from assets.spec import ColumnType

LONGEST_LINE_BYTES = 16 << 20
_CHUNK_BYTES = 8 << 20
_BOM = b"\xef\xbb\xbf"
_SCHEMA = pa.schema([("number", pa.int64()), ("line", pa.large_binary())])
# what a byte is to the splitting of lines: part of a record, blank, or the end of a line
_RECORD, _BLANK, _END = 0, 1, 2
_KIND_OF_BYTE = np.zeros(256, dtype=np.uint8)
_KIND_OF_BYTE[list(b" \t\r")] = _BLANK
_KIND_OF_BYTE[ord("\n")] = _END

# each record with what is wrong with it; a CASE stops at the first, so that nothing parses what is no JSON
_JUDGED = """
    select *, case
        when text is null then 'UTF-8 text'
        when not json_valid(text) then 'a JSON object on one line'
        when json_type(text) <> 'OBJECT' then 'a JSON object, not ' || lower(json_type(text))
        when len(json_keys(text)) > len(list_distinct(json_keys(text))) then 'each key once'
    end as fault
    from (select number, line, try(decode(line)) as text from headrace_lines)"""


def read(con: duckdb.DuckDBPyConnection, path: Path, request: ReadRequest) -> ReadReport:
    """Read JSON lines; a line that is no object, or has a key twice, goes to quarantine with its number and text.

    Values become text: nested ones as JSON, numbers with the digits they have. A key that a line lacks is null.

    Raises:
        RefusedFileError: no line is an object, a line is longer than 16 MiB, or the columns don't fit the contract.
    """
    rows_in = count_records(path)
    plan = plan_columns(_keys(con, path, request.contract.columns), request)
    copy = Path(request.folder) / "texts.parquet"
    _write_texts(con, path, copy, plan, request)
    texts = f"read_parquet({literal(str(copy))}, hive_partitioning=false)"
    written = write_typed(
        con,
        f"select * exclude (headrace_fault, headrace_line) from {texts} where headrace_fault is null",
        plan,
        request,
        rejected=f"""select headrace_row as row_number, null::varchar as column_name, headrace_fault as expected,
            left(headrace_line, 200) as found, headrace_line as raw_text
            from {texts} where headrace_fault is not null""",
    )
    copy.unlink()
    return ReadReport(
        format="jsonl",
        rows_in=rows_in,
        rows_loaded=written.rows_loaded,
        rows_quarantined=written.rows_quarantined,
        columns=written.columns,
        changes=written.changes,
    )


def count_records(path: Path) -> int:
    """Lines that are not blank, counted apart from the code that splits them.

    Raises:
        RefusedFileError: a line is longer than 16 MiB.
    """
    count, last, line_at, offset = 0, _END, 0, 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            data = np.frombuffer(chunk.removeprefix(_BOM) if offset == 0 else chunk, dtype=np.uint8)
            ends = np.flatnonzero(data == ord("\n")) + (offset + len(chunk) - len(data))
            offset += len(chunk)
            starts = np.concatenate(([line_at], ends + 1))
            lengths = np.diff(np.append(starts, offset))
            if lengths.max() > LONGEST_LINE_BYTES:
                raise _too_long(int(starts[lengths.argmax()]))
            line_at = int(starts[-1])
            kinds = _KIND_OF_BYTE[data]
            kinds = np.concatenate(([last], kinds[kinds != _BLANK]))
            # a record begins where the byte before it, blanks aside, ended a line
            count += int(np.count_nonzero((kinds[1:] == _RECORD) & (kinds[:-1] == _END)))
            last = int(kinds[-1])
    return count


def _too_long(start: int) -> RefusedFileError:
    return RefusedFileError(
        "a line is too long",
        where=f"the line that begins at byte {start:,}",
        expected=f"JSON objects of at most {LONGEST_LINE_BYTES >> 20} MiB, one a line",
        fix="deliver the file with one object a line, and large contents apart",
    )


@contextmanager
def _lines(con: duckdb.DuckDBPyConnection, path: Path) -> Iterator[None]:
    """The file's records as the relation `headrace_lines` (number, line), for one scan."""
    con.register("headrace_lines", pa.RecordBatchReader.from_batches(_SCHEMA, _batches(path)))
    try:
        yield
    finally:
        con.unregister("headrace_lines")


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The records of a file with their numbers from 1, some megabytes at a time; blank lines are no records."""
    number, rest = 1, b""
    with path.open("rb") as file:
        if file.read(len(_BOM)) != _BOM:
            file.seek(0)
        while chunk := file.read(_CHUNK_BYTES):
            end = chunk.rfind(b"\n") + 1
            if end:
                lines = _split(rest + chunk[:end])
                yield _batch(number, lines)
                number, rest = number + len(lines), chunk[end:]
            else:
                rest += chunk
    if rest:
        yield _batch(number, _split(rest))


def _batch(number: int, lines: pa.Array) -> pa.RecordBatch:
    return pa.record_batch([pa.array(np.arange(number, number + len(lines))), lines], schema=_SCHEMA)


def _split(block: bytes) -> pa.Array:
    """The lines of some bytes that are not blank, without copying one."""
    data = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(data == ord("\n")) + 1
    offsets = np.concatenate(([0], ends[ends < len(data)], [len(data)]))
    is_record = np.logical_or.reduceat(_KIND_OF_BYTE[data] == _RECORD, offsets[:-1])
    lines = pa.Array.from_buffers(
        pa.large_binary(), len(offsets) - 1, [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(block)]
    )
    return lines.filter(pa.array(is_record))


def _keys(con: duckdb.DuckDBPyConnection, path: Path, contract: Iterable[str]) -> list[str]:
    """The keys of all objects: the contract's in its order, as objects have none, then others as they first appear.

    Raises:
        RefusedFileError: no line is an object with a key.
    """
    with _lines(con, path):
        rows = con.execute(
            f"""select key, min(number) as first_at from (
                select number, unnest(json_keys(text)) as key from ({_JUDGED}) where fault is null
            ) group by key order by first_at, key limit {MOST_COLUMNS + 1}"""
        ).fetchall()
    keys = [str(key) for key, _ in rows]
    if not keys:
        with path.open("rb") as file:
            start = file.read(40)
        raise RefusedFileError(
            "no line of the file is a JSON object",
            expected="one object a line, in UTF-8",
            found=ascii(start)[1:] if start else "an empty file",
            fix="write each row as an object on a line of its own (an array of objects is one document)",
        )
    known = [name for name in contract if name in set(keys)]
    return known + [key for key in keys if key not in set(known)]


def _write_texts(
    con: duckdb.DuckDBPyConnection, path: Path, copy: Path, plan: ColumnPlan, request: ReadRequest
) -> None:
    """Write each record's number, its fault and line (if it has one), and the texts of its values by key."""
    kinds = {file_name: request.columns[name] for name, file_name in plan.taken.items()}
    keys = [*kinds, *plan.unknown]
    pointers = ", ".join(literal("/" + key.replace("~", "~0").replace("/", "~1")) for key in keys)
    fields = ", ".join(
        f"{or_null(_text(key, kinds.get(key, 'VARCHAR'), place), request)} as {quoted(key)}"
        for place, key in enumerate(keys, start=1)
    )
    ends = "chr(10) || chr(13)"
    with _lines(con, path):
        con.execute(
            f"""copy (
                select number as headrace_row, fault as headrace_fault,
                    case when fault is not null then coalesce(rtrim(text, {ends}), line::varchar) end
                        as headrace_line, {fields}
                from (
                    select *, case when fault is null then json_extract_string(text, [{pointers}]) end as texts,
                        case when fault is null then json_type(text, [{pointers}]) end as types
                    from ({_JUDGED})
                )
            ) to {literal(str(copy))} (format parquet)"""
        )


def _text(key: str, kind: ColumnType, place: int) -> str:
    """SQL of a value's text, with the digits it has in the line where they count.

    The parser keeps those of integers; of other numbers it makes doubles: 1.10 would become 1.1, and 4503599627370497.5
    a whole number. What stands behind the key is taken instead if it is the same number as a double. A nested object
    may have the key as well: digits that can't be told from others are no whole number.
    """
    text = f"texts[{place}]"
    if kind not in ("VARCHAR", "BIGINT"):
        return text
    spelled = {json.dumps(key, ensure_ascii=False), json.dumps(key), _with_large_codes(json.dumps(key))}
    pattern = f"(?:{'|'.join(map(re.escape, sorted(spelled)))})" + r"\s*:\s*(-?[0-9][0-9.eE+-]*)"
    same = f"lambda digits: try_cast(digits as double) = try_cast({text} as double)"
    found = f"list_filter(regexp_extract_all(text, {literal(pattern)}, 1), {same})"
    if kind == "VARCHAR":
        digits = f"coalesce(({found})[1], {text})"
    else:
        short = f"list_transform({found}, lambda digits: regexp_replace(digits, '[.]0+$', ''))"
        listed = f"array_to_string(list_sort(list_distinct({short})), ' or ')"
        digits = f"coalesce(nullif({listed}, ''), {text} || ' as a double')"
    return f"case when types[{place}] = 'DOUBLE' then {digits} else {text} end"


def _with_large_codes(name: str) -> str:
    return re.sub(r"\\u[0-9a-f]{4}", lambda code: "\\u" + code[0][2:].upper(), name)
