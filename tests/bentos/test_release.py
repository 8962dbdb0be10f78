"""The rows that a new bento is asked for are rows that a client could send."""

import json
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import polars as pl
import pytest

from assets.errors import HeadraceError
from assets.features.row import RowEncoder
from assets.records import FeatureSchema
from assets.spec import ProductSpec
from bentos.release import askable, gates
from bentos.schemas import check_request, json_row, wire_types
from bentos.smoke import SmokeReport

ENCODER = RowEncoder(
    FeatureSchema(
        inputs={"at": "timestamp", "kind": "category", "gift": "boolean", "pieces": "integer", "size": "number"},
        required=("kind",), descriptions={}, row={}, columns=(("size", "number"),), categories={},
    )
)  # fmt: skip


def table(**changes: Any) -> pl.DataFrame:
    """Rows as SQL may have made them: a date for a timestamp, numbers for a boolean, an integer and a category."""
    columns = {
        "row_number": [1, 2, 3, 4],
        "at": [date(2024, 1, 5), None, date(2024, 1, 6), date(2024, 1, 7)],
        "kind": [7, 8, None, 9],
        "gift": [1, 0, 1, None],
        "pieces": [2.0, None, 3.0, 4.0],
        "size": [1, 2, 3, 4],
    }
    return pl.DataFrame({**columns, **changes}, strict=False)


def test_values_get_the_types_of_the_wire(toy: ProductSpec, manifest: Any) -> None:
    """Regression: a date crashed the smoke test, and a whole number with a point was refused by the service."""
    found = askable(ENCODER, table(), toy, as_of="2024-03")
    assert found.columns == list(ENCODER.schema.inputs)
    assert found.height == 3, "the row without its required input can't be sent"
    first = found.row(0, named=True)
    assert first == {"at": datetime(2024, 1, 5), "kind": "7", "gift": True, "pieces": 2, "size": 1.0}  # noqa: DTZ001
    types = wire_types(manifest.model_copy(update={"features": ENCODER.schema}), {})
    for row in found.to_dicts():
        check_request(types, json.dumps({"rows": [json_row(row, ENCODER.schema.inputs)]}).encode())


def test_the_sample_is_seeded_and_bounded(spec_of: Callable[..., ProductSpec]) -> None:
    spec = spec_of({"gates.smoke_rows": 2})
    rows = table(kind=[1, 2, 3, 4])
    found = askable(ENCODER, rows, spec, as_of="2024-03")
    assert found.height == 2
    assert found.equals(askable(ENCODER, rows, spec, as_of="2024-03"))


@pytest.mark.parametrize("kind", [[None] * 4, ["x" * 201] * 4])
def test_without_a_row_that_can_be_sent_it_says_what_to_do(toy: ProductSpec, kind: list[Any]) -> None:
    with pytest.raises(HeadraceError, match="no row of the newest batch") as caught:
        askable(ENCODER, table(kind=kind), toy, as_of="2024-03")
    assert "required: false" in caught.value.fix


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({}, ""),
        ({"latency_p99_ms": 100.1}, "latency"),
        ({"mismatches": 1}, "parity"),
        ({"bad_request_status": 200}, "boots"),
        ({"bad_request_status": 500}, "boots"),
    ],
    ids=["healthy", "slow", "another answer than offline", "takes anything", "falls over"],
)
def test_a_bento_fails_for_exactly_its_cause(toy: ProductSpec, change: dict[str, Any], failed: str) -> None:
    report = SmokeReport(
        tag="toy:x", model_id="x", rows=200, mismatches=0, max_abs_difference=0.0, latency_p50_ms=7.0,
        latency_p99_ms=20.0, startup_seconds=4.0, bad_request_status=400,
    )  # fmt: skip
    found = gates(toy, report.model_copy(update=change))
    assert [gate.name for gate in found if gate.verdict == "FAILED"] == ([failed] if failed else [])
    assert all(gate.detail for gate in found)
