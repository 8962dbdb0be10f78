"""Splits on a toy lake: nothing that was not known when the test began may train, and parts are read as they were."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets import blessings, ledger
from assets.errors import HeadraceError
from assets.features.read import batch_inputs, batch_labels, columns_of, read_part
from assets.home import Home
from assets.lake import Lake
from assets.records import Batch, Gate, Provenance, SplitManifest
from assets.settings import Settings
from assets.spec import ProductSpec
from assets.splits import service
from assets.splits.service import held_back, make_split, overlapping_rows, training_batches

START = datetime.fromisoformat("2024-01-01")
DAY = 24 * 60
WORDS = count()
Specs = Callable[..., ProductSpec]


@dataclass(frozen=True)
class Order:
    """One order: when it came, how long until its outcome, and what that was (None: there is none)."""

    order_id: int
    batch: str
    minute: int
    known_after: int
    label: bool | None
    size: float = 1.0

    @property
    def ordered_at(self) -> datetime:
        """The event."""
        return START + timedelta(minutes=self.minute)

    @property
    def returned_at(self) -> datetime:
        """When the outcome happened."""
        return self.ordered_at + timedelta(minutes=self.known_after)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake of our own: tables and held batches of other tests would be in the splits."""
    return Home(Settings(home=tmp_path_factory.mktemp("splits") / "home")).lake("toy")


def written(lake: Lake, orders: list[Order]) -> None:
    """Make the feature and label tables hold these orders."""
    frame = pl.DataFrame(
        [
            {
                "order_id": order.order_id, "batch_id": order.batch, "ordered_at": order.ordered_at,
                "known_at": order.ordered_at, "kind": "shoes" if order.order_id % 2 else None, "size": order.size,
                "pieces": order.order_id, "ordered_local_at": order.ordered_at, "returned_at": order.returned_at,
                "is_returned": order.label, "refund": 5.0,
            }
            for order in orders
        ],
        schema_overrides={"is_returned": pl.Boolean, "kind": pl.String},
    )  # fmt: skip

    def work(con: Any) -> None:
        con.register("orders", frame.to_arrow())
        inputs = "order_id, batch_id, ordered_at, known_at, kind, size, pieces, ordered_local_at"
        labels = "order_id, batch_id, ordered_at, returned_at, is_returned, refund"
        for name, columns in (("toy", inputs), ("labels", labels)):
            con.execute(f"create table if not exists lake.features.{name} as select {columns} from orders limit 0")
            con.execute(f"delete from lake.features.{name}")
            con.execute(f"insert into lake.features.{name} select {columns} from orders")
        con.unregister("orders")

    lake.transact(work)


def split(lake: Lake, spec: ProductSpec, as_of: str) -> SplitManifest:
    """The split of what is in the tables."""
    with lake.connect() as con:
        return make_split(con, spec, as_of, "features-1")


def part_ids(lake: Lake, spec: ProductSpec, manifest: SplitManifest) -> dict[str, list[int]]:
    """Order ids of each part, as training and evaluation read them."""
    with lake.connect() as con:
        return {part: read_part(con, spec, manifest, part)["order_id"].to_list() for part in manifest.parts}


def months(*batches: str, rows: int = 60, known_after: int = 30) -> list[Order]:
    """Evenly spaced orders, a batch a month, every third sent back."""
    return [
        Order(1000 * month + place, batch, month * 30 * DAY + place * 12 * 60, known_after, place % 3 == 0)
        for month, batch in enumerate(batches)
        for place in range(rows)
    ]


# --- point in time --------------------------------------------------------------------------------------------------


