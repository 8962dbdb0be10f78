"""Rows that training knows already are counted, by part, in whatever key they come again."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.home import Home
from assets.lake import Lake
from assets.records import SplitManifest
from assets.spec import ProductSpec
from assets.splits import checks
from assets.splits.identical import identical_gate, identical_rows
from assets.splits.service import make_split

Specs = Callable[..., ProductSpec]
START = datetime.fromisoformat("2024-01-01")
ROWS = 60


@pytest.fixture(scope="module")
def shop(session_home: Home) -> Lake:
    """A lake of these tests' own: the toy's tables in it are made once per test."""
    return session_home.lake("identical")


def written(lake: Lake, again: int, *, other_label: bool = False, missing: bool = False) -> None:
    """60 orders a month; the first `again` ones of the third month are orders of the first under another key."""
    rows = [
        {
            "order_id": 1000 * month + place,
            "batch_id": f"2024-0{month + 1}",
            "ordered_at": START + timedelta(days=31 * month, hours=place),
            "known_at": START + timedelta(days=31 * month, hours=place),
            "kind": "shoes" if place % 2 else None,
            "size": None if missing and place < again else float(place if copied else 100 * month + place),
            "pieces": place,
            "ordered_local_at": START + timedelta(days=0 if copied else 31 * month, hours=place),
            "returned_at": START + timedelta(days=31 * month, hours=place + 1),
            "is_returned": (place % 3 == 0) != (copied and other_label),
            "refund": 5.0,
        }
        for month in range(3)
        for place in range(ROWS)
        for copied in [month == 2 and place < again]
    ]
    frame = pl.DataFrame(rows, schema_overrides={"kind": pl.String})

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


def counted(lake: Lake, spec: ProductSpec) -> tuple[SplitManifest, dict[str, tuple[int, int]]]:
    """The split as of the third month, and its identical rows."""
    with lake.connect() as con:
        manifest = make_split(con, spec, "2024-03", "features-1")
        return manifest, dict(identical_rows(con, spec, manifest))


def test_no_row_of_a_clean_split_is_identical(shop: Lake, toy: ProductSpec) -> None:
    written(shop, 0)
    manifest, found = counted(shop, toy)
    assert found == {"test": (0, ROWS), "validation": (0, manifest.parts["validation"].rows)}
    assert identical_gate(toy, found).verdict == "PASSED"


@pytest.mark.parametrize("missing", [False, True])
def test_rows_that_come_again_under_another_key_are_counted(shop: Lake, toy: ProductSpec, *, missing: bool) -> None:
    """Two missing values are equal, too."""
    written(shop, 12, missing=missing)
    assert counted(shop, toy)[1]["test"] == (12, ROWS)


def test_the_same_inputs_with_another_label_are_not_identical(shop: Lake, toy: ProductSpec) -> None:
    written(shop, 12, other_label=True)
    assert counted(shop, toy)[1]["test"] == (0, ROWS)


@pytest.mark.parametrize(
    ("severity", "limit", "verdict"),
    [("warn", 0.05, "WARNED"), ("block", 0.05, "FAILED"), ("block", 0.2, "PASSED")],
)
def test_identical_rows_above_the_limit_are_said_with_their_number(
    severity: str, limit: float, verdict: str, shop: Lake, spec_of: Specs
) -> None:
    spec = spec_of({"gates.training.identical_severity": severity, "gates.training.max_identical_share": limit})
    written(shop, 12)
    manifest, found = counted(shop, spec)
    no_overlap, balance, identical = checks.results(spec, manifest, 0, found)
    assert (no_overlap.passed, balance.check_name) == (True, "balance")
    assert identical.passed == (verdict == "PASSED")
    assert identical.metadata["observed"].value == pytest.approx(0.2)
    assert identical.metadata["gate"].value == "training"
    assert "12 of 60 test rows" in str(identical.description)
    if verdict != "PASSED":
        fails = identical.severity == dg.AssetCheckSeverity.ERROR
        assert fails == (verdict == "FAILED")
    (declared,) = [item for item in checks.specs(spec) if item.name == "identical_rows"]
    assert declared.blocking == (severity == "block")


def test_validation_rows_are_judged_as_well(toy: ProductSpec) -> None:
    gate = identical_gate(toy, {"test": (0, 100), "validation": (9, 100)})
    assert (gate.verdict, gate.observed) == ("WARNED", 0.09)
    assert "9 of 100 validation rows" in gate.detail
