"""Anomalies and schema of raw batches: each fails for exactly its cause, and names it."""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets import blessings, ledger
from assets.errors import HeadraceError
from assets.lake import Lake
from assets.raw.checks import data_results
from assets.raw.validate import (
    ALL_COLUMNS,
    Reference,
    bless_batches,
    gate_of,
    limits_in_words,
    reference_of,
    validate_batches,
)
from assets.records import Batch, DataValidation, Override, Provenance
from assets.spec import ProductSpec

Specs = Callable[..., ProductSpec]
Change = Callable[[pl.DataFrame], pl.DataFrame]
ROWS = 300
NUMBERS = count()
COLUMNS = {"order_id": "BIGINT", "invoice": "BIGINT", "amount": "DOUBLE", "weight": "DOUBLE", "kind": "VARCHAR"}


def delivery(batch: int, rows: int = ROWS) -> pl.DataFrame:
    """A month of orders, with numbers that grow (order and invoice) and quantities that don't."""
    random = np.random.default_rng(batch)
    return pl.DataFrame(
        {
            "order_id": np.arange(rows) + batch * 10_000,
            "invoice": (np.arange(rows) + batch * 10_000) // 3,
            "amount": random.normal(50, 10, rows).clip(0, 100),
            "weight": random.normal(2, 0.3, rows),
            "kind": random.choice(["shoes", "books"], rows),
        }
    )


@pytest.fixture
def shop(spec_of: Specs) -> ProductSpec:
    """A product of its own in the shared lake: its raw table has its name."""
    return spec_of(
        {
            "product": f"shop{next(NUMBERS)}",
            "source.columns": COLUMNS,
            "validation.anomalies.ranges": {"amount": [0, 100], "weight": [0, None]},
        }
    )


def delivered(lake: Lake, spec: ProductSpec, frames: Mapping[str, pl.DataFrame]) -> list[Batch]:
    """Load frames as batches, as `load_file` leaves them: rows and their ledger entry."""
    known = [
        Batch(
            source=spec.product, batch_id=name, file_name=f"{name}.csv", sha256=f"{spec.product}-{name}", size_bytes=1,
            status="LOADED", rows_in=frame.height, rows_loaded=frame.height, loaded_at=ledger.now(),
        )
        for name, frame in frames.items()
    ]  # fmt: skip
    rows = pl.concat(
        [
            frame.with_row_index("row_number").select(pl.lit(name).alias("batch_id"), "row_number", *frame.columns)
            for name, frame in frames.items()
        ]
    )

    def work(con: Any) -> None:
        con.register("given", rows.to_arrow())
        con.execute(f"create table if not exists lake.raw.{spec.product} as select * from given limit 0")
        con.execute(f"insert into lake.raw.{spec.product} select * from given")
        con.unregister("given")
        for batch in known:
            ledger.append_batch(con, batch)

    lake.transact(work)
    return known


def judged(
    lake: Lake, spec: ProductSpec, batches: list[Batch], **changes: Any
) -> dict[str, tuple[DataValidation, ...]]:
    """Both verdicts of each batch, held against each other in their order."""
    reference = Reference(rows={batch.batch_id: batch.rows_loaded for batch in batches}, **changes)
    with lake.connect() as con:
        return {batch.batch_id: found for batch, found in validate_batches(con, spec, batches, reference)}


def causes(validations: tuple[DataValidation, ...]) -> set[tuple[str, str]]:
    """Check and column of everything that did not pass."""
    return {(item.check, item.column) for found in validations for item in found.columns if item.verdict != "PASSED"}


def replaced(rows: int, **values: float | None) -> Change:
    """The first rows with other values."""
    first = pl.int_range(pl.len()) < rows
    return lambda frame: frame.with_columns(
        pl.when(first).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name, value in values.items()
    )


