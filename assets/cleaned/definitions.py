"""The dbt assets of a product: its cleaned and feature tables, built and tested by one invocation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, dbt_assets

from assets.cleaned import checks, dbt
from assets.definitions import HomeParam, batches_of, partitions_of, shown_errors, table_metadata
from assets.naming import table
from assets.spec import ProductSpec

_UNIQUE_ID = "dagster_dbt/unique_id"


class StageTranslator(DagsterDbtTranslator):
    """Puts a product's models in its group with its owner; keys come from the models' `meta.dagster.asset_key`."""

    def __init__(self, spec: ProductSpec) -> None:
        super().__init__()
        self.spec = spec

    def get_group_name(self, _dbt_resource_props: Mapping[str, Any]) -> str | None:
        """The product."""
        return self.spec.product

    def get_owners(self, _dbt_resource_props: Mapping[str, Any]) -> Sequence[str]:
        """The product's owner."""
        return [self.spec.owner]

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The model's description and its SQL."""
        sql = dbt_resource_props.get("raw_code", "")
        return f"{dbt_resource_props.get('description', '')}\n\n```sql\n{sql}\n```"


def build(spec: ProductSpec, manifest: dict[str, Any]) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """The dbt assets of a product and the cleaned stage's own checks."""

    @dbt_assets(
        manifest=manifest,
        select=f"staging.{spec.product} marts.{spec.product}",
        name=f"{spec.product}__dbt",
        partitions_def=partitions_of(spec),
        dagster_dbt_translator=StageTranslator(spec),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def dbt_tables(context: dg.AssetExecutionContext, home: HomeParam) -> Iterator[Any]:
        lake = home.lake(spec.product)
        with shown_errors():
            results = dbt.build(lake)
        context.log.info("dbt built %d models and tests for %s", len(results), ", ".join(batches_of(context)))
        with lake.connect() as con:
            yield from _events(
                results,
                manifest,
                dbt_tables,
                describe=lambda node: table_metadata(con, table(node["schema"], node["alias"])),
            )

    # of a database's changes many are about one row: only the newest is in cleaned
    return [dbt_tables] if spec.source.postgres else [dbt_tables, checks.build(spec)]


def _events(
    results: list[dbt.NodeResult],
    manifest: dict[str, Any],
    definition: dg.AssetsDefinition,
    *,
    describe: Callable[[dict[str, Any]], dict[str, Any]],
) -> Iterator[Any]:
    """A materialisation per built model and a check result per test that ran.

    Raises:
        dg.Failure: a model failed; after everything that was built has been reported.
    """
    keys = {spec.metadata[_UNIQUE_ID]: spec.key for spec in definition.specs}
    tests = {spec.metadata[_UNIQUE_ID]: spec for spec in definition.check_specs}
    broken = []
    for result in results:
        if result.unique_id in keys:
            if result.is_success:
                metadata = describe(manifest["nodes"][result.unique_id])
                yield dg.MaterializeResult(keys[result.unique_id], metadata={**metadata, "seconds": result.seconds})
            else:
                broken.append(f"{result.unique_id}: {result.status} {result.message}")
        elif result.unique_id in tests and result.status != "skipped":
            check = tests[result.unique_id]
            yield dg.AssetCheckResult(
                asset_key=check.asset_key,
                check_name=check.name,
                passed=result.is_success,
                severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
                description=result.message or None,
                metadata={"observed": result.failures, "threshold": 0},
            )
    if broken:
        raise dg.Failure(
            description="dbt could not build:\n" + "\n".join(broken) + "\nfix: mend the model named, then run again",
            allow_retries=False,
        )
