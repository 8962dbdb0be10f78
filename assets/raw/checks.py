"""Checks of the raw stage: the file contract, the accounting of every row, and the data gate's first two verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets.definitions import check_result, check_spec, key_of, records_table
from assets.naming import RAW
from assets.raw.validate import gate_of, limits_in_words
from assets.records import Batch, DataValidation, SchemaChange
from assets.spec import ProductSpec

_SHOWN, _SHOWN_FINDINGS = 4, 200
_VERDICTS = {
    "anomalies": "Values out of range or far out, rows twice, a sudden count: per batch and column",
    "schema": "Columns and types are those last accepted, and none is suddenly empty",
}


def specs(spec: ProductSpec, *name: str) -> list[dg.AssetCheckSpec]:
    """The checks of one source."""
    return [
        check_spec(spec, "file_contract", "Header and types are the ones of the spec", RAW, *name, blocking=True),
        check_spec(spec, "row_accounting", "Rows in = loaded + quarantined", RAW, *name, blocking=True),
        check_spec(
            spec, "allowed_changes", "Columns that differ from the contract and were let through", RAW, *name,
            blocking=False,
        ),
        check_spec(
            spec, "quarantined_share", "Share of rows that didn't fit their columns", RAW, *name, blocking=False
        ),
        # references are not part of the product's rows, so they have no data blessing
        *(check_spec(spec, verdict, text, RAW, blocking=True) for verdict, text in _VERDICTS.items() if not name),
    ]  # fmt: skip


def results(
    spec: ProductSpec, batches: Sequence[Batch], refusals: Sequence[str], changes: Sequence[SchemaChange], *name: str
) -> list[dg.AssetCheckResult]:
    """The outcome for the batches of a run, the reasons of files that were refused, and changes that were allowed."""
    key = key_of(spec, RAW, *name)
    rows_in = sum(batch.rows_in for batch in batches)
    loaded = sum(batch.rows_loaded for batch in batches)
    quarantined = sum(batch.rows_quarantined for batch in batches)
    share = quarantined / rows_in if rows_in else 0.0
    limit = spec.gates.max_quarantined_share
    skipped = [f"{batch.file_name}: {batch.reason}" for batch in batches if batch.status != "LOADED"]
    accepted = f"{len(batches) - len(skipped)} files accepted"
    shown: dict[str, Any] = (
        {"changes": records_table([item.model_dump(mode="json") for item in changes])} if changes else {}
    )
    said = [f"{item.batch_id}: {item.column} {item.kind}" for item in changes]
    return [
        check_result(
            key,
            "file_contract",
            passed=not refusals,
            observed="; ".join(refusals) or "; ".join([accepted, *skipped]),
            threshold="every file as in the spec",
            detail="\n".join([*refusals, *skipped]),
        ),
        check_result(
            key,
            "allowed_changes",
            passed=not said,
            observed=few(said) or "none",
            threshold=f"columns as in the spec (contract: {(spec.sources[name[0]] if name else spec.source).contract})",
            warn=True,
            **shown,
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


def data_results(
    spec: ProductSpec, validations: Mapping[str, Sequence[DataValidation]], held: Mapping[str, str]
) -> list[dg.AssetCheckResult]:
    """The data gate's verdicts about the batches of a run.

    A held batch stops its run only if every batch of the run is held; else the others go on, and the hold is in its
    blessing, which every later stage asks for.

    Args:
        spec: the product.
        validations: batch of the run -> its newest verdicts.
        held: held batches with the reason.
    """
    all_held = bool(validations) and set(validations) <= set(held)
    return [
        _verdict_result(spec, kind, [item for found in validations.values() for item in found if item.kind == kind],
                        held, stops=all_held)
        for kind in _VERDICTS
    ]  # fmt: skip


def _verdict_result(
    spec: ProductSpec, kind: str, found: Sequence[DataValidation], held: Mapping[str, str], *, stops: bool
) -> dg.AssetCheckResult:
    passed = limits_in_words(spec)[kind]
    bad = [item for item in found if item.verdict != "PASSED"]
    gates = [gate_of(item, passed) for item in bad]
    return check_result(
        key_of(spec, RAW),
        kind,
        passed=not bad,
        observed=few([f"{item.batch_id}: {gate.observed}" for item, gate in zip(bad, gates, strict=True)])
        or f"nothing unusual in {len(found)} {'batch' if len(found) == 1 else 'batches'}",
        threshold=few(list(dict.fromkeys(str(gate.threshold) for gate in gates))) or passed,
        warn=bool(bad) and not (stops and any(item.verdict == "FAILED" and item.batch_id in held for item in bad)),
        detail=said_of(bad, held),
        gate="data",
        **findings_metadata(bad or found[-1:], found),
    )


def few(said: Sequence[str]) -> str:
    """Some sentences as one that can be read."""
    more = f"; and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    return "; ".join(said[:_SHOWN]) + more


def said_of(bad: Sequence[DataValidation], held: Mapping[str, str]) -> str:
    """Which batches did not pass, and whether they go on."""
    kept = sorted({item.batch_id for item in bad if item.batch_id in held})
    on = sorted({item.batch_id for item in bad if item.batch_id not in held})
    return "; ".join(
        [
            *([f"held back: {', '.join(kept)} (docs/validation.md says how to go on)"] if kept else []),
            *([f"goes on: {', '.join(on)} (a warning, or accepted by a person)"] if on else []),
        ]
    )


def findings_metadata(shown: Sequence[DataValidation], all_of_run: Sequence[DataValidation]) -> dict[str, Any]:
    """Verdicts by batch, and the findings of some of them by column, as tables."""
    rows = [{"batch": item.batch_id, **finding.model_dump(mode="json")} for item in shown for finding in item.columns]
    batches = [
        {"batch": item.batch_id, "verdict": item.verdict, "rows": item.rows, "against": item.reference or "nothing yet"}
        for item in all_of_run
    ]
    return {"batches": records_table(batches), "columns": records_table(rows[:_SHOWN_FINDINGS])}
