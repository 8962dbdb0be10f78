"""Excel workbooks that tests need and no library here writes: made of the cells' own XML."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

DATE, DATE_TIME = 1, 2
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_STYLES = (
    f'<styleSheet xmlns="{_MAIN}"><fonts count="1"><font/></fonts><fills count="1"><fill/></fills><borders count="1">'
    '<border/></borders><cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/></cellXfs>'
    "</styleSheet>"
)


@dataclass(frozen=True)
class Cell:
    """What stands in a cell: its attributes, and the XML in it."""

    attributes: str
    content: str


def text(value: str) -> Cell:
    """A cell with a text."""
    return Cell('t="inlineStr"', f'<is><t xml:space="preserve">{escape(value)}</t></is>')


def number(value: float | str, style: int = 0) -> Cell:
    """A cell with a number; in the style of a date the number counts days since 1899-12-30."""
    return Cell(f's="{style}"', f"<v>{value}</v>")


def error(value: str) -> Cell:
    """A cell with an error, such as #DIV/0!."""
    return Cell('t="e"', f"<v>{value}</v>")


def formula(source: str, value: str | None) -> Cell:
    """A cell with a formula, and the value that was saved with it, if one was."""
    return Cell("", f"<f>{escape(source)}</f>" + ("" if value is None else f"<v>{value}</v>"))


def cells(rows: Sequence[Sequence[Cell | None]], *, first_row: int = 1) -> str:
    """The XML of a sheet's rows; None is a blank cell, an empty row a blank one."""
    return (
        "<sheetData>"
        + "".join(
            f'<row r="{y}">'
            + "".join(
                f'<c r="{chr(ord("A") + x)}{y}" {cell.attributes}>{cell.content}</c>'
                for x, cell in enumerate(row)
                if cell
            )
            + "</row>"
            for y, row in enumerate(rows, start=first_row)
        )
        + "</sheetData>"
    )


def write(path: Path, sheets: Mapping[str, str]) -> Path:
    """Write a workbook.

    Args:
        path: where to.
        sheets: name -> XML as of `cells`, and what may follow it.
    """
    numbers = range(1, len(sheets) + 1)
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType='
        f'"application/xml"/><Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{_TYPE}.worksheet+xml"/>' for n in numbers
        )
        + "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" Type='
        f'"{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
        + "".join(
            f'<sheet name={quoteattr(name)} sheetId="{n}" r:id="rId{n}"/>'
            for n, name in zip(numbers, sheets, strict=True)
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
        + "".join(
            f'<Relationship Id="rId{n}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n in numbers
        )
        + f'<Relationship Id="rId0" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": _STYLES,
        **{
            f"xl/worksheets/sheet{n}.xml": f'<worksheet xmlns="{_MAIN}">{content}</worksheet>'
            for n, content in zip(numbers, sheets.values(), strict=True)
        },
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, '<?xml version="1.0" encoding="UTF-8"?>' + content)
    return path
