"""Delimited text: each record is a row or in quarantine, with the number that it has in the file."""

import itertools
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.raw.reader import plain, records, text_csv
from assets.raw.reader.protocol import ReadReport, ReadRequest, RefusedFileError

COLUMNS = {"id": "BIGINT", "text": "VARCHAR", "value": "DOUBLE"}
TWO = {"id": "BIGINT", "text": "VARCHAR"}

# what a text field may hold: the signs of CSV and SQL, line ends, other alphabets
TEXTS = st.text(string.ascii_letters + " ,\"'\n\r;-\\|\tä\u2028\x0c\U0001f600", min_size=1, max_size=12)
GOOD = st.tuples(
    st.integers(-(2**63), 2**63 - 1), st.none() | TEXTS, st.none() | st.floats(allow_nan=False, allow_infinity=False)
)
BAD_IDS = st.sampled_from(["", "1.5", "abc", "9223372036854775808", "4503599627370497.5", "0x10", "1;2", "--1"])
BAD_VALUES = st.sampled_from(["nan", "inf", "-Infinity", "1e999", "x", "1,5"])
ROWS = st.lists(
    st.one_of(
        GOOD.map(lambda row: ("good", row)),
        st.tuples(BAD_IDS, TEXTS, st.just("1")).map(lambda row: ("bad", row)),
        st.tuples(st.just("7"), TEXTS, BAD_VALUES).map(lambda row: ("bad", row)),
        st.tuples(st.just("7"), TEXTS).map(lambda row: ("bad", row)),
        st.tuples(st.just("7"), TEXTS, st.just("1"), TEXTS).map(lambda row: ("bad", row)),
    ),
    max_size=12,
)


@pytest.fixture
def load(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, request_of: Callable[..., ReadRequest], written: Callable[..., Any]
) -> Callable[..., tuple[ReadReport, list[Any], list[Any]]]:
    """Read content as a file: the report, (number, values...) of the rows, and the quarantined ones."""
    numbers = itertools.count()

    def read(content: str | bytes, columns: dict[str, str] = COLUMNS, **contract: Any) -> Any:
        path = tmp_path / f"file{next(numbers)}.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        request = request_of(path, columns=columns, **contract)
        try:
            report = text_csv.read(con, path, request)
        finally:
            shutil.rmtree(plain.scratch_of(request))
        rows, bad = written(request, report)
        return report, [row[1:-2] for row in rows], bad

    return read


def as_field(value: object, *, always_quoted: bool) -> str:
    """A value as a field of CSV."""
    text = "" if value is None else str(value)
    needs_quotes = any(sign in text for sign in ',"\n\r') or text != text.strip()
    return '"' + text.replace('"', '""') + '"' if needs_quotes or (always_quoted and text) else text


def read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut even the smallest file."""
    monkeypatch.setattr(text_csv, "_PART_BYTES", 8)
    monkeypatch.setattr(records, "_CHUNK", 8)


@pytest.mark.parametrize("in_parts", [False, True])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=ROWS,
    always_quoted=st.booleans(),
    line_ends=st.lists(st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\n\r\n"]), min_size=1, max_size=3),
    ends=st.booleans(),
)
def test_every_record_is_a_row_or_quarantined_and_keeps_its_number(
    load: Callable[..., Any],
    rows: list[tuple[str, tuple[object, ...]]],
    always_quoted: bool,
    line_ends: list[str],
    ends: bool,
    in_parts: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is in the rows, whether fields are quoted, how lines end, and whether the last one does."""
    if in_parts:
        read_in_parts(monkeypatch)
    lines = [",".join(as_field(value, always_quoted=always_quoted) for value in row) for _, row in rows]
    end_of = itertools.cycle(line_ends)
    content = "".join(line + next(end_of) for line in ["id,text,value", *lines])
    report, loaded, bad = load(content if ends else content.rstrip("\r\n"), required=("id",))
    assert loaded == [(number, *row) for number, (kind, row) in enumerate(rows, start=1) if kind == "good"]
    assert [row[0] for row in bad] == [number for number, (kind, _) in enumerate(rows, start=1) if kind == "bad"]
    assert report.rows_in == len(rows)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.sampled_from(
            ["1", "x", '"', '""', ",", "\n", "\r\n", "\r", " ", '"a,b"', '"a\nb"', "ä", "1,x\n", '3,"z"\n', ' "s"']
        ),
        max_size=12,
    )
)
def test_no_record_of_a_malformed_file_is_lost_silently(load: Callable[..., Any], pieces: list[str]) -> None:
    """Quotes where they don't belong: each record is somewhere, or the file is refused with the reason."""
    try:
        report, rows, bad = load("id,text\n" + "".join(pieces) + "\n8,y\n9,z\n", TWO)
    except RefusedFileError as error:
        refused = error.what
    else:
        refused = ""
        assert sorted([row[0] for row in rows] + [row[0] for row in bad]) == list(range(1, report.rows_in + 1))
    assert refused in ("", "a quote is never closed", "rows are unaccounted for")