@settings(max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), delay=st.sampled_from([0, 60, 2 * DAY]), as_of=st.sampled_from(["b2", "b3"]))
def test_parts_are_disjoint_and_training_knows_nothing_of_the_test(
    lake: Lake, spec_of: Specs, seed: int, delay: int, as_of: str
) -> None:
    """Batches overlap in time, outcomes come late or never; what may train is reckoned again in plain Python."""
    random = np.random.default_rng(seed)
    orders = [
        Order(
            order_id=place,
            batch=f"b{place % 3 + 1}",
            minute=int(random.integers(0, 12 * DAY)) + place % 3 * 10 * DAY,
            known_after=int(random.integers(1, 6 * DAY)),
            label=None if random.random() < 0.1 else bool(random.random() < 0.5),
        )
        for place in range(150)
    ]
    written(lake, orders)
    spec = spec_of({"label.delay_minutes": delay, "split.min_train_rows": 5})
    manifest = split(lake, spec, as_of)
    ids = part_ids(lake, spec, manifest)

    labelled = [order for order in orders if order.label is not None and order.batch <= as_of]
    test = {order.order_id for order in labelled if order.batch == as_of}
    begins = min(order.ordered_at for order in labelled if order.order_id in test)
    known = {
        order.order_id: order.ordered_at
        for order in labelled
        if order.ordered_at < begins and order.returned_at + timedelta(minutes=delay) < begins
    }
    assert set(ids["test"]) == test
    assert set(ids["train"]) | set(ids["validation"]) == set(known)
    assert not set(ids["train"]) & set(ids["validation"])
    assert not (set(ids["train"]) | set(ids["validation"])) & test
    assert max(known[order_id] for order_id in ids["train"]) < min(known[order_id] for order_id in ids["validation"])
    assert {part: bounds.rows for part, bounds in manifest.parts.items()} == {p: len(rows) for p, rows in ids.items()}
    assert manifest.known_until.replace(tzinfo=None) == begins
    with lake.connect() as con:
        assert overlapping_rows(con, spec, manifest) == 0


@pytest.mark.parametrize(("known_minutes_before_test", "trains"), [(59, False), (60, False), (61, True)])
def test_an_outcome_trains_only_if_it_had_reached_us_when_the_test_began(
    lake: Lake, toy: ProductSpec, known_minutes_before_test: int, trains: bool
) -> None:
    """The toy's labels reach us an hour after they happen: what happened half an hour before the test is not known."""
    orders = months("b1", "b2")
    begins = 30 * DAY
    late = Order(70_007, "b1", begins - 3 * DAY, 3 * DAY - known_minutes_before_test, True)
    written(lake, [*orders, late])
    ids = part_ids(lake, toy, split(lake, toy, "b2"))
    assert (70_007 in ids["train"] + ids["validation"]) == trains


def test_later_batches_change_nothing_of_an_earlier_split(lake: Lake, toy: ProductSpec) -> None:
    """So a backfill gives what would have been trained then."""
    written(lake, months("b1", "b2"))
    then = split(lake, toy, "b2")
    written(lake, months("b1", "b2", "b3", "b4"))
    assert split(lake, toy, "b2").split_id == then.split_id


def test_rows_without_an_outcome_are_in_no_part_and_counted(lake: Lake, toy: ProductSpec) -> None:
    orders = months("b1", "b2")
    unlabelled = [Order(90_000 + day, batch, minute + day * DAY + 5, 30, None)
                  for batch, minute in (("b1", 0), ("b2", 30 * DAY)) for day in range(4)]  # fmt: skip
    written(lake, [*orders, *unlabelled])
    manifest = split(lake, toy, "b2")
    assert all(order_id < 90_000 for ids in part_ids(lake, toy, manifest).values() for order_id in ids)
    assert manifest.parts["test"].unlabelled == 4
    assert manifest.parts["train"].unlabelled == 4


def test_of_a_single_batch_the_newest_share_is_the_test(lake: Lake, spec_of: Specs) -> None:
    spec = spec_of({"split.test_share_of_first": 0.2, "label.delay_minutes": 0})
    written(lake, months("b1", rows=100))
    manifest = split(lake, spec, "b1")
    ids = part_ids(lake, spec, manifest)
    assert len(ids["test"]) == pytest.approx(20, abs=1)
    assert len(ids["train"]) + len(ids["validation"]) == 100 - len(ids["test"])
    assert max(ids["train"]) < min(ids["validation"]) <= max(ids["validation"]) < min(ids["test"])


