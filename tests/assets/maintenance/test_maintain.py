"""Maintenance: what is named stays readable to the byte, what nothing names goes, nobody who reads or writes fails."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from assets import ledger
from assets.errors import HeadraceError
from assets.home import Home
from assets.lake import Lake
from assets.maintenance.maintain import maintain
from assets.naming import literal
from assets.object_store import object_store, split_address
from assets.raw.objects import client_of
from assets.records import SplitManifest
from assets.settings import CHECKOUT, Settings
from assets.spec import ProductSpec

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=30)
ROWS = "select * from lake.raw.toy {at} order by batch_id, row_number"


both = pytest.mark.parametrize("home", ["embedded", "shared"], indirect=True)


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose lake is on this machine, or in PostgreSQL and an object store."""
    monkeypatch.setattr("assets.maintenance.maintain._INLINED_ROWS", 1)
    if getattr(request, "param", "embedded") == "shared":
        return Home(request.getfixturevalue("shared_settings_at")(tmp_path / "home"))
    return Home(Settings(home=tmp_path / "home"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with such a lake on this machine, to copy."""
    home = Home(Settings(home=tmp_path_factory.mktemp("filled") / "home"))
    fill(home.lake("toy"))
    return home.settings.home


@pytest.fixture
def lake(home: Home, filled: Path) -> Lake:
    """Six batches: registered as files where that is possible, one partly and one wholly deleted, one inlined."""
    if not Lake("toy", home.settings).is_shared:
        shutil.copytree(filled, home.settings.home)
        return home.lake("toy")
    lake = home.lake("toy")
    fill(lake)
    return lake


def fill(lake: Lake) -> None:
    lake.transact(lambda con: con.execute("create table lake.raw.toy (batch_id varchar, row_number bigint, v double)"))
    for number in range(6):
        lake.transact(lambda con, number=number: load(lake, con, f"b{number}"))
    lake.transact(lambda con: con.execute("delete from lake.raw.toy where batch_id = 'b1' and row_number < 900"))
    lake.transact(lambda con: con.execute("delete from lake.raw.toy where batch_id = 'b2'"))
    lake.transact(lambda con: con.execute("insert into lake.raw.toy values ('b9', 1, 0.5)"))


def load(lake: Lake, con: duckdb.DuckDBPyConnection, batch: str) -> None:
    """As a load does it: the file of rows is moved into the data path and registered there."""
    rows = f"select '{batch}' as batch_id, range as row_number, (range * 1.5)::double as v from range(1000)"
    if not lake.is_local:
        con.execute(f"insert into lake.raw.toy {rows}")
        return
    path = Path(lake.data_path) / "raw" / "toy" / f"{batch}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    con.execute(f"copy ({rows}) to {literal(str(path))}")
    con.execute(f"call ducklake_add_data_files('lake', 'toy', {literal(str(path))}, schema => 'raw')")


def insert(lake: Lake, rows: str) -> None:
    lake.transact(lambda con: con.execute(f"insert into lake.raw.toy {rows}"))


def rows_of(lake: Lake, at: int | None = None) -> bytes:
    """The table's rows as Arrow's bytes, now or as of a snapshot."""
    with lake.connect() as con:
        found = con.execute(ROWS.format(at="" if at is None else f"at (version => {at})")).to_arrow_table()
    return b"".join(batch.serialize().to_pybytes() for batch in found.combine_chunks().to_batches())


def files_of(lake: Lake) -> list[str]:
    with lake.connect() as con:
        return sorted(
            row[0] for row in con.execute(f"from glob({literal(lake.data_path + '**/*.parquet')})").fetchall()
        )


@pytest.fixture
def keep_split(split: SplitManifest) -> Callable[[Lake, int], int]:
    """Write down a split that names a snapshot; returns the snapshot's number."""

    def keep(lake: Lake, snapshot: int) -> int:
        named = split.model_copy(update={"data_snapshot": snapshot, "as_of": str(snapshot)})
        lake.transact(lambda con: ledger.append_once(con, "splits", named.split_id, named.as_of, named))
        return snapshot

    return keep


def put_orphan(lake: Lake, name: str = "raw/toy/orphan.parquet") -> str:
    """A file that was moved into the data path by a load that never committed."""
    address = lake.data_path + name
    if lake.is_local:
        Path(address).parent.mkdir(parents=True, exist_ok=True)
        Path(address).write_bytes(b"PAR1")
    else:
        bucket, key = split_address(address)
        client_of(object_store()).put_object(Bucket=bucket, Key=key, Body=b"PAR1")
    return address


@both
def test_a_kept_split_reads_the_same_bytes_before_and_after(
    home: Home, lake: Lake, toy: ProductSpec, keep_split: Callable[[Lake, int], int]
) -> None:
    named = keep_split(lake, lake.snapshot() - 3)  # before the deletes
    then, now = rows_of(lake, named), rows_of(lake)
    first = maintain(home, toy, now=LATER)
    assert (rows_of(lake, named), rows_of(lake)) == (then, now)
    assert then != now
    assert first.inlined_rows >= 1
    assert first.rewritten_files >= 1
    assert first.merged_files >= 4
    assert first.after.files < first.before.files
    assert len(first.removed_files) == len(set(first.removed_files)) > 0


@both
def test_a_snapshot_that_nothing_names_goes_and_the_newest_stays(
    home: Home, lake: Lake, toy: ProductSpec, keep_split: Callable[[Lake, int], int]
) -> None:
    named, unnamed = keep_split(lake, lake.snapshot() - 3), lake.snapshot() - 2
    done = maintain(home, toy, now=LATER)
    assert unnamed in done.expired_snapshots
    assert named not in done.expired_snapshots
    assert done.kept_snapshots == 2
    rows_of(lake, named)
    with pytest.raises(duckdb.Error, match="No snapshot found"):
        rows_of(lake, unnamed)
    with lake.connect() as con:
        left = [row[0] for row in con.execute("select snapshot_id from ducklake_snapshots('lake')").fetchall()]
    assert left == [named, lake.snapshot()]


def test_what_is_younger_than_the_grace_stays(home: Home, lake: Lake, toy: ProductSpec) -> None:
    """The files that a merge replaced are still there for who began to read before it."""
    before, orphan = files_of(lake), put_orphan(lake)
    done = maintain(home, toy)
    assert done.expired_snapshots == done.removed_files == done.orphans == ()
    assert {*before, orphan} <= set(files_of(lake))


@both
def test_a_file_that_was_never_committed_goes_and_no_other_one(home: Home, lake: Lake, toy: ProductSpec) -> None:
    rows, orphan = rows_of(lake), put_orphan(lake)
    done = maintain(home, toy, now=LATER)
    assert done.orphans == (orphan,)
    assert orphan not in files_of(lake)
    assert rows_of(lake) == rows


@both
def test_a_second_maintenance_finds_nothing_to_do(home: Home, lake: Lake, toy: ProductSpec) -> None:
    put_orphan(lake)
    first = maintain(home, toy, now=LATER)
    snapshot = lake.snapshot()
    again = maintain(home, toy, now=LATER)
    assert lake.snapshot() == snapshot
    assert again.before == again.after == first.after
    assert (again.inlined_rows, again.rewritten_files, again.merged_files) == (0, 0, 0)
    assert again.expired_snapshots == again.removed_files == again.orphans == ()


def test_a_dry_run_tells_and_changes_nothing(home: Home, lake: Lake, toy: ProductSpec) -> None:
    orphan, files, snapshot = put_orphan(lake), files_of(lake), lake.snapshot()
    told = maintain(home, toy, dry_run=True, now=LATER)
    assert (told.orphans, told.before, files_of(lake), lake.snapshot()) == ((orphan,), told.after, [*files], snapshot)
    assert told.merged_files >= 4
    assert maintain(home, toy, now=LATER).expired_snapshots[: len(told.expired_snapshots)] == told.expired_snapshots


@both
def test_columns_that_came_later_and_were_widened_survive_a_merge(home: Home, lake: Lake, toy: ProductSpec) -> None:
    """Regression: a table's older inlined rows were flushed, and who had read it before could not read it again."""
    lake.transact(lambda con: con.execute("alter table lake.raw.toy add column more bigint"))
    for name in ("c1", "c2"):
        insert(lake, f"select '{name}', range, 1, range from range(2000)")
    lake.transact(lambda con: con.execute("alter table lake.raw.toy alter column more set data type double"))
    insert(lake, "select 'c3', range, 1, 0.5 from range(2000)")
    insert(lake, "values ('c4', 1, 1, 0.25)")
    before, then = rows_of(lake), rows_of(lake, lake.snapshot() - 4)
    kept = lake.snapshot() - 4
    maintain(home, toy)
    assert (rows_of(lake), rows_of(lake, kept)) == (before, then)


# --- others at work -------------------------------------------------------------------------------------------------


@both
def test_readers_and_a_writer_never_fail_meanwhile(home: Home, lake: Lake, toy: ProductSpec) -> None:
    """The reader sees whole batches only; the writer's rows are all there at the end."""
    errors: list[BaseException] = []
    stop = threading.Event()
    written = []

    def write() -> None:
        for number in range(12):
            insert(lake, f"select 'w{number}', range, 1 from range(500)")
            written.append(number)

    def read() -> None:
        while not stop.is_set():
            with lake.connect() as con:
                counts = con.execute(
                    "select count(*) from lake.raw.toy where batch_id like 'w%' group by batch_id"
                ).fetchall()
            assert {row[0] for row in counts} <= {500}

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told by the test
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=[work]) for work in (write, read)]
    for thread in threads:
        thread.start()
    while threads[0].is_alive():
        maintain(home, toy)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(written) == 12
    with lake.connect() as con:
        assert con.execute("select count(*) from lake.raw.toy where batch_id like 'w%'").fetchone() == (6000,)


