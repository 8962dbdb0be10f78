"""Checks of the raw stage: the file contract and the accounting of every row."""

from collections.abc import Sequence

import dagster as dg

from assets.definitions import check_result, check_spec, key_of
from assets.naming import RAW
from assets.records import Batch
from assets.spec import ProductSpec


def specs(spec: ProductSpec, *name: str) -> list[dg.AssetCheckSpec]:
    """The checks of one source."""
    return [
        check_spec(spec, "file_contract", "Header and types are the ones of the spec", RAW, *name, blocking=True),
        check_spec(spec, "row_accounting", "Rows in = loaded + quarantined", RAW, *name, blocking=True),
        check_spec(
            spec, "quarantined_share", "Share of rows that didn't fit their columns", RAW, *name, blocking=False
        ),
    ]


def results(
    spec: ProductSpec, batches: Sequence[Batch], refusals: Sequence[str], *name: str
) -> list[dg.AssetCheckResult]:
    """The outcome for the batches of a run and the reasons of the files that were refused."""
    key = key_of(spec, RAW, *name)
    rows_in = sum(batch.rows_in for batch in batches)
    loaded = sum(batch.rows_loaded for batch in batches)
    quarantined = sum(batch.rows_quarantined for batch in batches)
    share = quarantined / rows_in if rows_in else 0.0
    limit = spec.gates.max_quarantined_share
    return [
        check_result(
            key,
            "file_contract",
            passed=not refusals,
            observed="; ".join(refusals) or f"{len(batches)} files accepted",
            threshold="every file as in the spec",
            detail="\n".join(refusals),
        ),
        check_result(
            key,
            "row_accounting",
            passed=rows_in == loaded + quarantined,
            observed=loaded + quarantined,
            threshold=rows_in,
            detail=f"{rows_in:,} rows in = {loaded:,} loaded + {quarantined:,} quarantined",
        ),
        check_result(key, "quarantined_share", passed=share <= limit, observed=share, threshold=limit, warn=True),
    ]