# --- refusals -------------------------------------------------------------------------------------------------------


def test_too_few_rows_are_refused_with_their_number_and_a_way_out(lake: Lake, spec_of: Specs) -> None:
    written(lake, months("b1", "b2", rows=30))
    with pytest.raises(HeadraceError, match="too few labelled rows") as caught:
        split(lake, spec_of({"split.min_train_rows": 31}), "b2")
    assert caught.value.found == "30"
    assert caught.value.expected.startswith("at least 31 rows whose label was known before 2024-01-31")
    assert "land earlier batches" in caught.value.fix
    assert split(lake, spec_of({"split.min_train_rows": 30}), "b2").parts["test"].rows == 30


@pytest.mark.parametrize("label", [True, False])
def test_a_part_with_one_class_is_refused_and_named(lake: Lake, toy: ProductSpec, label: bool) -> None:
    orders = [order for order in months("b1", "b2") if order.batch == "b1"]
    same = [Order(5000 + place, "b2", 30 * DAY + place, 30, label) for place in range(30)]
    written(lake, [*orders, *same])
    with pytest.raises(HeadraceError, match="only one class") as caught:
        split(lake, toy, "b2")
    assert caught.value.where == "split as of b2: test"
    assert caught.value.found == f"30 rows, all {str(label).lower()}"


@pytest.mark.parametrize("as_of", ["b2", "b9"])
def test_a_batch_without_outcomes_is_refused(lake: Lake, toy: ProductSpec, as_of: str) -> None:
    orders = months("b1")
    none = [Order(5000 + place, "b2", 30 * DAY + place, 30, None) for place in range(30)]
    written(lake, [*orders, *none])
    with pytest.raises(HeadraceError, match="the batch has no labelled row") as caught:
        split(lake, toy, as_of)
    assert caught.value.where == f"split as of {as_of}"


def test_parts_of_unlike_balance_are_warned_of(lake: Lake, toy: ProductSpec) -> None:
    orders = [order for order in months("b1", "b2") if order.batch == "b1"]
    mostly = [Order(5000 + place, "b2", 30 * DAY + place, 30, place % 10 != 0) for place in range(30)]
    written(lake, [*orders, *mostly])
    (warning,) = split(lake, toy, "b2").warnings
    assert re.fullmatch(r"test: share of (true|false) differs from train by 0.56 \(more than 0.15\)", warning)


# --- the same rows, named and found again ---------------------------------------------------------------------------


def test_the_same_rows_are_the_same_split_in_whatever_order_and_snapshot(lake: Lake, toy: ProductSpec) -> None:
    orders = months("b1", "b2")
    written(lake, orders)
    first = split(lake, toy, "b2")
    written(lake, list(reversed(orders)))
    second = split(lake, toy, "b2")
    assert second.data_snapshot > first.data_snapshot
    assert second.split_id == first.split_id


def test_another_row_is_another_split(lake: Lake, toy: ProductSpec) -> None:
    """Another input, outcome or time of a single row among the parts; each change is one of its own."""
    orders = months("b1", "b2")
    changes: list[dict[str, Any]] = [
        {}, {"size": 2.0}, {"label": None}, {"label": True}, {"minute": 7 * 12 * 60 + 1},
    ]  # fmt: skip
    assert orders[7].label is False
    ids = []
    for change in changes:
        written(lake, [*orders[:7], replace(orders[7], **change), *orders[8:]])
        ids.append(split(lake, toy, "b2").split_id)
    assert len(set(ids)) == len(changes)


def test_two_labels_that_change_places_are_another_split(lake: Lake, toy: ProductSpec) -> None:
    """As many rows and positives as before, so only the hash over the rows can tell.

    Regression: it could not. DuckDB joins the hash of a row's last column, the label, by XOR, and the rows were joined
    by XOR as well, so a permutation of the labels gave the same split, and with it the same cached training set.
    """
    orders = months("b1", "b2")
    written(lake, orders)
    before = split(lake, toy, "b2")
    orders[6], orders[7] = replace(orders[6], label=False), replace(orders[7], label=True)
    written(lake, orders)
    after = split(lake, toy, "b2")
    assert after.parts["train"].outcomes == before.parts["train"].outcomes
    assert after.split_id != before.split_id


