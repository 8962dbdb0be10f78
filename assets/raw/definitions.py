"""The raw assets of a product: one per source."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets import blessings, ledger
from assets.definitions import (
    HomeParam,
    batches_of,
    key_of,
    provenance,
    records_table,
    shown_errors,
    stage_asset,
    table_metadata,
)
from assets.errors import HeadraceError
from assets.home import Home
from assets.lake import has_table
from assets.live import read_live
from assets.naming import RAW, table
from assets.raw import checks
from assets.raw.ingest import RefusedFileError, load_file, prepare_raw_table
from assets.raw.landing import REFERENCE_BATCH, find_batch
from assets.raw.validate import bless_batches
from assets.records import Alert, Batch, DataValidation, Provenance
from assets.spec import ProductSpec, SourceSpec


def build(spec: ProductSpec) -> list[dg.AssetsDefinition]:
    """The raw assets: the product's own source, then its references."""
    return [_build_source(spec, name, source) for name, source in spec.sources.items()]


def _build_source(spec: ProductSpec, name: str, source: SourceSpec) -> dg.AssetsDefinition:
    parts = () if name == spec.product else (name,)

    @stage_asset(
        spec,
        RAW,
        *parts,
        description=source.description or f"Rows of {name} as they were delivered.",
        kinds={"duckdb", "csv"},
        deps=[],
        checks=checks.specs(spec, *parts),
        partitioned=source.has_batch,
        skippable=True,
    )
    def raw(context: dg.AssetExecutionContext, home: HomeParam) -> Iterator[Any]:
        keys = batches_of(context) if source.has_batch else [REFERENCE_BATCH]
        batches, refusals = load_batches(home, spec, name, keys)
        if batches or not refusals:
            yield dg.MaterializeResult(key_of(spec, RAW, *parts), metadata=_metadata(home, spec, name, batches))
        yield from checks.results(spec, batches, refusals, *parts)
        if name == spec.product:
            with shown_errors():
                yield from data_gate(home, spec, batches, provenance(context, home))

    return raw


def data_gate(home: Home, spec: ProductSpec, batches: list[Batch], asked: Provenance) -> Iterator[dg.AssetCheckResult]:
    """Judge the batches of a run, bless or hold each, and say so."""
    lake, live = home.lake(spec.product), read_live(home.settings.home, spec.product)
    with lake.connect() as con:
        # also what a run loaded that was killed before this gate: no batch may reach dbt that nobody has judged
        loaded = [item for item in ledger.batches(con, spec.product) if item.status == "LOADED"]
    own = {item.batch_id: item for item in (*loaded, *batches)}
    bless_batches(lake, spec, list(own.values()), champion_id=live.model_id if live else "", provenance=asked)
    with lake.connect() as con:
        # the newest verdict of each kind: a batch is judged again when the rules change
        validations = {
            batch.batch_id: list(
                {
                    item.kind: item
                    for _, item in ledger.records(con, "validations", DataValidation, batch_id=batch.batch_id)
                }.values()
            )
            for batch in batches
        }
        held = blessings.held_batches(con)
    yield from checks.data_results(spec, validations, held)


def load_batches(home: Home, spec: ProductSpec, name: str, keys: list[str]) -> tuple[list[Batch], list[str]]:
    """Load the named batches of a source; what was loaded before costs one look at the ledger.

    Returns:
        the ledger's rows, and the reasons of the files that were refused (each is an alert, too).
    """
    lake, source = home.lake(spec.product), spec.sources[name]
    batches: list[Batch] = []
    refusals: list[str] = []
    prepare_raw_table(lake, name, source)
    with lake.connect() as con:
        known = {batch.batch_id: batch for batch in ledger.batches(con, name) if batch.status == "LOADED"}
    for key in keys:
        path = find_batch(spec, home.landing(spec.product), name, key)
        if path is None:
            if key in known:
                batches.append(known[key])
            elif not known or source.has_batch:
                refusals += _missing_file(home, spec, name, key)
            continue
        try:
            batches.append(load_file(lake, name, source, path, key))
        except RefusedFileError as error:
            reason = error.one_line
            refusals.append(reason)
            alert = Alert(product=spec.product, kind="refused_file", batch_id=key, cause=reason, message=reason)
            lake.transact(lambda con, alert=alert: ledger.append_alerts(con, [alert]))  # type: ignore[misc]
    return batches, refusals


def _missing_file(home: Home, spec: ProductSpec, name: str, key: str) -> list[str]:
    """Why a batch can't go on without this source's file; nothing for an optional reference."""
    source = spec.sources[name]
    if source.optional:
        return []
    what = f"batch {key} of {name}" if source.has_batch else name
    error = HeadraceError(
        f"there is no file for {what}",
        product=spec.product,
        where=str(home.landing(spec.product)),
        expected=source.files,
        fix=f"headrace land {spec.product} FILE"
        + ("" if name == spec.product else f", or say `optional: true` at references.{name} in the spec"),
    )
    return [error.one_line]


def _metadata(home: Home, spec: ProductSpec, name: str, batches: list[Batch]) -> dict[str, Any]:
    columns = ("batch_id", "file_name", "rows_in", "rows_loaded", "rows_quarantined", "sha256")
    with home.lake(spec.product).connect() as con:
        shown = table_metadata(con, table(RAW, name)) if has_table(con, RAW, name) else {}
    return {
        **shown,
        "rows_loaded": sum(batch.rows_loaded for batch in batches),
        "rows_quarantined": sum(batch.rows_quarantined for batch in batches),
        "batches": records_table([{column: getattr(batch, column) for column in columns} for batch in batches]),
    }
