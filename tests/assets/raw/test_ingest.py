"""Loading one file: every row is loaded or in quarantine, once, with the row number it has in the file."""

import io
import itertools
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets import ledger
from assets.home import Home
from assets.lake import Lake
from assets.naming import table
from assets.raw.ingest import prepare_raw_table
from assets.raw.landing import REFERENCE_BATCH
from assets.raw.reader.protocol import RefusedFileError
from assets.records import Batch
from assets.settings import Settings
from assets.spec import SourceSpec
from tests.loading import load_file

COLUMNS = {"id": "BIGINT", "text": "VARCHAR", "value": "DOUBLE"}
NUMBERS = itertools.count()


@dataclass(frozen=True)
class Inbox:
    """A source of its own in the lake of this module."""

    lake: Lake
    folder: Path
    columns: dict[str, str]
    required: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ("",)
    files: str = "(?P<batch>.*)"
    name: str = field(default_factory=lambda: f"source_{next(NUMBERS)}")

    def load(self, content: str | bytes, *, batch: str = "b1", file_name: str = "") -> Batch:
        """Load content as a landed file."""
        path = self.folder / (file_name or f"{self.name}_{batch}.csv")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        source = SourceSpec.model_validate(
            {"files": self.files, "columns": self.columns, "required": self.required, "nulls": self.nulls}
        )
        return load_file(self.lake, self.name, source, path, batch)

    def rows(self, batch: str = "%") -> list[tuple[Any, ...]]:
        """Loaded rows with batch and number."""
        return self._read(self.name, "* exclude (headrace_delivery, headrace_rescued)", "batch_id like ?", [batch])

    def quarantine(self, batch: str = "%") -> list[tuple[Any, ...]]:
        """Row number, column, expected, found and text of quarantined rows."""
        columns = "row_number, column_name, expected, found, raw_text"
        return self._read("quarantine", columns, "batch_id like ? and source = ?", [batch, self.name])

    def _read(self, name: str, columns: str, condition: str, values: list[str]) -> list[tuple[Any, ...]]:
        with self.lake.connect() as con:
            try:
                return con.execute(
                    f"select {columns} from {table('raw', name)} where {condition} order by batch_id, row_number",
                    values,
                ).fetchall()
            except duckdb.CatalogException:  # no file has made the table yet
                return []

    def ledger(self) -> list[Batch]:
        """What the ledger says of this source."""
        with self.lake.connect() as con:
            return ledger.batches(con, self.name)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake of this module: with each table of a lake, all its transactions take a little longer."""
    return Home(Settings(home=tmp_path_factory.mktemp("ingest"))).lake("toy")


@pytest.fixture
def inbox(lake: Lake, tmp_path: Path) -> Callable[..., Inbox]:
    return lambda columns=COLUMNS, **options: Inbox(lake, tmp_path, columns, **options)


@pytest.fixture(scope="module")
def property_inbox(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Inbox:
    return Inbox(lake, tmp_path_factory.mktemp("files"), COLUMNS, required=("id",))


# --- every row is accounted for -------------------------------------------------------------------------------------

# what a text field may hold: the signs of CSV and SQL, line ends, other alphabets
TEXTS = st.text(string.ascii_letters + " ,\"'\n;-\\|\tä\u2028\x0c\U0001f600", min_size=1, max_size=12)
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


def written(value: object, *, always_quoted: bool) -> str:
    """A value as a field of CSV."""
    text = "" if value is None else str(value)
    needs_quotes = any(sign in text for sign in ',"\n\r')
    return '"' + text.replace('"', '""') + '"' if needs_quotes or (always_quoted and text) else text


@settings(max_examples=25)
@given(rows=ROWS, style=st.tuples(st.booleans(), st.sampled_from(["\n", "\r\n"]), st.booleans()))
def test_every_row_is_loaded_or_quarantined_and_keeps_its_number(
    property_inbox: Inbox, rows: list[tuple[str, tuple[object, ...]]], style: tuple[bool, str, bool]
) -> None:
    """Whatever is in the rows, whether fields are quoted, and whether the last line ends."""
    always_quoted, line_end, ends = style
    identity = next(NUMBERS)
    batch_id = f"b{identity}"
    rows = [("good", (identity, "makes the content another one in each example", None)), *rows]
    lines = [",".join(written(value, always_quoted=always_quoted) for value in row) for _, row in rows]
    batch = property_inbox.load(line_end.join(["id,text,value", *lines]) + (line_end if ends else ""), batch=batch_id)
    good = [(batch_id, number, *row) for number, (kind, row) in enumerate(rows, start=1) if kind == "good"]
    bad = [number for number, (kind, _) in enumerate(rows, start=1) if kind == "bad"]
    assert property_inbox.rows(batch_id) == good
    assert [row[0] for row in property_inbox.quarantine(batch_id)] == bad
    assert (batch.rows_in, batch.rows_loaded, batch.rows_quarantined) == (len(rows), len(good), len(bad))
    assert [entry for entry in property_inbox.ledger() if entry.batch_id == batch_id] == [batch]


def test_rows_after_rejected_and_many_lined_ones_keep_their_numbers(inbox: Callable[..., Inbox]) -> None:
    source = inbox({"id": "BIGINT", "text": "VARCHAR"}, required=("id",))
    source.load('id,text\n1,"x\ny"\n2\n3,z\n,\n5,"p\n\nq"\n6,1,2\n7,u\n')
    assert [row[1:] for row in source.rows()] == [(1, 1, "x\ny"), (3, 3, "z"), (5, 5, "p\n\nq"), (7, 7, "u")]
    assert [(number, column, text) for number, column, _, _, text in source.quarantine()] == [
        (2, None, "2"), (4, "id", '{"id":null,"text":null}'), (6, None, "6,1,2"),
    ]  # fmt: skip


def test_row_numbers_hold_in_a_file_that_is_read_in_parallel(inbox: Callable[..., Inbox]) -> None:
    """DuckDB scans large files with several threads, and the place of a rejected row comes from its error report."""
    rows = 40_000
    lines = ["id,text"]
    for number in range(1, rows + 1):
        ending = {0: "", 1: ",1,2", 2: ',"two\nlines"'}.get(number % 997, "," + "v" * 60)
        lines.append(f"{number}{ending}")
    source = inbox({"id": "BIGINT", "text": "VARCHAR"})
    batch = source.load("\n".join(lines))
    bad = [number for number in range(1, rows + 1) if number % 997 in (0, 1)]
    assert (batch.rows_in, batch.rows_quarantined) == (rows, len(bad))
    assert all(number == identity for _, number, identity, _ in source.rows())
    assert [row[0] for row in source.quarantine()] == bad


def test_blank_lines_a_byte_order_mark_and_old_line_ends_are_no_fault(inbox: Callable[..., Inbox]) -> None:
    source = inbox({"id": "BIGINT", "text": "VARCHAR"})
    contents = ["id,text\n1,x\n\n\n\n", '\ufeffid,text\n1,x\n\n2,"y"\n\n\n', "id,text\r1,x\r"]
    for number, content in enumerate(contents):
        source.load(content, batch=f"b{number}")
    assert source.rows() == [("b0", 1, 1, "x"), ("b1", 1, 1, "x"), ("b1", 2, 2, "y"), ("b2", 1, 1, "x")]


# --- values ---------------------------------------------------------------------------------------------------------


CHANGED = {
    "BIGINT": (
        "1.5", "1e-1", "4503599627370497.5", "9007199254740992.5", "9223372036854775808", "0x10", "true", "1,000",
    ),
    "DOUBLE": ("NaN", "inf", "-Infinity", "1e999", "1,5", "x"),
    "BOOLEAN": ("2", "perhaps"),
    "DATE": ("2024-02-30", "2024-02-03 10:00:00", "infinity"),
    "TIMESTAMP": ("2024-02-03 25:00:00", "2024-02-03T10:00:00+05:00", "infinity"),
    "TIMESTAMPTZ": ("-infinity", "yesterday"),
    "VARCHAR": ("a\x00b",),
}  # fmt: skip
KEPT = {
    "BIGINT": {
        "9223372036854775807": "9223372036854775807", "-9223372036854775808": "-9223372036854775808", "12.0": "12",
        "1e3": "1000", "9007199254740993.0": "9007199254740993",
    },
    "DOUBLE": {"0.1": "0.1", "-1.7976931348623157e308": "-1.7976931348623157e+308"},
    "BOOLEAN": {"true": "true", "0": "false"},
    "DATE": {"2024-02-03": "2024-02-03", "2024-02-03 00:00:00": "2024-02-03"},
    "TIMESTAMP": {
        "2024-02-03T10:00:00.123456": "2024-02-03 10:00:00.123456", "2024-02-03T10:00:00Z": "2024-02-03 10:00:00",
    },
    "TIMESTAMPTZ": {"2024-02-03T10:00:00+05:00": "2024-02-03 05:00:00+00"},
    "VARCHAR": {" NaN ": " NaN ", "ä\u2028": "ä\u2028"},
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGED)
def test_a_value_is_loaded_as_it_is_or_quarantined_never_changed(
    inbox: Callable[..., Inbox], lake: Lake, kind: str
) -> None:
    """Nothing is rounded, cut or moved in time.

    Regressions: a half beyond 2^52 went in rounded, as a double has no place for it; a date lost its time of day, a
    timestamp its zone; infinite times went in and would have been the end of every time window.
    """
    source = inbox({"field": kind, "id": "BIGINT"})
    texts = [*CHANGED[kind], *KEPT[kind], ""]
    batch = source.load("field,id\n" + "".join(f'"{text}",{place}\n' for place, text in enumerate(texts)))
    found = [(number, column, text) for number, column, _, text, _ in source.quarantine()]
    assert found == [(number, "field", text) for number, text in enumerate(CHANGED[kind], start=1)]
    with lake.connect() as con:
        kept = con.execute(f"select field::varchar from {table('raw', source.name)} order by row_number").fetchall()
    assert [text for (text,) in kept] == [*KEPT[kind].values(), None]
    assert (batch.rows_in, batch.rows_quarantined) == (len(texts), len(CHANGED[kind]))


@pytest.mark.parametrize("kind", [kind for kind in KEPT if kind != "VARCHAR"])
def test_spaces_around_a_value_are_no_part_of_it(inbox: Callable[..., Inbox], kind: str) -> None:
    """Regression: DuckDB casts ` 1` but not ` True`, so a whole column of booleans after `, ` was quarantined."""
    source = inbox({"field": kind, "id": "BIGINT"})
    texts = list(KEPT[kind])
    source.load("field,id\n" + "".join(f"{text},1\n" for text in texts), batch="bare")
    batch = source.load("field,id\n" + "".join(f" {text}  , 1\n" for text in texts), batch="spaced")
    assert batch.rows_quarantined == 0
    assert [row[2:] for row in source.rows("spaced")] == [row[2:] for row in source.rows("bare")]
    source.load("field,id\n   ,1\n", batch="blank")
    assert [found for _, _, _, found, _ in source.quarantine("blank")] == ["   "]


def test_quarantine_says_what_was_expected_and_found_and_keeps_the_row(inbox: Callable[..., Inbox]) -> None:
    source = inbox()
    source.load("id,text,value\n1.5,x,1\n")
    assert source.quarantine() == [(1, "id", "BIGINT", "1.5", '{"id":"1.5","text":"x","value":"1"}')]


def test_an_empty_required_value_is_quarantined_and_an_optional_one_is_null(inbox: Callable[..., Inbox]) -> None:
    source = inbox(required=("text",), nulls=("", "NA"))
    source.load('id,text,value\n1,NA,1\n2,,1\n3,"",1\n4,x,NA\n')
    assert [row[1:] for row in source.rows()] == [(4, 4, "x", None)]
    assert [(row[0], row[1], row[2]) for row in source.quarantine()] == [
        (1, "text", "a value"), (2, "text", "a value"), (3, "text", "a value"),
    ]  # fmt: skip


def test_columns_are_bound_by_name_whatever_their_order(inbox: Callable[..., Inbox]) -> None:
    """By place, two columns of one type would change places silently."""
    source = inbox({"a": "BIGINT", "b": "BIGINT"})
    source.load("a,b\n1,2\n", batch="b1")
    source.load("b,a\n20,10\n", batch="b2")
    assert source.rows() == [("b1", 1, 1, 2), ("b2", 1, 10, 20)]


def test_a_column_may_have_any_name_that_the_lake_does_not_use(inbox: Callable[..., Inbox]) -> None:
    """Regression: columns named like one of the loader's own broke the load, or sent every row to quarantine."""
    names = ["place", "found", "expected", "bad_column", "raw_text", "number", "line", "select"]
    source = inbox(dict.fromkeys(names, "BIGINT"))
    batch = source.load(",".join(names) + "\n1,2,3,4,5,6,7,8\n1,2,3,bad,5,6,7,8\n")
    assert (batch.rows_loaded, batch.rows_quarantined) == (1, 1)
    assert source.rows() == [("b1", 1, 1, 2, 3, 4, 5, 6, 7, 8)]
    assert source.quarantine()[0][:4] == (2, "bad_column", "BIGINT", "bad")


