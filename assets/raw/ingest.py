"""Load one staged delivery: judged by its content, read in a process of its own, added in one transaction.

Every row goes to the raw table or to quarantine, or the file as a whole is refused and its bytes are kept; the ledger
says which. Where files come from is decided by the caller (`places.py`), what a file means by the reader.
"""

from collections.abc import Callable, Sequence

import duckdb

from assets import ledger
from assets.kill_points import kill_point
from assets.lake import Lake
from assets.raw.commit import (
    OvertakenError,
    Verdict,
    align_table,
    commit_delivery,
    contract_columns,
    judge,
    skip_delivery,
    table_columns,
)
from assets.raw.kept import keep
from assets.raw.landing import REFERENCE_BATCH
from assets.raw.places import Staged
from assets.raw.reader.protocol import QUARANTINE_FILE, RefusedFileError, rows_files
from assets.raw.reading import changes_of, read_staged, reading
from assets.records import Batch
from assets.spec import SourceSpec


def prepare_raw_table(lake: Lake, name: str, source: SourceSpec) -> None:
    """Give a source's raw table the columns of the spec, so that what reads it works before the first file has come.

    Raises:
        HeadraceError: the table has values that don't fit the types of the spec.
    """
    with lake.connect() as con:
        there = table_columns(con, name)
        wanted = contract_columns(con, name, source)
    if not there or any(there.get(column) != kind for column, kind in wanted.items()):
        lake.transact(lambda con: align_table(con, lake.product, name, wanted))


def load_staged(
    lake: Lake,
    name: str,
    source: SourceSpec,
    staged: Staged,
    *,
    file_name: str,
    batch_id: str,
    version_label: str = "",
    guard: Callable[[Sequence[Batch]], None] | None = None,
) -> Batch:
    """Load a staged copy once; the copy is gone afterwards.

    Args:
        lake: the product's lake.
        name: the source; also its raw table.
        source: its contract.
        staged: the copy and its hash.
        file_name: as delivered.
        batch_id: the batch it is; for a register (a source without batches) the content's own hash is used.
        version_label: what the file's name says of its version.
        guard: is given all that the ledger has about the source before each attempt, and may raise to stop it.

    Returns:
        the ledger's row of the delivery; that of the first one when the content was loaded before.

    Raises:
        RefusedFileError: the file as a whole can't be loaded; that is in the ledger, and its bytes are kept.
        HeadraceError: the raw table can't take the contract's columns.
    """
    delivery = Batch(
        source=name,
        batch_id=staged.sha256[:12] if batch_id == REFERENCE_BATCH else batch_id,
        version_label=version_label,
        file_name=file_name,
        sha256=staged.sha256,
        size_bytes=staged.size_bytes,
        status="LOADED",
        loaded_at=ledger.now(),
    )
    try:
        while True:
            with lake.connect() as con:
                written = ledger.deliveries(con, name)
            if guard:
                guard(written)
            verdict = judge(written, delivery, is_register=not source.has_batch)
            if verdict.kind == "known" and verdict.batch:
                return verdict.batch
            try:
                if verdict.kind == "duplicate":
                    return skip_delivery(lake, delivery, is_register=not source.has_batch)
                return _load(lake, source, staged, delivery, verdict)
            except OvertakenError:
                continue
    finally:
        staged.path.unlink(missing_ok=True)


def _load(lake: Lake, source: SourceSpec, staged: Staged, delivery: Batch, verdict: Verdict) -> Batch:
    update = {"version": verdict.version, "status": "LOADED"}
    if verdict.kind == "late":
        reason = f"another file of batch {delivery.batch_id} has the greater version or name and counts: kept beside it"
        update |= {"status": "SUPERSEDED", "reason": reason}
    batch = delivery.model_copy(update=update)
    with reading(lake) as folder:
        try:
            report = read_staged(lake, source, batch, staged.path, folder)
        except RefusedFileError as error:
            raise _refuse(lake, batch, staged, error) from None
        kill_point("ingest.read.after")
        if report.rows_quarantined:
            keep(lake.settings, lake.product, staged.path, staged.sha256)
            kill_point("ingest.kept.after")
        counts = {name: getattr(report, name) for name in ("rows_in", "rows_loaded", "rows_quarantined")}
        return commit_delivery(
            lake,
            batch.model_copy(update=counts),
            rows_files(folder),
            folder / QUARANTINE_FILE if report.rows_quarantined else None,
            report.columns,
            changes_of(batch, report),
            is_register=not source.has_batch,
            is_evolving=source.contract == "evolve",
        )


def _refuse(lake: Lake, batch: Batch, staged: Staged, error: RefusedFileError) -> RefusedFileError:
    """Keep the bytes, write the refusal down once, and give the error its place."""
    refusal = RefusedFileError(
        error.what,
        product=lake.product,
        where=f"{batch.file_name}{': ' + error.where if error.where else ''}",
        expected=error.expected,
        found=error.found,
        fix=error.fix,
    )
    refused = batch.model_copy(update={"status": "REFUSED", "reason": refusal.one_line, "version": 1})
    keep(lake.settings, lake.product, staged.path, staged.sha256)
    kill_point("ingest.refused.kept")

    def work(con: duckdb.DuckDBPyConnection) -> None:
        same = (refused.sha256, refused.file_name, refused.reason)
        of_name = [item for item in ledger.deliveries(con, batch.source) if item.file_name == batch.file_name]
        if not of_name or (of_name[-1].sha256, of_name[-1].file_name, of_name[-1].reason) != same:
            ledger.append_batch(con, refused)

    lake.transact(work)
    kill_point("ingest.refused.after")
    return refusal
