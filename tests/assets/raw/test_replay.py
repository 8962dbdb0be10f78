"""Replaying quarantine: what passes after a fix is loaded exactly once, whatever is killed, repeated or overtaken."""

import hashlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets import ledger
from assets.home import Home
from assets.lake import Lake, has_table
from assets.naming import table
from assets.raw import quarantine
from assets.raw.ingest import load_staged
from assets.raw.kept import keep, kept, kept_contents
from assets.raw.places import Staged
from assets.raw.reader.protocol import RefusedFileError
from assets.raw.replay import Replayed, forget_loaded, replay, to_replay
from assets.records import Batch
from assets.settings import CHECKOUT, Settings
from assets.spec import ProductSpec

COLUMNS = {"id": "BIGINT", "text": "VARCHAR", "value": "DOUBLE"}
NUMBERS = itertools.count()


@dataclass(frozen=True)
class Shop:
    """A source of its own in the lake of this module; its spec is given with each call, as it is then."""

    home: Home
    spec_of: Callable[..., ProductSpec]
    name: str = field(default_factory=lambda: f"source_{next(NUMBERS)}")

    @property
    def lake(self) -> Lake:
        """Shared by all tests of this module."""
        return self.home.lake("toy")

    def spec(self, **changes: Any) -> ProductSpec:
        """The toy product with this source as a reference that comes in batches."""
        source = {"files": rf"{self.name}_(?P<batch>\w+)\.csv", "columns": COLUMNS, "required": ["id"], **changes}
        return self.spec_of({f"references.{self.name}": source})

    def load(self, spec: ProductSpec, content: str, batch: str = "b1", *, label: str = "") -> Batch:
        """Load content as a file that has landed."""
        path = self.lake.staging / f"test-{next(NUMBERS)}.staged"
        path.write_bytes(content.encode())
        staged = Staged(path, hashlib.sha256(content.encode()).hexdigest(), len(content.encode()))
        return load_staged(
            self.lake, self.name, spec.sources[self.name], staged, file_name=f"{self.name}_{batch}.csv",
            batch_id=batch, version_label=label,
        )  # fmt: skip

    def refused(self, spec: ProductSpec, content: str, batch: str = "b1", *, label: str = "") -> str:
        """Load content that is refused; gives the reason."""
        with pytest.raises(RefusedFileError) as caught:
            self.load(spec, content, batch, label=label)
        return str(caught.value)

    def waiting(self, spec: ProductSpec) -> list[Batch]:
        """Deliveries of this source that are to be replayed."""
        return [item for item in to_replay(self.lake, spec) if item.source == self.name]

    def replay(self, spec: ProductSpec) -> list[Replayed]:
        """What `headrace replay-quarantine` does, for this source."""
        done = [replay(self.home, spec, item) for item in self.waiting(spec)]
        forget_loaded(self.lake)
        return done

    def rows(self, columns: str = "row_number, id, text, value") -> list[tuple[Any, ...]]:
        """What counts in raw."""
        with self.lake.connect() as con:
            if not has_table(con, "raw", self.name):
                return []
            return con.execute(
                f"select {columns} from {table('raw', self.name)} order by batch_id, row_number"
            ).fetchall()

    def quarantined(self) -> list[tuple[Any, ...]]:
        """Row number, column and what was found of the rows that wait."""
        return [(row["row_number"], row["column"], row["found"]) for row in self._waiting_rows()]

    def _waiting_rows(self) -> list[dict[str, Any]]:
        with self.lake.connect() as con:
            found = quarantine.waiting(con, self.spec())
            return [
                row for row in quarantine.rows_of(con, self.spec(), found, limit=1000) if row["source"] == self.name
            ]

    def counted(self) -> list[tuple[int, int, int, int]]:
        """Of each batch that counts: version, rows in, loaded and quarantined."""
        with self.lake.connect() as con:
            found = ledger.batches(con, self.name)
        return [
            (item.version, item.rows_in, item.rows_loaded, item.rows_quarantined)
            for item in found
            if item.status == "LOADED"
        ]

    def check_accounts(self) -> None:
        """Each row of each delivery that counts is in raw or in quarantine, once."""
        with self.lake.connect() as con:
            counted = [item for item in ledger.batches(con, self.name) if item.status == "LOADED"]
        loaded, waits = self.rows("batch_id, row_number"), self._waiting_rows()
        for batch in counted:
            there = [number for batch_id, number in loaded if batch_id == batch.batch_id]
            not_yet = [row["row_number"] for row in waits if row["batch_id"] == batch.batch_id]
            assert (len(there), len(not_yet)) == (batch.rows_loaded, batch.rows_quarantined)
            assert sorted([*there, *not_yet]) == list(range(1, batch.rows_in + 1))
        assert len(loaded) + len(waits) == sum(batch.rows_in for batch in counted)


