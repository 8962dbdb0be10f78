"""What the platform asks the process that reads a file, and what it answers: JSON lines on a pipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from assets.errors import HeadraceError
from assets.naming import literal
from assets.records import Record
from assets.spec import ColumnType, SourceSpec

# columns of every raw table beside the contract's, in this order: two before, two behind
LEADING = {"batch_id": "VARCHAR", "row_number": "BIGINT"}
TRAILING = {"headrace_delivery": "VARCHAR", "headrace_rescued": "VARCHAR"}
ROWS_FILE, QUARANTINE_FILE = "rows.parquet", "quarantine.parquet"
"""Of a large file rows_1.parquet and so on stand beside the first: `rows_files` lists them."""
QUARANTINE_COLUMNS = ("row_number", "column_name", "expected", "found", "raw_text")


def rows_files(folder: Path) -> list[Path]:
    """The Parquet files of rows that a read left, in the order of the file that was read; none when no row was good."""
    more = sorted(folder.glob("rows_*.parquet"), key=lambda path: int(path.stem.removeprefix("rows_")))
    return [path for path in (folder / ROWS_FILE, *more) if path.exists()]


def rows_sql(files: Sequence[Path]) -> str:
    """SQL of the relation of these files of rows."""
    return f"read_parquet([{', '.join(literal(str(file)) for file in files)}], hive_partitioning=false)"


class RefusedFileError(HeadraceError):
    """A whole file was refused: nothing of it is loaded, its bytes are kept in quarantine with the reason."""


class ReadRequest(Record):
    """One staged copy to read."""

    path: str = Field(description="the staged copy; its name says nothing")
    folder: str = Field(description="an empty folder to write rows.parquet and quarantine.parquet to")
    file_name: str = Field(description="as delivered: its end says the format when the spec says auto")
    source: str
    batch_id: str
    delivery_id: str
    contract: SourceSpec
    columns: dict[str, ColumnType] = Field(description="the contract's columns and those that came by evolution")
    threads: int = 2
    memory_megabytes: int = 2048
    unpacked_gigabytes: float = 50.0


class FoundChange(Record):
    """A difference between the file's columns and the contract that its mode allows."""

    kind: Literal["added", "dropped", "renamed", "widened", "rescued"]
    column: str
    before: str = ""
    after: str = ""


class ReadReport(Record):
    """A file that was read: every row is in one of the files.

    The files of rows have LEADING, `columns` and TRAILING; `quarantine.parquet` has QUARANTINE_COLUMNS and is only
    there when rows are. Row numbers count the file's records from 1, bad ones too.
    """

    format: Literal["csv", "parquet", "jsonl", "excel"]
    rows_in: int = Field(description="records counted apart from the parser that read them, where the format allows")
    rows_loaded: int
    rows_quarantined: int
    columns: dict[str, ColumnType] = Field(description="as asked for, with what evolution added or widened")
    changes: tuple[FoundChange, ...] = ()


class Refusal(Record):
    """Why a file was refused, as a `RefusedFileError` takes it."""

    what: str
    where: str = ""
    expected: str = ""
    found: str = ""
    fix: str = ""
