"""Have a staged copy read by the process that reads: what loading a delivery and replaying one have in common."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assets.files import own_path
from assets.lake import Lake
from assets.raw.commit import contract_columns
from assets.raw.reader.client import read_file
from assets.raw.reader.protocol import ReadReport, ReadRequest
from assets.records import Batch, SchemaChange
from assets.spec import SourceSpec


@contextmanager
def reading(lake: Lake) -> Iterator[Path]:
    """A folder for what the reader writes; on the same file system as the lake, so that it can be moved there."""
    folder = own_path(lake.staging, "reading")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_staged(lake: Lake, source: SourceSpec, batch: Batch, copy: Path, folder: Path) -> ReadReport:
    """Read a staged copy as today's contract says.

    Args:
        lake: the product's lake.
        source: the contract.
        batch: the delivery that it is read as.
        copy: the staged copy.
        folder: an empty one, for ROWS_FILE and QUARANTINE_FILE.

    Raises:
        RefusedFileError: the file as a whole can't be read.
    """
    with lake.connect() as con:
        columns = contract_columns(con, batch.source, source)
    request = ReadRequest.model_validate(
        {
            "path": str(copy),
            "folder": str(folder),
            "file_name": batch.file_name,
            "source": batch.source,
            "batch_id": batch.batch_id,
            "delivery_id": batch.delivery_id,
            "contract": source,
            "columns": columns,
            "threads": lake.settings.threads,
            "memory_megabytes": lake.settings.read_memory_megabytes,
            "unpacked_gigabytes": lake.settings.read_unpacked_gigabytes,
        }
    )
    return read_file(lake.settings, request)


def changes_of(batch: Batch, report: ReadReport) -> list[SchemaChange]:
    """What the ledger says about differences from the contract that were allowed."""
    return [
        SchemaChange(source=batch.source, batch_id=batch.batch_id, delivery_id=batch.delivery_id, **change.model_dump())
        for change in report.changes
    ]
