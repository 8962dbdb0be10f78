"""Keep a lake small and clean: merge small files, let unnamed snapshots go, delete what nothing refers to.

The work is done in short steps, each one transaction under the write lock, so that writers wait for a table's merge at
most, and readers never. A death between two steps leaves a whole lake, and the next run goes on. What a snapshot is
needed for is known to the ledger; when maintenance runs is decided elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import duckdb

from assets import ledger
from assets.errors import HeadraceError
from assets.home import Home
from assets.kill_points import kill_point
from assets.lake import RECORD_TABLES, Lake, newest_snapshot
from assets.maintenance.leftovers import remove, stale_copies, stale_quarantine
from assets.naming import literal, quoted
from assets.spec import ProductSpec

# snapshots that nothing names are readable for a week, for a person who looks back
KEEP_SNAPSHOTS = timedelta(days=7)
# files that nothing refers to wait a day: a reader may have asked for them before, a writer may yet commit them
GRACE = timedelta(days=1)
# a file is written anew when more of its rows than this are deleted
_DELETED_SHARE = 0.3
# files below this are small (DuckLake's own target is 512 MB), and two of them in one table can be merged
_SMALL_BYTES = 100_000_000
# fewer inlined rows are better off in the catalog than in a small file
_INLINED_ROWS = 100
# the name under which DuckLake attaches the catalog of `lake`
_METADATA = "__ducklake_metadata_lake"
# so that one step holds the lock for a short time
_SNAPSHOTS_A_STEP = 500


@dataclass(frozen=True)
class Size:
    """How much a lake is: Parquet files in its data path, their bytes, and its snapshots."""

    files: int
    bytes: int
    snapshots: int


@dataclass(frozen=True)
class Maintenance:
    """What was done, or in a dry run what would be done now.

    Args:
        product: whose lake.
        is_dry_run: nothing was changed.
        before: the lake's size at the start.
        after: its size at the end.
        inlined_rows: rows written to files that were in the catalog itself.
        rewritten_files: files written anew without their deleted rows.
        merged_files: small files that became one of a few.
        expired_snapshots: ids of snapshots that can't be read any more.
        kept_snapshots: how many older ones were kept because a record names them.
        removed_files: data files that no snapshot needed since the grace period.
        orphans: data files that no snapshot ever had.
        stale_copies: staged copies that a killed process left.
        stale_quarantine: kept bytes that the ledger doesn't name.
    """

    product: str
    is_dry_run: bool
    before: Size
    after: Size
    inlined_rows: int
    rewritten_files: int
    merged_files: int
    expired_snapshots: tuple[int, ...]
    kept_snapshots: int
    removed_files: tuple[str, ...]
    orphans: tuple[str, ...]
    stale_copies: tuple[str, ...]
    stale_quarantine: tuple[str, ...]


def maintain(home: Home, spec: ProductSpec, *, dry_run: bool = False, now: datetime | None = None) -> Maintenance:
    """Maintain a product's lake; safe while others read and write, and at any time again.

    Args:
        home: where the lake is.
        spec: the product.
        dry_run: only say what would be done.
        now: the moment that ages are counted from; the present one when left out.

    Raises:
        HeadraceError: files of others lie in the data path, or a writer kept its place for too long.
    """
    lake, now = home.lake(spec.product), now or ledger.now()
    _check_data_path(lake, spec)
    before = size_of(lake)
    flushed, rewritten, merged = _compactable(lake) if dry_run else _compact(lake)
    unnamed, kept = expirable(lake, now - KEEP_SNAPSHOTS)
    for start in range(0, 0 if dry_run else len(unnamed), _SNAPSHOTS_A_STEP):
        part = unnamed[start : start + _SNAPSHOTS_A_STEP]
        _step(lake, f"ducklake_expire_snapshots('lake', versions => {part})", "maintenance.expire")
    past = f"older_than => {literal((now - GRACE).isoformat())}::timestamptz, dry_run => {str(dry_run).lower()}"
    removed = _step(lake, f"ducklake_cleanup_old_files('lake', {past})", "maintenance.cleanup")
    orphans = _step(lake, f"ducklake_delete_orphaned_files('lake', {past})", "maintenance.orphans")
    copies, quarantine = stale_copies(lake, now - GRACE), stale_quarantine(lake, now - GRACE)
    if not dry_run:
        remove([*copies, *quarantine])
    return Maintenance(
        product=spec.product,
        is_dry_run=dry_run,
        before=before,
        after=before if dry_run else size_of(lake),
        inlined_rows=flushed,
        rewritten_files=rewritten,
        merged_files=merged,
        expired_snapshots=tuple(unnamed),
        kept_snapshots=kept,
        removed_files=tuple(str(row[0]) for row in removed),
        orphans=tuple(str(row[0]) for row in orphans),
        stale_copies=tuple(str(path) for path in copies),
        stale_quarantine=tuple(str(path) for path in quarantine),
    )


def size_of(lake: Lake) -> Size:
    """A lake's size as it is in its data path, with files that no snapshot has."""
    everything = literal(f"{lake.data_path}**/*.parquet")
    with lake.connect() as con:
        snapshots = con.execute("select count(*) from ducklake_snapshots('lake')").fetchall()[0][0]
        files, size = con.execute(f"select count(*), 0 from glob({everything})").fetchall()[0]
        if files:
            files, size = con.execute(f"select count(*), sum(size) from read_blob({everything})").fetchall()[0]
    return Size(files=int(files), bytes=int(size), snapshots=int(snapshots))


