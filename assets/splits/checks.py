"""Checks of the split: no row in two parts, and outcomes about equally frequent in each."""

import dagster as dg

from assets.definitions import check_result, check_spec, key_of
from assets.records import SplitManifest
from assets.spec import ProductSpec

STAGE = "split"


def specs(spec: ProductSpec) -> list[dg.AssetCheckSpec]:
    """The checks of the split."""
    return [
        check_spec(spec, "no_overlap", "Rows that are in more than one part", STAGE, blocking=True),
        check_spec(
            spec, "balance", "Gap of the positive share between training and other parts", STAGE, blocking=False
        ),
    ]


def results(spec: ProductSpec, manifest: SplitManifest, overlap: int) -> list[dg.AssetCheckResult]:
    """The outcome for one split."""
    key = key_of(spec, STAGE)
    reference = manifest.parts["train"].positive_share
    gap = max(abs(part.positive_share - reference) for part in manifest.parts.values())
    return [
        check_result(key, "no_overlap", passed=overlap == 0, observed=overlap, threshold=0),
        check_result(
            key,
            "balance",
            passed=gap <= spec.split.max_balance_gap,
            observed=gap,
            threshold=spec.split.max_balance_gap,
            warn=True,
            detail="; ".join(manifest.warnings),
        ),
    ]
