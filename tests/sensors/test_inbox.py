"""Which landed files are whole and new, and the runs they ask for: no clock, no folder, no Dagster."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets import ledger
from assets.errors import HeadraceError
from assets.raw.commit import judge
from assets.raw.landing import identify, rank
from assets.raw.places import LandedFile
from assets.records import Batch
from assets.spec import ProductSpec
from sensors.inbox import Arrival, Cursor, Inbox, Request, Seen, look, neighbours, newest_contents, requests_for

SECOND = 1_000_000_000
SETTLE_SECONDS = 4.0


def sha(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def landed(name: str, content: str = "rows", **changes: object) -> LandedFile:
    """A file of the toy; its batch is its name without the ending."""
    fields = {
        "name": name, "source": "toy", "batch_id": name.removesuffix(".csv"), "version_label": "",
        "size_bytes": len(content), "modified_ns": 0, "etag": "", "place": "landing",
    }  # fmt: skip
    return LandedFile(**{**fields, **changes})  # type: ignore[arg-type]


class Folder:
    """A landing folder that is looked at every ten seconds."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, LandedFile]] = {}
        self.now = 1_000 * SECOND
        self.cursor = Cursor()
        self.newest: dict[tuple[str, str], str] = {}
        self.hashed: list[str] = []

    def write(self, name: str, content: str = "rows", **changes: object) -> None:
        """Write a file now."""
        given: dict[str, object] = {"modified_ns": self.now, "changed_ns": self.now, **changes}
        self.files[name] = (content, landed(name, content, **given))

    def look(self) -> tuple[list[str], dict[str, str]]:
        """Look ten seconds later; gives names of arrivals, and of files that wait with the reason."""
        self.now += 10 * SECOND
        found = self.found()
        self.cursor = Cursor.parse(found.cursor.model_dump_json())
        return [item.file.name for item in found.arrivals], {file.name: why for file, why in found.waiting}

    def found(self) -> Inbox:
        """Look now, and remember nothing."""
        return look(
            [file for _, (_, file) in sorted(self.files.items())],
            self.cursor,
            now_ns=self.now,
            settle_seconds={"toy": SETTLE_SECONDS},
            newest=self.newest,
            content_of=self._content,
        )

    def _content(self, file: LandedFile) -> str:
        self.hashed.append(file.name)
        return sha(self.files[file.name][0])


@pytest.fixture
def folder() -> Folder:
    return Folder()


# --- whole ----------------------------------------------------------------------------------------------------------


def test_a_file_arrives_at_the_second_look_that_finds_it_unchanged(folder: Folder) -> None:
    folder.write("a.csv")
    assert folder.look() == ([], {"a.csv": "still changing"})
    assert folder.look() == (["a.csv"], {})


def test_a_half_written_file_waits_until_it_grows_no_more(folder: Folder) -> None:
    for content in ("r", "rows", "rows and more"):
        folder.write("a.csv", content)
        assert folder.look() == ([], {"a.csv": "still changing"})
    assert folder.look() == (["a.csv"], {})
    assert folder.hashed == ["a.csv"]


@pytest.mark.parametrize("skew_seconds", [-86_400, -10, 0, 10, 86_400, 1e9])
def test_a_wrong_clock_of_the_writer_makes_no_file_wait_for_ever_or_arrive_half_written(
    folder: Folder, skew_seconds: float
) -> None:
    skew = int(skew_seconds * SECOND)
    for content in ("r", "rows"):
        folder.write("a.csv", content, modified_ns=folder.now + skew, changed_ns=0)
        assert folder.look() == ([], {"a.csv": "still changing"})
    assert folder.look() == (["a.csv"], {})


def test_a_clock_that_is_set_back_between_two_looks_costs_one_look(folder: Folder) -> None:
    folder.write("a.csv", modified_ns=folder.now)
    folder.look()
    folder.now -= 86_400 * SECOND
    folder.write(
        "a.csv", modified_ns=folder.files["a.csv"][1].modified_ns, changed_ns=folder.files["a.csv"][1].changed_ns
    )
    assert folder.look() == ([], {"a.csv": "still changing"})
    assert folder.look() == (["a.csv"], {})


def test_two_looks_in_quick_succession_are_not_enough_for_a_young_file(folder: Folder) -> None:
    folder.write("a.csv", modified_ns=folder.now + 10 * SECOND)
    folder.look()
    folder.now -= 9 * SECOND
    assert folder.look() == ([], {"a.csv": "still changing"})