def test_a_part_is_read_again_as_it_was_after_rows_have_come_and_gone(lake: Lake, toy: ProductSpec) -> None:
    orders = months("b1", "b2")
    written(lake, orders)
    manifest = split(lake, toy, "b2")

    def change(con: Any) -> None:
        con.execute("insert into lake.features.toy select 77, * exclude (order_id) from lake.features.toy limit 1")
        con.execute(
            "insert into lake.features.labels select 77, * exclude (order_id) from lake.features.labels limit 1"
        )
        con.execute("update lake.features.toy set size = -1")
        con.execute("delete from lake.features.labels where order_id = 1001")

    with lake.connect() as con:
        before = {part: read_part(con, toy, manifest, part) for part in manifest.parts}
    lake.transact(change)
    with lake.connect() as con:
        after = {part: read_part(con, toy, manifest, part) for part in manifest.parts}
        now = read_part(con, toy, manifest.model_copy(update={"data_snapshot": lake.snapshot()}), "test")
    assert all(before[part].equals(after[part]) for part in before)
    assert not now.equals(after["test"])


def test_a_part_has_keys_inputs_and_label_in_the_order_of_its_keys_and_no_outcome(lake: Lake, toy: ProductSpec) -> None:
    written(lake, list(reversed(months("b1", "b2"))))
    with lake.connect() as con:
        part = read_part(con, toy, split(lake, toy, "b2"), "test")
    assert part.columns == [*columns_of(toy), "label"]
    assert not {"refund", "returned_at", "is_returned"} & set(part.columns)
    assert part["order_id"].to_list() == sorted(part["order_id"].to_list())
    assert part["label"].to_list() == [place % 3 == 0 for place in range(60)]


def test_a_batch_is_scored_without_its_labels_and_judged_with_them(lake: Lake, toy: ProductSpec) -> None:
    written(lake, months("b1", "b2"))
    inputs, labels = batch_inputs(lake, toy, "b2"), batch_labels(lake, toy, "b2")
    assert inputs.columns == columns_of(toy)
    assert labels.columns == ["order_id", "batch_id", "label", "label_known_at"]
    assert inputs["order_id"].equals(labels["order_id"])
    happened = START + timedelta(minutes=30 * DAY + 30)
    assert labels["label_known_at"][0] == happened + timedelta(minutes=toy.wants_label.delay_minutes)


# --- other strategies on a product --------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["stratified", "random", "sequential", "time_series_folds"])
def test_every_strategy_reads_each_labelled_row_in_one_part(lake: Lake, spec_of: Specs, strategy: str) -> None:
    """Whatever the strategy: parts are disjoint, of the rows up to the batch, and of about the sizes asked for."""
    written(lake, months("b1", "b2", "b3"))
    spec = spec_of({"split.strategy": strategy, "split.ratios": [0.6, 0.2, 0.2]})
    manifest = split(lake, spec, "b2")
    ids = part_ids(lake, spec, manifest)
    read = [order_id for part in ids.values() for order_id in part]
    assert len(read) == len(set(read))
    assert set(read) <= {order.order_id for order in months("b1", "b2")}
    assert {part: len(rows) for part, rows in ids.items()} == {p: item.rows for p, item in manifest.parts.items()}
    if strategy in ("stratified", "random", "sequential"):
        assert {part: len(rows) / 120 for part, rows in ids.items()} == pytest.approx(
            {"train": 0.6, "validation": 0.2, "test": 0.2}, abs=0.03
        )


def test_a_row_keeps_its_part_when_batches_are_added(lake: Lake, spec_of: Specs) -> None:
    """So a champion of an earlier batch has not trained on the test rows of a later one."""
    spec = spec_of({"split.strategy": "stratified"})
    written(lake, months("b1", "b2"))
    before = part_ids(lake, spec, split(lake, spec, "b2"))
    written(lake, months("b1", "b2", "b3"))
    after = part_ids(lake, spec, split(lake, spec, "b3"))
    assert all(set(before[part]) <= set(after[part]) for part in before)


