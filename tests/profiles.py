"""Files profiled as `headrace new` does it: read by the raw stage's reader in its own process."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import polars as pl

from assets.naming import quoted
from assets.raw.reader.client import read_file
from assets.raw.reader.protocol import ReadRequest, rows_files, rows_sql
from assets.settings import Settings
from assets.spec import SourceSpec
from orchestration.new.plain import PlainFile, mended_file, plain_file
from orchestration.new.profile import Profile, profile_files


def profile_of(folder: Path, *files: Path) -> Profile:
    """The profile of files of which nothing is known; what is written on the way is below `folder`."""
    return profile_plain(folder, [plain_file(file, folder / "converted") for file in files])


def profile_of_columns(folder: Path, columns: dict[str, Sequence[object]]) -> Profile:
    """The profile of a file `data.csv` with these columns; one is enough."""
    pl.DataFrame(columns).write_csv(folder / "data.csv")
    return profile_plain(folder, [PlainFile(folder / "data.csv", "csv", columns=tuple(columns))])


def profile_plain(folder: Path, files: Sequence[PlainFile]) -> Profile:
    """The profile of files that were looked at."""
    return profile_files(duckdb.connect(), files, Settings(home=folder / "home"))


def assert_loads_as_profiled(profile: Profile, source: SourceSpec, folder: Path, files: Sequence[Path]) -> None:
    """Every row of the files is loaded by the spec as it was profiled; but for broken ones nothing is quarantined."""
    quarantined = 0
    for place, file in enumerate(files):
        landed, _ = mended_file(file, source, folder / "landed")
        target = folder / f"read-{place}"
        target.mkdir()
        report = read_file(
            Settings(home=folder / "home"),
            ReadRequest(
                path=str(landed), folder=str(target), file_name=file.name, source="new", batch_id="b",
                delivery_id="d", contract=source, columns=source.columns,
            ),
        )  # fmt: skip
        quarantined += report.rows_quarantined
        columns = ", ".join(quoted(name) for name in source.columns)
        loaded = f"select headrace_row, {columns} from loaded where headrace_file = {place}"
        read = f"select row_number, {columns} from {rows_sql(rows_files(target))}"
        for one, other in ((loaded, read), (read, loaded)):
            assert profile.con.execute(f"{one} except all {other} limit 3").fetchall() == []
        assert report.changes == ()
    assert quarantined == profile.rejected
