"""Changes of a table from its slot: which batch waits, and that batch, loaded exactly once.

The slot is only looked at (peek); it is advanced after the batch is in the ledger. What a look shows again is known by
where its transaction was committed.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from assets.errors import HeadraceError
from assets.home import Home
from assets.lake import Lake
from assets.naming import quoted
from assets.raw.postgres.connection import Connection, postgres_of, when_free
from assets.raw.postgres.delivery import Delivery
from assets.raw.postgres.lsn import batch_of_lsn, require_lsn, text_of_lsn
from assets.raw.postgres.pgoutput import (
    MOST_BYTES,
    Decoder,
    Messages,
    ProtocolError,
    UnchangedValueError,
    truncated_relations,
)
from assets.raw.postgres.slot import (
    Progress,
    SlotEvent,
    advance,
    check_layout,
    check_publication,
    check_slot,
    log_end,
    publication_name,
    turn_kept,
    write_event,
)
from assets.raw.postgres.table import Table, inspect, table_name
from assets.records import Batch
from assets.spec import ProductSpec

_LOG = logging.getLogger(__name__)
Cursor = psycopg.ServerCursor[TupleRow]

# messages fetched at a time
_MESSAGES = 500
# log without a change of the table that the server keeps for us before we let it go
_IDLE_BYTES = 16 << 20

_PEEK = (
    "pg_logical_slot_peek_binary_changes({slot}, {upto}, {most}, 'proto_version', '1', 'publication_names', {names})"
)
# of each transaction its end and which tables it changed, in the order of the log
_LOOK = """
with message as (
    select number, data, get_byte(data, 0) as kind from {peek} with ordinality as peeked (lsn, xid, data, number)
), numbered as (
    select *, count(*) filter (where kind = ascii('B')) over (order by number) as transaction from message
)
select transaction, max(number) as number, kind,
    case when kind in (ascii('I'), ascii('U'), ascii('D')) then substring(data from 2 for 4) else data end as data
