"""The replication slot and publication of a product: what the ledger knows of them and what the server does.

Both are held against each other, so that no change between them can be lost without a word.

A slot makes the server keep its log from a place on. Each snapshot has a slot of its own, whose name is in the ledger
before the slot exists: so a rerun finds what a killed process has left, and two homes never meet at one slot.
"""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import duckdb
import psycopg
from psycopg import sql

from assets import ledger
from assets.errors import HeadraceError
from assets.home import Home
from assets.kill_points import kill_point
from assets.lake import Lake
from assets.naming import quoted
from assets.raw.postgres.connection import Connection, opened, rows_of, when_free
from assets.raw.postgres.layout import Layout, kept, read_layout, unsent
from assets.raw.postgres.lsn import lsn_of_batch, lsn_of_text, text_of_lsn
from assets.raw.postgres.table import Table, table_name
from assets.records import Record
from assets.spec import ProductSpec

SLOTS = "slots"
# of a name's 63 characters the rest is ours
_LONGEST_PRODUCT = 45

_SLOT = """
select confirmed_flush_lsn::text as confirmed, restart_lsn is null or wal_status = 'lost' as is_lost
from pg_replication_slots where slot_name = %(slot)s
"""
_OTHER_SLOTS = """
select slot_name from pg_replication_slots
where starts_with(slot_name, %(start)s) and length(slot_name) = length(%(start)s) + 8 and database = current_database()
"""
# row filters and column lists are of newer servers than some that we read from
_PUBLICATION = """
select p.oid::bigint as oid, coalesce(r.oid::bigint, 0) as entry, p.puballtables or r.oid is not null as has_table,
    p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate as is_whole,
    coalesce(to_jsonb(r) ->> 'prqual', to_jsonb(r) ->> 'prattrs') is not null as is_filtered,
    p.pubviaroot as is_via_root
from pg_publication p left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = %(oid)s
where p.pubname = %(name)s
"""


class SlotEvent(Record):
    """Something that happened to a slot, in the ledger."""

    slot: str
    event: Literal["planned", "created", "advanced", "followed", "dropped"]
    lsn: int = 0
    publication: str = ""
    layout: Layout | None = None
    """of a created slot what its snapshot shows; of a followed one what was there when a batch was loaded"""


@dataclass(frozen=True)
class Progress:
    """What the lake has of a table."""

    slot: str = ""
    """of the newest snapshot, loaded or begun; empty before the first and after `drop`"""
    has_snapshot: bool = False
    """whether that snapshot is loaded, so that its changes follow"""
    has_rows_before: bool = False
    """whether batches were loaded that a new snapshot replaces"""
    newest: int = 0
    """the place up to which changes are loaded"""
    confirmed: int = 0
    """the place up to which the server may have forgotten its log, since we said so"""
    publication: str = ""
    layout: Layout | None = None
    """what is compared with the table before a load"""
    is_forgotten: bool = False
    """whether somebody has dropped the slot, so that nothing is to be loaded until somebody asks for it"""


def read_progress(con: duckdb.DuckDBPyConnection, spec: ProductSpec) -> Progress:
    """What the ledger says about the product's table."""
    loaded = [item for item in ledger.batches(con, spec.product) if item.status == "LOADED"]
    newest = max((lsn_of_batch(item.batch_id) or 0 for item in loaded), default=0)
    events = [event for _, event in ledger.records(con, SLOTS, SlotEvent)]
    slot = "" if not events or events[-1].event == "dropped" else events[-1].slot
    own = [event for event in events if slot and event.slot == slot]
    return Progress(
        slot=slot,
        has_snapshot=bool(slot) and any(item.file_name == snapshot_name(spec, slot) for item in loaded),
        has_rows_before=bool(loaded),
        newest=newest,
        confirmed=max([newest, *(event.lsn for event in own)]),
        publication=next((event.publication for event in own if event.publication), ""),
        layout=next((event.layout for event in reversed(own) if event.layout), None),
        is_forgotten=bool(events) and events[-1].event == "dropped",
    )


