"""Which landed files are whole and new, and the runs they ask for: no clock, no folder, no Dagster."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.raw.landing import LandedFile
from sensors.inbox import Cursor, Request, Seen, look, requests_for

SECOND = 1_000_000_000
SETTLE_SECONDS = 4.0


class Folder:
    """A landing folder that is looked at every ten seconds."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, int]] = {}
        self.now = 1_000 * SECOND
        self.cursor = Cursor()
        self.known: set[str] = set()
        self.hashed: list[str] = []

    def write(self, name: str, content: str) -> None:
        """Write a file now."""
        self.files[name] = (content, self.now)

    def look(self) -> tuple[list[str], list[str]]:
        """Look ten seconds later; gives names of arrivals and of files that wait."""
        self.now += 10 * SECOND
        landed = [
            LandedFile(Path(name), "toy", name.removesuffix(".csv"), len(content), modified)
            for name, (content, modified) in sorted(self.files.items())
        ]
        arrivals, waiting, self.cursor = look(
            landed,
            Cursor.parse(self.cursor.model_dump_json()),
            now_ns=self.now,
            settle_seconds=SETTLE_SECONDS,
            known_hashes=self.known,
            hash_file=self._hash,
        )
        return [item.file.path.name for item in arrivals], [file.path.name for file in waiting]

    def _hash(self, path: Path) -> str:
        self.hashed.append(path.name)
        return f"hash of {self.files[path.name][0]}"


@pytest.fixture
def folder() -> Folder:
    return Folder()


def test_a_file_arrives_at_the_second_look_that_finds_it_unchanged(folder: Folder) -> None:
    folder.write("a.csv", "rows")
    assert folder.look() == ([], ["a.csv"])
    assert folder.look() == (["a.csv"], [])


def test_a_half_written_file_waits_until_it_grows_no_more(folder: Folder) -> None:
    for content in ("r", "rows", "rows and more"):
        folder.write("a.csv", content)
        assert folder.look() == ([], ["a.csv"])
    assert folder.look() == (["a.csv"], [])
    assert folder.hashed == ["a.csv"]


def test_a_file_that_was_touched_a_moment_ago_waits_even_with_the_same_size(folder: Folder) -> None:
    """A writer may have set the file's length before its content, and the look may fall between two writes."""
    folder.write("a.csv", "rows")
    folder.look()
    folder.now += 8 * SECOND
    folder.write("a.csv", "sowr")
    folder.now -= 8 * SECOND
    assert folder.look() == ([], ["a.csv"])


def test_a_file_is_quiet_only_after_the_settling_time(folder: Folder) -> None:
    folder.files["a.csv"] = ("rows", folder.now + 18 * SECOND)
    folder.look()
    assert folder.look() == ([], ["a.csv"])
    assert folder.look() == (["a.csv"], [])


def test_known_content_is_no_arrival_whatever_its_name(folder: Folder) -> None:
    folder.known = {"hash of rows"}
    folder.write("a.csv", "rows")
    folder.write("b.csv", "rows")
    folder.look()
    assert folder.look() == ([], [])


def test_the_same_content_twice_is_one_arrival(folder: Folder) -> None:
    folder.write("a.csv", "rows")
    folder.write("b.csv", "rows")
    folder.look()
    assert folder.look() == (["a.csv"], [])


def test_an_arrival_is_said_until_the_ledger_knows_it(folder: Folder) -> None:
    """A request may be lost; the run key keeps a repeated one from being a second run."""
    folder.write("a.csv", "rows")
    folder.look()
    assert folder.look() == folder.look() == (["a.csv"], [])
    folder.known = {"hash of rows"}
    assert folder.look() == ([], [])


def test_a_whole_file_is_hashed_once(folder: Folder) -> None:
    folder.write("a.csv", "rows")
    for _ in range(5):
        folder.look()
    assert folder.hashed == ["a.csv"]
    folder.write("a.csv", "corrected rows")
    folder.look()
    assert folder.look() == (["a.csv"], [])
    assert folder.hashed == ["a.csv", "a.csv"]