def test_rows_without_a_time_or_a_label_are_split_too(lake: Lake, spec_of: Specs) -> None:
    """A clustering has neither: its parts are read from the features alone, without a label."""
    spec = spec_of(
        {"task": "clustering", "time": None, "label": None, "split.strategy": "random", "gates.slices": {},
         "candidates": [{"algorithm": "baseline"}, {"algorithm": "kmeans"}]}
    )  # fmt: skip
    written(lake, months("b1", "b2"))
    manifest = split(lake, spec, "b2")
    with lake.connect() as con:
        part = read_part(con, spec, manifest, "train")
    assert "label" not in part.columns
    assert part.height == manifest.parts["train"].rows > 80
    assert manifest.parts["train"].event_from is None


def test_a_test_of_too_few_rows_judges_nothing_and_is_refused(lake: Lake, spec_of: Specs) -> None:
    written(lake, months("b1", "b2", rows=30))
    with pytest.raises(HeadraceError, match="too few labelled rows to test") as caught:
        split(lake, spec_of({"split.min_train_rows": 5, "split.min_test_rows": 31}), "b2")
    assert (caught.value.expected, caught.value.found) == ("at least 31 rows", "30")


def test_numbers_give_the_same_split_whatever_order_the_lake_reads_them_in(lake: Lake, spec_of: Specs) -> None:
    """Regression: mean and deviation are part of the id, and sums of floats depend on the order of the rows."""
    numeric = {"task": "regression", "label.column": "size", "features.inputs.size": ..., "features.row": {}}
    spec = spec_of({**numeric, "split.strategy": "random", "gates.slices": {}, "candidates": [
        {"algorithm": "baseline"}, {"algorithm": "linear_regression"}]})  # fmt: skip
    random = np.random.default_rng(3)
    orders = [replace(order, size=float(random.normal())) for order in months("b1", "b2", "b3", rows=900)]

    def work(con: Any) -> None:
        con.execute(
            "create or replace table lake.features.labels as select labels.*, features.size "
            "from lake.features.labels join lake.features.toy as features using (order_id, batch_id, ordered_at)"
        )

    ids = set()
    for turn in range(4):
        written(lake, orders if turn % 2 else list(reversed(orders)))
        lake.transact(work)
        ids.add(split(lake, spec, "b3").split_id)
        lake.transact(lambda con: con.execute("drop table lake.features.labels"))
    assert len(ids) == 1


def test_a_number_that_is_not_finite_is_no_label(lake: Lake, spec_of: Specs) -> None:
    """Regression: SQL divides by zero, NaN counted as a label, and training ended in a stack trace."""
    spec = spec_of({"task": "regression", "label.column": "amount", "split.strategy": "random", "gates.slices": {}})
    written(lake, months("b1", "b2"))

    def work(con: Any) -> None:
        con.execute(
            "create or replace table lake.features.labels as select *, "
            "case order_id % 3 when 0 then 'nan'::double when 1 then 'inf'::double else 1.5 + order_id end as amount "
            "from lake.features.labels"
        )

    lake.transact(work)
    manifest = split(lake, spec, "b2")
    with lake.connect() as con:
        labels = read_part(con, spec, manifest, "train")["label"]
    lake.transact(lambda con: con.execute("drop table lake.features.labels"))
    assert sum(part.rows for part in manifest.parts.values()) == 40
    assert labels.is_finite().all()


def test_a_part_can_be_read_with_the_inputs_of_then(lake: Lake, spec_of: Specs) -> None:
    """Regression: after an input was added, the champion's training rows were asked for a column they don't have."""
    spec = spec_of()
    written(lake, months("b1", "b2"))
    manifest = split(lake, spec, "b2")
    wider = spec_of({"features.inputs.colour": {"type": "category"}})
    with lake.connect() as con:
        part = read_part(con, wider, manifest, "train", inputs=spec.features.inputs)
    assert "colour" not in part.columns
    assert part.height == manifest.parts["train"].rows