def test_a_file_that_has_long_been_quiet_needs_only_a_second_look(folder: Folder) -> None:
    folder.write("a.csv", modified_ns=0)
    folder.look()
    folder.now -= 10 * SECOND
    assert folder.look() == (["a.csv"], {})


def test_objects_and_files_with_a_marker_are_whole_at_the_first_look(folder: Folder) -> None:
    folder.write("a.csv", etag='"1"')
    assert folder.look() == (["a.csv"], {})
    found = look(
        [landed("b.csv")], Cursor(), now_ns=0, settle_seconds={"toy": 0.0}, newest={}, content_of=lambda _: sha("b")
    )
    assert [item.file.name for item in found.arrivals] == ["b.csv"]


def test_a_file_that_is_not_what_its_marker_says_waits(folder: Folder) -> None:
    folder.write("a.csv", "ro", expected_sha256=sha("rows"), etag='"1"')
    assert folder.look() == ([], {"a.csv": "its content is not the one that its .done marker names"})
    folder.write("a.csv", "rows", expected_sha256=sha("rows"), etag='"2"')
    assert folder.look() == (["a.csv"], {})


@pytest.mark.parametrize("change", [{"size_bytes": 99}, {"modified_ns": 5}, {"changed_ns": 5}, {"etag": '"2"'}])
def test_whatever_changes_about_a_file_it_is_read_again(folder: Folder, change: dict[str, object]) -> None:
    """A copying tool may set the old time, and the length may be the same: when it last changed can't be set."""
    folder.write("a.csv", etag='"1"', modified_ns=0, changed_ns=0)
    folder.look()
    folder.look()
    assert folder.hashed == ["a.csv"]
    folder.write("a.csv", **{"etag": '"1"', "modified_ns": 0, "changed_ns": 0, **change})
    folder.look()
    assert folder.hashed == ["a.csv", "a.csv"]


def test_a_file_that_cannot_be_read_waits_with_the_reason_and_holds_up_no_other(folder: Folder) -> None:
    folder.write("a.csv", etag='"1"')
    folder.write("b.csv", etag='"1"')

    def content_of(file: LandedFile) -> str:
        if file.name == "a.csv":
            raise HeadraceError("the file can't be read")
        return sha("b")

    found = look(
        [file for _, file in folder.files.values()], Cursor(), now_ns=0, settle_seconds={"toy": 4.0}, newest={},
        content_of=content_of,
    )  # fmt: skip
    assert [item.file.name for item in found.arrivals] == ["b.csv"]
    assert [(file.name, why) for file, why in found.waiting] == [("a.csv", "the file can't be read")]


# --- new ------------------------------------------------------------------------------------------------------------


def test_what_the_ledger_last_wrote_about_a_name_decides_whether_it_is_new(folder: Folder) -> None:
    """Also a content that comes back after a correction is new, and known content under another name is to be said."""
    for name in ("a.csv", "b.csv", "c.csv"):
        folder.write(name, etag='"1"')
    folder.newest = {("toy", "a.csv"): sha("rows"), ("toy", "b.csv"): sha("others"), ("kinds", "c.csv"): sha("rows")}
    assert folder.look() == (["b.csv", "c.csv"], {})


@pytest.mark.parametrize("status", ["LOADED", "REFUSED", "DUPLICATE", "SUPERSEDED"])
def test_whatever_became_of_a_content_it_is_not_asked_for_again(folder: Folder, status: str) -> None:
    """A refused file is tried again by `headrace replay-quarantine`, or when other bytes come under its name."""
    folder.write("a.csv", etag='"1"')
    event = batch("a.csv", "rows").model_copy(update={"status": status})
    folder.newest = newest_contents([batch("a.csv", "older"), batch("first.csv", "rows", batch_id="0"), event])
    assert folder.look() == ([], {})


def test_an_arrival_is_said_until_the_ledger_knows_it(folder: Folder) -> None:
    folder.write("a.csv")
    folder.look()
    assert folder.look() == folder.look() == (["a.csv"], {})
    folder.newest = {("toy", "a.csv"): sha("rows")}
    assert folder.look() == ([], {})


def test_a_whole_file_is_hashed_once(folder: Folder) -> None:
    folder.write("a.csv")
    for _ in range(5):
        folder.look()
    assert folder.hashed == ["a.csv"]
    folder.write("a.csv", "corrected rows")
    folder.look()
    assert folder.look() == (["a.csv"], {})
    assert folder.hashed == ["a.csv", "a.csv"]


