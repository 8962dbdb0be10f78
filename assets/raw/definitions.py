"""The raw assets of a product: one per source."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from assets.lake import Lake, has_table
from assets.live import read_live
from assets.naming import RAW, table
from assets.raw import checks
from assets.raw.ingest import load_staged, prepare_raw_table
from assets.raw.landing import REFERENCE_BATCH
from assets.raw.places import LandedFile, NotWholeError, files_of, stage
from assets.raw.postgres.batches import load_batch
from assets.raw.quarantine import as_asset, how_to_mend, waiting
from assets.raw.reader.protocol import RefusedFileError
from assets.raw.validate import bless_batches
from assets.records import Alert, Batch, DataValidation, Provenance
from assets.spec import ProductSpec, SourceSpec

QUARANTINE = "quarantine"
_LOG = logging.getLogger(__name__)


def build(spec: ProductSpec) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The raw assets: the product's own source, its references, and what is in quarantine of all of them."""
    return [*(_build_source(spec, name, source) for name, source in spec.sources.items()), _quarantine(spec)]


def _quarantine(spec: ProductSpec) -> dg.AssetSpec:
    """What arrived and is not loaded. Loading reports it, so that it is seen also when a blocking check stops a run."""
    return dg.AssetSpec(
        key_of(spec, RAW, QUARANTINE),
        deps=[key_of(spec, RAW, *(() if name == spec.product else (name,))) for name in spec.sources],
        description=f"Rows and files that arrived and are not loaded, with their reasons: headrace quarantine "
        f"{spec.product} lists them. To load them, {how_to_mend(spec)}.",
        group_name=spec.product,
        owners=[spec.owner],
        kinds={"duckdb"},
    )


def quarantine_event(lake: Lake, spec: ProductSpec) -> dg.AssetMaterialization:
    """What is in quarantine now, as the UI shows it."""
    with lake.connect() as con:
        shown = as_asset(waiting(con, spec), spec)
    metadata = {**shown, "by_reason": records_table(shown["by_reason"])}
    return dg.AssetMaterialization(key_of(spec, RAW, QUARANTINE), metadata=metadata)


def _build_source(spec: ProductSpec, name: str, source: SourceSpec) -> dg.AssetsDefinition:
    parts = () if name == spec.product else (name,)

    @stage_asset(
        spec,
        RAW,
        *parts,
        description=source.description or f"Rows of {name} as they were delivered.",
        kinds={"duckdb", *_kinds(source)},
        deps=[],
        checks=checks.specs(spec, *parts),
        partitioned=source.has_batch,
        skippable=True,
    )
    def raw(context: dg.AssetExecutionContext, home: HomeParam) -> Iterator[Any]:
        keys = batches_of(context) if source.has_batch else [REFERENCE_BATCH]
        batches, refusals = load_batches(home, spec, name, keys, tell=context.log.info)
        context.log_event(quarantine_event(home.lake(spec.product), spec))
        if batches or not refusals:
            yield dg.MaterializeResult(key_of(spec, RAW, *parts), metadata=_metadata(home, spec, name, batches))
        with home.lake(spec.product).connect() as con:
            changes = ledger.schema_changes(con, batches)
        yield from checks.results(spec, batches, refusals, changes, *parts)
        if name == spec.product:
            with shown_errors():
                yield from data_gate(home, spec, batches, provenance(context, home))

    return raw


def _kinds(source: SourceSpec) -> set[str]:
    """What the UI's tags say about where rows come from."""
    if source.postgres is not None:
        return {"postgres"}
    kind = "csv" if source.format == "auto" else source.format
    return {kind, *(["s3"] if source.location else [])}


def data_gate(home: Home, spec: ProductSpec, batches: list[Batch], asked: Provenance) -> Iterator[dg.AssetCheckResult]:
    """Judge the batches of a run, bless or hold each, and say so."""
    lake, live = home.lake(spec.product), read_live(home.settings.home, spec.product)
    with lake.connect() as con:
        # also what a run loaded that was killed before this gate: no batch may reach dbt that nobody has judged
        loaded = [item for item in ledger.batches(con, spec.product) if item.status == "LOADED"]
    batches = [item for item in batches if item.status == "LOADED"]
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