from numbered where kind in (ascii('B'), ascii('C'), ascii('I'), ascii('U'), ascii('D'), ascii('T'))
group by 1, 3, 4 order by 2
"""


@dataclass(frozen=True)
class Waiting:
    """A batch of changes that can be loaded."""

    batch_id: str
    is_newest: bool
    """whether it reaches the end of the log, so that nothing waits behind it"""


def waiting_changes(lake: Lake, spec: ProductSpec, con: Connection, progress: Progress) -> Waiting | None:
    """The next batch, or None if the table has not changed.

    What the lake has is first confirmed to the server, and so is log in which the table has not changed.

    Raises:
        HeadraceError: the table can no longer be followed, or changes are lost.
    """
    table = inspect(con, spec)
    confirmed = _check(lake, con, spec, table, progress)
    check_layout(con, spec, table, progress)
    while True:
        now = log_end(con)
        most = postgres_of(spec).max_batch_changes
        end, newest, count = _look(con, spec, table, progress, most)
        if end:
            return Waiting(batch_of_lsn(end), is_newest=count < most)
        # all that was seen is of other tables: let the server forget it, or look behind it
        idle = now if count < most else newest
        if idle - confirmed >= _IDLE_BYTES or count >= most:
            write_event(lake, SlotEvent(slot=progress.slot, event="advanced", lsn=idle))
            advance(con, progress.slot, idle)
            confirmed = idle
        if count < most:
            return None


def changes_to_batch(home: Home, spec: ProductSpec, con: Connection, progress: Progress, batch_id: str) -> Batch:
    """Load the changes up to the place that names the batch, then let the server forget them.

    Args:
        home: where the lake is.
        spec: the product.
        con: a connection that has its turn (`slot.exclusive`).
        progress: what the lake has.
        batch_id: the batch; one whose changes another batch has taken since is loaded without rows.

    Raises:
        HeadraceError: no transaction ends there, changes are lost, or the contract doesn't allow them.
    """
    upto = require_lsn(spec.product, batch_id)
    table = inspect(con, spec)
    _check(home.lake(spec.product), con, spec, table, progress)
    guard = turn_kept(spec, progress, batch_id, check_layout(con, spec, table, progress))
    decoder = Decoder(table.oid, table.key, skip_below=progress.newest, stop_at=upto)
    with Delivery(home, spec, table) as delivery:
        delivery.sign(f"{progress.slot} {batch_id}".encode())
        if upto > progress.newest:
            try:
                _collect(con, spec, progress, decoder, delivery, upto)
            except UnchangedValueError:
                raise HeadraceError(
                    "an update left out a long value that it didn't change, so the row isn't known",
                    product=spec.product,
                    where=f"PostgreSQL table {'.'.join(table_name(spec))}, batch {batch_id}",
                    expected="replica identity full at all times",
                    fix=f"alter table {table.quoted} replica identity full; then take a new snapshot: "
                    f"headrace forget-source {spec.product}, headrace run {spec.product}",
                ) from None
            if decoder.newest_end != upto:
                raise HeadraceError(
                    "no transaction that waits ends at this batch's place",
                    product=spec.product,
                    where=batch_id,
                    found=batch_of_lsn(decoder.newest_end) if decoder.newest_end else "nothing that waits",
                    fix=f"run what waits: headrace run {spec.product}",
                )
        file_name = f"changes of {table.schema}.{table.name} up to {text_of_lsn(upto)}"
        batch = delivery.load(batch_id, file_name, "postgres.changes", guard)
    if upto > progress.newest:
        try:
            advance(con, progress.slot, upto)
        except psycopg.Error as error:  # the batch is loaded; the next look confirms it, or says what is wrong
            reason = (str(error).splitlines() or [""])[0]
            _LOG.warning("%s is loaded, but the server keeps its log until the next look: %s", batch_id, reason)
    return batch


def _check(lake: Lake, con: Connection, spec: ProductSpec, table: Table, progress: Progress) -> int:
    """Refuse what has lost changes, and confirm to the server what the lake has; returns the confirmed place."""
    confirmed = check_slot(lake, con, spec, progress, check_publication(con, spec, table))
    if confirmed < progress.newest:
        advance(con, progress.slot, progress.newest)
    return max(confirmed, progress.newest)


def _peek(spec: ProductSpec, slot: str, *, upto: int | None, most: int | None) -> sql.Composed:
    return sql.SQL(_PEEK).format(
        slot=sql.Literal(slot),
        upto=sql.SQL("null") if upto is None else sql.Literal(text_of_lsn(upto)),
        most=sql.SQL("null") if most is None else sql.Literal(most),
        names=sql.Literal(quoted(publication_name(spec))),
    )


def _look(con: Connection, spec: ProductSpec, table: Table, progress: Progress, most: int) -> tuple[int, int, int]:
    """Where the last transaction seen that changed the table ends, where the last one at all, and how much was seen."""
    peek = _peek(spec, progress.slot, upto=None, most=most)
    found = when_free()(lambda: con.execute(sql.SQL(_LOOK).format(peek=peek), binary=True).fetchall())
    oid = table.oid.to_bytes(4, "big")
    end = newest = 0
    is_ours = False
    for _, _, kind, data in found:
        if kind == ord("B"):
            is_ours = False
        elif kind == ord("T"):
            is_ours |= table.oid in truncated_relations(data)
        elif kind == ord("C"):
            newest = int.from_bytes(data[10:18], "big")
            # what the lake has is skipped: it is only seen when the server has not yet been told
            end = newest if is_ours and int.from_bytes(data[2:10], "big") >= progress.newest else end
        else:
            is_ours |= data == oid
    return end, newest, max((row[1] for row in found), default=0)


def _collect(
    con: Connection, spec: ProductSpec, progress: Progress, decoder: Decoder, delivery: Delivery, upto: int
) -> None:
    """Read the transactions that wait, piece by piece."""
    query = sql.SQL("select data from {}").format(_peek(spec, progress.slot, upto=upto, most=None))
    for messages in _pieces(con, query):
        for changes in decoder.decode(messages):
            delivery.add(changes)
        delivery.sign(messages.content)
    if not decoder.ended():
        raise ProtocolError("the look at the slot ended amid a transaction")


def _pieces(con: Connection, query: sql.Composed) -> Iterator[Messages]:
    held, cursor, found = when_free()(_begun, con, query)
    with held:
        taken: list[bytes] = []
        size = 0
        while found:
            taken += [row[0] for row in found]
            size += sum(len(row[0]) for row in found)
            if size >= MOST_BYTES:
                yield Messages(taken)
                taken, size = [], 0
            found = cursor.fetchmany(_MESSAGES)
        if taken:
            yield Messages(taken)


def _begun(con: Connection, query: sql.Composed) -> tuple[ExitStack, Cursor, list[TupleRow]]:
    """A cursor of the server over the messages, and the first of them: until then the slot may be in use."""
    with ExitStack() as held:
        held.enter_context(con.transaction())
        cursor = held.enter_context(con.cursor("headrace_changes"))
        cursor.execute(query, binary=True)
        return held.pop_all(), cursor, cursor.fetchmany(_MESSAGES)