def test_a_file_that_is_gone_is_forgotten(folder: Folder) -> None:
    folder.write("a.csv")
    folder.look()
    del folder.files["a.csv"]
    folder.look()
    assert folder.cursor == Cursor()


@pytest.mark.parametrize("text", [None, "", "not json", "[]", '{"files": 1}', '{"files": {"a": {"size_bytes": "x"}}}'])
def test_a_cursor_that_cannot_be_read_is_an_empty_one(text: str | None) -> None:
    assert Cursor.parse(text) == Cursor()


@given(
    st.dictionaries(
        st.text(max_size=20),
        st.builds(Seen, size_bytes=st.integers(0), modified_ns=st.integers(), since_ns=st.integers(), etag=st.text()),
    )
)
def test_a_cursor_is_read_as_it_was_written(files: dict[str, Seen]) -> None:
    cursor = Cursor(files=files)
    assert Cursor.parse(cursor.model_dump_json()) == cursor


# --- requests -------------------------------------------------------------------------------------------------------


def arrivals(contents: dict[str, str], source: str = "toy") -> list[Arrival]:
    """Arrivals by batch id."""
    return [Arrival(landed(f"{name}.csv", source=source, batch_id=name), sha(text)) for name, text in contents.items()]


def batch(name: str, content: str, *, source: str = "toy", batch_id: str = "") -> Batch:
    """What the ledger has of a loaded file."""
    return Batch(
        source=source, batch_id=batch_id or name.removesuffix(".csv"), file_name=name, sha256=sha(content),
        size_bytes=1, status="LOADED", loaded_at=datetime(2024, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def said(requests: Iterable[Request]) -> list[tuple[tuple[str, ...], bool]]:
    return [(item.batches, item.with_models) for item in requests]


def test_one_new_batch_goes_all_the_way(toy: ProductSpec) -> None:
    (request,) = requests_for(toy, arrivals({"2024-01": "a"}))
    assert (request.batches, request.with_models) == (("2024-01",), True)
    assert request.run_key.startswith("toy-journey-")


def test_of_several_new_batches_the_newest_goes_all_the_way_and_the_others_are_loaded_first(toy: ProductSpec) -> None:
    found = requests_for(toy, arrivals({"2024-03": "c", "2024-01": "a", "2024-02": "b"}))
    assert said(found) == [(("2024-01", "2024-02"), False), (("2024-03",), True)]


def test_nothing_new_asks_for_nothing(toy: ProductSpec) -> None:
    assert requests_for(toy, []) == []


def test_a_correction_is_loaded_and_that_of_the_newest_batch_goes_all_the_way(toy: ProductSpec) -> None:
    loaded = [batch("2024-01.csv", "a"), batch("2024-02.csv", "b")]
    assert said(requests_for(toy, arrivals({"2024-01": "A"}), loaded=loaded)) == [(("2024-01",), False)]
    assert said(requests_for(toy, arrivals({"2024-02": "B"}), loaded=loaded)) == [(("2024-02",), True)]
    both = arrivals({"2024-01": "A", "2024-02": "B"})
    assert said(requests_for(toy, both, loaded=loaded)) == [(("2024-01",), False), (("2024-02",), True)]
    with_new = arrivals({"2024-02": "B", "2024-03": "c"})
    assert said(requests_for(toy, with_new, loaded=loaded)) == [(("2024-02",), False), (("2024-03",), True)]


def test_a_file_that_repeats_another_batch_is_only_written_down(toy: ProductSpec) -> None:
    """There is nothing in it that a model could learn from."""
    loaded = [batch("2024-01.csv", "a")]
    assert said(requests_for(toy, arrivals({"2024-02": "a"}), loaded=loaded)) == [(("2024-02",), False)]
    twice = arrivals({"2024-02": "b", "2024-03": "b"})
    assert said(requests_for(toy, twice, loaded=loaded)) == [(("2024-03",), False), (("2024-02",), True)]


def test_several_files_of_a_batch_are_one_request(toy: ProductSpec) -> None:
    found = requests_for(toy, [*arrivals({"2024-01": "a"}), Arrival(landed("x.csv", batch_id="2024-01"), sha("b"))])
    assert said(found) == [(("2024-01",), True)]
    assert len(found[0].arrivals) == 2


def test_a_register_goes_with_the_first_batch_that_is_asked_for_else_with_the_newest_loaded(toy: ProductSpec) -> None:
    register = arrivals({"reference": "kinds"}, "kinds")
    assert requests_for(toy, register) == []
    load, journey = requests_for(toy, [*arrivals({"2024-01": "a", "2024-02": "b"}), *register])
    assert register[0].key in load.arrivals
    assert register[0].key not in journey.arrivals
    loaded = [batch("2024-01.csv", "a"), batch("2024-02.csv", "b"), batch("kinds.csv", "old", source="kinds")]
    assert said(requests_for(toy, register, loaded=loaded)) == [(("2024-02",), True)]


def test_a_reference_of_a_loaded_batch_is_a_correction_and_of_another_one_waits_for_it(
    spec_of: Callable[..., ProductSpec],
) -> None:
    prices = {"files": r"prices_(?P<batch>.+)\.csv", "columns": {"kind": "VARCHAR"}, "optional": True}
    spec = spec_of({"references.prices": prices})
    loaded = [batch("2024-01.csv", "a"), batch("2024-02.csv", "b")]
    found = requests_for(spec, arrivals({"2024-01": "p", "2024-09": "q"}, "prices"), loaded=loaded)
    assert said(found) == [(("2024-01",), False)]


def test_run_keys_are_made_of_content_and_of_how_often_it_was_asked_for(toy: ProductSpec) -> None:
    """So Dagster takes a repeated request for the one it has had, and a wanted second run for a new one."""
    first, other = arrivals({"2024-01": "a"}), arrivals({"2024-01": "b"})
    keys = [requests_for(toy, item)[0].run_key for item in (first, first, other)]
    assert keys[0] == keys[1] != keys[2]
    again = requests_for(toy, first, asked={first[0].key: 1})[0].run_key
    assert again not in keys


@pytest.mark.parametrize("order", [list, reversed])
def test_the_order_of_arrival_changes_no_request(toy: ProductSpec, order: Callable[..., list[str]]) -> None:
    batches = {f"2024-{month:02}": str(month) for month in range(1, 6)}
    shuffled = {name: batches[name] for name in order(list(batches))}
    assert said(requests_for(toy, arrivals(shuffled))) == said(requests_for(toy, arrivals(batches)))


def test_batches_that_are_no_neighbours_are_loaded_by_runs_of_their_own(toy: ProductSpec) -> None:
    """Regression: the range 01 to 03 of partitions that were added as 03, 01 is empty, and nothing was loaded."""
    found = requests_for(toy, arrivals({"01": "a", "03": "b", "04": "c"}), partitions=["03", "02", "01"])
    assert [item.batches for item in found] == [("03",), ("01",), ("04",)]


@pytest.mark.parametrize(
    ("batches", "known", "groups"),
    [
        ([], ["a", "b"], []),
        (["a", "b", "c"], ["a", "b", "c"], [["a", "b", "c"]]),
        (["a", "c"], ["a", "b", "c"], [["a"], ["c"]]),
        (["a", "b", "d"], ["a", "b", "c", "d"], [["a", "b"], ["d"]]),
        (["a", "b"], ["b", "a"], [["b", "a"]]),
        (["a", "c"], ["c", "b", "a"], [["c"], ["a"]]),
    ],
)
def test_only_neighbours_among_the_partitions_share_a_run(
    batches: list[str], known: list[str], groups: list[list[str]]
) -> None:
    """Dagster's order is that of arrival, and a range takes everything between its ends."""
    assert neighbours(batches, known) == groups


# --- whatever happens -----------------------------------------------------------------------------------------------


@dataclass
class Run:
    """A run that was asked for, as Dagster has it."""

    request: Request
    status: Literal["queued", "done", "killed"] = "queued"


@dataclass
class World:
    """A landing folder, a sensor, a Dagster that runs what is asked for, and the ledger's real judgement."""

    spec: ProductSpec
    now: int = 1_000 * SECOND
    files: dict[str, tuple[str, LandedFile]] = field(default_factory=dict)
    cursor: Cursor = field(default_factory=Cursor)
    written: list[Batch] = field(default_factory=list)
    runs: dict[str, Run] = field(default_factory=dict)

    def land(self, name: str, content: str, skew_seconds: int) -> None:
        """A file lands, whose writer's clock is wrong."""
        identity = identify(self.spec, name)
        assert identity is not None
        at = self.now + skew_seconds * SECOND
        self.files[name] = (
            content,
            LandedFile(name, *identity, len(content), at, "", "landing", changed_ns=len(self.files)),
        )

    def tick(self) -> None:
        """The sensor looks, and Dagster takes what it has not had."""
        self.now += 10 * SECOND
        found = look(
            sorted((file for _, file in self.files.values()), key=lambda file: (file.batch_id, self._rank(file))),
            self.cursor,
            now_ns=self.now,
            settle_seconds=dict.fromkeys(self.spec.sources, SETTLE_SECONDS),
            newest=newest_contents(self.written),
            content_of=lambda file: sha(self.files[file.name][0]),
        )
        self.cursor = Cursor.parse(found.cursor.model_dump_json())
        runs = self.runs.values()
        under_way = {key for run in runs if run.status == "queued" for key in run.request.arrivals}
        asked: dict[str, int] = {}
        for run in runs:
            for key in run.request.arrivals:
                asked[key] = asked.get(key, 0) + 1
        requests = requests_for(
            self.spec,
            [item for item in found.arrivals if item.key not in under_way],
            loaded=[item for item in ledger.current_batches(self.written) if item.status == "LOADED"],
            asked=asked,
        )
        for request in requests:
            assert request.run_key not in self.runs, "Dagster would drop it"
            self.runs[request.run_key] = Run(request)

    def work(self, *, is_killed_after: int = -1) -> None:
        """The next run loads the files of its batches, unless it is killed after some of them."""
        run = next((item for item in self.runs.values() if item.status == "queued"), None)
        if run is None:
            return
        files = [
            (content, file)
            for batch_id in run.request.batches
            for content, file in sorted(self.files.values(), key=lambda item: self._rank(item[1]))
            if file.batch_id == batch_id
        ]
        for place, (content, file) in enumerate(files):
            if place == is_killed_after:
                run.status = "killed"
                return
            self._load(content, file)
        run.status = "done"

    def counted(self) -> set[tuple[str, str]]:
        """Batches and the contents that count."""
        return {
            (item.batch_id, item.sha256) for item in ledger.current_batches(self.written) if item.status == "LOADED"
        }

    def _load(self, content: str, file: LandedFile) -> None:
        delivery = batch(file.name, content, batch_id=file.batch_id).model_copy(
            update={
                "version_label": file.version_label,
                "loaded_at": datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=len(self.written)),
            }
        )
        verdict = judge(self.written, delivery, is_register=False)
        if verdict.kind != "known":
            status = {"load": "LOADED", "late": "SUPERSEDED", "duplicate": "DUPLICATE"}[verdict.kind]
            self.written.append(delivery.model_copy(update={"status": status, "version": verdict.version}))

    @staticmethod
    def _rank(file: LandedFile) -> object:
        return rank(file.version_label, file.name)


NAMES = [f"orders_0{number}{label}.csv" for number in (1, 2, 3) for label in ("", "_v2", "_v10")]
MISHAPS = st.sampled_from(["tick", "tick", "work", "work", "kill at once", "kill later", "lose cursor"])


@given(
    order=st.permutations(NAMES),
    skews=st.lists(st.integers(-100_000, 100_000), min_size=len(NAMES), max_size=len(NAMES)),
    mishaps=st.lists(st.lists(MISHAPS, max_size=4), min_size=len(NAMES), max_size=len(NAMES)),
)
def test_any_order_of_arrival_ends_with_the_same_contents_and_asks_once_for_each(
    spec_of: Callable[..., ProductSpec], order: list[str], skews: list[int], mishaps: list[list[str]]
) -> None:
    """With wrong clocks, lost cursors and killed runs between any two arrivals; a killed run is asked for again."""
    world = World(spec_of({"source.files": r"orders_(?P<batch>\d+)(_(?P<version>v\d+))?\.csv", "references": ...}))
    for name, skew, events in zip(order, skews, mishaps, strict=True):
        world.land(name, f"content of {name}", skew)
        for event in events:
            if event == "tick":
                world.tick()
            elif event == "lose cursor":
                world.cursor = Cursor()
            else:
                world.work(is_killed_after={"work": -1, "kill at once": 0, "kill later": 1}[event])
    for _ in range(3 * len(NAMES)):
        world.tick()
        world.work()
    assert world.counted() == {(f"0{number}", sha(f"content of orders_0{number}_v10.csv")) for number in (1, 2, 3)}
    assert len(world.written) == len({item.file_name for item in world.written}) == len(NAMES)
    asked: dict[str, int] = {}
    for run in world.runs.values():
        for key in run.request.arrivals:
            asked[key] = asked.get(key, 0) + (run.status == "done")
    assert max(asked.values()) == 1
