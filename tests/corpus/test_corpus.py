"""Every file of the corpus is loaded or quarantined, with reason and place, and the platform loads the next one."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assets import ledger
from assets.home import Home
from assets.lake import Lake, has_table
from assets.naming import quoted, table
from assets.raw.ingest import load_staged
from assets.raw.kept import kept
from assets.raw.places import LandedFile, stage
from assets.raw.reader.protocol import RefusedFileError
from assets.records import Batch
from assets.settings import Settings
from assets.spec import SourceSpec
from tests.corpus.cases import COLUMNS, GOOD, UNPACKED_GIGABYTES, Case, Outcome, all_cases

NUMBERS = itertools.count()
CASES = [(case, mode) for case in all_cases() for mode in case.outcomes]


class Platform:
    """A lake, a landing folder, and sources in it."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(
            home=folder / "home",
            read_memory_megabytes=1024,
            read_timeout_seconds=120,
            read_unpacked_gigabytes=UNPACKED_GIGABYTES,
        )
        self.lake: Lake = Home(settings).lake("corpus")
        self.landing = folder / "landing"
        self.landing.mkdir()

    def land(self, source: str, batch_id: str, file_name: str, content: Iterator[bytes]) -> LandedFile:
        """Write a file where files land."""
        path = self.landing / file_name
        with path.open("wb") as file:
            for piece in content:
                file.write(piece)
        facts = path.stat()
        return LandedFile(
            file_name, source, batch_id, "", facts.st_size, facts.st_mtime_ns, "", str(self.landing), facts.st_ctime_ns
        )

    def load(self, landed: LandedFile, contract: dict[str, Any]) -> Batch:
        """Load a landed file through the seam that every file takes."""
        source = SourceSpec.model_validate({"files": "(?P<batch>.*)", **contract})
        staged = stage(landed, self.lake.staging)
        return load_staged(self.lake, landed.source, source, staged, file_name=landed.name, batch_id=landed.batch_id)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask the lake."""
        with self.lake.connect() as con:
            return con.execute(query, list(parameters)).fetchall()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """One platform for all files: what one of them does to it, the next ones meet."""
    return Platform(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize(("case", "mode"), CASES, ids=[f"{case.title} ({mode})" for case, mode in CASES])
def test_a_file_is_loaded_or_quarantined_with_reason_and_place(
    platform: Platform, record_property: Callable[[str, object], None], case: Case, mode: str
) -> None:
    record_property("corpus_file", case.title)
    number = next(NUMBERS)
    contract = {"columns": COLUMNS, **case.contract, "contract": mode}
    # files of one contract share a source, but for those that may change its columns
    columns = "_".join(contract["columns"])
    source = f"{mode}_{number if mode == 'evolve' else columns}"
    landed = platform.land(source, f"b{number}", case.file_name, iter([case.content()]))
    outcome = case.outcomes[mode]
    try:
        batch = platform.load(landed, contract)
    except RefusedFileError as refusal:
        record_property("corpus_outcome", "refused")
        check_refusal(platform, landed, refusal, outcome)
        # a load costs 0.2 s: a good file follows where the reading process ended, and any eighth time
        if "process" in refusal.what or "takes" in refusal.what or number % 8 == 0:
            check_alive(platform, number)
        return
    finally:
        (platform.landing / case.file_name).unlink()
    record_property("corpus_outcome", "quarantined" if batch.rows_quarantined else "loaded")
    record_property("corpus_rows", batch.rows_in)
    record_property("corpus_loaded", batch.rows_loaded)
    record_property("corpus_quarantined", batch.rows_quarantined)
    check_rows(platform, batch, outcome)


def check_refusal(platform: Platform, landed: LandedFile, refusal: RefusedFileError, outcome: Outcome) -> None:
    """The refusal says what was expected of it, is in the ledger with the bytes, and left no row."""
    assert outcome.refused or outcome.either or outcome == Outcome(refused=""), refusal
    assert outcome.refused in str(refusal), refusal
    assert refusal.fix, refusal
    with platform.lake.connect() as con:
        written = [item for item in ledger.deliveries(con, landed.source) if item.batch_id == landed.batch_id]
        there = has_table(con, "raw", landed.source)
    assert [item.status for item in written] == ["REFUSED"]
    assert written[0].reason == refusal.one_line
    assert kept(platform.lake.settings, "corpus", written[0].sha256) is not None
    if there:
        query = f"select count(*) from {table('raw', landed.source)} where batch_id = ?"
        assert platform.rows(query, landed.batch_id) == [(0,)]


def check_rows(platform: Platform, batch: Batch, outcome: Outcome) -> None:
    """Every row of the file is in one of the two tables, once, with its number; the values are the expected ones."""
    rows = platform.rows(
        f"select * from {table('raw', batch.source)} where batch_id = ? order by row_number", batch.batch_id
    )
    bad = (
        platform.rows(
            f"""select row_number, column_name, expected, found, raw_text from {table("raw", "quarantine")}
        where source = ? and batch_id = ? order by row_number""",
            batch.source,
            batch.batch_id,
        )
        if batch.rows_quarantined
        else []
    )
    assert batch.status == "LOADED", batch.reason
    assert not outcome.refused, f"{len(rows)} loaded, quarantined: {bad[:3]}"
    assert batch.rows_in == len(rows) + len(bad) == batch.rows_loaded + batch.rows_quarantined
    numbers = [row[1] for row in rows] + [row[0] for row in bad]
    assert sorted(numbers) == list(range(1, batch.rows_in + 1))
    assert all(expected and raw is not None for _, _, expected, _, raw in bad)
    if outcome.either:
        assert len(numbers) == outcome.loaded
        return
    assert [(row[0], row[1]) for row in bad] == list(outcome.bad)
    assert len(rows) == outcome.loaded
    for name, values in outcome.values.items():
        found = platform.rows(
            f"select {quoted(name)} from {table('raw', batch.source)} where batch_id = ? order by row_number",
            batch.batch_id,
        )
        assert [value for (value,) in found] == list(values)


def check_alive(platform: Platform, number: int) -> None:
    """The next file loads."""
    landed = platform.land("next", f"b{number}", "next.csv", iter([GOOD + b"%d,0,next\n" % number]))
    batch = platform.load(landed, {"columns": COLUMNS})
    assert (batch.status, batch.rows_loaded) == ("LOADED", 2)


def gigabytes(share: float) -> Iterator[bytes]:
    """A CSV file of this size, some megabytes at a time; one row in 100,000 is bad."""
    yield b"id,size,name\n"
    rows = b"".join(b"%d,%d.25,name %d of many in this file\n" % (n, n % 977, n % 10_007) for n in range(99_999))
    block = rows + b"none,1,bad\n"
    for _ in range(int(share * 1e9 / len(block))):
        yield block


@pytest.mark.parametrize("size", [0.2, pytest.param(2.0, marks=pytest.mark.huge)])
def test_a_file_larger_than_memory_is_loaded_as_it_streams(
    platform: Platform, record_property: Callable[[str, object], None], size: float
) -> None:
    record_property("corpus_file", f"CSV of {size} GB")
    landed = platform.land(f"large_{int(size * 10)}", "large", "large.csv", gigabytes(size))
    try:
        batch = platform.load(landed, {"columns": COLUMNS})
    finally:
        (platform.landing / "large.csv").unlink()
    record_property("corpus_outcome", "quarantined")
    for name, count in (
        ("rows", batch.rows_in),
        ("loaded", batch.rows_loaded),
        ("quarantined", batch.rows_quarantined),
    ):
        record_property(f"corpus_{name}", count)
    blocks = batch.rows_in // 100_000
    assert (batch.rows_loaded, batch.rows_quarantined) == (blocks * 99_999, blocks)
    bad = platform.rows(
        f"select row_number from {table('raw', 'quarantine')} where source = ? order by row_number", batch.source
    )
    assert [number for (number,) in bad] == [100_000 * block for block in range(1, blocks + 1)]


def test_the_platform_loads_good_files_after_all_of_them(platform: Platform) -> None:
    check_alive(platform, next(NUMBERS))


def test_the_corpus_has_at_least_120_files_each_with_a_title_of_its_own() -> None:
    cases = all_cases()
    assert len({case.title for case in cases}) == len(cases) >= 120
