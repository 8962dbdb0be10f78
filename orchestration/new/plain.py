"""Files as the raw stage reads them: comma-separated UTF-8 with a header whose names the lake can have.

What is otherwise (another delimiter, encoding or compression, names missing or twice) is converted by rules that
depend on the file alone, so that a later delivery of the same kind becomes the same columns.
"""

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from assets.errors import HeadraceError
from assets.lake import write_file_atomically
from assets.naming import literal, quoted
from assets.raw.ingest import is_parquet

_OURS = {"batch_id", "row_number"}
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_DECIMAL_COMMA = r"[+-]?([0-9]*|[0-9]{1,3}(\.[0-9]{3})+)(,[0-9]+)?"
_THOUSANDS_COMMA = "[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+"
_LOOK_AT = 200  # records that decide about the delimiter
_MAGIC = {
    b"PK\x03\x04": ("a ZIP archive or Excel workbook", "unpack it, or save the sheet as CSV (UTF-8)"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "save the sheet as CSV (UTF-8)"),
    b"BZh": ("compressed by bzip2", "unpack it: bunzip2 FILE"),
    b"\xfd7zXZ": ("compressed by xz", "unpack it: unxz FILE"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it: unzstd FILE"),
    b"SQLite format 3": ("an SQLite database", "export the table as CSV"),
    b"\x89HDF": ("an HDF5 file", "export the table as CSV"),
}


@dataclass(frozen=True)
class PlainFile:
    """A file that can land: itself or its converted copy, and what the conversion changed."""

    path: Path
    changes: tuple[str, ...] = ()


def plain_file(file: Path, folder: Path) -> PlainFile:
    """The file itself when the raw stage can read it, else a converted copy below `folder`.

    Raises:
        HeadraceError: there is no such file, or it is no table of text; says what to do.
    """
    if not file.is_file():
        raise HeadraceError("no such file", where=str(file), fix="check the path")
    content = file.read_bytes()
    if content[:4] == b"PAR1" or is_parquet(file.name):
        _check_parquet(content, file)
        return PlainFile(file)
    changes: list[str] = []
    if content[:2] == b"\x1f\x8b":
        content = _unpacked(content, file)
        changes.append("unpacked")
    _check_is_text(content, file)
    text, encoding = _decoded(content, file)
    if encoding:
        changes.append(f"{encoding} to UTF-8")
    delimiter = _delimiter(text)
    header, fixed, at = _header(text, delimiter, file)
    if delimiter != ",":
        changes.append(f"{_DELIMITERS[delimiter]} to commas")
        text = _with_commas(text[at:], fixed, delimiter, file)
    elif header != fixed:
        text = _line(fixed, _ending(text[:at])) + text[at:]
    changes += [
        f"column {place} {old!r} is called {new}"
        for place, (old, new) in enumerate(zip([""] * (len(fixed) - len(header)) + header, fixed, strict=True), start=1)
        if old != new
    ]
    if not changes:
        return PlainFile(file)
    name = file.name.removesuffix(".gz")
    copy = folder / (name if name.lower().endswith(".csv") else f"{Path(name).stem}.csv")
    write_file_atomically(copy, text.encode())
    return PlainFile(copy, tuple(changes))


def _check_parquet(content: bytes, file: Path) -> None:
    """Refuse a Parquet file that isn't one, isn't named so, or whose names the lake can't have: it is not converted."""
    fix = ""
    if content[:4] != b"PAR1":
        fix = "get the file again; it is no Parquet file"
    elif not is_parquet(file.name):
        fix = f"rename it to {file.stem}.parquet: files are told apart by their ending"
    else:
        try:
            described = duckdb.execute(f"describe select * from read_parquet({literal(str(file))})").fetchall()
            names = [str(row[0]) for row in described]
            odd = [old for old, new in zip(names, _free_names(names), strict=True) if old != new]
            fix = f"write it again with other names for these columns: {', '.join(odd)}" if odd else ""
        except duckdb.Error as error:
            fix = f"get the file again: {str(error).splitlines()[0]}"
    if fix:
        raise HeadraceError("the Parquet file can't be landed", where=file.name, fix=fix)


def _unpacked(content: bytes, file: Path) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError) as error:
        raise HeadraceError(
            "the file can't be unpacked", where=file.name, found=str(error), fix="get the file again; it is broken"
        ) from None


def _check_is_text(content: bytes, file: Path) -> None:
    """Refuse what other programs write, each with the way to CSV."""
    for magic, (what, fix) in _MAGIC.items():
        if content.startswith(magic):
            raise HeadraceError("the file is no text", where=file.name, expected="CSV", found=what, fix=fix)
    if content.lstrip()[:1] in (b"{", b"["):
        raise HeadraceError(
            "the file is JSON",
            where=file.name,
            expected="CSV",
            fix="convert it, for example in Python: polars.read_json(FILE).write_csv(FILE)",
        )


def _decoded(content: bytes, file: Path) -> tuple[str, str]:
    """The text, and the encoding it was in if not UTF-8."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace"), "UTF-16"
    if b"\x00" in content[: 1 << 16]:
        raise HeadraceError(
            "the file is no text",
            where=file.name,
            expected="CSV in UTF-8",
            found="NUL bytes",
            fix="save it as CSV (UTF-8)",
        )
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace"), "Windows-1252"
    return content.decode("utf-8"), ""


def _records(text: str, delimiter: str, most: int = _LOOK_AT) -> list[list[str]]:
    """The first records of CSV text that aren't empty."""
    csv.field_size_limit(1 << 30)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found: list[list[str]] = []
    try:
        for row in reader:
            if row:
                found.append(row)
            if len(found) == most:
                break
    except csv.Error:
        pass  # what was read so far decides; the raw stage's own parser gives the message
    return found