def test_names_and_values_with_quotes_and_sql_are_data(inbox: Callable[..., Inbox], tmp_path: Path) -> None:
    column = 'x"); drop table lake.ledger.batches; --'
    value = "'; drop table lake.ledger.batches; --"
    source = inbox({"id": "BIGINT", column: "VARCHAR"}, required=(column,), nulls=("", "' or '1'='1"))
    header = '"' + column.replace('"', '""') + '"'
    batch = source.load(f'id,{header}\n1,"{value}"\n2,\n', file_name='it\'s a "file"; --.csv')
    assert source.rows() == [("b1", 1, 1, value)]
    assert source.quarantine()[0][:2] == (2, column)
    assert source.ledger() == [batch]
    assert batch.file_name == 'it\'s a "file"; --.csv'
    assert tmp_path.exists()


# --- once -----------------------------------------------------------------------------------------------------------


def test_the_same_content_again_changes_nothing_also_under_another_name(inbox: Callable[..., Inbox]) -> None:
    source = inbox()
    first = source.load("id,text,value\n1,x,1\n")
    assert source.load("id,text,value\n1,x,1\n") == first
    again = source.load("id,text,value\n1,x,1\n", batch="b2", file_name="renamed.csv")
    assert again.status == "DUPLICATE"
    assert f"the same content as {first.file_name}, which is batch b1" in again.reason
    assert source.rows() == [("b1", 1, 1, "x", 1.0)]
    assert source.ledger() == [first, again]


