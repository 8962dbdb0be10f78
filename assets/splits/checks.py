"""Checks of the split: no row in two parts, none there twice under another key, outcomes about alike in each."""

import dagster as dg

from assets.definitions import check_result, check_spec, gate_results, key_of
from assets.records import SplitManifest
from assets.spec import ProductSpec
from assets.splits.identical import Identical, identical_gate
from assets.splits.service import balance_gap

STAGE = "split"


def specs(spec: ProductSpec) -> list[dg.AssetCheckSpec]:
    """The checks of the split."""
    blocks = spec.gates.training.identical_severity == "block"
    return [
        check_spec(spec, "no_overlap", "Rows that are in more than one part", STAGE, blocking=True),
        check_spec(spec, "balance", "Gap of the outcomes between training and other parts", STAGE, blocking=False),
        check_spec(
            spec,
            "identical_rows",
            "Rows of validation and test that equal a training row in all inputs and the label. Features that are "
            "known after the event, or that alone predict too well, are found by point_in_time and leak of the "
            "features",
            STAGE,
            blocking=blocks,
        ),
    ]


def results(
    spec: ProductSpec, manifest: SplitManifest, overlap: int, identical: Identical
) -> list[dg.AssetCheckResult]:
    """The outcome for one split.

    Args:
        spec: the product.
        manifest: the split.
        overlap: rows that are in more than one part.
        identical: as `identical_rows` counts them.
    """
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
        *gate_results(key, [identical_gate(spec, identical)], gate="training"),
    ]
