"""Read what waits in quarantine again, with today's spec, and load what passes: exactly once, wherever it is killed.

Rows go to the delivery that they came with, under the numbers they have in its file; a refused file is loaded as if it
had just landed. What waits is said in `quarantine.py`.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import duckdb

from assets import ledger
from assets.errors import HeadraceError
from assets.home import Home
from assets.kill_points import kill_point
from assets.lake import Lake
from assets.naming import RAW, literal, quoted, table
from assets.raw import quarantine
from assets.raw.commit import align_table
from assets.raw.ingest import load_staged
from assets.raw.kept import forget, kept, kept_contents
from assets.raw.landing import REFERENCE_BATCH
from assets.raw.places import LandedFile, Staged, files_of, stage
from assets.raw.reader.protocol import QUARANTINE_FILE, ReadReport, rows_files, rows_sql
from assets.raw.reading import changes_of, read_staged, reading
from assets.records import Batch
from assets.settings import Settings
from assets.spec import ProductSpec, SourceSpec

_LEFT_OVER_SECONDS = 24 * 3600
_OF_DELIVERY = "source = $source and batch_id = $batch_id and delivery_id = $delivery_id"


@dataclass(frozen=True)
class Replayed:
    """What became of one delivery.

    Args:
        kind: whether rows of a loaded file were read again, or a file that had been refused.
        outcome: `loaded`: nothing of it waits any more; `partly`: some rows do; `waits`: nothing passed;
            `replaced`: another delivery of the batch counts by now, so there was nothing to do.
        rows_loaded: by this replay.
        rows_waiting: in quarantine now; of a file that is still refused none.
        why: it still waits.
        rows_differ: of those loaded before, how many today's spec would read otherwise; they stay as they are.
    """

    source: str
    batch_id: str
    file_name: str
    kind: Literal["rows", "file"]
    outcome: Literal["loaded", "partly", "waits", "replaced"]
    rows_loaded: int = 0
    rows_waiting: int = 0
    why: str = ""
    rows_differ: int = 0


class _ReplacedError(Exception):
    """Another delivery of the batch counts by now."""


def to_replay(lake: Lake, spec: ProductSpec, batch_id: str = "") -> list[Batch]:
    """Deliveries of which something waits, in the order to replay them: a file that came later counts in the end.

    Args:
        lake: the product's lake.
        spec: the product.
        batch_id: only of this batch; of all when empty.
    """
    with lake.connect() as con:
        found = quarantine.waiting(con, spec)
    return [item for item in (*found.deliveries, *found.files) if batch_id in ("", item.batch_id)]


def replay(home: Home, spec: ProductSpec, delivery: Batch) -> Replayed:
    """Read a delivery again and load what passes now; a second call loads nothing more.

    Args:
        home: where lake and kept bytes are.
        spec: as it is today.
        delivery: one of `to_replay`.
    """
    is_file = delivery.status == "REFUSED"
    try:
        source = _source_of(spec, delivery)
        with _again(home, spec, delivery) as staged:
            work = _replay_file if is_file else _replay_rows
            return work(home.lake(spec.product), spec, source, delivery, staged)
    except _ReplacedError:
        return _result(delivery, "replaced", why="another delivery of the batch counts by now")
    except HeadraceError as error:
        return _result(delivery, "waits", rows_waiting=delivery.rows_quarantined, why=error.one_line)


def forget_loaded(lake: Lake) -> int:
    """Remove kept bytes of which everything is loaded by now; says of how many contents.

    Bytes of a delivery that was replaced while something of it waited stay: nothing else has its rows as they came.
    What the ledger doesn't know is being loaded, unless it is a day old: then the load was killed and never repeated.
    """
    settings, product = lake.settings, lake.product
    if not kept_contents(settings, product):
        return 0
    with lake.write_lock():
        with lake.connect() as con:
            written = ledger.deliveries(con)
        refused = {item.sha256 for item in ledger.current_batches(written) if item.status == "REFUSED"}
        last = {(item.source, item.batch_id, item.delivery_id): item for item in written if item.rows_in}
        open_rows = {item.sha256 for item in last.values() if item.rows_quarantined}
        known = {item.sha256 for item in written}
        contents = kept_contents(settings, product)
        done = [
            *(sha256 for sha256 in contents if sha256 in known - refused - open_rows),
            *(sha256 for sha256 in contents if sha256 not in known and _is_left_over(settings, product, sha256)),
        ]
        for sha256 in done:
            kill_point("replay.forget.before")
            forget(settings, product, sha256)
    return len(done)


def _is_left_over(settings: Settings, product: str, sha256: str) -> bool:
    place = kept(settings, product, sha256)
    return place is not None and time.time() - place.stat().st_ctime > _LEFT_OVER_SECONDS


def _result(
    delivery: Batch,
    outcome: Literal["loaded", "partly", "waits", "replaced"],
    *,
    rows_loaded: int = 0,
    rows_waiting: int = 0,
    why: str = "",
    rows_differ: int = 0,
) -> Replayed:
    return Replayed(
        delivery.source,
        delivery.batch_id,
        delivery.file_name,
        "file" if delivery.status == "REFUSED" else "rows",
        outcome,
        rows_loaded,
        rows_waiting,
        why,
        rows_differ,
    )


def _source_of(spec: ProductSpec, delivery: Batch) -> SourceSpec:
    source = spec.sources.get(delivery.source)
    if source is None:
        raise HeadraceError(
            "the spec has no such source any more",
            product=spec.product,
            where=delivery.source,
            fix="put the source back into the spec, or leave what waits where it is",
        )
    if source.postgres is not None:
        raise HeadraceError(
            "rows of a database table are not kept as a file", product=spec.product, fix=quarantine.how_to_mend(spec)
        )
    return source


@contextmanager
def _again(home: Home, spec: ProductSpec, delivery: Batch) -> Iterator[Staged]:
    """A fresh copy of a delivery's bytes: of those that were kept, or of a landed file that still has them.

    Raises:
        HeadraceError: nobody has these bytes any more.
    """
    staging = home.lake(spec.product).staging
    for file in _candidates(home, spec, delivery):
        staged = stage(file, staging)
        try:
            if staged.sha256 == delivery.sha256:
                yield staged
                return
        finally:
            staged.path.unlink(missing_ok=True)
    raise HeadraceError(
        "the bytes of this delivery are not on this machine",
        product=spec.product,
        where=quarantine.visible(delivery.file_name, one_line=True),
        expected=f"content with SHA-256 {delivery.sha256[:12]}…",
        fix="land the same file again, or run this where it was loaded",
    )


def _candidates(home: Home, spec: ProductSpec, delivery: Batch) -> Iterator[LandedFile]:
    place = kept(home.settings, spec.product, delivery.sha256)
    if place:
        status = place.stat()
        yield LandedFile(
            place.name, delivery.source, delivery.batch_id, delivery.version_label, status.st_size,
            status.st_mtime_ns, "", str(place.parent),
        )  # fmt: skip
    batch_id = delivery.batch_id if spec.sources[delivery.source].has_batch else REFERENCE_BATCH
    for file in files_of(home, spec, delivery.source, batch_id):
        if file.size_bytes == delivery.size_bytes:
            yield file


def _replay_file(lake: Lake, spec: ProductSpec, source: SourceSpec, refused: Batch, staged: Staged) -> Replayed:
    """Load a refused file unless its batch has a later delivery; that is asked before each attempt."""

    def guard(written: Sequence[Batch]) -> None:
        same = (refused.file_name, refused.sha256)
        if same not in [(item.file_name, item.sha256) for item in quarantine.refused(spec, written)]:
            raise _ReplacedError

    batch = load_staged(
        lake,
        refused.source,
        source,
        staged,
        file_name=refused.file_name,
        batch_id=refused.batch_id,
        version_label=refused.version_label,
        guard=guard,
    )
    if batch.status == "DUPLICATE":
        return _result(refused, "replaced", why=batch.reason)
    return _result(
        refused,
        "partly" if batch.rows_quarantined else "loaded",
        rows_loaded=batch.rows_loaded,
        rows_waiting=batch.rows_quarantined,
        why=_rows_why(lake, spec, batch),
    )


def _replay_rows(lake: Lake, spec: ProductSpec, source: SourceSpec, delivery: Batch, staged: Staged) -> Replayed:
    with reading(lake) as folder:
        report = read_staged(lake, source, delivery, staged.path, folder)
        kill_point("replay.read.after")
        if report.rows_in != delivery.rows_in:
            raise HeadraceError(
                "as the spec is now, the file has another number of rows, so theirs in quarantine can't be found in it",
                product=spec.product,
                where=quarantine.visible(delivery.file_name, one_line=True),
                expected=f"{delivery.rows_in} rows",
                found=f"{report.rows_in}",
                fix="give `csv:` its former delimiter, quote and header, or have the file delivered corrected",
            )

        def work(con: duckdb.DuckDBPyConnection) -> tuple[int, int, Batch]:
            return _move(con, lake, spec, delivery, report, folder)

        loaded, differing, batch = lake.transact(work)
    kill_point("replay.commit.after")
    waits = batch.rows_quarantined
    return _result(
        delivery,
        "loaded" if not waits else "partly" if loaded else "waits",
        rows_loaded=loaded,
        rows_waiting=waits,
        why=_rows_why(lake, spec, batch),
        rows_differ=differing,
    )


def _move(
    con: duckdb.DuckDBPyConnection, lake: Lake, spec: ProductSpec, delivery: Batch, report: ReadReport, folder: Path
) -> tuple[int, int, Batch]:
    """Move the rows that pass now from quarantine to raw, and count them; all in the caller's transaction.

    Returns:
        rows moved, rows loaded before that would be read otherwise now, and the delivery as it is now.

    Raises:
        _ReplacedError: the delivery is not the one that counts any more.
    """
    written = ledger.deliveries(con, delivery.source)
    now = next((item for item in quarantine.counting(spec, written) if item.batch_id == delivery.batch_id), None)
    if now is None or (now.delivery_id, now.version) != (delivery.delivery_id, delivery.version):
        raise _ReplacedError
    names = {"source": now.source, "batch_id": now.batch_id, "delivery_id": now.delivery_id}
    target, waiting = table(RAW, now.source), table(RAW, "quarantine")
    read = rows_sql(rows_files(folder))
    align_table(con, lake.product, now.source, report.columns)
    differing = _differing(con, now, report, folder)
    kill_point("replay.rows.before")
    moved = _count(
        con,
        f"insert into {target} by name select * from {read} "
        f"where row_number in (select row_number from {waiting} where {_OF_DELIVERY})",
        names,
    )
    kill_point("replay.rows.after")
    removed = _count(
        con, f"delete from {waiting} where {_OF_DELIVERY} and row_number in (select row_number from {read})", names
    )
    kill_point("replay.quarantine.after")
    if report.rows_quarantined:
        _say_new_reasons(con, names, folder / QUARANTINE_FILE)
    kill_point("replay.reasons.after")
    if moved != removed:
        raise AssertionError(f"{moved} rows loaded, but {removed} taken from quarantine")
    if not moved:
        return 0, differing, now
    after = now.model_copy(
        update={
            "rows_loaded": now.rows_loaded + moved,
            "rows_quarantined": now.rows_quarantined - moved,
            # later than the row it follows, whatever the clock of this machine says
            "loaded_at": max(ledger.now(), now.loaded_at + timedelta(microseconds=1)),
        }
    )
    ledger.append_batch(con, after)
    for change in changes_of(after, report):
        ledger.append_once(con, "schema_changes", change.change_id, after.batch_id, change)
    kill_point("replay.commit.before")
    return moved, differing, after


def _say_new_reasons(con: duckdb.DuckDBPyConnection, names: dict[str, str], bad: Path) -> None:
    """Give rows that still don't pass the reason they have now."""
    said = ("column_name", "expected", "found", "raw_text")
    con.execute(
        f"""update {table(RAW, "quarantine")} as waiting set {", ".join(f"{name} = now.{name}" for name in said)}
        from read_parquet({literal(str(bad))}) as now
        where waiting.source = $source and waiting.batch_id = $batch_id and waiting.delivery_id = $delivery_id
            and waiting.row_number = now.row_number
            and ({" or ".join(f"waiting.{name} is distinct from now.{name}" for name in said)})""",
        names,
    )