def load_batches(
    home: Home, spec: ProductSpec, name: str, keys: list[str], *, tell: Callable[[str], None] = _LOG.info
) -> tuple[list[Batch], list[str]]:
    """Load the named batches of a source; what was loaded before costs one look at the ledger.

    Args:
        home: the installation.
        spec: the product.
        name: the source.
        keys: its batches.
        tell: hears how far the snapshot of a table is.

    Returns:
        the ledger's rows (of a duplicate the row that says so), and the reasons of the files that were refused; each
        of these is an alert, too, and so is each correction.
    """
    lake, source = home.lake(spec.product), spec.sources[name]
    found: list[Batch] = []
    refusals: list[str] = []
    if source.postgres is None:
        prepare_raw_table(lake, name, source)
    with lake.connect() as con:
        known = {batch.batch_id: batch for batch in ledger.batches(con, name) if batch.status == "LOADED"}
    for key in keys:
        if source.postgres is not None:
            try:
                found.append(load_batch(home, spec, key, tell=tell))
            except HeadraceError as error:
                refusals.append(error.one_line)
            continue
        files = files_of(home, spec, name, key)
        if not files:
            if key in known:
                found.append(known[key])
            elif not known or source.has_batch:
                refusals += _missing_file(home, spec, name, key)
        batches, refused = _load_files(home, spec, source, files)
        refusals += refused
        # of several files of a batch the one that counts, else what was said of the last
        found += [item for item in batches if item.status == "LOADED"][-1:] or batches[-1:]
        _tell_corrections(lake, spec, [item for item in batches if item.version > 1 and item.status == "LOADED"], known)
    return found, refusals


def _load_files(
    home: Home, spec: ProductSpec, source: SourceSpec, files: Sequence[LandedFile]
) -> tuple[list[Batch], list[str]]:
    """Load files of one batch in their order, and say which were refused."""
    lake = home.lake(spec.product)
    batches: list[Batch] = []
    refusals: list[str] = []
    alerts: list[Alert] = []
    for file in files:
        try:
            batches.append(
                load_staged(
                    lake, file.source, source, stage(file, lake.staging),
                    file_name=file.name, batch_id=file.batch_id, version_label=file.version_label,
                )
            )  # fmt: skip
        except RefusedFileError as error:
            reason = error.one_line
            refusals.append(reason)
            alerts.append(
                Alert(
                    product=spec.product, kind="refused_file", batch_id=file.batch_id, cause=reason, message=reason
                )
            )  # fmt: skip
        except NotWholeError as error:
            refusals.append(error.one_line)
    if alerts:
        lake.transact(lambda con: ledger.append_alerts(con, alerts))
    return batches, refusals


def _tell_corrections(lake: Lake, spec: ProductSpec, corrections: Sequence[Batch], before: Mapping[str, Batch]) -> None:
    """An alert for each correction: what it replaces, and which batches and model are stale since."""
    alerts = []
    for item in corrections:
        former = before.get(item.batch_id)
        if former is None or former.content_id == item.content_id:
            continue
        later = sorted(name for name in before if name > item.batch_id)
        message = (
            f"{item.source} {item.batch_id} was corrected: {item.file_name} (version {item.version}, "
            f"{item.rows_loaded:,} rows) replaces {former.file_name} (version {former.version}, "
            f"{former.rows_loaded:,} rows)"
        )
        stale = f"; stale until built again: {', '.join([item.batch_id, *later])}" if later else ""
        alerts.append(
            Alert(
                product=spec.product, kind="correction", batch_id=item.batch_id,
                cause=f"{item.source} {item.content_id}", message=message + stale,
            )
        )  # fmt: skip
    if alerts:
        lake.transact(lambda con: ledger.append_alerts(con, alerts))


def _missing_file(home: Home, spec: ProductSpec, name: str, key: str) -> list[str]:
    """Why a batch can't go on without this source's file; nothing for an optional reference."""
    source = spec.sources[name]
    if source.optional:
        return []
    what = f"batch {key} of {name}" if source.has_batch else name
    error = HeadraceError(
        f"there is no file for {what}",
        product=spec.product,
        where=source.location or str(home.landing(spec.product)),
        expected=source.files,
        fix=f"headrace land {spec.product} FILE"
        + ("" if name == spec.product else f", or say `optional: true` at references.{name} in the spec"),
    )
    return [error.one_line]


def _metadata(home: Home, spec: ProductSpec, name: str, batches: list[Batch]) -> dict[str, Any]:
    columns = ("batch_id", "version", "file_name", "status", "rows_in", "rows_loaded", "rows_quarantined", "sha256")
    with home.lake(spec.product).connect() as con:
        shown = table_metadata(con, table(RAW, name)) if has_table(con, RAW, name) else {}
    return {
        **shown,
        "rows_loaded": sum(batch.rows_loaded for batch in batches),
        "rows_quarantined": sum(batch.rows_quarantined for batch in batches),
        "batches": records_table([{column: getattr(batch, column) for column in columns} for batch in batches]),
    }
