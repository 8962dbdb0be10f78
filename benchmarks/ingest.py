"""Rows a second of ingest beside DuckDB's own `COPY (FROM read_csv) TO parquet`, on the same synthetic CSV file.

The platform's side is what happens to a landed file: copied and hashed, its ledger asked, read by the reading process
with contract, row numbers, accounting and quarantine on, and committed to a local lake. The rival sniffs the file and
writes it as Parquet, and nothing else. Each side is a process of its own, with the same number of threads; reading
process and lake are there before the clock starts.

On a machine that others use, too, the wall clock says little: CPU seconds are given beside it. Peak memory is what a
side and the processes that it started have resident together, looked at twenty times a second. With `--memory` a file
of so many gigabytes is written, ingested for that figure, and removed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import psutil

from assets.home import Home
from assets.raw.ingest import load_staged
from assets.raw.places import LandedFile, stage
from assets.settings import CHECKOUT, Settings
from assets.spec import SourceSpec

GOAL = 0.8
GOAL_MEGABYTES = 2048
ROWS = 5_000_000
BYTES_PER_ROW = 103
COLUMNS = {
    "id": "BIGINT", "at": "TIMESTAMP", "day": "DATE", "amount_cents": "BIGINT", "price": "DOUBLE",
    "longitude": "DOUBLE", "score": "DOUBLE", "customer": "VARCHAR", "colour": "VARCHAR", "is_open": "BOOLEAN",
    "store": "BIGINT", "note": "VARCHAR",
}  # fmt: skip
_SYNTHETIC = """select i as id, timestamp '2020-01-01' + interval (i * 7) second as "at",
    date '2013-01-01' + (i % 4000)::int as day, (i * 7919) % 100000 as amount_cents,
    round(((i * 31337) % 1000003) / 997.0, 4) as price, round((i * 7) % 360 - 180.0 + i % 97 / 100.0, 3) as longitude,
    ((i * 13) % 1000) / 10.0 as score, 'customer ' || (i % 50000) as customer,
    ['red', 'green', 'blue', 'grey'][1 + i % 4] as colour, i % 3 = 0 as is_open, (i * 17) % 5000 as store,
    case when i % 11 > 0 then 'note ' || (i % 777) end as note"""


def write_csv(path: Path, rows: int, threads: int) -> None:
    """Write the synthetic file."""
    with duckdb.connect(config={"threads": threads}) as con:
        con.execute(f"copy ({_SYNTHETIC} from range({rows}) as numbers(i)) to '{path}' (header)")


def by_headrace(path: Path, folder: Path, threads: int) -> Callable[[], int]:
    """Stage, read in the reading process, commit; returns the rows loaded."""
    home = Home(Settings(home=folder / "home", threads=threads))
    lake = home.lake("bench")
    source = SourceSpec.model_validate({"files": r"(?P<batch>\w+)\.csv", "columns": COLUMNS})

    def load(file: Path) -> int:
        status = file.stat()
        landed = LandedFile(file.name, "rows", file.stem, "", status.st_size, status.st_mtime_ns, "", str(file.parent))
        staged = stage(landed, lake.staging)
        return load_staged(lake, "rows", source, staged, file_name=file.name, batch_id=file.stem).rows_loaded

    first = folder / "first.csv"
    write_csv(first, 10, threads)
    load(first)
    return lambda: load(path)


def by_duckdb(path: Path, folder: Path, threads: int) -> Callable[[], int]:
    """One COPY; returns the rows written."""
    con = duckdb.connect(config={"threads": threads, "temp_directory": str(folder / "spill")})

    def run() -> int:
        row = con.execute(f"copy (from read_csv('{path}')) to '{folder / 'rows.parquet'}' (format parquet)").fetchone()
        return int(row[0]) if row else 0

    return run


SIDES = {"headrace": by_headrace, "duckdb": by_duckdb}


class _Watch:
    """What this process and those that it started hold and spend."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    @staticmethod
    def family() -> list[psutil.Process]:
        this = psutil.Process()
        return [this, *this.children(recursive=True)]

    def cpu_seconds(self) -> float:
        return sum(sum(item.cpu_times()[:2]) for item in self.family())

    def _look(self) -> None:
        while not self._done.wait(0.05):
            self.peak_bytes = max(self.peak_bytes, sum(item.memory_info().rss for item in self.family()))

    def end(self) -> None:
        self._done.set()
        self._thread.join()


