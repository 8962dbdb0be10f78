"""What tests of the readers share: a connection as the reading process has it, and requests for files of a toy."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from assets.naming import literal
from assets.raw.reader.protocol import QUARANTINE_FILE, ReadReport, ReadRequest, rows_files, rows_sql
from assets.spec import SourceSpec


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that reaches the test's folder only."""
    with duckdb.connect(config={"threads": 2}) as con:
        con.execute("set timezone = 'UTC'")
        # many files of one name are written and read here, within one tick of the file system's clock
        con.execute("set enable_external_file_cache = false")
        con.execute(f"set allowed_directories = [{literal(str(tmp_path))}]")
        con.execute("set enable_external_access = false")
        yield con


@pytest.fixture
def request_of(tmp_path: Path) -> Callable[..., ReadRequest]:
    """A request to read a file; `came` are columns by evolution, the other arguments fields of its contract."""

    def make(path: Path, *, came: dict[str, str] | None = None, **contract: Any) -> ReadRequest:
        folder = tmp_path / "written"
        folder.mkdir(exist_ok=True)
        for file in folder.iterdir():
            file.unlink()
        source = SourceSpec.model_validate(
            {"files": "x", "columns": {"id": "BIGINT", "size": "DOUBLE", "name": "VARCHAR"}, **contract}
        )
        return ReadRequest.model_validate(
            {
                "path": str(path),
                "folder": str(folder),
                "file_name": path.name,
                "source": "toy",
                "batch_id": "b1",
                "delivery_id": "d1",
                "contract": source,
                "columns": {**source.columns, **(came or {})},
            }
        )

    return make


@pytest.fixture
def written(con: duckdb.DuckDBPyConnection) -> Callable[..., tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]]:
    """The rows and the quarantined ones that a reader wrote, held against its report."""

    def get(request: ReadRequest, report: ReadReport) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        folder = Path(request.folder)
        files = rows_files(folder), [file for file in (folder / QUARANTINE_FILE,) if file.exists()]
        rows, bad = (con.execute(f"from {rows_sql(item)}").fetchall() if item else [] for item in files)
        assert (report.rows_loaded, report.rows_quarantined) == (len(rows), len(bad))
        assert report.rows_in == len(rows) + len(bad)
        return rows, bad

    return get
