"""The lake: locked down, one writer at a time, transactions whole or not at all, readers never in the way."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from filelock import FileLock

from assets import lake as lake_module
from assets.errors import HeadraceError
from assets.home import Home
from assets.lake import Lake, extension_file, has_table, is_passing, newest_snapshot
from assets.settings import CHECKOUT, Settings


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with a table of numbers."""
    made = Home(Settings(home=tmp_path_factory.mktemp("lake") / "home")).lake("toy")
    made.transact(lambda con: con.execute("create table lake.raw.numbers as select 1 as number"))
    return made


@pytest.fixture(params=[True, False], ids=["reader", "writer"])
def con(lake: Lake, request: pytest.FixtureRequest) -> Iterator[duckdb.DuckDBPyConnection]:
    with lake.connect(read_only=request.param) as connection:
        yield connection


# --- locked down ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "select * from read_text('/etc/passwd')",
        "select * from read_csv('/etc/passwd', header=false)",
        "select * from glob('/etc/*')",
        "attach '{outside}/other.db' as other",
        "copy (select 1) to '{outside}/stolen.csv'",
        "copy (select 1) to '{folder}/../../../stolen.csv'",
        "export database '{outside}/stolen'",
    ],
)
def test_no_connection_reads_or_writes_a_file_outside_its_lake(
    con: duckdb.DuckDBPyConnection, lake: Lake, tmp_path: Path, statement: str
) -> None:
    with pytest.raises(duckdb.PermissionException, match="disabled by configuration"):
        con.execute(statement.format(outside=tmp_path, folder=lake.folder))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["enable_external_access", "threads", "timezone", "allowed_directories"])
def test_no_connection_can_change_its_configuration(con: duckdb.DuckDBPyConnection, name: str) -> None:
    for scope in ("", "global ", "session "):
        with pytest.raises(duckdb.Error, match=r"locked|cannot be set|Cannot change"):
            con.execute(f"set {scope}{name}='1'")
    with pytest.raises(duckdb.Error):
        con.execute(f"reset {name}")


def test_no_connection_loads_another_extension(con: duckdb.DuckDBPyConnection) -> None:
    for statement in ("install httpfs", "load httpfs"):
        with pytest.raises(duckdb.PermissionException):
            con.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into lake.raw.numbers values (2)",
        "delete from lake.raw.numbers",
        "create table lake.raw.more (number int)",
        "drop table lake.raw.numbers",
        "create schema lake.other",
    ],
)
def test_a_reader_cannot_change_the_lake(lake: Lake, statement: str) -> None:
    with lake.connect() as con, pytest.raises(duckdb.InvalidInputException, match="read-only"):
        con.execute(statement)


# --- transactions ---------------------------------------------------------------------------------------------------


def test_a_transaction_that_raises_leaves_nothing(lake: Lake) -> None:
    before = lake.snapshot()

    def work(con: duckdb.DuckDBPyConnection) -> None:
        con.execute("insert into lake.raw.numbers values (99)")
        con.execute("create table lake.raw.half (number int)")
        raise KeyError("stop")

    with pytest.raises(KeyError):
        lake.transact(work)
    with lake.connect() as con:
        assert con.execute("select count(*) from lake.raw.numbers where number = 99").fetchone() == (0,)
        assert not has_table(con, "raw", "half")
    assert lake.snapshot() == before


def test_a_transaction_gives_what_its_work_gives_and_makes_one_snapshot(lake: Lake) -> None:
    before = lake.snapshot()

    def work(con: duckdb.DuckDBPyConnection) -> str:
        con.execute("create table lake.raw.whole (number int)")
        con.execute("insert into lake.raw.whole values (1), (2)")
        return "done"

    assert lake.transact(work) == "done"
    assert lake.snapshot() == before + 1
    with lake.connect() as con:
        assert has_table(con, "raw", "whole")


def test_a_passing_error_repeats_the_whole_transaction(lake: Lake) -> None:
    """The first try's rows must be gone: otherwise a repetition would be there twice."""
    tries = []

    def work(con: duckdb.DuckDBPyConnection) -> None:
        tries.append(1)
        con.execute("insert into lake.raw.numbers values (77)")
        if len(tries) < 3:
            raise duckdb.TransactionException("Transaction conflict on commit")

    lake.transact(work)
    with lake.connect() as con:
        assert con.execute("select count(*) from lake.raw.numbers where number = 77").fetchone() == (1,)
    assert len(tries) == 3


