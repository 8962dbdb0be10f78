"""Rows a second of the point-in-time join on 20 million synthetic rows, beside the bare ASOF joins of two engines.

The platform's side is the SQL of the macro `history` (`dbt_project/macros/point_in_time.sql`), rendered as dbt renders
it and run in DuckDB: what was known of an entity at each moment, as sums over a window. That is two ASOF joins and
running sums. The rivals do one ASOF join and no sums: DuckDB's `asof left join` and Polars' `join_asof`, each the
newest fact of the entity at each moment. Rows are those of the spine and the facts together: both are read once.

Each side is a process of its own with the same tables in memory, in random order; its clock runs from tables to the
joined table in memory, and its peak memory is that of the process. On a machine that others use, too, the wall clock
says little: CPU seconds are given beside it, and the ratios are of them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import duckdb
import jinja2
import numpy as np
import polars as pl

from assets.settings import CHECKOUT

GOAL = 10_000_000
ROWS = 20_000_000
ENTITIES = 10_000
SECONDS = 365 * 24 * 3600
WINDOW = "30 days"
SEED = 20130101


def history_sql() -> str:
    """The macro's CTEs for one entity column, one sum and one window, as dbt would render them."""
    source = (CHECKOUT / "dbt_project" / "macros" / "point_in_time.sql").read_text(encoding="utf-8")
    call = (
        "{{ history('known', 'facts', 'spine', ['place'], ['entity'], 'asked_at', 'known_at', {'late': 'late'}, "
        f"{{'recent': '{WINDOW}'}}) }}}}"
    )
    # SQL, not HTML: nothing is to be escaped
    return jinja2.Environment(autoescape=False).from_string(source + call).render()  # noqa: S701


def synthetic(rows: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A spine of questions (place, entity, asked_at) and facts (entity, known_at, late), each half of the rows."""
    random = np.random.default_rng(SEED)
    size = rows // 2
    start = np.datetime64("2024-01-01", "us")
    columns: dict[str, Any] = {}
    for name in ("asked_at", "known_at"):
        columns[name] = start + random.integers(0, SECONDS, size).astype("timedelta64[s]").astype("timedelta64[us]")
    entities = [random.integers(0, ENTITIES, size, dtype=np.int64) for _ in range(2)]
    late = random.integers(0, 2, size, dtype=np.int64)
    spine = pl.DataFrame({"place": np.arange(size), "entity": entities[0], "asked_at": columns["asked_at"]})
    return spine, pl.DataFrame({"entity": entities[1], "known_at": columns["known_at"], "late": late})


def by_headrace(spine: pl.DataFrame, facts: pl.DataFrame, threads: int) -> Callable[[], int]:
    """The macro's SQL in DuckDB."""
    return _by_duckdb(spine, facts, threads, f"with {history_sql()} select * from known")


def by_duckdb(spine: pl.DataFrame, facts: pl.DataFrame, threads: int) -> Callable[[], int]:
    """One ASOF join in DuckDB."""
    join = "asof left join facts on spine.entity = facts.entity and spine.asked_at >= facts.known_at"
    return _by_duckdb(spine, facts, threads, f"select spine.place, facts.known_at, facts.late from spine {join}")


def by_polars(spine: pl.DataFrame, facts: pl.DataFrame, threads: int) -> Callable[[], int]:
    """One `join_asof` in Polars, with the sorting that it needs (its threads are set by the environment)."""
    del threads

    def run() -> int:
        left, right = spine.sort("asked_at"), facts.sort("known_at")
        return left.join_asof(right, left_on="asked_at", right_on="known_at", by="entity").height

    return run


def _by_duckdb(spine: pl.DataFrame, facts: pl.DataFrame, threads: int, sql: str) -> Callable[[], int]:
    # DuckDB's default would be `.tmp` of the checkout, and stay there when this is interrupted
    spill = f"{tempfile.gettempdir()}/headrace-spill-{os.getpid()}"
    con = duckdb.connect(config={"threads": threads, "temp_directory": spill})
    for name, frame in (("spine", spine), ("facts", facts)):
        con.register("frame", frame.to_arrow())
        con.execute(f"create table {name} as select * from frame")
        con.unregister("frame")

    def run() -> int:
        con.execute(f"create or replace temp table joined as {sql}")
        found = con.execute("select count(*) from joined").fetchone()
        return int(found[0]) if found else 0

    return run


SIDES = {"headrace": by_headrace, "duckdb": by_duckdb, "polars": by_polars}


def measure(side: str, rows: int, threads: int) -> dict[str, float]:
    """Run one side in this process: wall and CPU seconds, rows a second, peak memory in megabytes.

    Raises:
        RuntimeError: the join lost or doubled rows.
    """
    spine, facts = synthetic(rows)
    run = SIDES[side](spine, facts, threads)
    expected = spine.height
    if side != "polars":
        del spine, facts
    started, spent = time.perf_counter(), time.process_time()
    found = run()
    seconds, spent = time.perf_counter() - started, time.process_time() - spent
    if found != expected:
        raise RuntimeError(f"{side}: {found} rows of {expected}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": seconds,
        "cpu_seconds": spent,
        "rows_per_second": rows / seconds,
        # with all threads on cores of their own and busy to the end
        "rows_per_second_at_best": rows / spent * threads,
        "peak_megabytes": peak,
    }


def main() -> int:
    """Measure each side in a process of its own and print the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", choices=SIDES, help="one side only, in this process, as JSON")
    wanted = parser.parse_args()
    if wanted.side:
        print(json.dumps(measure(wanted.side, wanted.rows, wanted.threads)))
        return 0
    found = {side: _in_a_process(side, wanted.rows, wanted.threads) for side in SIDES}
    ours = found["headrace"]["cpu_seconds"]
    ratios = {side: ours / item["cpu_seconds"] for side, item in found.items() if side != "headrace"}
    if wanted.json:
        print(json.dumps({"rows": wanted.rows, "goal": GOAL, "sides": found, "ratios": ratios}, indent=2))
        return 0
    print(f"{wanted.rows:,} synthetic rows, {ENTITIES:,} entities, {wanted.threads} threads")
    for side, item in found.items():
        print(
            f"{side:<9} {item['seconds']:6.2f} s, {item['cpu_seconds']:6.2f} CPU s; "
            f"{item['rows_per_second'] / 1e6:5.2f} million rows/s, at best "
            f"{item['rows_per_second_at_best'] / 1e6:5.2f}; {item['peak_megabytes']:6.0f} MB at most"
        )
    shown = ", ".join(f"{ratio:.2f} times that of {side} alone" for side, ratio in ratios.items())
    print(f"CPU time: {shown}; goal {GOAL / 1e6:.0f} million rows/s")
    return 0


def _in_a_process(side: str, rows: int, threads: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--side", side, "--rows", str(rows), "--threads", str(threads)]
    with tempfile.TemporaryDirectory() as folder:  # what a side spills goes with it
        environment = {
            "POLARS_MAX_THREADS": str(threads),
            "PYTHONPATH": str(CHECKOUT),
            "PATH": "",
            "TMPDIR": folder,
        }
        done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{side} failed:\n{done.stderr[-2000:]}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


if __name__ == "__main__":
    sys.exit(main())