CAUSES: dict[str, tuple[Change, set[tuple[str, str]]]] = {
    "a value out of its range": (replaced(1, amount=101.0), {("range", "amount")}),
    "another unit": (lambda frame: frame.with_columns(pl.col("weight") * 1000), {("outliers", "weight")}),
    "two columns swapped": (
        lambda frame: frame.rename({"amount": "weight", "weight": "amount"}),
        {("outliers", "weight")},
    ),
    "a sudden small count": (lambda frame: frame.head(12), {("count", ALL_COLUMNS)}),
    "a sudden large count": (
        lambda frame: pl.concat([frame.with_columns(pl.col("amount") + part / 1000) for part in range(6)]).with_columns(
            pl.col("amount").clip(0, 100), order_id=pl.int_range(pl.len()) + 30_000
        ),
        {("count", ALL_COLUMNS)},
    ),
    "rows twice": (lambda frame: pl.concat([frame, frame.head(9)]), {("duplicates", ALL_COLUMNS)}),
    "a column without a value": (replaced(ROWS, kind=None), {("empty", "kind")}),
    "nothing": (lambda frame: frame, set()),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_is_found_alone_and_named(lake: Lake, shop: ProductSpec, cause: str) -> None:
    change, expected = CAUSES[cause]
    frames = {"b1": delivery(1), "b2": delivery(2), "b3": change(delivery(3)).select(list(COLUMNS))}
    found = judged(lake, shop, delivered(lake, shop, frames))
    assert causes(found["b1"]) == causes(found["b2"]) == set()
    assert causes(found["b3"]) == expected
    verdicts = {item.kind: gate_of(item, limits_in_words(shop)[item.kind]) for item in found["b3"]}
    failed = {kind for kind, gate in verdicts.items() if gate.verdict == "FAILED"}
    assert failed == ({"schema" if cause == "a column without a value" else "anomalies"} if expected else set())
    for check, column in expected:
        gate = verdicts["schema" if check == "empty" else "anomalies"]
        named = {"count": "times the usual 300", "duplicates": "9 of 309 rows are there before"}.get(check, column)
        assert named in str(gate.observed)


def test_swapped_columns_leave_a_declared_range(lake: Lake, spec_of: Specs) -> None:
    """With the heavier of the two bounded, the range says so on its own."""
    spec = spec_of(
        {"product": "swapped", "source.columns": COLUMNS, "validation.anomalies.ranges": {"weight": [0, 10]}}
    )
    frame = delivery(1).rename({"amount": "weight", "weight": "amount"}).select(list(COLUMNS))
    (found,) = judged(lake, spec, delivered(lake, spec, {"b1": frame})).values()
    assert causes(found) == {("range", "weight")}
    assert "weight: 300 of 300 rows outside 0 to 10 (from " in str(gate_of(found[0], "").observed)


def test_a_warning_is_one_when_the_spec_says_so(lake: Lake, shop: ProductSpec) -> None:
    warning = shop.model_copy(
        update={
            "validation": shop.validation.model_copy(
                update={
                    "schema_severity": "warn",
                    "anomalies": shop.validation.anomalies.model_copy(update={"severity": "warn"}),
                }
            )
        }
    )
    bad = replaced(ROWS, kind=None)(replaced(1, amount=-1.0)(delivery(2)))
    found = judged(lake, warning, delivered(lake, warning, {"b1": delivery(1), "b2": bad}))["b2"]
    assert [item.verdict for item in found] == ["WARNED", "WARNED"]
    assert blessings.verdict_of(gate_of(item, "") for item in found) == "BLESSED"


def test_the_first_batch_has_nothing_to_be_held_against_and_a_bad_one_is_no_reference(
    lake: Lake, shop: ProductSpec
) -> None:
    """The second would be held against the first alone; as that is out of range, it is held against nothing."""
    bad = delivery(1).with_columns(pl.col("amount") * 50)
    found = judged(lake, shop, delivered(lake, shop, {"b1": bad, "b2": delivery(2), "b3": delivery(3)}))
    assert [item[0].verdict for item in found.values()] == ["FAILED", "PASSED", "PASSED"]
    assert [item[0].reference for item in found.values()] == ["", "", "batch b2"]


def test_with_a_champion_its_training_batches_are_the_reference(lake: Lake, shop: ProductSpec) -> None:
    """The batch since then is like the new one, which is unlike what the champion has learned from."""
    heavy = [delivery(batch).with_columns(pl.col("weight") * 10) for batch in (2, 3)]
    batches = delivered(lake, shop, {"b1": delivery(1), "b2": heavy[0], "b3": heavy[1]})
    reference = Reference(rows={"b1": ROWS, "b2": ROWS, "b3": ROWS}, champion_id="lightgbm-1", trained_on=("b1",))
    with lake.connect() as con:
        ((_, found),) = validate_batches(con, shop, batches[2:], reference)
    assert causes(found) == {("outliers", "weight")}
    assert found[0].reference == "lightgbm-1"


def test_a_column_unlike_those_last_accepted_is_named_and_one_that_the_spec_declares_is_a_warning(
    lake: Lake, shop: ProductSpec
) -> None:
    batches = delivered(lake, shop, {"b1": delivery(1)})
    snapshot = lake.snapshot()

    def change(con: Any) -> None:
        con.execute(f"alter table lake.raw.{shop.product} drop column weight")
        con.execute(f"alter table lake.raw.{shop.product} drop column kind")
        con.execute(f"alter table lake.raw.{shop.product} add column kind bigint")
        con.execute(f"alter table lake.raw.{shop.product} add column colour varchar")

    lake.transact(change)
    narrow = shop.model_copy(
        update={
            "source": shop.source.model_copy(update={"columns": {"order_id": "BIGINT", "kind": "BIGINT"}}),
            "validation": type(shop.validation)(),
        }
    )
    found = judged(lake, narrow, batches, snapshot=snapshot)["b1"][1]
    said = {item.column: (item.verdict, item.observed) for item in found.columns if item.verdict != "PASSED"}
    assert said == {
        "kind": ("WARNED", "was VARCHAR, is BIGINT"),
        "weight": ("WARNED", "missing"),
        "colour": ("FAILED", "new, VARCHAR"),
    }
    assert "colour: new, VARCHAR" in str(gate_of(found, "").observed)


def test_a_range_of_what_is_no_number_is_refused_in_words(lake: Lake, spec_of: Specs) -> None:
    spec = spec_of({"product": "ranged", "source.columns": COLUMNS, "validation.anomalies.ranges": {"kind": [0, 1]}})
    with lake.connect() as con, pytest.raises(HeadraceError, match="holds no numbers") as caught:
        list(validate_batches(con, spec, [], Reference(rows={})))
    assert caught.value.where == "validation.anomalies.ranges.kind"


@settings(max_examples=5)
@given(outside=st.integers(0, 30), twice=st.integers(0, 30), limit=st.sampled_from([0.0, 0.03, 0.1]))
def test_shares_are_those_that_plain_python_counts(
    lake: Lake, spec_of: Specs, outside: int, twice: int, limit: float
) -> None:
    anomalies = {"ranges": {"amount": [0, 100]}, "max_out_of_range_share": limit, "max_duplicate_share": limit}
    spec = spec_of(
        {"product": f"shop{next(NUMBERS)}", "source.columns": COLUMNS, "validation": {"anomalies": anomalies}}
    )
    frame = replaced(outside, amount=-5.0)(delivery(1))
    frame = pl.concat([frame, frame.tail(twice)])
    (found,) = judged(lake, spec, delivered(lake, spec, {"b1": frame})).values()
    seen = {item.check: item for item in found[0].columns}
    for check, rows in (("range", outside), ("duplicates", twice)):
        assert seen[check].observed == pytest.approx(rows / frame.height)
        assert (seen[check].verdict == "FAILED") == (rows / frame.height > limit)


# --- blessings ------------------------------------------------------------------------------------------------------


def test_of_two_batches_one_is_held_and_the_other_goes_on(lake: Lake, shop: ProductSpec) -> None:
    """Each has its own blessing; a second run writes nothing; the check is an error only if all of them are held."""
    frames = {"b1": delivery(1), "b2": replaced(5, amount=900.0)(delivery(2))}
    batches = delivered(lake, shop, frames)
    asked = Provenance(asked_by="a test")
    bless_batches(lake, shop, batches, champion_id="", provenance=asked)
    snapshot = lake.snapshot()
    bless_batches(lake, shop, batches, champion_id="", provenance=Provenance(asked_by="again"))
    assert lake.snapshot() == snapshot
    with lake.connect() as con:
        assert blessings.require_data(con, shop, "b1", where="a door").verdict == "BLESSED"
        with pytest.raises(HeadraceError, match="batch b2 is held back") as caught:
            blessings.require_data(con, shop, "b2", where="a door")
        held = {batch: why for batch, why in blessings.held_batches(con).items() if batch in frames}
        found = {
            batch: [item for _, item in ledger.records(con, "validations", DataValidation, batch_id=batch)
                    if item.product == shop.product]
            for batch in frames
        }  # fmt: skip
    assert "amount: 5 of 300 rows outside 0 to 100 (from " in caught.value.found
    assert set(held) == {"b2"}
    both = {item.check_name: item for item in data_results(shop, found, held)}
    alone = {item.check_name: item for item in data_results(shop, {"b2": found["b2"]}, held)}
    assert not both["anomalies"].passed
    assert both["anomalies"].severity.value == "WARN"
    assert "held back: b2" in str(both["anomalies"].description)
    assert alone["anomalies"].severity.value == "ERROR"
    assert both["schema"].passed


def test_an_accepted_batch_goes_on_and_new_rules_are_a_new_verdict(lake: Lake, shop: ProductSpec) -> None:
    (batch,) = delivered(lake, shop, {"accepted": replaced(5, amount=900.0)(delivery(1))})
    bless_batches(lake, shop, [batch], champion_id="", provenance=Provenance())
    word = Override(
        product=shop.product, action="accept", subject="accepted", reason="a sale", asked_by="me", at=ledger.now()
    )
    lake.transact(lambda con: ledger.append_once(con, "overrides", word.override_id, "accepted", word))
    with lake.connect() as con:
        assert "accepted" not in blessings.held_batches(con)
        assert blessings.require_data(con, shop, "accepted", where="a door").verdict == "NOT_BLESSED"
        assert reference_of(con, shop, "").snapshot is not None, "what a person accepted was accepted"
    wide = shop.validation.anomalies.model_copy(update={"ranges": {"amount": (0.0, 1000.0)}})
    wider = shop.model_copy(update={"validation": shop.validation.model_copy(update={"anomalies": wide})})
    with lake.connect() as con, pytest.raises(HeadraceError, match="stale"):
        blessings.require_data(con, wider, "accepted", where="a door")
    bless_batches(lake, wider, [batch], champion_id="", provenance=Provenance())
    with lake.connect() as con:
        assert blessings.require_data(con, wider, "accepted", where="a door").verdict == "BLESSED"