def test_another_error_is_not_repeated(lake: Lake) -> None:
    tries = []

    def work(con: duckdb.DuckDBPyConnection) -> None:
        tries.append(1)
        con.execute("select * from lake.raw.nothing")

    with pytest.raises(duckdb.CatalogException):
        lake.transact(work)
    assert len(tries) == 1


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (duckdb.IOException("Failed to execute query: database is locked"), True),
        (duckdb.TransactionException("Failed to commit DuckLake transaction: Conflict"), True),
        (duckdb.Error("could not serialize access due to concurrent update"), True),
        (duckdb.CatalogException("Table with name x does not exist"), False),
        (duckdb.IOException("No space left on device"), False),
        (OSError("database is locked"), False),
        (ValueError("conflict"), False),
    ],
)
def test_only_another_writers_traces_pass(error: Exception, passing: bool) -> None:
    assert is_passing(error) == passing


# --- readers and writers --------------------------------------------------------------------------------------------


def test_a_reader_works_while_a_writer_holds_the_lock_and_sees_no_half_transaction(lake: Lake) -> None:
    def work(con: duckdb.DuckDBPyConnection) -> tuple[tuple[int], tuple[int]]:
        con.execute("insert into lake.raw.numbers values (55)")
        count = "select count(*) from lake.raw.numbers where number = 55"
        with lake.connect() as reader:
            return con.execute(count).fetchone(), reader.execute(count).fetchone()

    assert lake.transact(work) == ((1,), (0,))
    with lake.connect() as con:
        assert con.execute("select count(*) from lake.raw.numbers where number = 55").fetchone() == (1,)


HOLD = """
import sqlite3, sys
catalog = sqlite3.connect(sys.argv[1])
catalog.execute("pragma locking_mode=exclusive")
catalog.execute("select * from sqlite_master").fetchall()
print("held", flush=True)
sys.stdin.readline()
"""