@pytest.fixture(scope="module")
def whole_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(Settings(home=tmp_path_factory.mktemp("replay")))


@pytest.fixture
def shop(whole_home: Home, spec_of: Callable[..., ProductSpec]) -> Iterator[Shop]:
    made = Shop(whole_home, spec_of)
    yield made
    made.check_accounts()


FIXES: dict[str, tuple[str, dict[str, Any], tuple[Any, ...]]] = {
    "another type": ("2,b,high\n", {"columns": {**COLUMNS, "value": "VARCHAR"}}, (2, 2, "b", "high")),
    "a null text": ("2,b,NA\n", {"nulls": ["", "NA"]}, (2, 2, "b", None)),
    "a decimal comma": ('2,b,"1,5"\n', {"csv": {"decimal": ","}}, (2, 2, "b", 1.5)),
    "not required": (",b,4\n", {"required": []}, (2, None, "b", 4.0)),
}


@pytest.mark.parametrize("fix", FIXES)
def test_after_a_fix_the_rows_are_loaded_once_under_their_numbers(shop: Shop, fix: str) -> None:
    bad, changes, expected = FIXES[fix]
    first = shop.load(shop.spec(), f"id,text,value\n1,a,1\n{bad}3,c,3\n")
    assert [row[0] for row in shop.quarantined()] == [2]
    [done] = shop.replay(shop.spec(**changes))
    assert (done.outcome, done.rows_loaded, done.rows_waiting, done.why) == ("loaded", 1, 0, "")
    assert [row[0] for row in shop.rows()] == [1, 2, 3]
    assert shop.rows()[1] == expected
    assert shop.quarantined() == []
    assert shop.counted() == [(1, 3, 3, 0)]
    assert kept(shop.home.settings, "toy", first.sha256) is None
    assert shop.replay(shop.spec(**changes)) == []


def test_a_replayed_row_says_which_delivery_it_came_with(shop: Shop) -> None:
    batch = shop.load(shop.spec(), "id,text,value\n1,a,1\n2,b,x\n")
    shop.replay(shop.spec(nulls=["x"]))
    assert shop.rows("batch_id, headrace_delivery") == [("b1", batch.delivery_id)] * 2
    with shop.lake.connect() as con:
        [now] = ledger.batches(con, shop.name)
    assert (now.delivery_id, now.file_name, now.loaded_at > batch.loaded_at) == (
        batch.delivery_id,
        batch.file_name,
        True,
    )
    assert now.content_id != batch.content_id


def test_without_a_fix_nothing_changes_and_the_reason_is_told(shop: Shop) -> None:
    batch = shop.load(shop.spec(), "id,text,value\n1,a,1\n2,b,x\n")
    [done] = shop.replay(shop.spec())
    assert (done.outcome, done.rows_loaded, done.rows_waiting) == ("waits", 0, 1)
    assert "value: expected DOUBLE" in done.why
    assert shop.quarantined() == [(2, "value", "x")]
    with shop.lake.connect() as con:
        assert len(ledger.deliveries(con, shop.name)) == 1
    assert kept(shop.home.settings, "toy", batch.sha256)


