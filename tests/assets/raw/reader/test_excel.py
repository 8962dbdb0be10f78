"""A sheet's values are read as text; a cell whose value isn't known is never read as blank."""

import datetime as dt
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from assets.raw.reader import excel
from assets.raw.reader.protocol import ReadRequest, RefusedFileError
from tests import workbooks as wb

Rows = list[tuple[Any, ...]]
HEADER = [wb.text("id"), wb.text("size"), wb.text("name")]


@pytest.fixture
def read(
    con: duckdb.DuckDBPyConnection, request_of: Callable[..., ReadRequest], written: Callable[..., Any], tmp_path: Path
) -> Callable[..., tuple[Rows, Rows]]:
    """Rows without their leading and trailing columns but the number, and the quarantined ones."""

    def get(sheets: dict[str, str] | str | bytes, **contract: Any) -> tuple[Rows, Rows]:
        path = tmp_path / "file"
        if isinstance(sheets, bytes):
            path.write_bytes(sheets)
        else:
            wb.write(path, {"Data": sheets} if isinstance(sheets, str) else sheets)
        request = request_of(path, **contract)
        rows, bad = written(request, excel.read(con, path, request))
        return [(*row[1:-2], row[-1]) for row in rows], bad

    return get


def test_the_first_row_that_is_not_blank_is_the_header_and_blank_rows_are_no_records(
    read: Callable[..., tuple[Rows, Rows]],
) -> None:
    rows, bad = read(
        wb.cells(
            [
                [None, *HEADER, wb.text("note")],
                [None, wb.number(1), wb.number("0.30000000000000004"), wb.text(" a ")],
                [],
                [None, wb.number(2), None, wb.formula('"x"&"y"', "xy"), wb.text("hm")],
            ],
            first_row=3,
        )
    )
    assert rows == [(1, 1, 0.1 + 0.2, " a ", None), (2, 2, None, "xy", '{"note":"hm"}')]
    assert not bad


def test_dates_and_numbers_become_what_they_are(read: Callable[..., tuple[Rows, Rows]]) -> None:
    columns = {"day": "DATE", "at": "TIMESTAMP", "is_new": "BOOLEAN", "size": "DOUBLE"}
    rows, bad = read(
        wb.cells(
            [
                [wb.text(name) for name in columns],
                [
                    wb.number(44013, wb.DATE),
                    wb.number(44013.75, wb.DATE_TIME),
                    wb.Cell('t="b"', "<v>1</v>"),
                    wb.number("1e-7"),
                ],
                [wb.text("2020-07-02"), None, wb.text("false"), wb.number("1e300")],
                [wb.number(44013.5, wb.DATE), None, None, None],
            ]
        ),
        columns=columns,
    )
    assert rows == [
        (1, dt.date(2020, 7, 1), dt.datetime.fromisoformat("2020-07-01 18:00:00"), True, 1e-7, None),
        (2, dt.date(2020, 7, 2), None, False, 1e300, None),
    ]
    assert bad[0][:4] == (3, "day", "DATE", "2020-07-01 12:00:00")


def test_errors_and_integers_that_a_cell_cannot_hold_are_quarantined(read: Callable[..., tuple[Rows, Rows]]) -> None:
    rows, bad = read(
        wb.cells(
            [
                HEADER,
                [wb.number(1), wb.error("#DIV/0!"), wb.text("a")],
                [wb.number("12345678901234567"), wb.number(1), wb.text("b")],
                [wb.text("9007199254740993"), wb.number("1e20"), wb.text("c")],
                [None, None, wb.error("#N/A")],
                [wb.number("1.5"), None, wb.text("d")],
            ]
        )
    )
    assert [row[:4] for row in rows] == [(3, 9007199254740993, 1e20, "c")]
    assert [row[:4] for row in bad] == [
        (1, "size", "a value", "#DIV/0!"),
        (2, "id", "an integer of at most 15 digits, or text", "12345678901234568"),
        (4, "name", "a value", "#N/A"),
        (5, "id", "BIGINT", "1.5"),
    ]
    assert json.loads(bad[0][4]) == {"id": "1", "size": None, "name": "a"}


def test_the_sheet_of_the_contract_is_read_or_the_first(read: Callable[..., tuple[Rows, Rows]]) -> None:
    sheets = {
        "Übersicht & <Plan>": wb.cells([HEADER, [wb.number(1), wb.number(1), wb.text("first")]]),
        "Data": wb.cells([HEADER, [wb.number(2), wb.number(2), wb.text("second")]]),
    }
    assert read(sheets)[0][0][3] == "first"
    assert read(sheets, sheet="Data")[0][0][3] == "second"
    with pytest.raises(RefusedFileError, match="Übersicht & <Plan>, Data"):
        read(sheets, sheet="data")


@pytest.mark.parametrize("value", [None, ""])
def test_a_formula_saved_without_its_value_is_refused_with_its_place(
    read: Callable[..., tuple[Rows, Rows]], value: str | None
) -> None:
    with pytest.raises(RefusedFileError, match="sheet Data, B2"):
        read(wb.cells([HEADER, [wb.number(1), wb.formula("1+1", value), wb.text("a")]]))


def test_merged_cells_are_refused_with_their_place(read: Callable[..., tuple[Rows, Rows]]) -> None:
    merged = '<mergeCells count="1"><mergeCell ref="C2:C3"/></mergeCells>'
    with pytest.raises(RefusedFileError, match="sheet Data, C2:C3"):
        read(wb.cells([HEADER, [wb.number(1), wb.number(1), wb.text("a")], [wb.number(2)]]) + merged)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "the sheet is empty"),
        ([HEADER, []], None),
        ([[*HEADER, None], [wb.number(1), None, None, wb.text("x")]], "header, column 4"),
        ([[*HEADER, wb.text("ID")]], "the same name"),
    ],
)
def test_headers_are_held_against_the_contract(
    read: Callable[..., tuple[Rows, Rows]], rows: list[list[wb.Cell | None]], said: str | None
) -> None:
    if said is None:
        assert read(wb.cells(rows)) == ([], [])
        return
    with pytest.raises(RefusedFileError, match=said):
        read(wb.cells(rows))


def test_a_file_that_is_no_whole_workbook_is_refused(read: Callable[..., tuple[Rows, Rows]], tmp_path: Path) -> None:
    whole = wb.write(tmp_path / "whole", {"Data": wb.cells([HEADER])}).read_bytes()
    other = tmp_path / "other"
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("data.csv", "id,size,name\n")
    damaged = bytearray(whole)
    damaged[len(whole) // 4] ^= 255
    for content in (
        b"",
        whole[:-10],
        whole[: len(whole) // 2],
        bytes(damaged),
        other.read_bytes(),
        b"\xd0\xcf\x11\xe0",
    ):
        with pytest.raises(RefusedFileError, match="can't be read as an Excel workbook"):
            read(content)


def test_a_workbook_that_explodes_is_refused_before_it_is_parsed(
    con: duckdb.DuckDBPyConnection, request_of: Callable[..., ReadRequest], tmp_path: Path
) -> None:
    bomb = wb.write(tmp_path / "bomb", {"Data": wb.cells([HEADER])})
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as file, file.open("xl/media/x.bin", "w") as part:
        for _ in range(130):
            part.write(bytes(1 << 20))
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(RefusedFileError, match="too large unpacked"):
        excel.read(con, bomb, request_of(bomb).model_copy(update={"memory_megabytes": 256}))