def test_a_catalog_that_another_process_has_locked_is_waited_for(
    settings_at: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opens or closes a SQLite catalog while nobody else has it open locks it for a moment."""
    lake = Home(settings_at(tmp_path / "home")).lake("held")
    if lake.is_shared:
        pytest.skip("a catalog in PostgreSQL isn't locked")
    before = lake.snapshot()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, lake.catalog.removeprefix("sqlite:")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    refused: list[str] = []
    begin = lake_module.begin_reading

    def noted(con: duckdb.DuckDBPyConnection) -> None:
        try:
            begin(con)
        except duckdb.Error as error:
            refused.append(str(error))
            if len(refused) == 2:
                holder.communicate("let go\n")
            raise

    monkeypatch.setattr(lake_module, "begin_reading", noted)
    assert lake.snapshot() == before
    assert len(refused) >= 2
    assert all("database is locked" in text for text in refused)


def test_a_writer_that_waits_too_long_says_who_is_in_the_way(lake: Lake) -> None:
    hasty = Lake("toy", lake.settings.model_copy(update={"lock_timeout_seconds": 0.1}))
    with (
        FileLock(lake.folder / "writer.lock"),
        pytest.raises(HeadraceError, match="another process is writing") as caught,
    ):
        hasty.transact(lambda _: pytest.fail("it has no turn"))
    assert "nothing was written" in caught.value.fix


WRITER = """
import sys
from assets.home import Home
from assets.settings import Settings

name, home = sys.argv[1:]
lake = Home(Settings(home=home)).lake("toy")
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    def work(con):
        newest = con.execute("select coalesce(max(place), 0) from lake.raw.shared").fetchone()[0]
        con.execute("insert into lake.raw.shared values (?, ?, ?)", [name, number, newest + 1])
    lake.transact(work)
"""


def test_two_processes_that_write_one_lake_lose_nothing_and_fail_nothing(lake: Lake) -> None:
    """Each transaction decides from what it reads: a lost update would give two rows the same place."""
    lake.transact(lambda con: con.execute("create table lake.raw.shared (writer varchar, number int, place int)"))
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, name, str(lake.settings.home)],
            cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    ends = [writer.communicate(timeout=120) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], ends
    with lake.connect() as con:
        rows = con.execute("select writer, number, place from lake.raw.shared order by place").fetchall()
    assert [place for _, _, place in rows] == list(range(1, 41))
    for name in ("one", "two"):
        assert [number for writer, number, _ in rows if writer == name] == list(range(20))


# --- the home -------------------------------------------------------------------------------------------------------


def test_a_lake_is_created_once_and_found_again(lake: Lake) -> None:
    before = lake.snapshot()
    again = Home(lake.settings).lake("toy")
    assert again.exists()
    assert again.snapshot() == before


def test_a_home_that_was_deleted_and_made_again_works_in_the_same_process(tmp_path: Path) -> None:
    """The engine is kept per process; one that still had the deleted files open would read a lake that is gone."""
    for _ in range(2):
        lake = Home(Settings(home=tmp_path / "home")).lake("toy")
        with lake.connect() as con:
            assert not has_table(con, "raw", "numbers")
        lake.transact(lambda con: con.execute("create table lake.raw.numbers as select 1 as number"))
        with lake.connect() as con:
            assert con.execute("select * from lake.raw.numbers").fetchall() == [(1,)]
        shutil.rmtree(tmp_path / "home")


def test_a_home_that_was_moved_is_the_same_lake(lake: Lake, tmp_path: Path) -> None:
    shutil.copytree(lake.settings.home, tmp_path / "moved")
    moved = Home(Settings(home=tmp_path / "moved")).lake("toy")
    moved.transact(lambda con: con.execute("insert into lake.raw.numbers values (1000)"))
    count = "select count(*) from lake.raw.numbers where number = 1000"
    with moved.connect() as there, lake.connect() as here:
        assert (there.execute(count).fetchone(), here.execute(count).fetchone()) == ((1,), (0,))


def test_an_older_snapshot_can_be_read_as_it_was(lake: Lake) -> None:
    lake.transact(lambda con: con.execute("create table lake.raw.versions as select 1 as number"))
    with lake.connect() as con:
        version = newest_snapshot(con)
    lake.transact(lambda con: con.execute("insert into lake.raw.versions values (2)"))
    lake.transact(lambda con: con.execute("delete from lake.raw.versions where number = 1"))
    with lake.connect() as con:
        then = con.execute(f"select * from lake.raw.versions at (version => {version})").fetchall()
        now = con.execute("select * from lake.raw.versions").fetchall()
    assert (then, now) == ([(1,)], [(2,)])


def test_extensions_come_from_the_environment_and_a_missing_one_names_its_package() -> None:
    assert extension_file("ducklake").name == "ducklake.duckdb_extension"
    with pytest.raises(HeadraceError, match=re.escape("duckdb-extension-no-such==" + duckdb.__version__)):
        extension_file("no_such")


# --- files ----------------------------------------------------------------------------------------------------------


_SPILLING = """
import os, signal, sys
from pathlib import Path
import duckdb
real = duckdb.connect
duckdb.connect = lambda *, config: real(config={**config, "memory_limit": "150MB"})
from assets.home import Home
from assets.settings import Settings
lake = Home(Settings(home=Path(sys.argv[1]))).lake("toy")
with lake.connect() as con:
    con.execute("create temp table given as select range as n, random()::varchar as t from range(4_000_000)")
    con.execute("create temp table sorted as select * from given order by t")
    print(*(path.name for path in lake.staging.glob("spill-*/*")))
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("ends", ["well", "killed"])
def test_what_does_not_fit_in_memory_is_spilled_below_the_lake_and_goes_with_its_process(
    tmp_path: Path, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: DuckDB's default is `.tmp` of the current folder; a killed process left 1.4 GB of it there."""
    home, here = tmp_path / "home", tmp_path / "here"
    here.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, "-c", _SPILLING, str(home), ends],
        cwd=here, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "duckdb_temp" in done.stdout, done.stderr
    assert list(here.iterdir()) == []
    monkeypatch.chdir(here)
    lake = Home(Settings(home=home)).lake("toy")
    with lake.connect() as con:
        con.execute("select 1")
    assert list(lake.staging.glob("spill-*")) == []


@pytest.mark.parametrize("address", ["postgresql://lake:secret@127.0.0.1/lakes", "mysql:password=secret"])
def test_a_catalog_of_another_kind_is_refused_and_not_shown(tmp_path: Path, address: str) -> None:
    """Regression: it was opened as a file, and its password stood in the stack trace."""
    settings = Settings(home=tmp_path / "home", lake_catalog=address)
    with pytest.raises(HeadraceError, match="the address of the lake's catalog") as caught:
        Home(settings).lake("toy")
    assert "secret" not in str(caught.value)