def test_what_still_does_not_pass_waits_for_the_reason_it_has_now(shop: Shop) -> None:
    shop.load(shop.spec(), "id,text,value\n1,a,NA\n2,b,x\nx,c,NA\n")
    assert shop.quarantined() == [(1, "value", "NA"), (2, "value", "x"), (3, "id", "x")]
    [done] = shop.replay(shop.spec(nulls=["NA"], columns={**COLUMNS, "id": "VARCHAR", "text": "BIGINT"}, required=[]))
    assert (done.outcome, done.rows_waiting) == ("waits", 3)
    assert shop.quarantined() == [(1, "text", "a"), (2, "text", "b"), (3, "text", "c")]
    [done] = shop.replay(shop.spec(nulls=["NA"]))
    assert (done.outcome, done.rows_loaded, done.rows_waiting) == ("partly", 1, 2)
    assert shop.quarantined() == [(2, "value", "x"), (3, "id", "x")]


def test_rows_that_were_loaded_stay_and_it_is_told_that_they_would_be_read_otherwise(shop: Shop) -> None:
    shop.load(shop.spec(), "id,text,value\n1,NA,1\n2,b,2\n3,c,NA\n")
    [done] = shop.replay(shop.spec(nulls=["NA"]))
    assert (done.rows_loaded, done.rows_differ) == (1, 1)
    assert shop.rows() == [(1, 1, "NA", 1.0), (2, 2, "b", 2.0), (3, 3, "c", None)]


def test_a_refused_file_is_loaded_after_the_fix(shop: Shop) -> None:
    content = "id,text\n1,a\nx,b\n"
    assert "value" in shop.refused(shop.spec(), content)
    [still] = shop.replay(shop.spec())
    assert (still.kind, still.outcome, still.rows_waiting) == ("file", "waits", 0)
    assert "value" in still.why
    fixed = shop.spec(columns={"id": "BIGINT", "text": "VARCHAR"})
    [done] = shop.replay(fixed)
    assert (done.kind, done.outcome, done.rows_loaded, done.rows_waiting) == ("file", "partly", 1, 1)
    [done] = shop.replay(shop.spec(columns={"id": "BIGINT", "text": "VARCHAR"}, nulls=["x"], required=[]))
    assert (done.kind, done.outcome) == ("rows", "loaded")
    assert shop.rows("row_number, id, text") == [(1, 1, "a"), (2, None, "b")]


def test_a_refused_file_whose_batch_was_delivered_again_stays_out(shop: Shop) -> None:
    shop.refused(shop.spec(), "id,text\n1,old\n")
    fixed = shop.spec(columns={"id": "BIGINT", "text": "VARCHAR"})
    [delivery] = shop.waiting(fixed)
    shop.load(fixed, "id,text\n1,new\n")
    assert replay(shop.home, fixed, delivery).outcome == "replaced"
    assert shop.replay(fixed) == []
    assert shop.rows("text") == [("new",)]


def test_a_refused_correction_is_loaded_as_one(shop: Shop) -> None:
    fixed = shop.spec(columns={"id": "BIGINT", "text": "VARCHAR"})
    shop.load(shop.spec(), "id,text,value\n1,old,1\n2,b,x\n")
    shop.refused(shop.spec(), "id,text\n1,new\n")
    assert [(done.kind, done.outcome) for done in shop.replay(fixed)] == [("rows", "loaded"), ("file", "loaded")]
    assert shop.rows("text") == [("new",)]
    assert shop.counted() == [(2, 1, 1, 0)]


def test_of_two_refused_files_of_a_batch_the_later_one_counts(shop: Shop) -> None:
    for text in ("first", "second"):
        shop.refused(shop.spec(), f"id,text\n1,{text}\n")
    fixed = shop.spec(columns={"id": "BIGINT", "text": "VARCHAR"})
    assert [done.outcome for done in shop.replay(fixed)] == ["loaded", "loaded"]
    assert shop.rows("text") == [("second",)]


def test_rows_of_a_delivery_that_was_corrected_stay_out(shop: Shop) -> None:
    fixed = shop.spec(nulls=["x"])
    shop.load(shop.spec(), "id,text,value\n1,old,1\n2,b,x\n")
    [delivery] = shop.waiting(shop.spec())
    shop.load(shop.spec(), "id,text,value\n1,new,1\n")
    assert replay(shop.home, fixed, delivery).outcome == "replaced"
    assert shop.replay(fixed) == []
    assert shop.rows("row_number, text") == [(1, "new")]