def test_other_content_for_a_loaded_batch_is_a_correction(inbox: Callable[..., Inbox]) -> None:
    source = inbox()
    source.load("id,text,value\n1,x,1\n")
    second = source.load("id,text,value\n2,y,2\n")
    assert source.rows() == [("b1", 1, 2, "y", 2.0)]
    assert source.ledger() == [second]
    assert second.version == 2


def test_a_delivery_without_batches_is_named_by_its_content(inbox: Callable[..., Inbox]) -> None:
    """Each new content of a register stands beside the last; a return to an older one makes that the newest."""
    source = inbox(files="register")
    first = source.load("id,text,value\n1,x,1\n", batch=REFERENCE_BATCH)
    second = source.load("id,text,value\n2,y,2\n", batch=REFERENCE_BATCH)
    assert (first.batch_id, second.batch_id) == (first.sha256[:12], second.sha256[:12])
    assert len(source.rows()) == 2
    again = source.load("id,text,value\n1,x,1\n", batch=REFERENCE_BATCH)
    assert (again.batch_id, again.version) == (first.batch_id, 3)
    assert len(source.rows()) == 2


def test_a_raw_table_exists_before_its_first_file(lake: Lake) -> None:
    name = f"source_{next(NUMBERS)}"
    source = SourceSpec.model_validate({"files": "x", "columns": COLUMNS})
    for _ in range(2):
        prepare_raw_table(lake, name, source)
    with lake.connect() as con:
        columns = con.execute(f"describe {table('raw', name)}").fetchall()
    assert [column[:2] for column in columns] == [
        ("batch_id", "VARCHAR"), ("row_number", "BIGINT"), *COLUMNS.items(),
        ("headrace_delivery", "VARCHAR"), ("headrace_rescued", "VARCHAR"),
    ]  # fmt: skip