def test_rows_behind_rejected_many_lined_and_empty_ones_keep_their_numbers(load: Callable[..., Any]) -> None:
    """Regression: the parser's line numbers count empty lines, so rows behind one were numbered too high."""
    _, rows, bad = load('id,text\n1,"x\ny"\n\n2\n3,z\n,\n\n\n5,"p\n\nq"\n6,1,2\n7,u\n', TWO, required=("id",))
    assert rows == [(1, 1, "x\ny"), (3, 3, "z"), (5, 5, "p\n\nq"), (7, 7, "u")]
    assert bad == [
        (2, None, "a row of 2 fields", "1 of them", "2"),
        (4, "id", "a value", None, '{"id":null,"text":null}'),
        (6, None, "a row of 2 fields", "3 of them", "6,1,2"),
    ]


def test_row_numbers_hold_in_a_file_that_is_read_in_parallel(load: Callable[..., Any]) -> None:
    lines = ["id,text"]
    for number in range(1, 40_001):
        ending = {0: "", 1: ",1,2", 2: ',"two\nlines"'}.get(number % 997, "," + "v" * 60)
        lines.append(f"{number}{ending}")
    report, rows, bad = load("\n".join(lines), TWO)
    assert all(number == identity for number, identity, _ in rows)
    assert [row[0] for row in bad] == [number for number in range(1, 40_001) if number % 997 in (0, 1)]
    assert report.rows_in == 40_000


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (TWO, ["1,x", '2,"y\nz"', "", "3,ä", "4,p", '5,"s\n\nt"', "", "6,u"]),
        (TWO, ["1,x", "9007199254740993,y", "3,z", "4,p", "5,q"]),
        ({"id": "BIGINT"}, ["1", "", "", "2", "3", "", "4000", "5000", ""]),
    ],
)
def test_a_file_read_in_parts_has_the_same_rows(
    load: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    columns: dict[str, str],
    lines: list[str],
    line_end: str,
    mark: bytes,
) -> None:
    content = mark + line_end.join([",".join(columns), *lines, ""]).encode()
    whole = load(content, columns)
    read_in_parts(monkeypatch)
    assert load(content, columns) == whole
    assert (tmp_path / "written" / "rows_1.parquet").exists()


def test_a_part_keeps_a_mark_that_its_first_record_begins_with(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Regression: DuckDB drops U+FEFF at the start of each file, so also at that of a part cut out of one."""
    lines = ["text,id", *("\ufeff" * (number % 5 > 0) + f"k{number},{number}" for number in range(1, 40))]
    read_in_parts(monkeypatch)
    _, rows, bad = load("\n".join(lines), {"text": "VARCHAR", "id": "BIGINT"})
    assert [f"{text},{identity}" for _, text, identity in rows] == lines[1:]
    assert not bad
    assert (tmp_path / "written" / "rows_1.parquet").exists()


def test_a_mark_behind_that_of_the_file_belongs_to_the_first_field(load: Callable[..., Any]) -> None:
    """Regression: the copy with one kind of line end had no mark of its own, so that the field's was taken for it."""
    for end in ("\n", "\r"):
        _, rows, _ = load(f"\ufeff\ufeffa,1{end}b,2\r\n", {"a": "VARCHAR", "b": "BIGINT"}, csv={"header": False})
        assert rows == [(1, "\ufeffa", 1), (2, "b", 2)]


def test_a_fault_in_one_part_sends_the_whole_file_to_the_exact_pass(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read_in_parts(monkeypatch)
    for bad in (1, 5):
        lines = [f"{'x' if number == bad else number},t" for number in range(1, 6)]
        report, rows, quarantined = load("\n".join(["id,text", *lines]), TWO)
        assert [row[0] for row in rows] == [number for number in range(1, 6) if number != bad]
        assert [row[0] for row in quarantined] == [bad]
        assert (report.rows_in, list((tmp_path / "written").glob("rows_*"))) == (5, [])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "§"])