def measure(side: str, path: Path, rows: int, threads: int) -> dict[str, float]:
    """Run one side in this process: wall and CPU seconds, rows a second, peak memory in megabytes.

    Raises:
        RuntimeError: rows were lost or doubled.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        run = SIDES[side](path, Path(folder), threads)
        watch = _Watch()
        started, spent = time.perf_counter(), watch.cpu_seconds()
        found = run()
        seconds, spent = time.perf_counter() - started, watch.cpu_seconds() - spent
        watch.end()
    if found != rows:
        raise RuntimeError(f"{side}: {found} rows of {rows}")
    return {
        "seconds": seconds,
        "cpu_seconds": spent,
        "rows_per_second": rows / seconds,
        "peak_megabytes": watch.peak_bytes / (1 << 20),
    }


def main() -> int:
    """Write the file, measure each side in a process of its own and print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=float, default=0.0, metavar="GB", help="also ingest a file of this size")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="with space for three files")
    parser.add_argument("--side", choices=SIDES, help="one side only, in this process, of --file, as JSON")
    parser.add_argument("--file", type=Path)
    wanted = parser.parse_args()
    if wanted.side:
        print(json.dumps(measure(wanted.side, wanted.file, wanted.rows, wanted.threads)))
        return 0
    with tempfile.TemporaryDirectory(dir=wanted.folder, prefix="headrace-ingest-") as folder:
        path = Path(folder) / "landed.csv"
        write_csv(path, wanted.rows, wanted.threads)
        megabytes = path.stat().st_size / 1e6
        found = {side: _in_a_process(side, path, wanted.rows, wanted.threads) for side in SIDES}
        large = _large(path, wanted.memory, wanted.threads) if wanted.memory else None
    ours, theirs = found["headrace"], found["duckdb"]
    ratios = {
        "rows_per_second": ours["rows_per_second"] / theirs["rows_per_second"],
        "rows_per_cpu_second": theirs["cpu_seconds"] / ours["cpu_seconds"],
    }
    if wanted.json:
        print(
            json.dumps({"rows": wanted.rows, "goal": GOAL, "sides": found, "ratios": ratios, "large": large}, indent=2)
        )
        return 0
    print(f"{wanted.rows:,} synthetic rows of {len(COLUMNS)} columns, {megabytes:,.0f} MB, {wanted.threads} threads")
    for side, item in found.items():
        print(
            f"{side:<9} {item['seconds']:6.2f} s, {item['cpu_seconds']:6.2f} CPU s; "
            f"{item['rows_per_second'] / 1e6:5.2f} million rows/s; {item['peak_megabytes']:6.0f} MB at most"
        )
    print(
        f"ratio {ratios['rows_per_second']:.2f} by the clock, {ratios['rows_per_cpu_second']:.2f} by CPU time; "
        f"goal {GOAL}"
    )
    if large:
        print(
            f"{wanted.memory:g} GB: {large['seconds']:.0f} s, {large['peak_megabytes']:,.0f} MB at most in all "
            f"processes; goal {GOAL_MEGABYTES:,} MB"
        )
    return 0


def _large(path: Path, gigabytes: float, threads: int) -> dict[str, float]:
    """Ingest a file of about this size."""
    rows = int(gigabytes * 1e9 / BYTES_PER_ROW)
    path.unlink()
    write_csv(path, rows, threads)
    return _in_a_process("headrace", path, rows, threads)


def _in_a_process(side: str, path: Path, rows: int, threads: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--side", side, "--file", str(path)]
    command += ["--rows", str(rows), "--threads", str(threads)]
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{side} failed:\n{done.stderr[-2000:]}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


if __name__ == "__main__":
    sys.exit(main())