def test_a_reader_that_began_before_reads_to_its_end(home: Home, lake: Lake, toy: ProductSpec) -> None:
    """Its transaction knows the files from before the merge; they stay for the grace."""
    count = "select count(*), sum(v) from lake.raw.toy"
    with lake.connect() as con:
        con.execute("begin")
        before = con.execute(count).fetchone()
        maintain(home, toy)
        assert con.execute(count).fetchone() == before


KILLED = """
import sys
from datetime import datetime
from assets.home import Home
from assets.maintenance.maintain import maintain
from assets.settings import Settings
from assets.spec import ProductSpec
spec = ProductSpec.model_validate_json(sys.stdin.read())
maintain(Home(Settings(home=sys.argv[1])), spec, now=datetime.fromisoformat(sys.argv[2]))
"""
# the fault harness has all points; these are where files and catalog differ
POINTS = [f"maintenance.{step}.commit.before" for step in ("flush", "rewrite", "merge", "expire", "cleanup", "orphans")]


def test_killed_anywhere_the_next_run_ends_as_an_undisturbed_one(
    home: Home, lake: Lake, toy: ProductSpec, keep_split: Callable[[Lake, int], int]
) -> None:
    named = keep_split(lake, lake.snapshot() - 3)
    then, now = rows_of(lake, named), rows_of(lake)
    put_orphan(lake)
    for point in [*POINTS, "maintenance.leftover.after"]:
        (lake.staging / "copy").touch()
        os.utime(lake.staging / "copy", (0, 0))
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(home.settings.home), LATER.isoformat()],
            input=toy.model_dump_json(), text=True, capture_output=True, cwd=CHECKOUT, check=False,
            env={**os.environ, "HEADRACE_KILL_POINT": point},
        )  # fmt: skip
        assert done.returncode in (-9, 0), (point, done.stderr)
        assert (rows_of(lake, named), rows_of(lake)) == (then, now), point
    maintain(home, toy, now=LATER)
    assert (rows_of(lake, named), rows_of(lake)) == (then, now)
    again = maintain(home, toy, now=LATER)
    assert again.before == again.after
    with lake.connect() as con:
        listed = con.execute("select data_file from ducklake_list_files('lake', 'toy', schema => 'raw')").fetchall()
    assert {row[0] for row in listed} <= set(files_of(lake))


