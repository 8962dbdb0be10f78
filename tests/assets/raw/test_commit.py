"""Making a delivery count: by content, exactly once, corrections beside what they replace."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count, permutations
from random import Random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets import ledger
from assets.errors import HeadraceError
from assets.lake import Lake
from assets.naming import table
from assets.raw.commit import (
    OvertakenError,
    align_table,
    commit_delivery,
    contract_columns,
    judge,
    skip_delivery,
    table_columns,
)
from assets.records import Batch, SchemaChange
from assets.spec import SourceSpec
from sensors.inbox import newest_contents

AT = datetime(2024, 1, 1, tzinfo=UTC)
_NAMES = count()


def delivery(content: str, batch: str = "b1", **more: Any) -> Batch:
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    return Batch.model_validate(
        {
            "source": "orders", "batch_id": batch, "file_name": f"{batch}.csv", "sha256": sha256, "size_bytes": 1,
            "status": "LOADED", "loaded_at": AT, **more,
        }
    )  # fmt: skip


def arrive(written: list[Batch], new: Batch, *, is_register: bool = False) -> str:
    """Judge a delivery and write down what becomes of it, as a load does."""
    verdict = judge(written, new, is_register=is_register)
    if verdict.displaced:
        written.append(verdict.displaced.model_copy(update={"status": "DUPLICATE"}))
    status = {"load": "LOADED", "late": "SUPERSEDED", "duplicate": "DUPLICATE"}.get(verdict.kind)
    if status:
        written.append(new.model_copy(update={"status": status, "version": verdict.version}))
    return verdict.kind


def counted(written: Sequence[Batch]) -> dict[str, str]:
    return {item.batch_id: item.sha256 for item in ledger.current_batches(written) if item.status == "LOADED"}


def test_the_same_file_again_is_nothing_to_do() -> None:
    written: list[Batch] = []
    assert [arrive(written, delivery("a")) for _ in range(3)] == ["load", "known", "known"]
    assert len(written) == 1


def test_the_same_content_under_another_name_is_a_duplicate_and_is_asked_once() -> None:
    written: list[Batch] = []
    said = [arrive(written, item) for item in (delivery("a"), delivery("a", "b2"), delivery("a", "b2"))]
    assert said == ["load", "duplicate", "known"]
    assert counted(written).keys() == {"b1"}


@pytest.mark.parametrize("order", list(permutations(["b1", "b2", "b3"])))
def test_of_equal_files_the_earliest_batch_counts_in_any_order_of_arrival(order: tuple[str, ...]) -> None:
    written: list[Batch] = []
    for batch in (*order, *order):
        arrive(written, delivery("a", batch))
    assert counted(written).keys() == {"b1"}
    assert {item.batch_id for item in ledger.current_batches(written) if item.status == "DUPLICATE"} == {"b2", "b3"}


def test_new_content_of_a_batch_is_a_correction_and_so_is_the_way_back() -> None:
    written: list[Batch] = []
    for content in "aba":
        assert arrive(written, delivery(content)) == "load"
    assert [item.version for item in written] == [1, 2, 3]
    assert counted(written) == {"b1": delivery("a").sha256}


def test_of_two_files_of_one_batch_the_name_decides_and_they_do_not_replace_each_other_for_ever() -> None:
    first, second = delivery("a", file_name="b1.csv"), delivery("b", file_name="b1_corrected.csv")
    for order, said in (((first, second), ["load", "load"]), ((second, first), ["load", "late"])):
        written: list[Batch] = []
        assert [arrive(written, item) for item in (*order, *order)] == [*said, "known", "known"]
        assert counted(written) == {"b1": second.sha256}


@pytest.mark.parametrize("order", [("v2", "v10"), ("v10", "v2")])
def test_the_greater_version_counts_in_any_order_of_arrival(order: tuple[str, str]) -> None:
    written: list[Batch] = []
    for label in order:
        arrive(written, delivery(label, version_label=label, file_name=f"b1_{label}.csv"))
    assert counted(written) == {"b1": delivery("v10").sha256}


def test_a_duplicate_counts_when_the_first_is_corrected_away() -> None:
    """Else rows that were skipped because they were there already would be nowhere."""
    written: list[Batch] = []
    arrive(written, delivery("a"))
    arrive(written, delivery("a", "b2"))
    arrive(written, delivery("c"))
    assert counted(written) == {"b1": delivery("c").sha256}
    assert arrive(written, delivery("a", "b2")) == "load"
    assert counted(written) == {"b1": delivery("c").sha256, "b2": delivery("a").sha256}


FILES = st.lists(
    st.tuples(st.sampled_from(["b1", "b2", "b3"]), st.integers(1, 3), st.sampled_from("xyz")),
    min_size=1, max_size=6, unique_by=lambda file: file[:2],
)  # fmt: skip


@settings(max_examples=300)
@given(files=FILES, shuffled=st.randoms(use_true_random=False))
def test_what_counts_is_decided_by_the_files_and_not_by_their_order(
    files: list[tuple[str, int, str]], shuffled: Random
) -> None:
    """Of a batch the greatest version; of batches with the same content the first; looked at until nothing is new.

    Regression: rows that were skipped as a duplicate of a batch that was corrected later were nowhere, and a batch
    whose newest version repeats another counted with the one before, or not, as the files came.
    """
    expected: dict[str, str] = {}
    for batch in sorted({file[0] for file in files}):
        _, _, content = max(file for file in files if file[0] == batch)
        if content not in expected.values():
            expected[batch] = content
    items = [
        delivery(content, batch, version_label=f"v{version}", file_name=f"{batch}_v{version}.csv")
        for batch, version, content in files
    ]
    shuffled.shuffle(items)
    written: list[Batch] = []
    for _ in range(4):
        said = [arrive(written, item) for item in items]
    assert set(said) == {"known"}
    assert counted(written) == {batch: delivery(content).sha256 for batch, content in expected.items()}
    # a sensor asks for exactly those that judging would take
    assert {(item.source, item.file_name): item.sha256 for item in items} == newest_contents(written)


def test_a_refused_file_is_read_again() -> None:
    written = [delivery("a", status="REFUSED", reason="no header")]
    assert arrive(written, delivery("a")) == "load"
    assert [item.status for item in ledger.current_batches(written)] == ["LOADED"]


def test_a_register_goes_back_to_an_older_content() -> None:
    written: list[Batch] = []
    for content in "aba":
        item = delivery(content, file_name="planes.csv")
        kind = arrive(written, item.model_copy(update={"batch_id": item.sha256[:12]}), is_register=True)
        assert kind == "load"
    newest = max(ledger.current_batches(written), key=lambda item: item.version)
    assert newest.sha256 == delivery("a").sha256
    assert newest.version == 3


@pytest.fixture
def load(lake: Lake) -> Callable[..., Batch]:
    """Commit a delivery of rows to a source of its own test; says what the ledger has."""
    name = f"commit_{next(_NAMES)}"

    def run(content: str, frame: pl.DataFrame, batch: str = "b1", *, is_evolving: bool = False, **more: Any) -> Batch:
        with lake.connect() as con:
            written = ledger.deliveries(con, name)
        item = delivery(content, batch, source=name, rows_in=len(frame), rows_loaded=len(frame), **more)
        verdict = judge(written, item, is_register=False)
        if verdict.batch:
            return verdict.batch
        status = "SUPERSEDED" if verdict.kind == "late" else "LOADED"
        item = item.model_copy(update={"version": more.get("version", verdict.version), "status": status})
        first, second = (lake.staging / f"{name}-{content}-{part}.parquet" for part in (1, 2))
        own = frame.with_row_index("row_number", 1).with_columns(
            pl.col("row_number").cast(pl.Int64), batch_id=pl.lit(batch), headrace_delivery=pl.lit(item.delivery_id),
            headrace_rescued=pl.lit(None, pl.String),
        )  # fmt: skip
        own[:1].write_parquet(first)
        own[1:].write_parquet(second)  # as a large file is read, in two parts
        types = {"Int64": "BIGINT", "Float64": "DOUBLE", "String": "VARCHAR"}
        columns = {column: types[str(kind)] for column, kind in frame.schema.items()}
        change = SchemaChange(source=name, batch_id=batch, delivery_id=item.delivery_id, kind="added", column="x")
        return commit_delivery(lake, item, [first, second], None, columns, [change], is_evolving=is_evolving)

    run.source = name  # type: ignore[attr-defined]
    return run


def rows_of(lake: Lake, name: str, columns: str = "*") -> list[Any]:
    with lake.connect() as con:
        return con.execute(f"select {columns} from {table('raw', name)} order by all").fetchall()


def test_rows_are_there_once_with_their_delivery(lake: Lake, load: Any) -> None:
    frame = pl.DataFrame({"a": [1, 2]})
    first = load("one", frame)
    assert load("one", frame) == first
    assert rows_of(lake, load.source, "batch_id, row_number, a, headrace_delivery") == [
        ("b1", 1, 1, first.delivery_id),
        ("b1", 2, 2, first.delivery_id),
    ]


def test_rows_of_a_later_batch_with_the_same_content_go_when_the_earlier_one_comes(lake: Lake, load: Any) -> None:
    load("same", pl.DataFrame({"a": [1, 2]}), "b2")
    load("same", pl.DataFrame({"a": [1, 2]}), "b1")
    assert rows_of(lake, load.source, "batch_id, a") == [("b1", 1), ("b1", 2)]


def test_a_correction_keeps_the_old_rows_beside_the_new(lake: Lake, load: Any) -> None:
    load("one", pl.DataFrame({"a": [1, 2]}))
    load("other", pl.DataFrame({"a": [7]}), "b2")
    corrected = load("two", pl.DataFrame({"a": [3]}))
    assert corrected.version == 2
    assert rows_of(lake, load.source, "batch_id, a") == [("b1", 3), ("b2", 7)]
    assert rows_of(lake, load.source + "_superseded", "batch_id, a") == [("b1", 1), ("b1", 2)]


def test_a_late_older_version_goes_beside_what_counts(lake: Lake, load: Any) -> None:
    load("new", pl.DataFrame({"a": [2]}), version_label="v2")
    old = load("old", pl.DataFrame({"a": [1]}), version_label="v1", file_name="b1_v1.csv")
    assert old.status == "SUPERSEDED"
    assert rows_of(lake, load.source, "a") == [(2,)]
    assert rows_of(lake, load.source + "_superseded", "a") == [(1,)]


def test_a_read_that_was_overtaken_writes_nothing(lake: Lake, load: Any) -> None:
    load("one", pl.DataFrame({"a": [1]}))
    with pytest.raises(OvertakenError):
        load("two", pl.DataFrame({"a": [2]}), version=1)
    assert rows_of(lake, load.source, "a") == [(1,)]


def test_columns_come_and_widen_and_old_rows_stay(lake: Lake, load: Any) -> None:
    load("one", pl.DataFrame({"a": [1]}))
    load("two", pl.DataFrame({"a": [1.5], "c": ["x"]}), "b2")
    assert rows_of(lake, load.source, "a, c") == [(1.0, None), (1.5, "x")]
    source = SourceSpec.model_validate({"files": "x", "columns": {"a": "BIGINT"}, "contract": "evolve"})
    with lake.connect() as con:
        assert table_columns(con, load.source) == {"a": "DOUBLE", "c": "VARCHAR"}
        assert contract_columns(con, load.source, source) == {"a": "DOUBLE", "c": "VARCHAR"}
        assert contract_columns(con, load.source, source.model_copy(update={"contract": "rescue"})) == {"a": "BIGINT"}


def test_a_column_is_retyped_if_all_values_fit_and_else_refused(lake: Lake, load: Any) -> None:
    load("one", pl.DataFrame({"a": ["1", None]}))
    load("two", pl.DataFrame({"a": [2]}), "b2")
    assert rows_of(lake, load.source, "a") == [(1,), (2,), (None,)]
    load("three", pl.DataFrame({"a": ["x"]}), "b3")
    with pytest.raises(HeadraceError, match="values that are not of the type") as caught:
        load("four", pl.DataFrame({"a": [4]}), "b4")
    assert "'x' in batch b3" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [(1.5, "BIGINT", "1.5"), ("1.5", "BIGINT", "1.5"), (2**53 + 1, "DOUBLE", "9007199254740993")],
)
def test_a_column_is_never_retyped_to_one_that_would_change_its_values(
    lake: Lake, load: Any, value: object, kind: str, shown: str
) -> None:
    """Regression: a cast was asked, which rounds, so rows that were loaded before had other values without a word."""
    load("one", pl.DataFrame({"a": [value, value]}))
    with pytest.raises(HeadraceError, match="values that are not of the type") as caught:
        lake.transact(lambda con: align_table(con, "toy", load.source, {"a": kind}))
    assert shown in str(caught.value)
    assert {row[0] for row in rows_of(lake, load.source, "a")} == {value}


def test_a_delivery_read_before_another_one_widened_a_column_is_read_again(lake: Lake, load: Any) -> None:
    load("one", pl.DataFrame({"a": [1.5, 2.5]}))
    with pytest.raises(OvertakenError, match="widened"):
        load("two", pl.DataFrame({"a": [3, 4]}), "b2", is_evolving=True)
    assert len(rows_of(lake, load.source)) == 2


def test_a_file_that_comes_to_repeat_another_batch_takes_its_old_rows_away(lake: Lake, load: Any) -> None:
    load("same", pl.DataFrame({"a": [1, 2]}))
    load("own", pl.DataFrame({"a": [3, 4]}), "b2")
    repeats = delivery("same", "b2", source=load.source, file_name="b2_v2.csv")
    assert skip_delivery(lake, repeats, is_register=False).status == "DUPLICATE"
    assert rows_of(lake, load.source, "batch_id, a") == [("b1", 1), ("b1", 2)]
    assert rows_of(lake, f"{load.source}_superseded", "batch_id, a") == [("b2", 3), ("b2", 4)]
    with lake.connect() as con:
        assert ledger.loaded_batch_ids(con, load.source) == ["b1"]
        assert ledger.skipped_batch_ids(con, load.source) == {"b2"}


def test_rows_that_do_not_add_up_are_refused(lake: Lake) -> None:
    item = delivery("z", rows_in=3, rows_loaded=1, rows_quarantined=1)
    with pytest.raises(HeadraceError, match="unaccounted"):
        commit_delivery(lake, item, [], None, {"a": "BIGINT"})