# --- refused as a whole ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,text\n1,x\n", "missing value"),
        ("id,text,value,id\n1,x,1,2\n", "two columns have the same name"),
        ("id,text, value\n1,x,1\n", "missing value; unknown ' value'"),
        ("7,x,1\n", "missing id, text, value"),
        (b"", "the file has no header"),
        (b"\n\n", "the file has no header"),
        ("id,t\xe4xt,value\n".encode("latin-1"), "the file isn't UTF-8 text"),
    ],
)
def test_a_file_of_another_shape_is_refused_with_its_reason_and_nothing_is_loaded(
    inbox: Callable[..., Inbox], lake: Lake, content: str | bytes, said: str
) -> None:
    source = inbox()
    with pytest.raises(RefusedFileError) as caught:
        source.load(content, file_name="delivered.csv")
    assert said in str(caught.value)
    assert caught.value.product == lake.product
    assert caught.value.where.startswith("delivered.csv")
    assert caught.value.fix
    (entry,) = source.ledger()
    assert (entry.status, entry.rows_in, entry.rows_loaded) == ("REFUSED", 0, 0)
    assert said in entry.reason
    assert "\n" not in entry.reason
    assert source.rows() == source.quarantine() == []
    assert list(lake.staging.iterdir()) == []


def test_a_refused_file_is_refused_again_with_one_entry(inbox: Callable[..., Inbox]) -> None:
    source = inbox()
    for _ in range(2):
        with pytest.raises(RefusedFileError):
            source.load("id\n1\n")
    assert len(source.ledger()) == 1


