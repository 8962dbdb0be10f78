"""Checks of the split: no row in two parts, and outcomes about alike in each."""

import dagster as dg

from assets.definitions import check_result, check_spec, key_of
from assets.records import SplitManifest
from assets.spec import ProductSpec
from assets.splits.service import balance_gap

STAGE = "split"


def specs(spec: ProductSpec) -> list[dg.AssetCheckSpec]:
    """The checks of the split."""
    return [
        check_spec(spec, "no_overlap", "Rows that are in more than one part", STAGE, blocking=True),
        check_spec(spec, "balance", "Gap of the outcomes between training and other parts", STAGE, blocking=False),
    ]


def results(spec: ProductSpec, manifest: SplitManifest, overlap: int) -> list[dg.AssetCheckResult]:
    """The outcome for one split."""
    key = key_of(spec, STAGE)
    gap = max(balance_gap(manifest.parts["train"], part)[0] for part in manifest.parts.values())
    return [
        check_result(key, "no_overlap", passed=overlap == 0, observed=overlap, threshold=0),
        check_result(
            key,
            "balance",
            passed=not manifest.warnings,
            observed=gap,
            threshold=spec.split.max_balance_gap,
            warn=True,
            detail="; ".join(manifest.warnings),
        ),
    ]