def turn_kept(
    spec: ProductSpec, begun: Progress, batch_id: str, followed: Layout | None = None
) -> Callable[[duckdb.DuckDBPyConnection], None]:
    """What a load does first in the transaction of its commit: see that nobody loaded in between.

    A turn ends when its connection does, and nothing tells that to a loader that is busy with what it has read.

    Args:
        spec: the product.
        begun: what the lake had when the changes were read, with the slot that they are of.
        batch_id: the batch.
        followed: what the table looked like then, to be remembered with the batch.
    """

    def check(con: duckdb.DuckDBPyConnection) -> None:
        now = read_progress(con, spec)
        if (now.slot, now.newest) != (begun.slot, begun.newest):
            raise HeadraceError(
                "another process has loaded from this table since this load began, so this one's turn was over",
                product=spec.product,
                where=f"batch {batch_id}",
                expected=f"slot {begun.slot}, loaded up to {text_of_lsn(begun.newest)}",
                found=f"slot {now.slot or 'none'}, loaded up to {text_of_lsn(now.newest)}",
                fix=f"run what waits: headrace run {spec.product}; of this batch nothing was loaded",
            )
        if followed and kept(begun.layout, followed) != begun.layout:
            event = SlotEvent(
                slot=begun.slot,
                event="followed",
                lsn=lsn_of_batch(batch_id) or 0,
                layout=kept(begun.layout, followed),
            )
            ledger.append_once(con, SLOTS, f"{event.slot}-followed-{batch_id}", "", event)

    return check


def check_layout(con: Connection, spec: ProductSpec, table: Table, progress: Progress) -> Layout:
    """What the table looks like now.

    Raises:
        HeadraceError: rows have other values than the lake, and the server's log doesn't tell.
    """
    now = read_layout(con, spec, table)
    what = unsent(progress.layout, now) if progress.layout else ""
    if what:
        raise _new_snapshot(
            spec,
            f"{what}, and the server's log doesn't tell which values rows have now",
            where=f"PostgreSQL table {table.schema}.{table.name}",
        )
    return now


def snapshot_name(spec: ProductSpec, slot: str) -> str:
    """What the ledger calls the delivery of a slot's snapshot."""
    return f"snapshot of {'.'.join(table_name(spec))} at slot {slot}"


def publication_name(spec: ProductSpec) -> str:
    """The publication: it says which tables' changes are read, and keeps nothing itself."""
    return f"headrace_{spec.product}"


def write_event(lake: Lake, event: SlotEvent) -> None:
    """Write down what happened, or is about to."""
    record_id = f"{event.slot}-{event.event}-{event.lsn:x}"
    ledger.append_to_lake(lake, SLOTS, [(record_id, "", event)])


@contextlib.contextmanager
def exclusive(spec: ProductSpec, con: Connection) -> Iterator[None]:
    """One process at a time loads from a product's table, on whichever machine; a killed one's turn ends by itself."""
    con.execute("select pg_advisory_lock(hashtextextended(%(key)s, 0))", {"key": f"headrace {spec.product}"})
    try:
        yield
    finally:
        # a session that has ended has no turn any more, and what was done in it may be done
        with contextlib.suppress(psycopg.OperationalError):
            con.execute("select pg_advisory_unlock_all()")


def ensure_publication(con: Connection, spec: ProductSpec, table: Table) -> str:
    """Create the publication if it is missing; says which one it is, so that another of the same name is noticed.

    Raises:
        HeadraceError: it can't be created, or one is there that leaves out something.
    """
    name = publication_name(spec)
    command = f"create publication {quoted(name)} for table {table.only} with (publish_via_partition_root = true);"
    if not rows_of(con, _PUBLICATION, {"name": name, "oid": table.oid}):
        kill_point("postgres.publication.before")
        try:
            con.execute(command.encode())
        except psycopg.errors.InsufficientPrivilege as error:
            raise HeadraceError(
                "there is no publication of the table, and this user may not create it",
                product=spec.product,
                where=f"publication {name}",
                found=str(error).strip(),
                fix=f"as owner of table and database: {command}",
            ) from None
        kill_point("postgres.publication.after")
    return check_publication(con, spec, table)


