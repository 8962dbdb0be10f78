"""What waits in quarantine: counted by reason, shown row by row, exported so that nothing in it is obeyed."""

import csv
import hashlib
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets import ledger
from assets.errors import HeadraceError
from assets.home import Home
from assets.lake import Lake
from assets.raw import quarantine
from assets.records import Batch
from assets.settings import Settings
from assets.spec import PostgresSpec, ProductSpec

START = datetime(2024, 1, 1, tzinfo=UTC)
MOMENTS = itertools.count()
NAMES = [
    *("source", "batch_id", "kind", "file_name", "sha256", "row_number"),
    *("column_name", "expected", "found", "reason", "raw_text", "quarantined_at"),
]


@pytest.fixture(scope="module")
def whole_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Home(Settings(home=tmp_path_factory.mktemp("quarantine"))).lake("toy")


@pytest.fixture
def lake(whole_lake: Lake) -> Iterator[Lake]:
    """The lake of this module, with nothing in quarantine."""
    yield whole_lake
    whole_lake.transact(lambda con: con.execute("delete from lake.raw.quarantine; delete from lake.ledger.batches"))


def delivery(content: str, batch: str = "2024-01", **changes: Any) -> Batch:
    """A delivery, later than those before."""
    fields: dict[str, Any] = {
        "source": "toy", "batch_id": batch, "file_name": f"orders_{batch}.csv", "size_bytes": 1, "status": "LOADED",
        "sha256": hashlib.sha256(content.encode()).hexdigest(), "loaded_at": START + timedelta(minutes=next(MOMENTS)),
    }  # fmt: skip
    return Batch.model_validate({**fields, **changes})


def put(lake: Lake, batch: Batch, *rows: tuple[int, str, str, str]) -> Batch:
    """Write a delivery down with rows in quarantine: number, column, expected and found."""
    counts = {"rows_in": len(rows) + 5, "rows_loaded": 5, "rows_quarantined": len(rows)} if rows else {}
    made = batch.model_copy(update=counts)

    def work(con: duckdb.DuckDBPyConnection) -> None:
        ledger.append_batch(con, made)
        for number, column, expected, found in rows:
            con.execute(
                "insert into lake.raw.quarantine values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [made.source, made.batch_id, made.delivery_id, number, column, expected, found, found, made.loaded_at],
            )

    lake.transact(work)
    return made


def refuse(lake: Lake, batch: Batch, reason: str = "no header; fix: deliver it again") -> Batch:
    return put(lake, batch.model_copy(update={"status": "REFUSED", "reason": reason}))


def waiting(lake: Lake, spec: ProductSpec) -> quarantine.Waiting:
    with lake.connect() as con:
        return quarantine.waiting(con, spec)


def test_rows_are_counted_by_batch_and_reason_and_over_all_batches(lake: Lake, toy: ProductSpec) -> None:
    put(lake, delivery("a"), (1, "size", "DOUBLE", "x"), (4, "size", "DOUBLE", "y"), (5, "order_id", "a value", ""))
    put(lake, delivery("b", "2024-02"), (2, "size", "DOUBLE", "z"))
    put(lake, delivery("clean", "2024-03"))
    refuse(lake, delivery("c", "2024-04"))
    found = waiting(lake, toy)
    assert [(item.batch_id, item.column, item.expected, item.rows) for item in found.rows] == [
        ("2024-01", "order_id", "a value", 1),
        ("2024-01", "size", "DOUBLE", 2),
        ("2024-02", "size", "DOUBLE", 1),
    ]
    assert (found.total_rows, [item.batch_id for item in found.files]) == (4, ["2024-04"])
    shown = quarantine.as_asset(found, toy)
    assert (shown["rows_waiting"], shown["files_refused"]) == (4, 1)
    assert shown["replay"] == "after a fix of the spec: headrace replay-quarantine toy"
    assert [(row["reason"], row["rows"], row["batches"]) for row in shown["by_reason"][:2]] == [
        ("size: expected DOUBLE", 3, 2),
        ("order_id: expected a value", 1, 1),
    ]
    assert shown["by_reason"][2]["reason"].startswith("orders_2024-04.csv refused: no header")


def test_rows_of_a_followed_table_are_mended_there(toy: ProductSpec) -> None:
    """Regression: a command that can't load them was recommended for them."""
    source = toy.source.model_copy(update={"files": "", "postgres": PostgresSpec(table="orders")})
    followed = toy.model_copy(update={"source": source, "references": {}})
    assert "headrace replay-quarantine" not in quarantine.how_to_mend(followed)
    assert "update these rows in the database" in quarantine.how_to_mend(followed)


def test_only_rows_of_the_delivery_that_counts_wait(lake: Lake, toy: ProductSpec) -> None:
    put(lake, delivery("old"), (1, "size", "DOUBLE", "x"))
    put(lake, delivery("new", version=2), (2, "size", "DOUBLE", "y"))
    with lake.connect() as con:
        shown = quarantine.rows_of(con, toy, quarantine.waiting(con, toy), limit=10)
    assert [(row["row_number"], row["found"]) for row in shown] == [(2, "y")]


def test_of_a_register_only_the_newest_content_waits(lake: Lake, toy: ProductSpec) -> None:
    for version in (2, 1):  # whatever was written last
        item = delivery(f"kinds {version}", f"{version:012}", source="kinds", file_name="kinds.csv", version=version)
        put(lake, item, (version, "weight", "DOUBLE", "x"))
    assert [item.batch_id for item in waiting(lake, toy).rows] == [f"{2:012}"]


