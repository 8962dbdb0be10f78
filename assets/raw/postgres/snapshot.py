"""One consistent picture of a table: a slot, the snapshot that it begins at, and every row of it as one batch.

The slot stands before the rows are read, so each later change is either in the snapshot or behind it in the log.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import polars as pl
from psycopg import sql

from assets.errors import HeadraceError
from assets.home import Home
from assets.kill_points import kill_point
from assets.lake import Lake
from assets.raw.postgres.connection import Connection, opened, postgres_of
from assets.raw.postgres.delivery import Delivery
from assets.raw.postgres.layout import read_layout
from assets.raw.postgres.lsn import lsn_of_batch, text_of_lsn
from assets.raw.postgres.pgoutput import MOST_BYTES, Changes, Messages, copied_rows, read_copied
from assets.raw.postgres.slot import (
    Progress,
    SlotEvent,
    create_slot,
    drop_slot,
    ensure_publication,
    new_slot_name,
    read_progress,
    snapshot_name,
    turn_kept,
    write_event,
)
from assets.raw.postgres.table import Table, inspect
from assets.records import Batch
from assets.spec import ProductSpec

Tell = Callable[[str], None]


def snapshot_to_batch(
    home: Home, spec: ProductSpec, con: Connection, progress: Progress, batch_id: str, tell: Tell
) -> Batch:
    """Load the whole table as a batch, and have the server keep its log from there on.

    Args:
        home: where the lake is.
        spec: the product.
        con: a connection that has its turn (`slot.exclusive`).
        progress: what the lake has; a slot without its snapshot, which a killed process has left, is dropped.
        batch_id: the batch, named by a place in the log that is not behind the snapshot.
        tell: hears how far it is.

    Raises:
        HeadraceError: the table can't be followed, or the contract doesn't allow what is in it.
    """
    if progress.slot:
        drop_slot(con, progress.slot)
    publication = ensure_publication(con, spec, inspect(con, spec))
    name = new_slot_name(spec)
    lake = home.lake(spec.product)
    kill_point("postgres.plan.before")
    write_event(lake, SlotEvent(slot=name, event="planned"))
    kill_point("postgres.plan.after")
    with _dropped_on_error(lake, spec, name), ExitStack() as held:
        # both connections end before the commit: what happens to them behind it is no failure of the load
        with opened(spec, replication=True) as creator:
            lsn, snapshot = create_slot(creator, name)
            _refuse_other_server(spec, progress, batch_id, lsn)
            with opened(spec) as reader, reader.transaction():
                reader.execute("set transaction isolation level repeatable read, read only")
                reader.execute(sql.SQL("set transaction snapshot {}").format(sql.Literal(snapshot)))
                table = inspect(reader, spec)
                layout = read_layout(reader, spec, table)
                write_event(
                    lake, SlotEvent(slot=name, event="created", lsn=lsn, publication=publication, layout=layout)
                )
                kill_point("postgres.created.after")
                delivery = held.enter_context(Delivery(home, spec, table, is_snapshot=True))
                _collect(reader, spec, delivery, lsn, sign=f"{name} {text_of_lsn(lsn)}", progress=progress, tell=tell)
        guard = turn_kept(spec, replace(progress, slot=name), batch_id)
        return delivery.load(batch_id, snapshot_name(spec, name), "postgres.snapshot", guard)


def _collect(
    reader: Connection, spec: ProductSpec, delivery: Delivery, lsn: int, *, sign: str, progress: Progress, tell: Tell
) -> None:
    """Read every row of the table."""
    delivery.sign(sign.encode())
    if progress.has_rows_before:
        # what was known before no longer counts: rows may have been deleted unseen
        delivery.add(Changes((), _marks(1, "truncate", first=1, lsn=lsn, sequence=-1), is_key_alone=True))
    for rows in _chunks(reader, delivery.table, postgres_of(spec).chunk_rows):
        delivery.sign(rows.content)
        delivery.add(_read(rows, delivery.table, delivery.rows + 1, lsn))
        tell(_so_far(delivery.rows, delivery.table))


@contextmanager
def _dropped_on_error(lake: Lake, spec: ProductSpec, slot: str) -> Iterator[None]:
    """A slot without its snapshot is of no use and makes the server keep its log for ever."""
    try:
        yield
    except BaseException:
        with lake.connect() as lake_con:  # a commit may have been done before its acknowledgement was lost
            now = read_progress(lake_con, spec)
        if not (now.has_snapshot and now.slot == slot):
            with suppress(HeadraceError), opened(spec) as con:  # the first connection may be what was lost
                drop_slot(con, slot)
        raise


def _refuse_other_server(spec: ProductSpec, progress: Progress, batch_id: str, lsn: int) -> None:
    if lsn >= max(progress.newest, lsn_of_batch(batch_id) or 0):
        return
    raise HeadraceError(
        "the server's log ends before what was loaded: it is another server, or an older copy",
        product=spec.product,
        where=f"batch {batch_id}",
        expected=f"a place behind {text_of_lsn(progress.newest)}",
        found=text_of_lsn(lsn),
        fix=f"point {postgres_of(spec).connection} at the server that was read from, or start a product of its own",
    )


def _chunks(con: Connection, table: Table, rows: int) -> Iterator[Messages]:
    """The table's rows, so many at a time, as a binary COPY of texts; of an empty table one chunk without any."""
    query = sql.SQL("copy (select {} from {}) to stdout (format binary)").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in table.names),
        sql.SQL(table.only),
    )
    with con.cursor().copy(query) as copy:
        taken: list[bytes] = []
        size = 0
        for block in copy:  # the server sends one row at a time
            taken.append(bytes(block))
            size += len(block)
            if len(taken) >= rows or size >= MOST_BYTES:
                yield Messages(copied_rows(taken))
                taken, size = [], 0
        yield Messages(copied_rows(taken))


def _read(rows: Messages, table: Table, first: int, lsn: int) -> Changes:
    """Rows as changes, all at one place: before the first change of a transaction that was committed just there."""
    values = read_copied(rows, len(table.columns))
    texts = pl.DataFrame({name: values.texts(rows, place) for place, name in enumerate(table.names)})
    marks = _marks(len(rows), "snapshot", first=first, lsn=lsn, sequence=0)
    return Changes(table.columns, texts.hstack(marks), is_key_alone=False)


def _marks(count: int, change: str, *, first: int, lsn: int, sequence: int) -> pl.DataFrame:
    return pl.select(
        headrace_row=pl.int_range(first, first + count, dtype=pl.Int64),
        headrace_change=pl.repeat(change, count),
        headrace_lsn=pl.repeat(lsn, count, dtype=pl.UInt64),
        headrace_sequence=pl.repeat(sequence, count, dtype=pl.Int64),
    )


def _so_far(rows: int, table: Table) -> str:
    return f"{rows:,} rows" + (f" of about {table.about_rows:,}" if table.about_rows > rows else "") + " read"