def check_publication(con: Connection, spec: ProductSpec, table: Table) -> str:
    """What the publication is, as its identity.

    Raises:
        HeadraceError: it is missing or leaves out the table, kinds of changes, rows, columns or partitions.
    """
    name = publication_name(spec)
    found = rows_of(con, _PUBLICATION, {"name": name, "oid": table.oid})
    if not found:
        raise _new_snapshot(spec, "the publication is gone, and with it the changes since", where=f"publication {name}")
    facts = found[0]
    alter = f"alter publication {quoted(name)}"
    wrong: list[tuple[bool, str, str]] = [
        (not facts["has_table"], "the publication lacks the table", f"{alter} add table {table.only};"),
        (
            not facts["is_whole"],
            "the publication leaves out kinds of changes",
            f"{alter} set (publish = 'insert, update, delete, truncate');",
        ),
        (
            facts["is_filtered"],
            "the publication leaves out rows or columns of the table",
            f"{alter} drop table {table.quoted}; {alter} add table {table.only};",
        ),
        (
            table.is_partitioned and not facts["is_via_root"],
            "the publication tells changes of a partitioned table under its partitions' names",
            f"{alter} set (publish_via_partition_root = true);",
        ),
    ]
    for is_wrong, what, fix in wrong:
        if is_wrong:
            raise HeadraceError(what, product=spec.product, where=f"publication {name}", fix=fix)
    # a publication for all tables has no entry of the table, which may be another one of the same name
    return f"{facts['oid']}.{facts['entry']}.{table.oid}"


def check_slot(lake: Lake, con: Connection, spec: ProductSpec, progress: Progress, publication: str) -> int:
    """The place from which the server still has the log; what is wrong with a slot can't be mended, only begun anew.

    Raises:
        HeadraceError: changes are lost: the slot is gone, invalid or ahead of the lake, or the publication is another.
    """
    slot = slot_facts(con, progress.slot)
    where = f"replication slot {progress.slot}"
    if slot is None:
        raise _new_snapshot(spec, "the replication slot is gone, and with it the changes since", where=where)
    if slot["is_lost"]:
        raise _new_snapshot(
            spec,
            "the server has thrown away the log that the slot needs",
            where=where,
            found="wal_status = lost (see max_slot_wal_keep_size)",
        )
    if progress.publication and progress.publication != publication:
        raise _new_snapshot(
            spec,
            "the table was taken out of the publication for a while, so changes may be missing"
            if progress.publication.rpartition(".")[2] == publication.rpartition(".")[2]
            else "the table is another one of the same name: it was dropped and made anew",
            where=f"publication {publication_name(spec)}",
        )
    confirmed = lsn_of_text(slot["confirmed"])
    if confirmed > progress.confirmed and confirmed > _confirmed_by_now(lake, spec):
        raise _new_snapshot(
            spec,
            "the slot is ahead of the lake: somebody else has read from it, or the lake is an older copy",
            where=where,
            expected=f"at most {text_of_lsn(progress.confirmed)}",
            found=str(slot["confirmed"]),
        )
    return confirmed


def _confirmed_by_now(lake: Lake, spec: ProductSpec) -> int:
    """What the ledger says after the server was asked: it is written first."""
    with lake.connect() as con:
        return read_progress(con, spec).confirmed


def log_end(con: Connection) -> int:
    """The place up to which the server has written its log."""
    return lsn_of_text(rows_of(con, "select pg_current_wal_flush_lsn()::text as lsn")[0]["lsn"])


def slot_facts(con: Connection, name: str) -> dict[str, Any] | None:
    """What the server says about a slot; None if it has none of that name."""
    found = rows_of(con, _SLOT, {"slot": name})
    return found[0] if found else None