def named_snapshots(con: duckdb.DuckDBPyConnection) -> set[int]:
    """Snapshots that a record names: of splits, models, blessings and whatever else has a `data_snapshot`."""
    found = " union ".join(
        f"select unnest(regexp_extract_all(record, '\"data_snapshot\": *([0-9]+)', 1))::bigint "
        f"from {ledger.record_table(name)}"
        for name in RECORD_TABLES
    )
    return {int(row[0]) for row in con.execute(found).fetchall()}


def expirable(lake: Lake, before: datetime) -> tuple[list[int], int]:
    """Ids of the snapshots that may go: older than a moment, not the newest, named by no record.

    Returns:
        these ids, sorted, and how many others of that age are kept.
    """
    with lake.connect() as con:
        con.execute("begin")
        old = con.execute(
            "select snapshot_id from ducklake_snapshots('lake') where snapshot_time < ? order by snapshot_id", [before]
        ).fetchall()
        keep = named_snapshots(con) | {newest_snapshot(con)}
    ids = [int(row[0]) for row in old]
    return [number for number in ids if number not in keep], sum(number in keep for number in ids)


def _compactable(lake: Lake) -> tuple[int, int, int]:
    """What `_compact` has to look at: inlined rows, files with deleted rows, small files beside others."""
    found = _tables(lake)
    return (
        sum(item.inlined_rows for item in found if item.inlined_rows >= _INLINED_ROWS),
        sum(item.delete_files for item in found),
        sum(item.small_files for item in found if item.small_files > 1),
    )


def _compact(lake: Lake) -> tuple[int, int, int]:
    """Table by table: inlined rows into files, files without their deleted rows, small files into few."""
    flushed = rewritten = merged = 0
    for item in _tables(lake):
        name, schema = literal(item.name), literal(item.schema)
        if item.inlined_rows >= _INLINED_ROWS:
            where = f"schema_name => {schema}, table_name => {name}"
            flushed += _count(_step(lake, f"ducklake_flush_inlined_data('lake', {where})", "maintenance.flush"))
        where = f"'lake', {name}, schema => {schema}"
        if item.delete_files:
            share = f"delete_threshold => {_DELETED_SHARE}"
            rewritten += _count(_step(lake, f"ducklake_rewrite_data_files({where}, {share})", "maintenance.rewrite"))
        if item.small_files > 1 or item.inlined_rows >= _INLINED_ROWS or item.delete_files:
            merged += _count(_step(lake, f"ducklake_merge_adjacent_files({where})", "maintenance.merge"))
    return flushed, rewritten, merged


def _step(lake: Lake, call: str, point: str) -> list[tuple[Any, ...]]:
    """One call in one transaction; a table that was dropped meanwhile has nothing to be done."""

    def work(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
        kill_point(f"{point}.before")
        try:
            done = con.execute(f"call {call}").fetchall()
        except duckdb.CatalogException:
            return []
        kill_point(f"{point}.commit.before")
        return done

    done = lake.transact(work)
    kill_point(f"{point}.after")
    return done


@dataclass(frozen=True)
class _Table:
    """What a table has to be tidied."""

    schema: str
    name: str
    inlined_rows: int
    small_files: int
    delete_files: int


def _tables(lake: Lake) -> list[_Table]:
    """The tables of a lake, from DuckLake's own catalog.

    Inlined rows are counted only where the table's columns have never changed: flushing another one drops its older
    inlined tables, and a reader that knows the table by them can't read it from then on.
    """
    with lake.connect() as con:
        con.execute("begin")
        # a shared database has a schema for each product
        catalog = f"{_METADATA}.{quoted(str(lake.attach_options().get('METADATA_SCHEMA', 'main')))}"
        inlined = con.execute(
            f"select table_id, any_value(table_name) from {catalog}.ducklake_inlined_data_tables "
            "group by table_id having count(*) = 1"
        ).fetchall()
        counts = " union all ".join(
            f"select {int(number)} as table_id, count(*) as inlined_rows from {catalog}.{quoted(name)}"
            for number, name in inlined
        )
        found = con.execute(
            f"""select schema_name, table_name, coalesce(inlined_rows, 0), coalesce(small_files, 0),
                coalesce(delete_files, 0)
            from {catalog}.ducklake_table join {catalog}.ducklake_schema using (schema_id)
            left join ({counts or "select null as table_id, 0 as inlined_rows"}) using (table_id)
            left join (select table_id, count(*) as small_files from {catalog}.ducklake_data_file
                where end_snapshot is null and file_size_bytes < ? group by table_id) using (table_id)
            left join (select table_id, count(*) as delete_files from {catalog}.ducklake_delete_file
                where end_snapshot is null group by table_id) using (table_id)
            where ducklake_table.end_snapshot is null order by all""",
            [_SMALL_BYTES],
        ).fetchall()
    return [_Table(*row) for row in found]


def _count(rows: Sequence[tuple[Any, ...]]) -> int:
    """How many rows or files a call has taken in hand: its third column."""
    return sum(int(row[2]) for row in rows)


def _check_data_path(lake: Lake, spec: ProductSpec) -> None:
    """Refuse to look for orphans where files land: they would all be some."""
    for source in (spec.source, *spec.references.values()):
        location = source.location.rstrip("/") + "/" if source.location else ""
        if location.startswith(lake.data_path) or (location and lake.data_path.startswith(location)):
            raise HeadraceError(
                "files land among the lake's own",
                product=spec.product,
                where="location",
                expected=f"a place apart from {lake.data_path}",
                found=source.location,
                fix="let them land under another prefix, or move the data (HEADRACE_LAKE_DATA)",
            )
