"""A loader that is killed at any moment leaves whole batches only, and a rerun finishes the rest."""

import random
import signal
import subprocess
import sys
from pathlib import Path

from assets import ledger
from assets.home import Home
from assets.lake import Lake, has_table
from assets.settings import CHECKOUT, Settings
from assets.spec import SourceSpec
from tests.loading import load_file

BATCHES, ROWS, BAD = 20, 200, 3
SOURCE = SourceSpec(files="(?P<batch>.*)", columns={"id": "BIGINT", "text": "VARCHAR"}, required=("id",))

LOADER = """
import sys
from pathlib import Path
from assets.home import Home
from assets.settings import Settings
from assets.spec import SourceSpec
from tests.loading import load_file

home, folder, source, first = sys.argv[1:]
source = SourceSpec.model_validate_json(source)
lake = Home(Settings(home=home)).lake("toy")
lake.transact(lambda con: con.execute("select 1"))
for path in sorted(Path(folder).glob("*.csv"))[int(first):]:
    print(path.stem, flush=True)
    load_file(lake, "orders", source, path, path.stem)
"""


def test_a_loader_killed_at_random_moments_is_finished_by_one_rerun(tmp_path: Path) -> None:
    folder = tmp_path / "landing"
    folder.mkdir()
    for batch in range(BATCHES):
        rows = [f"{batch * ROWS + row},text {row}" for row in range(ROWS)] + [f"bad,{batch}"] * BAD
        (folder / f"b{batch:02}.csv").write_text("\n".join(["id,text", *rows]))
    lake = Home(Settings(home=tmp_path / "home")).lake("toy")
    moments = random.Random(20130101)  # noqa: S311 - moments, no secrets
    done = [0]
    for _ in range(4):
        amid = done[-1] + moments.randrange(1, 3)
        first = max(done[-1] - 1, 0)  # one that is there already, then those that are not
        code = kill_loader(lake, folder, first, f"b{amid:02}", seconds_later=moments.uniform(0, 0.1))
        assert code == -signal.SIGKILL
        done.append(check_whole_batches(lake))
        assert done[-2] < amid <= done[-1] + 1
    assert done[-1] < BATCHES
    for path in sorted(folder.glob("*.csv")):
        load_file(lake, "orders", SOURCE, path, path.stem)
    assert check_whole_batches(lake) == BATCHES


def kill_loader(lake: Lake, folder: Path, first: int, batch: str, *, seconds_later: float) -> int:
    """Load from the first file on in another process, which is killed so long after it began with a batch."""
    arguments = [str(lake.settings.home), str(folder), SOURCE.model_dump_json(), str(first)]
    command = [sys.executable, "-c", LOADER, *arguments]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        while process.stdout.readline() != f"{batch}\n":
            assert process.poll() is None, "the loader ended by itself"
        try:
            return process.wait(timeout=seconds_later)
        except subprocess.TimeoutExpired:
            process.kill()
        return process.wait()


def check_whole_batches(lake: Lake) -> int:
    """Every batch that is there at all is whole, once, and as the ledger says; gives their number."""
    with lake.connect() as con:
        entries = ledger.batches(con, "orders")
        if not has_table(con, "raw", "orders"):
            assert entries == []
            return 0
        rows = con.execute(
            "select batch_id, count(*), count(distinct id), min(id), max(row_number) from lake.raw.orders group by all"
        ).fetchall()
        bad = con.execute("select batch_id, count(*) from lake.raw.quarantine group by all").fetchall()
    assert {batch: found for batch, *found in rows} == {
        f"b{number:02}": [ROWS, ROWS, number * ROWS, ROWS] for number in range(len(rows))
    }
    assert dict(bad) == dict.fromkeys((batch for batch, *_ in rows), BAD)
    assert [(entry.status, entry.rows_loaded, entry.rows_quarantined) for entry in entries] == [
        ("LOADED", ROWS, BAD)
    ] * len(rows)
    assert [entry.batch_id for entry in entries] == sorted(batch for batch, *_ in rows)
    return len(rows)
