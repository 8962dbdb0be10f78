"""The rows of files as texts, read by the raw stage's own reader: what is profiled is what will be loaded.

What the texts mean is the profile's matter.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import fastexcel

from assets.errors import HeadraceError
from assets.files import own_path
from assets.naming import literal, quoted
from assets.raw.reader.client import read_file
from assets.raw.reader.protocol import ReadReport, ReadRequest, RefusedFileError, rows_files, rows_sql
from assets.settings import Settings
from assets.spec import CsvSpec, SourceSpec
from orchestration.new.dialect import DELIMITERS, free_names
from orchestration.new.plain import PlainFile, unpacked

_FIRST_ROWS = 1000  # of a sheet, before its header


@dataclass(frozen=True)
class Texts:
    """What `raw` was filled with."""

    columns: tuple[str, ...]
    rejected: int
    """rows that will be quarantined: they have another shape than the header"""
    format: str
    """as a spec says it"""
    csv: CsvSpec
    has_csv: bool


def read_texts(con: duckdb.DuckDBPyConnection, files: Sequence[PlainFile], settings: Settings) -> Texts:
    """Read files whole into the table `raw`: `headrace_file`, `headrace_row`, and a text for each column.

    Raises:
        HeadraceError: a file can't be read, or the files differ in their columns or in how they are written.
    """
    declared, written = _one_format(files), _one_csv([file for file in files if file.format == "csv"])
    settings.home.mkdir(parents=True, exist_ok=True)
    folder = own_path(settings.home, "new")
    columns: list[str] = []
    rejected = 0
    try:
        for place, file in enumerate(files):
            first = list(file.columns) or _first_columns(file)
            contract = SourceSpec.model_validate(
                {"files": ".*", "format": file.format, "csv": written, "columns": {first[0]: "VARCHAR"}}
            )
            names = list(file.columns) or _all_columns(file, first, contract, settings, folder / f"{place}-names")
            columns = columns or names
            _check_alike(file, names, columns)
            contract = contract.model_copy(update={"columns": dict.fromkeys(names, "VARCHAR")})
            report = _read(file, contract, settings, folder / str(place))
            rejected += report.rows_quarantined
            _add(con, place, rows_files(folder / str(place)), columns)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Texts(tuple(columns), rejected, declared, written, any(file.format == "csv" for file in files))


def _read(file: PlainFile, contract: SourceSpec, settings: Settings, folder: Path) -> ReadReport:
    folder.mkdir(parents=True)
    request = ReadRequest(
        path=str(file.path.absolute()),
        folder=str(folder),
        file_name=file.path.name,
        source="new",
        batch_id="new",
        delivery_id="new",
        contract=contract,
        columns=contract.columns,
        threads=settings.threads,
        memory_megabytes=settings.read_memory_megabytes,
        unpacked_gigabytes=settings.read_unpacked_gigabytes,
    )
    try:
        return read_file(settings, request)
    except RefusedFileError as error:
        where = f"{file.path.name}{': ' + error.where if error.where else ''}"
        raise HeadraceError(
            error.what, where=where, expected=error.expected, found=error.found, fix=error.fix
        ) from None


def _add(con: duckdb.DuckDBPyConnection, place: int, rows: Sequence[Path], columns: Sequence[str]) -> None:
    fields = ", ".join(quoted(name) for name in columns)
    create = f"insert into raw (headrace_file, headrace_row, {fields})" if place else "create table raw as"
    con.execute(f"{create} select {place} as headrace_file, row_number as headrace_row, {fields} from {rows_sql(rows)}")


def _all_columns(
    file: PlainFile, first: Sequence[str], contract: SourceSpec, settings: Settings, folder: Path
) -> list[str]:
    """The columns of a file without a header line: a contract that knows one of them takes in all others."""
    found = _read(file, contract.model_copy(update={"contract": "evolve"}), settings, folder).columns
    return list(dict.fromkeys([*(name for name in first if name in found), *found]))


def _first_columns(file: PlainFile) -> list[str]:
    """Names of columns in their order, looked for where the format has names; there may be more.

    Raises:
        HeadraceError: there are none, or the first can't be that of a column.
    """
    try:
        names = _NAMES[file.format](file.path)
    except (ValueError, duckdb.Error, fastexcel.FastExcelError) as error:
        raise HeadraceError(
            f"the file can't be read as {file.format}",
            where=file.path.name,
            found=str(error).split("\n", maxsplit=1)[0],
            fix="get the file again, or save the table as CSV (UTF-8)",
        ) from None
    if free_names(names[:1]) != names[:1] or not names:
        raise HeadraceError(
            "the first column has no name that the lake can have",
            where=file.path.name,
            expected="a name, and not the platform's own: batch_id, row_number, headrace_...",
            found=", ".join(names[:1]),
            fix="write the file again with another name for it",
        )
    return names


def _names_of_parquet(path: Path) -> list[str]:
    described = duckdb.execute(f"describe from read_parquet({literal(str(path))}, hive_partitioning=false)").fetchall()
    return [str(row[0]) for row in described]


def _names_of_json_lines(path: Path) -> list[str]:
    with unpacked(path) as opened:
        line = next((line for line in opened if line.strip()), b"{}")
    found = json.loads(line.decode("utf-8-sig"))
    return list(found) if isinstance(found, dict) else []


def _names_of_excel(path: Path) -> list[str]:
    sheet = fastexcel.read_excel(path).load_sheet(0, header_row=None, n_rows=_FIRST_ROWS, dtypes="string")
    rows = ([str(value) for value in row if value is not None] for row in sheet.to_polars().iter_rows())
    return next(filter(None, rows), [])


_NAMES = {"parquet": _names_of_parquet, "jsonl": _names_of_json_lines, "excel": _names_of_excel}


def _check_alike(file: PlainFile, names: Sequence[str], columns: Sequence[str]) -> None:
    odd = sorted(set(names) ^ set(columns))
    if odd:
        raise HeadraceError(
            "the files have different columns",
            where=file.path.name,
            expected=", ".join(columns),
            found=f"only in one of the two: {', '.join(odd)}",
            fix="give files of one kind; sources to be joined are references of a spec (docs/product-spec.md)",
        )


def _one_format(files: Sequence[PlainFile]) -> str:
    """What a spec has to say of the format of all files."""
    declared = {file.declared_format for file in files}
    if len(declared) > 1:
        raise _unlike("format", [file.format for file in files], "name each file by its format, or convert some")
    return declared.pop()


def _one_csv(files: Sequence[PlainFile]) -> CsvSpec:
    """How all delimited files are written; what is ASCII alone reads alike in every encoding."""
    written = {file.csv.model_copy(update={"encoding": "auto"}) for file in files} or {CsvSpec()}
    encodings = {file.csv.encoding for file in files if not file.is_ascii} or {"auto"}
    if len(written) > 1:
        ways = [f"{DELIMITERS[file.csv.delimiter]}, {'a' if file.csv.header else 'no'} header" for file in files]
        raise _unlike("delimiter or header", ways, "save them in one way")
    if len(encodings) > 1:
        raise _unlike("encoding", [file.csv.encoding for file in files], "save them all as UTF-8")
    return written.pop().model_copy(update={"encoding": encodings.pop()})


def _unlike(what: str, found: Sequence[str], fix: str) -> HeadraceError:
    return HeadraceError(
        f"the files are not of one {what}", expected="files of one kind", found=", ".join(dict.fromkeys(found)), fix=fix
    )