@pytest.mark.parametrize("quote", ['"', "'", ""])
def test_the_spec_says_how_fields_are_written(load: Callable[..., Any], delimiter: str, quote: str) -> None:
    content = f"id,text\n1,{quote}x{quote}\n2\n".replace(",", delimiter)
    _, rows, bad = load(content, TWO, csv={"delimiter": delimiter, "quote": quote, "escape": quote})
    assert (rows, [row[0] for row in bad]) == ([(1, 1, "x")], [2])


def test_a_quote_may_be_escaped_by_another_sign(load: Callable[..., Any]) -> None:
    _, rows, _ = load('id,text\n1,"a \\" b\nc"\n2,y\n', TWO, csv={"escape": "\\"})
    assert rows == [(1, 1, 'a " b\nc'), (2, 2, "y")]


def test_numbers_and_times_are_read_as_the_spec_says_they_are_written(load: Callable[..., Any]) -> None:
    columns = {"day": "DATE", "at": "TIMESTAMP", "value": "DOUBLE", "pieces": "BIGINT"}
    style = {
        "delimiter": ";", "decimal": ",", "thousands": ".", "date_format": "%d.%m.%Y",
        "timestamp_format": "%d.%m.%Y %H:%M",
    }  # fmt: skip
    content = (
        "day;at;value;pieces\n31.12.2024;31.12.2024 23:59;1.234.567,5;1.000\n"
        "2024-12-31;31.12.2024 23:59;1;1\n31.12.2024;x;1;1\n31.12.2024;;1.5;1\n31.12.2024;;1;12.34\n"
    )
    _, rows, bad = load(content, columns, csv=style)
    assert [(str(day), str(at), value, pieces) for _, day, at, value, pieces in rows] == [
        ("2024-12-31", "2024-12-31 23:59:00", 1234567.5, 1000)
    ]
    assert [(row[0], row[1], row[3]) for row in bad] == [
        (2, "day", "2024-12-31"), (3, "at", "x"), (4, "value", "1.5"), (5, "pieces", "12.34"),
    ]  # fmt: skip


def test_a_file_without_a_header_has_the_columns_of_the_spec_in_their_order(load: Callable[..., Any]) -> None:
    _, rows, bad = load("1,x\n2\n3,y\n", TWO, csv={"header": False})
    assert (rows, [row[0] for row in bad]) == ([(1, 1, "x"), (3, 3, "y")], [2])


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("field", ["a\nb", "a\r\nb", "a\rb", 'a,"\nb'])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("escape", ['"', "\\"])
def test_a_first_record_of_many_lines_needs_no_header(
    load: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    end: str,
    field: str,
    mark: str,
    escape: str,
    in_parts: bool,
) -> None:
    """Regression: DuckDB takes a line end in its quotes for the file's, and failed at the next: a refused file."""
    if in_parts:
        read_in_parts(monkeypatch)
    quoted = '"' + field.replace('"', f'{escape}"') + '"'
    content = end.join([f"{mark}{quoted},1", "", f"{quoted},2", "x", "y,4", "z,5", ""])
    report, rows, bad = load(
        content, {"text": "VARCHAR", "id": "BIGINT"}, csv={"header": False, "escape": escape}, required=("id",)
    )
    assert rows == [(1, field, 1), (2, field, 2), (4, "y", 4), (5, "z", 5)]
    assert ([row[0] for row in bad], report.rows_in) == ([3], 5)


def test_empty_lines_are_rows_without_a_value_where_there_is_one_column_only(load: Callable[..., Any]) -> None:
    report, rows, bad = load("id\n1\n\n3\n4,5\n\n", {"id": "BIGINT"})
    assert (rows, [row[0] for row in bad], report.rows_in) == ([(1, 1), (2, None), (3, 3), (5, None)], [4], 5)