def test_a_corrected_file_of_a_refused_batch_is_loaded(inbox: Callable[..., Inbox]) -> None:
    source = inbox()
    with pytest.raises(RefusedFileError):
        source.load("id\n1\n")
    source.load("id,text,value\n1,x,1\n")
    assert source.rows() == [("b1", 1, 1, "x", 1.0)]


@pytest.mark.parametrize(
    "content",
    [
        b'id,text,value\n1,"x,1\n2,y,2\n3,z,3\n',
        b'id,text,value\n1,x,1\n2,"y"y,2\n3,z,3\n',
        b"id,text,value\n1,x,1\n2,\xff\xfe,2\n3,z,3\n",
        b"id,text,value\n1,x,1\n2,y\x00,2\n3,z,3\n",
        b"id,text,value\n1,x,1\n\x00\x00\x00\x00",
    ],
    ids=["unclosed quote", "text after a quote", "not UTF-8", "NUL", "NULs at the end, as a crash leaves them"],
)
def test_damaged_rows_are_refused_or_quarantined_with_nothing_lost(inbox: Callable[..., Inbox], content: bytes) -> None:
    source = inbox()
    try:
        batch = source.load(content)
    except RefusedFileError:
        assert source.rows() == source.quarantine() == []
        assert source.ledger()[0].status == "REFUSED"
        return
    assert batch.rows_in == len(source.rows()) + len(source.quarantine())
    assert batch.rows_quarantined >= 1
    kept = "".join(str(row) for row in (*source.rows(), *source.quarantine()))
    for text in ("x", *(sign for sign in "yz" if sign.encode() in content)):
        assert text in kept


