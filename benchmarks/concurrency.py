"""Many writers on one lake: eight processes commit 3,500 partitions, while one reader asks all the time.

Each partition is a transaction over two tables: 100 rows, and a row that says so, unless it is there already (as every
stage decides). The reader counts both tables in one transaction and compares them: a difference is a torn read. The
limit is one process alone, which never waits for a turn: eight that wait well reach its rate of commits. Both catalogs
are measured, SQLite, and PostgreSQL where its programs are on this machine (its commits wait for the disk, as SQLite's
do); the data files are on this machine's disk each time.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import duckdb
import numpy as np

from assets.home import Home
from assets.lake import Lake
from assets.settings import Settings
from tests import servers

GOAL = 0.8
PROCESSES, PARTITIONS, ALONE = 8, 3_500, 250
_ROWS = 100
_TABLES = (
    "create table lake.raw.events (partition varchar, row_number bigint, value double)",
    "create table lake.ledger.loads (partition varchar, rows bigint)",
)


@dataclass(frozen=True)
class Load:
    """What writers and a reader met on one lake."""

    catalog: str
    processes: int
    commits: int
    commits_per_second: float
    errors: list[str]
    lost: int
    doubled: int
    reads: int
    torn_reads: int
    reader_p50_ms: float
    reader_p99_ms: float


def write(settings: Settings, partitions: list[str], start: Barrier, errors: "Queue[list[str]]") -> None:
    """Commit some partitions, one transaction each; an error is kept and the next one tried."""
    lake = _lake(settings)
    lake.snapshot()
    start.wait()
    found = []
    for partition in partitions:

        def work(con: duckdb.DuckDBPyConnection, partition: str = partition) -> None:
            if con.execute("select 1 from lake.ledger.loads where partition = ?", [partition]).fetchone():
                return
            con.execute(f"insert into lake.raw.events select ?, range, random() from range({_ROWS})", [partition])
            con.execute("insert into lake.ledger.loads values (?, ?)", [partition, _ROWS])

        try:
            lake.transact(work)
        except Exception as error:  # noqa: BLE001 - counted: the benchmark is about there being none
            found.append(f"{type(error).__name__}: {error}")
    errors.put(found)


def read(settings: Settings, start: Barrier, stop: Event, times: "Queue[tuple[list[float], int, list[str]]]") -> None:
    """Count both tables in one transaction until told to stop: milliseconds of each, and how often they differed."""
    lake = _lake(settings)
    lake.snapshot()
    start.wait()
    milliseconds, torn, errors = [], 0, []
    while not stop.is_set():
        began = time.perf_counter()
        try:
            with lake.connect() as con:
                con.execute("begin")
                rows = con.execute("select count(*) from lake.raw.events").fetchall()[0][0]
                told = con.execute("select coalesce(sum(rows), 0) from lake.ledger.loads").fetchall()[0][0]
        except Exception as error:  # noqa: BLE001 - counted
            errors.append(f"{type(error).__name__}: {error}")
            continue
        milliseconds.append((time.perf_counter() - began) * 1000)
        torn += rows != told
    times.put((milliseconds, torn, errors))


def measure(settings: Settings, processes: int, partitions: int) -> Load:
    """Let some processes write to a new lake, with one reader beside them."""
    lake = _lake(settings)
    for statement in _TABLES:
        lake.transact(lambda con, statement=statement: con.execute(statement))  # type: ignore[misc]
    context = multiprocessing.get_context("spawn")
    start, stop = context.Barrier(processes + 2), context.Event()
    errors: Queue[list[str]] = context.Queue()
    times: Queue[tuple[list[float], int, list[str]]] = context.Queue()
    shares = [[f"p{number:05}" for number in range(place, partitions, processes)] for place in range(processes)]
    writers = [context.Process(target=write, args=(settings, share, start, errors)) for share in shares]
    reader = context.Process(target=read, args=(settings, start, stop, times))
    for process in (*writers, reader):
        process.start()
    start.wait()
    began = time.perf_counter()
    met = [error for _ in writers for error in errors.get()]
    seconds = time.perf_counter() - began
    stop.set()
    milliseconds, torn, failed = times.get()
    for process in (*writers, reader):
        process.join()
    with lake.connect() as con:
        loads, distinct = con.execute("select count(*), count(distinct partition) from lake.ledger.loads").fetchall()[0]
        rows = con.execute("select count(*) from lake.raw.events").fetchall()[0][0]
    return Load(
        catalog=lake.catalog.partition(":")[0],
        processes=processes,
        commits=loads,
        commits_per_second=partitions / seconds,
        errors=[*met, *failed],
        lost=partitions - distinct,
        doubled=loads - distinct + rows - loads * _ROWS,
        reads=len(milliseconds),
        torn_reads=torn,
        reader_p50_ms=float(np.percentile(milliseconds, 50)),
        reader_p99_ms=float(np.percentile(milliseconds, 99)),
    )


def _lake(settings: Settings) -> Lake:
    return Home(settings).lake("bench")


def _catalogs(stack: ExitStack) -> Iterator[Callable[[], str]]:
    """For each catalog that can be measured here, what gives the setting of one that nobody has used."""
    yield lambda: str(Settings.model_fields["lake_catalog"].default)
    if servers.postgres_programs() is None:
        print("PostgreSQL's programs (initdb, pg_ctl) are not on this machine: not measured", file=sys.stderr)
        return
    server = stack.enter_context(servers.postgres_server(durable=True))
    yield lambda: f"postgres:{server.new_database()}"


def main() -> int:
    """Measure both catalogs and print the rates; fails when an error, a lost or a doubled row was met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
    parser.add_argument("--alone", type=int, default=ALONE, help="partitions that one process commits for the limit")
    wanted = parser.parse_args()
    pairs = []
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, ExitStack() as stack:
        for number, catalog in enumerate(_catalogs(stack)):
            alone, many = (
                Settings(home=Path(folder) / f"{number}-{side}", lake_catalog=catalog()) for side in ("alone", "many")
            )
            pairs.append((measure(alone, 1, wanted.alone), measure(many, wanted.processes, wanted.partitions)))
    if wanted.json:
        print(json.dumps([{"alone": asdict(alone), "many": asdict(many)} for alone, many in pairs], indent=2))
    for pair in [] if wanted.json else pairs:
        _show(*pair)
    return int(any(load.errors or load.lost or load.doubled or load.torn_reads for pair in pairs for load in pair))


def _show(alone: Load, many: Load) -> None:
    for load in (alone, many):
        print(
            f"{load.catalog:<8}  {load.processes} processes  {load.commits:>5,} commits  "
            f"{load.commits_per_second:6.1f} commits/s  errors {len(load.errors)}  lost {load.lost}  "
            f"doubled {load.doubled}  reader p50 {load.reader_p50_ms:5.1f} ms, p99 {load.reader_p99_ms:6.1f} ms of "
            f"{load.reads:,} reads, torn {load.torn_reads}"
        )
        for error in dict.fromkeys(load.errors):
            print(f"    {error}")
    ratio = many.commits_per_second / alone.commits_per_second
    print(f"{many.catalog}: {many.processes} processes / one alone: {ratio:.2f}; goal {GOAL:.2f}")


if __name__ == "__main__":
    sys.exit(main())