def new_slot_name(spec: ProductSpec) -> str:
    """A name that no other home and no other snapshot has."""
    return _slot_prefix(spec) + secrets.token_hex(4)


def _slot_prefix(spec: ProductSpec) -> str:
    return f"headrace_{spec.product[:_LONGEST_PRODUCT]}_"


def create_slot(creator: Connection, name: str) -> tuple[int, str]:
    """Create a slot on a replication connection; waits for the transactions that are writing now.

    Returns:
        the place from which changes follow, and the name of the snapshot that shows the tables just there, for as long
        as the connection is not used.
    """
    kill_point("postgres.slot.before")
    command = sql.SQL("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput EXPORT_SNAPSHOT").format(sql.Identifier(name))
    row = creator.execute(command).fetchone()
    kill_point("postgres.slot.after")
    if row is None:
        raise psycopg.InternalError("the server named no snapshot")
    return lsn_of_text(str(row[1])), str(row[2])


def advance(con: Connection, slot: str, lsn: int) -> None:
    """Let the server forget its log up to here; another process may have let it forget more."""
    kill_point("postgres.advance.before")
    try:
        when_free()(
            con.execute,
            "select pg_replication_slot_advance(%(slot)s, %(lsn)s::pg_lsn)",
            {"slot": slot, "lsn": text_of_lsn(lsn)},
        )
    except psycopg.errors.ObjectNotInPrerequisiteState:
        facts = slot_facts(con, slot)
        if facts is None or facts["is_lost"] or lsn_of_text(facts["confirmed"]) < lsn:
            raise
    kill_point("postgres.advance.after")


def drop_slot(con: Connection, name: str) -> bool:
    """Drop a slot; says whether it was there."""
    if slot_facts(con, name) is None:
        return False
    kill_point("postgres.drop.before")
    when_free()(con.execute, "select pg_drop_replication_slot(%(slot)s)", {"slot": name})
    kill_point("postgres.drop.after")
    return True


@dataclass(frozen=True)
class Forgotten:
    """What `forget_source` dropped, and what it had to leave, in words."""

    dropped: tuple[str, ...]
    left: str = ""


def forget_source(home: Home, spec: ProductSpec) -> Forgotten:
    """Drop what a product has on the server: its slot and its publication. What is loaded stays.

    The next load takes a new snapshot, and the sensor asks for none until somebody has run one.

    Raises:
        HeadraceError: the database can't be reached, or the slot can't be dropped.
    """
    lake, dropped, left = home.lake(spec.product), list[str](), ""
    with opened(spec, lock_seconds=home.settings.lock_timeout_seconds) as con, exclusive(spec, con):
        with lake.connect() as lake_con:
            progress = read_progress(lake_con, spec)
        if progress.slot:
            if drop_slot(con, progress.slot):
                dropped.append(f"replication slot {progress.slot}")
            write_event(lake, SlotEvent(slot=progress.slot, event="dropped"))
        name = publication_name(spec)
        # another home may follow the same table
        used = rows_of(con, _OTHER_SLOTS, {"start": _slot_prefix(spec)})
        there = rows_of(con, "select 1 as there from pg_publication where pubname = %(name)s", {"name": name})
        if there and not used:
            try:
                con.execute(sql.SQL("drop publication {}").format(sql.Identifier(name)))
                dropped.append(f"publication {name}")
            except psycopg.errors.InsufficientPrivilege:
                left = f"publication {name} is left to its owner; it keeps nothing on the server"
    return Forgotten(tuple(dropped), left)


def _new_snapshot(spec: ProductSpec, what: str, *, where: str, expected: str = "", found: str = "") -> HeadraceError:
    return HeadraceError(
        what,
        product=spec.product,
        where=where,
        expected=expected,
        found=found,
        fix=f"take a new snapshot: headrace forget-source {spec.product}, then headrace run {spec.product}",
    )