def test_unknown_columns_are_kept_as_json_by_default(load: Callable[..., Any], tmp_path: Path) -> None:
    report, rows, _ = load("text,new,id\nx,7,1\ny,,2\n", TWO)
    assert rows == [(1, 1, "x"), (2, 2, "y")]
    assert [(change.kind, change.column) for change in report.changes] == [("rescued", "new")]
    rescued = duckdb.sql(f"select headrace_rescued from '{tmp_path}/written/rows.parquet'").fetchall()
    assert rescued == [('{"new":"7"}',), (None,)]


def test_a_delimiter_behind_every_value_is_no_column(load: Callable[..., Any]) -> None:
    _, rows, bad = load("id,text,\n1,x,\n2,y\n3,z,w\n", TWO)
    assert (rows, [row[0] for row in bad]) == ([(1, 1, "x"), (2, 2, "y")], [3])


def test_a_field_larger_than_the_parsers_usual_limit_is_loaded(load: Callable[..., Any]) -> None:
    large = "x" * 3_000_000
    _, rows, _ = load(f'id,text\n1,"{large}"\n2,y\n', TWO)
    assert rows == [(1, 1, large), (2, 2, "y")]


@pytest.mark.parametrize(
    ("content", "what", "where"),
    [
        (b"", "the file has no header", "line 1"),
        (b"\n\n", "the file has no header", "line 1"),
        (b"id,text\x00\n1,x\n", "the file has no header", "line 1"),
        (b'id,"text\n1,x\n', "a quote is never closed", "line 1"),
        (b'id,text\n1,x\n2,"y\n3,z\n', "a quote is never closed", "line 3"),
        (b"id,text\n1,x\n2,\xe4\n", "the file isn't UTF-8 text", "line 3 or after"),
        (b"id\n1\n", "the columns are not the ones of the file contract", "header"),
    ],
)
def test_a_file_that_is_refused_says_why_and_where(
    load: Callable[..., Any], content: bytes, what: str, where: str
) -> None:
    with pytest.raises(RefusedFileError) as caught:
        load(content, TWO)
    assert (caught.value.what, caught.value.where) == (what, where)
    assert caught.value.fix


def test_a_nul_sends_the_row_to_quarantine_and_stands_there_readable(load: Callable[..., Any]) -> None:
    _, rows, bad = load(b"id,text\n1,a\x00b\n2,y\n", TWO)
    assert rows == [(2, 2, "y")]
    assert bad == [(1, "text", "text without NUL", "a\x00b", '{"id":"1","text":"a\\u0000b"}')]


@pytest.mark.parametrize(
    "content",
    [
        "id,text,value\n1,x,1.5\n2,y,\n",
        'id,text,value\n1,"x",1e3\n\n-2.0,y,0\n',
        "value,id,text\r\n1,12,\r\n",
        "id,text,value\n9223372036854775807,x,1\n-4503599627370497,y,2\n",
        "id,text,value\n1,order 2013_01,1.5\n",
    ],
)
def test_a_clean_file_gives_the_same_rows_in_one_pass_and_in_the_exact_one(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    fast = load(content)
    monkeypatch.setattr(text_csv, "_fast", lambda *_: None)
    assert load(content) == fast


@pytest.mark.parametrize(
    ("number", "column"),
    [
        ("1_000", "id"), ("1_000.5", "value"), ("+-1", "id"), ("+-1", "value"), ("4503599627370496.5", "id"),
        ("-4503599627370496.5", "id"), ("0.9999999999999999999", "id"), ("1.00000000000000000001", "id"),
    ],
)  # fmt: skip
def test_a_number_that_a_scan_of_doubles_would_change_is_none_in_either_pass(
    load: Callable[..., Any], number: str, column: str
) -> None:
    """Regression: DuckDB scans 1_000 as a thousand, so a file with nothing else wrong was loaded with it."""
    row = {"id": "1", "text": "x", "value": "2", column: number}
    report, rows, bad = load("id,text,value\n" + ",".join(row.values()) + "\n7,y,1\n")
    assert (report.rows_loaded, report.rows_quarantined) == (1, 1)
    assert rows == [(2, 7, "y", 1.0)]
    assert [(item[1], item[3]) for item in bad] == [(column, number)]


def test_a_number_that_no_double_holds_takes_one_pass_more_and_no_exact_one(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the exact pass is for files with faults")

    monkeypatch.setattr(text_csv, "_exact", never)
    assert load("id,text,value\n9007199254740993,x,1\n")[1] == [(1, 9007199254740993, "x", 1.0)]
