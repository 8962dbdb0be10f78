"""What the thin Dagster wrappers of all stages share: keys, partitions, metadata, and how an error is shown.

A wrapper reads, calls one pure function, writes and returns metadata; nothing here knows a stage.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
import duckdb

from assets.errors import HeadraceError
from assets.home import Home
from assets.naming import asset_key, op_name, partitions_name
from assets.provenance import asked_by, provenance_of
from assets.records import Gate, Provenance
from assets.spec import ProductSpec

HomeParam = dg.ResourceParam[Home]

_GATES = {
    "raw": "Data",
    "cleaned": "Data",
    "features": "Data",
    "split": "Training",
    "candidates": "Training",
    "evaluation": "Quality",
    "bento": "Infrastructure",
}


def partitions_of(spec: ProductSpec) -> dg.DynamicPartitionsDefinition:
    """A product's partitions: one per batch, added as batches land."""
    return dg.DynamicPartitionsDefinition(name=partitions_name(spec.product))


def key_of(spec: ProductSpec, stage: str, *name: str) -> dg.AssetKey:
    """The asset key of a stage."""
    return dg.AssetKey(asset_key(spec.product, stage, *name))


def stage_asset(
    spec: ProductSpec,
    stage: str,
    *name: str,
    description: str,
    kinds: set[str],
    deps: Sequence[dg.AssetKey],
    checks: Sequence[dg.AssetCheckSpec],
    partitioned: bool = True,
    skippable: bool = False,
    one_run_per_batch: bool = False,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """The decorator of a stage's asset: key, group, owner, partitions and checks all in one way.

    A skippable stage may yield only a failed check: then nothing is recorded as materialised.
    """
    return dg.multi_asset(
        name=op_name(spec.product, stage, *name),
        specs=[
            dg.AssetSpec(
                key_of(spec, stage, *name),
                deps=deps,
                description=description,
                group_name=spec.product,
                owners=[spec.owner],
                kinds=kinds,
                skippable=skippable,
            )
        ],
        check_specs=checks,
        partitions_def=partitions_of(spec) if partitioned else None,
        # tables take many batches in one run, as what they cost is mostly the start; models are "as of" one batch
        backfill_policy=dg.BackfillPolicy.multi_run(1) if one_run_per_batch else dg.BackfillPolicy.single_run(),
    )


def check_spec(
    spec: ProductSpec, name: str, description: str, stage: str, *parts: str, blocking: bool
) -> dg.AssetCheckSpec:
    """One check of a stage; its description begins with the gate that it belongs to."""
    gate = f"{_GATES[stage]} gate: " if stage in _GATES else ""
    return dg.AssetCheckSpec(
        name=name, asset=key_of(spec, stage, *parts), description=f"{gate}{description}", blocking=blocking
    )


def check_result(
    key: dg.AssetKey,
    name: str,
    *,
    passed: bool,
    observed: Any,
    threshold: Any,
    warn: bool = False,
    detail: str = "",
    **metadata: Any,
) -> dg.AssetCheckResult:
    """A check's outcome with what was observed and its threshold."""
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR,
        description=detail or None,
        metadata={"observed": observed, "threshold": threshold, **metadata},
    )


def gate_results(
    key: dg.AssetKey, gates: Sequence[Gate], *, gate: str, plots: Mapping[str, str] | None = None
) -> list[dg.AssetCheckResult]:
    """Gates as check results of the same names.

    Args:
        key: the asset.
        gates: what was found.
        gate: the group they are shown in: data, training, quality or infrastructure.
        plots: gate name -> the picture, as markdown, that explains it.
    """
    return [
        check_result(
            key,
            item.name,
            passed=item.verdict == "PASSED",
            observed=item.observed,
            threshold=item.threshold,
            warn=item.verdict == "WARNED",
            detail=item.detail,
            gate=gate,
            **({"plot": dg.MetadataValue.md(plots[item.name])} if plots and item.name in plots else {}),
        )
        for item in gates
    ]


def batch_of(context: Any) -> str:
    """The batch of a run: from split on, a stage means "as of this batch"."""
    return batches_of(context)[-1]


def batches_of(context: Any) -> list[str]:
    """The batches of a run, sorted."""
    tags = context.run.tags
    if "dagster/asset_partition_range_start" in tags or "dagster/partition" not in tags:
        return sorted(context.partition_keys)
    return [tags["dagster/partition"]]


def provenance(context: Any, home: Home) -> Provenance:
    """By which code and at whose word a run goes."""
    return provenance_of(home.settings, asked_by(context.run.tags))


@contextmanager
def shown_errors() -> Iterator[None]:
    """Turn a mistake that a user can mend into a failure whose text is the message, without retries."""
    try:
        yield
    except HeadraceError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None


def table_metadata(con: duckdb.DuckDBPyConnection, qualified: str) -> dict[str, Any]:
    """Row count and column schema of a lake table, as the UI shows them."""
    columns = con.execute(f"describe {qualified}").fetchall()
    count = con.execute(f"select count(*) from {qualified}").fetchone() or (0,)
    return {
        "dagster/row_count": int(count[0]),
        "dagster/column_schema": dg.TableSchema([dg.TableColumn(name, kind) for name, kind, *_ in columns]),
        "dagster/table_name": qualified.replace('"', ""),
    }


def records_table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Rows as a table that the UI shows in place."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    shown = [{name: _cell(row.get(name)) for name in names} for row in rows]
    types = {name: "float" if any(isinstance(row[name], float) for row in shown) else "string" for name in names}
    return dg.MetadataValue.table(
        [dg.TableRecord(row) for row in shown],
        dg.TableSchema([dg.TableColumn(name, types[name]) for name in names]),
    )


def _cell(value: Any) -> str | int | float | bool:
    if isinstance(value, float):
        return round(value, 5)
    return value if isinstance(value, str | int | bool) else ("" if value is None else str(value))