def _differing(con: duckdb.DuckDBPyConnection, delivery: Batch, report: ReadReport, folder: Path) -> int:
    """How many of the delivery's loaded rows would be read otherwise today, or not at all."""
    was, now = (
        ", ".join(f"{side}.{quoted(column)}" for column in (*report.columns, "headrace_rescued"))
        for side in ("was", "now")
    )
    row = con.execute(
        f"""select count(*) from {table(RAW, delivery.source)} as was
        left join {rows_sql(rows_files(folder))} as now using (row_number)
        where was.batch_id = ? and was.headrace_delivery = ? and row({was}) is distinct from row({now})""",
        [delivery.batch_id, delivery.delivery_id],
    ).fetchone()
    return int(row[0]) if row else 0


def _count(con: duckdb.DuckDBPyConnection, statement: str, names: dict[str, str]) -> int:
    row = con.execute(statement, names).fetchone()
    return int(row[0]) if row else 0


def _rows_why(lake: Lake, spec: ProductSpec, batch: Batch) -> str:
    """For what reasons rows of a delivery still wait."""
    if not batch.rows_quarantined:
        return ""
    with lake.connect() as con:
        found = quarantine.waiting(con, spec).of_batch(batch.batch_id)
    return "; ".join(f"{item.rows:,} rows {item.reason}" for item in found.rows if item.source == batch.source)
