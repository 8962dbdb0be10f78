"""Checks of promotion: the blessings are there, and about exactly this model and data."""

from collections.abc import Sequence

import dagster as dg

from assets.definitions import check_result, check_spec, key_of, records_table
from assets.records import Blessing, Gate
from assets.spec import ProductSpec

STAGE = "promotion"


def specs(spec: ProductSpec) -> list[dg.AssetCheckSpec]:
    """The check at promotion's door."""
    text = "Fresh blessings of exactly this model and data: data, training, quality"
    return [check_spec(spec, "blessed", text, STAGE, blocking=True)]


def results(spec: ProductSpec, words: Sequence[Blessing]) -> list[dg.AssetCheckResult]:
    """The blessings that were verified (without them the asset has failed before), gate by gate."""
    return [
        check_result(
            key_of(spec, STAGE),
            "blessed",
            passed=True,
            observed=", ".join(f"{item.kind} by {item.provenance.asked_by or 'an earlier version'}" for item in words),
            threshold="data, training and quality",
            detail=f"{words[-1].model_id} on split {words[-1].split_id}",
            gates=records_table([row for item in words for row in gate_rows(item.kind, item.gates)]),
        )
    ]


def gate_rows(kind: str, gates: Sequence[Gate]) -> list[dict[str, str | float]]:
    """Gates as rows of a table, in the group they belong to."""
    return [
        {
            "blessing": kind,
            "gate": gate.name,
            "verdict": gate.verdict,
            "observed": gate.observed if isinstance(gate.observed, str) else f"{gate.observed:.4g}",
            "threshold": gate.threshold if isinstance(gate.threshold, str) else f"{gate.threshold:.4g}",
            "in words": gate.detail,
        }
        for gate in gates
    ]