def test_a_file_that_goes_away_while_it_is_hashed_is_passed_over(folder: Folder) -> None:
    folder.write("a.csv", "rows")
    folder.write("b.csv", "others")
    folder.look()

    def hash_file(path: Path) -> str:
        if path.name == "a.csv":
            raise FileNotFoundError(path)
        return path.name

    landed = [LandedFile(Path(name), "toy", name, len(text), at) for name, (text, at) in folder.files.items()]
    arrivals, waiting, cursor = look(
        landed, folder.cursor, now_ns=folder.now, settle_seconds=SETTLE_SECONDS, known_hashes=(), hash_file=hash_file
    )
    assert [item.file.path.name for item in arrivals] == ["b.csv"]
    assert waiting == []
    assert set(cursor.files) == {"b.csv"}


def test_a_file_that_is_gone_is_forgotten(folder: Folder) -> None:
    folder.write("a.csv", "rows")
    folder.look()
    del folder.files["a.csv"]
    folder.look()
    assert folder.cursor == Cursor()


@pytest.mark.parametrize("text", [None, "", "not json", "[]", '{"files": 1}', '{"files": {"a": {"size_bytes": "x"}}}'])
def test_a_cursor_that_cannot_be_read_is_an_empty_one(text: str | None) -> None:
    assert Cursor.parse(text) == Cursor()


@given(st.dictionaries(st.text(max_size=20), st.builds(Seen, size_bytes=st.integers(0), modified_ns=st.integers())))
def test_a_cursor_is_read_as_it_was_written(files: dict[str, Seen]) -> None:
    cursor = Cursor(files=files)
    assert Cursor.parse(cursor.model_dump_json()) == cursor


# --- requests -------------------------------------------------------------------------------------------------------


def test_one_new_batch_goes_all_the_way() -> None:
    assert requests_for({"2024-01": "a" * 64}, product="toy") == [
        Request(("2024-01",), with_models=True, run_key="toy-journey-" + "a" * 24)
    ]


def test_of_several_new_batches_the_newest_goes_all_the_way_and_the_others_are_loaded_first() -> None:
    load, journey = requests_for({"2024-03": "c" * 64, "2024-01": "a" * 64, "2024-02": "b" * 64}, product="toy")
    assert (load.batches, load.with_models) == (("2024-01", "2024-02"), False)
    assert (journey.batches, journey.with_models) == (("2024-03",), True)


def test_nothing_new_asks_for_nothing() -> None:
    assert requests_for({}, product="toy") == []


def test_a_lost_cursor_asks_for_the_same_run_keys(folder: Folder) -> None:
    """Run keys are made of content, so Dagster takes a repeated request for the one it has had."""

    def run_keys() -> list[str]:
        folder.look()
        arrived, _ = folder.look()
        return [request.run_key for request in requests_for({name: f"{name:x<64}" for name in arrived}, product="toy")]

    folder.write("a.csv", "one")
    folder.write("b.csv", "two")
    before = run_keys()
    folder.cursor = Cursor()
    assert run_keys() == before
    assert len(set(before)) == 2


def test_other_content_asks_for_another_run() -> None:
    keys = {requests_for({"2024-01": sign * 64}, product=product)[0].run_key for sign in "ab" for product in ("x", "y")}
    assert len(keys) == 4


@pytest.mark.parametrize("order", [list, reversed])
def test_the_order_of_arrival_changes_no_request(order: Callable[..., list[str]]) -> None:
    batches = {f"2024-{month:02}": f"{month:064}" for month in range(1, 6)}
    shuffled = {batch: batches[batch] for batch in order(list(batches))}
    assert requests_for(shuffled, product="toy") == requests_for(batches, product="toy")


def test_batches_that_are_no_neighbours_are_loaded_by_runs_of_their_own() -> None:
    """Regression: the range 01 to 03 of partitions that were added as 03, 01 is empty, and nothing was loaded."""
    found = requests_for({"01": "a" * 64, "03": "b" * 64, "04": "c" * 64}, product="shop", known=["03", "02", "01"])
    assert [item.batches for item in found] == [("03",), ("01",), ("04",)]