def test_an_unknown_group_is_refused_in_words(lake: Lake, toy: ProductSpec) -> None:
    written(lake, months("b1", "b2"))
    wrong = toy.split.model_copy(update={"strategy": "group", "group": "nobody"})
    with lake.connect() as con, pytest.raises(HeadraceError, match="no such column to group by"):
        make_split(con, toy, "b2", "features-1", split=wrong)


# --- batches that data validation holds back ------------------------------------------------------------------------


def word_of(lake: Lake, spec: ProductSpec, verdicts: dict[str, str]) -> None:
    """Write a data blessing of each batch; the newest counts."""
    batches = [
        Batch(
            source=spec.product, batch_id=name, file_name=f"{name}.csv", sha256=f"{name}-{next(WORDS)}", size_bytes=1,
            status="LOADED", loaded_at=ledger.now(),
        )
        for name in verdicts
    ]  # fmt: skip

    def work(con: Any) -> None:
        for batch, verdict in zip(batches, verdicts.values(), strict=True):
            gate = Gate.model_validate({"name": "anomalies", "verdict": verdict, "observed": "", "threshold": ""})
            word = blessings.bless_data(spec, batch, [gate], champion_id="", snapshot=0, provenance=Provenance())
            blessings.write(con, word)

    lake.transact(work)


@settings(max_examples=4)
@given(held=st.sets(st.sampled_from(["h1", "h2", "h3"]), max_size=3), strategy=st.sampled_from(["temporal", "random"]))
def test_rows_of_held_batches_are_in_no_part_and_all_others_are(
    lake: Lake, spec_of: Specs, held: set[str], strategy: str
) -> None:
    """Row by row; and once they are accepted, the old split still has the rows it had, and a new one has them all."""
    spec = spec_of({"split.strategy": strategy})
    orders = months("h1", "h2", "h3", "h4")
    written(lake, orders)
    word_of(lake, spec, {name: "FAILED" if name in held else "PASSED" for name in ("h1", "h2", "h3", "h4")})
    if held == {"h1", "h2", "h3"} and strategy == "temporal":
        assert training_batches(split(lake, spec, "h4"), ["h1", "h4"]) == ["h4"]
    manifest = split(lake, spec, "h4")
    assert held_back(manifest) == sorted(held)
    assert manifest.options.get("held_batches", "") == ",".join(sorted(held))
    assert ("held_batches" in manifest.options) == bool(held)
    ids = part_ids(lake, spec, manifest)
    seen = [order_id for part in ids.values() for order_id in part]
    assert sorted(seen) == sorted(order.order_id for order in orders if order.batch not in held)
    assert sum(part.rows + part.unlabelled for part in manifest.parts.values()) == len(seen)

    word_of(lake, spec, dict.fromkeys(["h1", "h2", "h3", "h4"], "PASSED"))
    vars(service)["_ASSIGNED"].clear()  # as another process would read it
    assert part_ids(lake, spec, manifest) == ids
    after = split(lake, spec, "h4")
    assert (after.split_id == manifest.split_id) == (not held)
    assert sum(len(part) for part in part_ids(lake, spec, after).values()) == len(orders)


def test_a_batch_that_is_held_later_stays_in_the_splits_that_it_was_in(lake: Lake, toy: ProductSpec) -> None:
    written(lake, months("k1", "k2", "k3"))
    manifest = split(lake, toy, "k3")
    ids = part_ids(lake, toy, manifest)
    word_of(lake, toy, {"k2": "FAILED"})
    vars(service)["_ASSIGNED"].clear()  # as another process would read it
    assert part_ids(lake, toy, manifest) == ids
    assert split(lake, toy, "k3").split_id != manifest.split_id
    assert training_batches(manifest, ["k1", "k2", "k3", "k4"]) == ["k1", "k2"]
    assert training_batches(split(lake, toy, "k3"), ["k1", "k2", "k3", "k4"]) == ["k1"]