def test_two_replays_of_one_delivery_load_it_once(shop: Shop) -> None:
    """Both were asked before either began, as two people would."""
    fixed = shop.spec(nulls=["x"])
    shop.load(shop.spec(), "id,text,value\n1,a,1\n2,b,x\n")
    [delivery] = shop.waiting(fixed)
    assert [replay(shop.home, fixed, delivery).rows_loaded for _ in range(2)] == [1, 0]
    assert shop.counted() == [(1, 2, 2, 0)]


def test_without_its_bytes_a_delivery_waits_until_the_file_lands_again(shop: Shop) -> None:
    fixed, content = shop.spec(nulls=["x"]), "id,text,value\n1,a,1\n2,b,x\n"
    batch = shop.load(shop.spec(), content)
    kept(shop.home.settings, "toy", batch.sha256).unlink()
    [done] = shop.replay(fixed)
    assert (done.outcome, done.rows_waiting) == ("waits", 1)
    assert "land the same file again" in done.why
    landed = shop.home.landing("toy") / batch.file_name
    landed.write_text(content)
    os.utime(landed, (0, 0))
    assert [done.outcome for done in shop.replay(fixed)] == ["loaded"]


def test_damaged_bytes_are_never_read_as_the_delivery(shop: Shop) -> None:
    batch = shop.load(shop.spec(), "id,text,value\n1,a,1\n2,b,x\n")
    path = kept(shop.home.settings, "toy", batch.sha256)
    path.unlink()
    path.write_text("id,text,value\n1,a,1\n2,b,9\n")
    [done] = shop.replay(shop.spec(nulls=["x"]))
    assert done.outcome == "waits"
    assert batch.sha256[:12] in done.why
    path.unlink()


def test_bytes_that_no_delivery_has_are_removed_a_day_later(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then somebody may be loading them."""
    staged = shop.lake.staging / "killed.staged"
    staged.write_bytes(b"killed")
    sha256 = hashlib.sha256(b"killed").hexdigest()
    keep(shop.home.settings, "toy", staged, sha256)
    staged.unlink()
    forget_loaded(shop.lake)
    assert sha256 in kept_contents(shop.home.settings, "toy")
    tomorrow = time.time() + 25 * 3600
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: tomorrow)
        assert forget_loaded(shop.lake) == 1
    assert sha256 not in kept_contents(shop.home.settings, "toy")


def test_a_fix_that_cuts_the_file_into_other_rows_is_refused(shop: Shop) -> None:
    shop.load(shop.spec(), "id,text,value\n1,a,1\n2,b,x\n")
    [done] = shop.replay(shop.spec(csv={"header": False}, nulls=["x", "id", "value"], required=[]))
    assert done.outcome == "waits"
    assert "another number of rows" in done.why
    assert shop.quarantined() == [(2, "value", "x")]


def test_a_source_that_left_the_spec_is_said(shop: Shop, toy: ProductSpec) -> None:
    shop.load(shop.spec(), "id,text,value\n1,a,x\n")
    [delivery] = shop.waiting(shop.spec())
    assert "has no such source" in replay(shop.home, toy, delivery).why


def test_a_replay_counts_whatever_the_clock_says(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The delivery was loaded by a machine whose clock is an hour ahead."""
    now = ledger.now
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "now", lambda: now() + timedelta(hours=1))
        shop.load(shop.spec(), "id,text,value\n1,a,1\n2,b,x\n")
    shop.replay(shop.spec(nulls=["x"]))
    assert shop.counted() == [(1, 2, 2, 0)]


# text of a value -> the change of the spec after which it passes
VALUES = {"1": None, "2.5": None, "NA": "NA", "none": "none", "?": "?", "high": None}
BAD = {"NA", "none", "?", "high"}