# --- beside the lake ------------------------------------------------------------------------------------------------


def test_what_a_killed_load_left_beside_the_lake_goes(home: Home, lake: Lake, toy: ProductSpec) -> None:
    kept = home.settings.quarantine / "toy"
    kept.mkdir(parents=True)
    for path in (lake.staging / "copy", lake.staging / "read" / "rows.parquet", kept / ("a" * 64), kept / ".b.part"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("left")
        os.utime(path, (0, 0))
    os.utime(lake.staging / "read", (0, 0))
    (lake.staging / "now").write_text("being read")
    done = maintain(home, toy)
    assert {Path(path).name for path in done.stale_copies} == {"copy", "read"}
    assert {Path(path).name for path in done.stale_quarantine} == {"a" * 64, ".b.part"}
    assert not any(Path(path).exists() for path in (*done.stale_copies, *done.stale_quarantine))
    assert (lake.staging / "now").exists()


def test_files_that_land_in_the_data_path_are_no_orphans(home: Home, spec_of: Callable[..., ProductSpec]) -> None:
    lake = home.lake("toy")
    inside = "s3://bucket/toy/landing"
    moved = Home(home.settings.model_copy(update={"lake_data": "s3://bucket/{product}/"}))
    assert lake.exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lake, "ensure", lambda _: None)
        with pytest.raises(HeadraceError, match="files land among the lake's own"):
            maintain(moved, spec_of({"source.location": inside}))