@pytest.mark.parametrize(
    ("refused", "loaded", "waits"),
    [
        ({}, {}, False),
        ({"version_label": "v10"}, {"version_label": "v9"}, True),
        ({"version_label": "v9"}, {"version_label": "v10"}, False),
        ({}, {"batch_id": "2024-02"}, True),
        ({"source": "kinds", "batch_id": "aaa"}, {"source": "kinds", "batch_id": "bbb"}, False),
    ],
)
def test_a_refused_file_waits_until_its_batch_is_delivered_again(
    lake: Lake, toy: ProductSpec, refused: dict[str, str], loaded: dict[str, str], *, waits: bool
) -> None:
    refuse(lake, delivery("bad", **refused))
    put(lake, delivery("good", **loaded))
    assert len(waiting(lake, toy).files) == waits


def test_of_two_refused_files_the_one_that_came_later_counts_in_whatever_order_they_pass(
    lake: Lake, toy: ProductSpec
) -> None:
    first, second = (refuse(lake, delivery(text)) for text in ("first", "second"))
    assert waiting(lake, toy).files == (first, second)
    put(lake, delivery("first"))
    assert waiting(lake, toy).files == (second,)
    put(lake, delivery("second", version=2))
    assert waiting(lake, toy).files == ()
    refuse(lake, delivery("first"), "refused again, after all")
    assert [item.sha256 for item in waiting(lake, toy).files] == [first.sha256]


def test_rows_are_shown_in_their_order_up_to_a_limit(lake: Lake, toy: ProductSpec) -> None:
    put(lake, delivery("a"), *((number, "size", "DOUBLE", f"x{number}") for number in (10, 9, 2, 1)))
    put(lake, delivery("b", "2024-02"), (1, "size", "DOUBLE", "y"))
    with lake.connect() as con:
        found = quarantine.waiting(con, toy).of_batch("2024-01")
        shown = quarantine.rows_of(con, toy, found, limit=3)
    assert [row["row_number"] for row in shown] == [1, 2, 9]
    assert shown[0] == {
        "source": "toy", "batch_id": "2024-01", "file_name": "orders_2024-01.csv", "row_number": 1, "column": "size",
        "expected": "DOUBLE", "found": "x1", "raw_text": "x1",
    }  # fmt: skip


HOSTILE = [
    *("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", '"=1', "'=1", "\uff1d1"),
    *("\x1b[2J", "a\x00b", "<script>alert(1)</script>", 'quote " and, comma', "line\nend", "", "ordinary"),
]
NUMBERS = ["-5", "-5.25", "+7", "-1e9", "12"]


def exported(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_an_export_to_csv_has_every_row_and_file_and_no_formula(lake: Lake, toy: ProductSpec, tmp_path: Path) -> None:
    texts = [*HOSTILE, *NUMBERS]
    put(lake, delivery("a"), *((number, "=col", "DOUBLE", text) for number, text in enumerate(texts, start=1)))
    refuse(lake, delivery("b", "2024-02", file_name="=orders.csv"), "-refused; fix: @now")
    path = tmp_path / "waiting.csv"
    quarantine.export(lake, toy, path)
    rows = exported(path)
    assert list(rows[0]) == NAMES
    assert [row["row_number"] for row in rows] == [*(str(number) for number in range(1, len(texts) + 1)), ""]
    for row in rows:
        for text in row.values():
            assert text.lstrip(" \n\"'")[:1] not in set("=+@\t\r\uff1d") or text.startswith("'") or text in NUMBERS
            assert not set(text) & {chr(code) for code in (*range(9), 11, 12, *range(14, 32), 127)}
    found = {row["found"] for row in rows}
    assert {*NUMBERS, "'=1+1", "'-2+3", "␛[2J", "a␀b", 'quote " and, comma', "line\nend"} <= found
    assert rows[0]["column_name"] == "'=col"
    assert (rows[-1]["kind"], rows[-1]["file_name"], rows[-1]["reason"]) == (
        "file",
        "'=orders.csv",
        "'-refused; fix: @now",
    )


def test_an_export_to_parquet_has_the_texts_as_they_are(lake: Lake, toy: ProductSpec, tmp_path: Path) -> None:
    put(lake, delivery("a"), *((number, "size", "DOUBLE", text) for number, text in enumerate(HOSTILE, start=1)))
    path = tmp_path / "waiting.parquet"
    path.write_bytes(b"an older export")
    quarantine.export(lake, toy, path)
    rows = pl.read_parquet(path)
    assert rows.columns == NAMES
    assert rows["found"].to_list() == HOSTILE
    assert rows["row_number"].dtype == pl.Int64


def test_an_export_of_nothing_has_its_columns(lake: Lake, toy: ProductSpec, tmp_path: Path) -> None:
    quarantine.export(lake, toy, tmp_path / "waiting.csv")
    assert (tmp_path / "waiting.csv").read_text().splitlines() == [",".join(NAMES)]


@pytest.mark.parametrize("name", ["waiting.xlsx", "waiting", "no/such/folder.csv", "folder.csv"])
def test_an_export_elsewhere_is_refused_and_leaves_nothing(
    lake: Lake, toy: ProductSpec, tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(HeadraceError, match="can't be exported"):
        quarantine.export(lake, toy, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.csv"]


def test_a_failed_export_leaves_the_older_one(
    lake: Lake, toy: ProductSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "waiting.csv"
    path.write_text("older")

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        quarantine.export(lake, toy, path)
    assert {item.name: item.read_text() for item in tmp_path.iterdir()} == {"waiting.csv": "older"}
    assert not list(lake.staging.glob("export-*"))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_no_text_moves_the_cursor_of_a_terminal(text: str) -> None:
    shown = quarantine.visible(text, one_line=True)
    assert not {chr(code) for code in (*range(32), *range(127, 160))} & set(shown)
    assert not set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200f") & set(shown)