def test_a_quote_that_is_never_closed_is_refused_with_the_line_it_opens_on(inbox: Callable[..., Inbox]) -> None:
    """Regression: all records behind the quote counted as one row, and the accounting agreed."""
    with pytest.raises(RefusedFileError, match="line 3: a quote is never closed"):
        inbox().load('id,text,value\n0,w,0\n1,"x,1\n2,y,2\n3,z,3\n')


@pytest.fixture(autouse=True)
def _nothing_stays_in_staging(lake: Lake) -> Iterator[None]:
    """Whatever became of a file, its copy is gone."""
    yield
    assert list(lake.staging.iterdir()) == []


# --- Parquet --------------------------------------------------------------------------------------------------------


def parquet(frame: pl.DataFrame) -> bytes:
    """A frame as a Parquet file of several row groups."""
    target = io.BytesIO()
    frame.write_parquet(target, row_group_size=2)
    return target.getvalue()


def test_parquet_meets_the_same_contract_as_csv(inbox: Callable[..., Inbox]) -> None:
    """Rows are loaded or quarantined with their places, whatever types the file has; columns are bound by name."""
    source = inbox(required=("id",), nulls=("", "NA"))
    frame = pl.DataFrame(
        {
            "value": [1.5, float("nan"), None, 0.1, 2.0],
            "text": ["x", "y", "NA", "\u2028ä", ""],
            "id": [1.0, 2.0, 3.0, 4.5, None],
        }
    )
    batch = source.load(parquet(frame), file_name="delivery.PARQUET")
    assert (batch.rows_in, batch.rows_loaded, batch.rows_quarantined) == (5, 2, 3)
    assert [row[1:] for row in source.rows()] == [(1, 1, "x", 1.5), (3, 3, None, None)]
    assert [(number, column, found) for number, column, _, found, _ in source.quarantine()] == [
        (2, "value", "nan"), (4, "id", "4.5"), (5, "id", None),
    ]  # fmt: skip


def test_times_and_doubles_of_parquet_are_kept_to_the_bit(inbox: Callable[..., Inbox]) -> None:
    source = inbox({"day": "DATE", "at": "TIMESTAMP", "value": "DOUBLE", "is_on": "BOOLEAN"})
    at = datetime(2024, 2, 29, 10, 0, 0, 123456)  # noqa: DTZ001 - the lake's times are naive UTC
    values = [0.1 + 0.2, 5e-324, -1.7976931348623157e308]
    frame = pl.DataFrame({"day": [at.date()] * 3, "at": [at] * 3, "value": values, "is_on": [True, False, None]})
    # as pandas writes a date: a time of day of zero, in nanoseconds
    frame = frame.with_columns(pl.col("day").cast(pl.Datetime("ns")))
    source.load(parquet(frame), file_name="times.parquet")
    assert [row[2:] for row in source.rows()] == [
        (at.date(), at, value, is_on) for value, is_on in zip(values, [True, False, None], strict=True)
    ]


def test_a_broken_or_wrong_parquet_file_is_refused_and_nothing_of_it_is_loaded(inbox: Callable[..., Inbox]) -> None:
    source = inbox()
    whole = parquet(pl.DataFrame({"id": list(range(500)), "text": ["x"] * 500, "value": [1.0] * 500}))
    for number, content in enumerate((whole[:-100], b"", b"id,text,value\n1,x,1\n", whole[:4] + b"\0" * 40)):
        with pytest.raises(RefusedFileError, match="can't be read as Parquet"):
            source.load(content, batch=f"b{number}", file_name=f"broken_{number}.parquet")
    with pytest.raises(RefusedFileError, match="columns are not the ones"):
        source.load(parquet(pl.DataFrame({"id": [1], "text": ["x"], "other": [1]})), file_name="wrong.parquet")
    assert source.rows() == []
    assert {batch.status for batch in source.ledger()} == {"REFUSED"}