@settings(max_examples=5)
@given(
    deliveries=st.lists(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=6), min_size=1, max_size=2),
    fixes=st.lists(st.sets(st.sampled_from(["NA", "none", "?"])), min_size=1, max_size=2),
)
def test_every_row_is_in_raw_or_in_quarantine_once_after_any_fixes_and_replays(
    whole_home: Home, spec_of: Callable[..., ProductSpec], deliveries: list[list[str]], fixes: list[set[str]]
) -> None:
    shop = Shop(whole_home, spec_of)
    for number, values in enumerate(deliveries):
        text = "".join(f"{row},row {row} of {number},{value}\n" for row, value in enumerate(values, start=1))
        shop.load(shop.spec(), f"id,text,value\n{text}", f"b{number}")
    shop.check_accounts()
    passes: set[str] = {"1", "2.5"}
    for nulls in fixes:
        shop.replay(shop.spec(nulls=sorted(nulls)))
        passes |= nulls
        shop.check_accounts()
    flat = [(number, row, value) for number, values in enumerate(deliveries) for row, value in enumerate(values, 1)]
    assert shop.rows("batch_id, row_number, value") == [
        (f"b{number}", row, None if value in BAD else float(value)) for number, row, value in flat if value in passes
    ]
    waits = [(f"b{number}", row, value) for number, row, value in flat if value not in passes]
    with shop.lake.connect() as con:
        found = quarantine.rows_of(con, shop.spec(), quarantine.waiting(con, shop.spec()), limit=1000)
    assert [(r["batch_id"], r["row_number"], r["found"]) for r in found if r["source"] == shop.name] == waits


REPLAYER = """
import sys
from assets.home import Home
from assets.raw.replay import forget_loaded, replay, to_replay
from assets.settings import Settings
from assets.spec import ProductSpec

home, spec, source = Home(Settings(home=sys.argv[1])), ProductSpec.model_validate_json(sys.argv[2]), sys.argv[3]
lake = home.lake("toy")
for delivery in to_replay(lake, spec):
    if delivery.source == source:
        replay(home, spec, delivery)
forget_loaded(lake)
"""


def killed_replay(shop: Shop, spec: ProductSpec, point: str) -> int:
    """Replay in another process that kills itself at a point; gives its exit code."""
    return subprocess.run(
        [sys.executable, "-c", REPLAYER, str(shop.home.settings.home), spec.model_dump_json(), shop.name],
        cwd=CHECKOUT, env={**os.environ, "HEADRACE_KILL_POINT": point}, timeout=120, check=False,
    ).returncode  # fmt: skip


def test_a_replay_killed_before_its_commit_changed_nothing_and_after_it_everything(shop: Shop) -> None:
    """At two of its points; tests/faults kills it at each."""
    fixed = shop.spec(nulls=["x"])
    shop.load(shop.spec(), "id,text,value\n1,a,1\n2,b,x\n3,c,y\n")
    assert killed_replay(shop, fixed, "replay.quarantine.after") == -signal.SIGKILL
    assert shop.counted() == [(1, 3, 1, 2)]
    shop.check_accounts()
    assert killed_replay(shop, fixed, "replay.commit.after") == -signal.SIGKILL
    assert shop.counted() == [(1, 3, 2, 1)]
    assert [done.rows_loaded for done in shop.replay(fixed)] == [0]
    assert shop.rows() == [(1, 1, "a", 1.0), (2, 2, "b", None)]
    assert shop.quarantined() == [(3, "value", "y")]


def test_bytes_that_a_killed_replay_did_not_forget_are_forgotten_by_the_next(shop: Shop) -> None:
    fixed = shop.spec(columns={"id": "BIGINT", "text": "VARCHAR"})
    content = f"id,text\n1,{shop.name}\n"
    shop.refused(shop.spec(), content)
    assert killed_replay(shop, fixed, "replay.forget.before") == -signal.SIGKILL
    assert hashlib.sha256(content.encode()).hexdigest() in kept_contents(shop.home.settings, "toy")
    assert shop.replay(fixed) == []
    assert shop.rows("id, text") == [(1, shop.name)]
    assert hashlib.sha256(content.encode()).hexdigest() not in kept_contents(shop.home.settings, "toy")
