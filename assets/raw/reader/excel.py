"""Excel workbooks (.xlsx, .xlsm): the values of one sheet as text. No formula and no macro is run.

A workbook is small (a sheet has a million rows at most), so it is read into memory; its size is checked before that.
Older and other spreadsheet formats are not read, as neither their parts nor their size can be checked first.
"""

import html
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import duckdb
import fastexcel
import polars as pl

from assets.naming import literal, quoted
from assets.raw.reader.columns import or_null, plan_columns
from assets.raw.reader.protocol import ReadReport, ReadRequest, RefusedFileError
from assets.raw.reader.typed import write_typed

_CHUNK_BYTES = 1 << 20
# the longest formula has 8,192 characters; one that two chunks share is whole in the second
_OVERLAP_BYTES = 64 << 10
_SHEET = re.compile(rb"<(?:\w+:)?sheet\s([^>]*)>")
_RELATION = re.compile(rb"<(?:\w+:)?Relationship\s([^>]*)>")
_ATTRIBUTE = re.compile(rb"([\w:]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_MERGED = re.compile(rb"<(?:\w+:)?mergeCell\s([^>]*)>")
_UNCALCULATED = re.compile(
    rb"<(?:\w+:)?c\s([^>]*)>\s*<(?:\w+:)?f\b(?:[^>]*/>|[^>]*>[^<]*</(?:\w+:)?f>)\s*"
    rb"(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
# as the library calls the errors of cells
_ERRORS = {
    "Div0": "#DIV/0!", "NA": "#N/A", "Name": "#NAME?", "Null": "#NULL!", "Num": "#NUM!", "Ref": "#REF!",
    "Value": "#VALUE!",
}  # fmt: skip
# a cell holds a double: from here on integers have none of their own
_INEXACT = float(1 << 53)


@dataclass(frozen=True)
class _Sheet:
    """The filled rows of a sheet; the first of them is the header."""

    header: dict[str, str]
    """column of `texts` -> its name; columns without any value are left out"""
    texts: pl.DataFrame
    """the other rows, with `place`, the row's place in the sheet"""
    numbers: pl.DataFrame
    """the same rows; only cells that are numbers"""
    errors: pl.DataFrame
    """place, column of `texts` and text of cells that are errors"""


def read(con: duckdb.DuckDBPyConnection, path: Path, request: ReadRequest) -> ReadReport:
    """Read the sheet that the contract names, or the first: its first row that is not blank is the header.

    Numbers become texts with all their digits, dates and times ISO 8601; of formulas the values that were saved with
    them. Blank rows are no records. A row with an error such as #DIV/0!, or with an integer that a cell can't hold
    exactly (from 2^53), goes to quarantine.

    Raises:
        RefusedFileError: it is no whole workbook, too large unpacked, has no such sheet, or has cells whose value
            can't be known: merged ones, and formulas that were saved without their value.
    """
    sheet = _load(path, _check_workbook(path, request))
    plan = plan_columns(list(sheet.header.values()), request)
    kinds = {file_name: request.columns[name] for name, file_name in plan.taken.items()}
    exact = [column for column, name in sheet.header.items() if kinds.get(name) != "DOUBLE"]
    con.register("headrace_sheet", _with_faults(sheet, exact).to_arrow())
    names = {quoted(column): name for column, name in sheet.header.items()}
    texts = ", ".join(f"{or_null(column, request)} as {quoted(name)}" for column, name in names.items())
    raw = ", ".join(f"{literal(name)}: {column}" for column, name in names.items())
    at = " ".join(f"when {literal(column)} then {literal(name)}" for column, name in sheet.header.items())
    try:
        written = write_typed(
            con,
            f"select headrace_row, {texts} from headrace_sheet where fault is null",
            plan,
            request,
            rejected=f"""select headrace_row as row_number, case fault_at {at} end as column_name, expected,
                fault as found, to_json({{{raw}}})::varchar as raw_text
                from headrace_sheet where fault is not null""",
        )
    finally:
        con.unregister("headrace_sheet")
    return ReadReport(
        format="excel",
        rows_in=sheet.texts.height,
        rows_loaded=written.rows_loaded,
        rows_quarantined=written.rows_quarantined,
        columns=written.columns,
        changes=written.changes,
    )


def _load(path: Path, name: str) -> _Sheet:
    """The cells of a sheet.

    Raises:
        RefusedFileError: the sheet can't be parsed, or is empty.
    """
    try:
        workbook = fastexcel.read_excel(path)
        cells, problems = workbook.load_sheet(name, header_row=None, dtypes="string").to_arrow_with_errors()
        floats = pl.DataFrame(workbook.load_sheet(name, header_row=None, dtypes="float").to_arrow())
        # texts are no booleans, while they may be parsed as numbers
        is_number = pl.DataFrame(workbook.load_sheet(name, header_row=None, dtypes="boolean").to_arrow())
    except fastexcel.FastExcelError as error:
        raise _unreadable(str(error)) from None
    columns = [f"c{place}" for place in range(cells.num_columns)]
    errors = pl.DataFrame(
        [(row, columns[column], _error(item.detail)) for item in problems.errors for row, column in [item.position]]
        if problems
        else [],
        schema={"place": pl.UInt32, "fault_at": pl.String, "fault": pl.String},
        orient="row",
    )
    numbers = pl.DataFrame(
        {
            column: pl.select(pl.when(test.is_not_null()).then(value)).to_series()
            for column, value, test in zip(columns, floats.get_columns(), is_number.get_columns(), strict=True)
        }
    )
    texts = _exact(pl.DataFrame(cells), numbers).with_row_index("place")
    is_filled = pl.any_horizontal(pl.col(columns).is_not_null()) | pl.col("place").is_in(errors["place"].implode())
    filled = texts.filter(is_filled) if columns else texts
    if filled.is_empty():
        raise RefusedFileError(
            "the sheet is empty", expected="column names in its first row", fix="deliver the file again, with its rows"
        )
    first = filled.row(0, named=True)
    used = [column for column in columns if filled[column].null_count() < filled.height]
    return _Sheet(
        header={column: first[column] or "" for column in used},
        texts=filled[1:].select("place", *used),
        numbers=numbers.with_row_index("place").join(filled[1:].select("place"), on="place", how="semi"),
        errors=errors,
    )


def _error(detail: str) -> str:
    """The error of a cell as a sheet shows it."""
    found = re.search(r"Error\((\w+)\)", detail)
    return _ERRORS.get(found[1], found[1]) if found else detail


def _exact(texts: pl.DataFrame, numbers: pl.DataFrame) -> pl.DataFrame:
    """Texts of cells; those of numbers with all digits, where a sheet shows 0.3 for 0.30000000000000004."""
    return pl.DataFrame(
        {
            name: pl.select(
                pl.when(text.cast(pl.Float64, strict=False) != number).then(number.cast(pl.String)).otherwise(text)
            ).to_series()
            for name, text, number in zip(numbers.columns, texts.get_columns(), numbers.get_columns(), strict=True)
        }
    )


def _with_faults(sheet: _Sheet, exact: list[str]) -> pl.DataFrame:
    """The rows with their numbers, and of each the first cell whose value isn't known.

    Args:
        sheet: the rows.
        exact: columns in which an integer must be exact.
    """
    inexact = sheet.numbers.unpivot(exact, index="place", variable_name="fault_at", value_name="number").filter(
        pl.col("number").abs() >= _INEXACT
    )
    faults = pl.concat(
        [
            sheet.errors.with_columns(expected=pl.lit("a value")),
            inexact.select(
                "place",
                "fault_at",
                fault=pl.col("number").cast(pl.Int128, strict=False).cast(pl.String),
                expected=pl.lit("an integer of at most 15 digits, or text"),
            ),
        ]
    )
    first = faults.unique("place", keep="first", maintain_order=True)
    return sheet.texts.join(first, on="place", how="left", maintain_order="left").with_row_index(
        "headrace_row", offset=1
    )


def _check_workbook(path: Path, request: ReadRequest) -> str:
    """Check a workbook before it is parsed.

    Returns:
        the name of the sheet to read.

    Raises:
        RefusedFileError: it is no whole workbook, too large, has no such sheet, or cells whose value can't be known.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            _check_size(parts, request)
            broken = parts.testzip()
            if broken:
                raise _unreadable(f"{broken[:100]} is damaged")
            sheets = _sheets(parts)
            name = request.contract.sheet or next(iter(sheets), "")
            if name not in sheets:
                raise RefusedFileError(
                    "the workbook has no such sheet",
                    expected=name or "a sheet",
                    found=", ".join(list(sheets)[:12]),
                    fix="write one of these names under `sheet:` in the product's spec, or rename the sheet",
                )
            _check_cells(parts, sheets[name], name)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, KeyError, EOFError, OSError) as error:
        raise _unreadable(str(error)) from None
    return name


def _check_size(parts: zipfile.ZipFile, request: ReadRequest) -> None:
    """Refuse what would be too large in memory; that sizes are told truly is found when the parts are tested."""
    size = sum(part.file_size for part in parts.infolist())
    most = min(request.unpacked_gigabytes * 1e9, request.memory_megabytes * 1e6 / 2)
    if size > most:
        raise RefusedFileError(
            "the workbook is too large unpacked",
            expected=f"at most {most / 1e6:,.0f} MB",
            found=f"{size / 1e6:,.0f} MB",
            fix="deliver it as CSV or Parquet, or raise HEADRACE_READ_MEMORY_MEGABYTES",
        )


def _sheets(parts: zipfile.ZipFile) -> dict[str, str]:
    """Sheet name -> its part, in the workbook's order."""
    relations = [_attributes(item) for item in _RELATION.findall(parts.read("xl/_rels/workbook.xml.rels"))]
    targets = {item.get("Id", ""): item.get("Target", "") for item in relations}
    sheets = [_attributes(item) for item in _SHEET.findall(parts.read("xl/workbook.xml"))]
    return {
        item.get("name", ""): str(PurePosixPath("xl") / targets.get(item.get("id", ""), "")).lstrip("/")
        for item in sheets
    }


def _attributes(tag: bytes) -> dict[str, str]:
    """The attributes of a tag, names without their prefixes."""
    return {
        name.decode().rpartition(":")[2]: html.unescape((double or single).decode(errors="replace"))
        for name, double, single in _ATTRIBUTE.findall(tag)
    }


def _check_cells(parts: zipfile.ZipFile, part: str, sheet: str) -> None:
    """Refuse cells that would be read as blank although they mean something."""
    for text in _chunks(parts, part):
        merged = _MERGED.search(text)
        if merged:
            raise RefusedFileError(
                "cells are merged, so it isn't known for which rows and columns their value counts",
                where=f"sheet {sheet}, {_attributes(merged[1]).get('ref', '')}",
                fix="unmerge them and write the value into each cell",
            )
        for cell in _UNCALCULATED.finditer(text):
            # the value of a formula may be an empty text
            if _attributes(cell[1]).get("t") != "str":
                raise RefusedFileError(
                    "a formula was saved without its value",
                    where=f"sheet {sheet}, {_attributes(cell[1]).get('r', '')}",
                    fix="open the file in a spreadsheet program and save it, or write values instead of formulas",
                )


def _chunks(parts: zipfile.ZipFile, part: str) -> Iterator[bytes]:
    """The text of a part in pieces that overlap."""
    kept = b""
    with parts.open(part) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield kept + chunk
            kept = (kept + chunk)[-_OVERLAP_BYTES:]


def _unreadable(found: str) -> RefusedFileError:
    return RefusedFileError(
        "the file can't be read as an Excel workbook",
        expected="a whole .xlsx file without a password",
        found=found.partition("\n")[0][:300],
        fix="save it again as .xlsx and deliver it whole",
    )