def _delimiter(text: str) -> str:
    """Commas where they give columns in which the first records agree, else the delimiter that gives the most."""
    start = text.lstrip("\ufeff")[: 1 << 18]

    def columns(delimiter: str) -> float:
        sizes = [len(row) for row in _records(start, delimiter)[:-1] or _records(start, delimiter)]
        if not sizes or sizes[0] < 2:  # noqa: PLR2004 - one column says nothing about a delimiter
            return 0
        agreeing = sum(size in (sizes[0], sizes[0] + 1) for size in sizes) / len(sizes)
        return agreeing * 1000 + sizes[0] / 1000 if agreeing > 0.9 else 0  # noqa: PLR2004 - a few broken lines are quarantined

    return "," if columns(",") else max(_DELIMITERS, key=columns)


def _header(text: str, delimiter: str, file: Path) -> tuple[list[str], list[str], int]:
    """The header's names, the names that the lake can have, and where the rows begin."""
    bom = text.startswith("\ufeff")
    start = text[bom:]
    stream = io.StringIO(start, newline="")
    csv.field_size_limit(1 << 30)
    try:
        header = next(csv.reader(stream, delimiter=delimiter), [])
    except csv.Error as error:
        raise HeadraceError("the header can't be read", where=file.name, found=str(error), fix="mend line 1") from None
    if not header or not any(header):
        raise HeadraceError(
            "the file has no header" if start.strip() else "the file is empty",
            where=file.name,
            expected="column names on the first line",
            fix="deliver it with a header",
        )
    if all(_is_number(name) for name in header):
        raise HeadraceError(
            "the first line holds numbers, not names",
            where=file.name,
            expected="column names on the first line",
            found=", ".join(header[:5]),
            fix="add a line with a name for each column at the top of the file",
        )
    rows = _records(start[: 1 << 18], delimiter)[1:]
    sizes = {len(row) for row in rows[:-1] or rows}
    names = ["row_name", *header] if sizes == {len(header) + 1} else header
    if sizes and min(sizes) > len(names):
        raise HeadraceError(
            "the rows have more fields than the header has names",
            where=file.name,
            expected=f"{min(sizes)} names on the first line",
            found=f"{len(header)}: {', '.join(header[:5])}",
            fix="mend the first line of the file",
        )
    if len(names) == 1:
        raise HeadraceError(
            "the file has one column only",
            where=file.name,
            expected=f"columns apart by one of {', '.join(_DELIMITERS.values())}",
            found=repr(header[0][:60]),
            fix="save it as comma-separated CSV",
        )
    return header, _free_names(names), stream.tell() + bom


def _free_names(names: Sequence[str]) -> list[str]:
    """Names that are there, once whatever the case, on one line, and not ours."""
    free: list[str] = []
    for place, raw in enumerate(names, start=1):
        name = raw if "\n" not in raw and "\r" not in raw else " ".join(raw.split())
        name = name if name.strip() else f"column_{place}"
        if name.lower() in _OURS or name.lower().startswith("headrace_"):
            name = f"{name}_" if name.lower() in _OURS else f"x_{name}"
        base, number = name, 2
        while name.lower() in {other.lower() for other in free}:
            name, number = f"{base}_{number}", number + 1
        free.append(name)
    return free


def _with_commas(rows: str, header: Sequence[str], delimiter: str, file: Path) -> str:
    """Rows of another delimiter as comma-separated text; decimal commas become points where a column has only such.

    Raises:
        HeadraceError: a row doesn't have the header's fields.
    """
    import tempfile

    names = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in header)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(config={"temp_directory": f"{folder}/spill"}) as con:
        source, target = Path(folder) / "rows.txt", Path(folder) / "rows.csv"
        source.write_bytes(rows.encode())
        try:
            con.execute(
                f"create temp table read_rows as select * from read_csv({literal(str(source))}, columns={{{names}}}, "
                f"header=false, auto_detect=false, delim={literal(delimiter)}, quote='\"', escape='\"')"
            )
        except duckdb.Error as error:
            raise HeadraceError(
                "a row doesn't fit the header",
                where=file.name,
                found=str(error).splitlines()[0],
                fix="mend that line, or save the file as comma-separated UTF-8",
            ) from None
        tests = ", ".join(_has_decimal_commas(quoted(name)) for name in header)
        is_decimal = con.execute(f"select {tests} from read_rows").fetchone() or ()
        columns = ", ".join(
            f"replace(replace({quoted(name)}, '.', ''), ',', '.') as {quoted(name)}" if decimal else quoted(name)
            for name, decimal in zip(header, is_decimal, strict=True)
        )
        con.execute(f"copy (select {columns} from read_rows) to {literal(str(target))} (format csv, header true)")
        return target.read_text(encoding="utf-8")


def _has_decimal_commas(field: str) -> str:
    """SQL of whether all texts of a column are numbers with decimal commas, and points before thousands if any.

    Where each comma could as well stand before thousands (`1,838`), it is taken for that and the texts stay.
    """
    value = f"trim({field})"
    return f"""coalesce(
        bool_and(regexp_full_match({value}, {literal(_DECIMAL_COMMA)})) filter ({value} <> '')
        and bool_or(contains({field}, ','))
        and not bool_and(regexp_full_match({value}, {literal(_THOUSANDS_COMMA)})) filter (contains({field}, ',')),
        false)"""


def _line(names: Sequence[str], ending: str) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=ending).writerow(names)
    return stream.getvalue()


def _ending(line: str) -> str:
    """How a line ends: DuckDB refuses a file whose lines end in different ways."""
    return next((ending for ending in ("\r\n", "\n", "\r") if line.endswith(ending)), "\n")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
