"""Checks of promotion: the quality blessing is there, and about exactly this model and data."""

import dagster as dg

from assets.definitions import check_result, check_spec, key_of
from assets.records import Blessing
from assets.spec import ProductSpec

STAGE = "promotion"


def specs(spec: ProductSpec) -> list[dg.AssetCheckSpec]:
    """The check at promotion's door."""
    return [
        check_spec(spec, "blessed", "A fresh quality blessing of exactly this model and data", STAGE, blocking=True)
    ]


def results(spec: ProductSpec, blessing: Blessing) -> list[dg.AssetCheckResult]:
    """The blessing that was verified (without one the asset has failed before)."""
    return [
        check_result(
            key_of(spec, STAGE),
            "blessed",
            passed=blessing.verdict == "BLESSED",
            observed=blessing.verdict,
            threshold="BLESSED",
            detail=f"{blessing.model_id} on split {blessing.split_id}",
        )
    ]
