"""Make a delivery count: one transaction puts away what it corrects, adds its rows and its quarantine, and says so.

A delivery was read before, by a process of its own, to Parquet; here nothing is parsed. On a local data folder the file
of rows itself becomes a data file of the table, so loading writes each row once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import duckdb

from assets import ledger
from assets.errors import HeadraceError
from assets.files import flush
from assets.kill_points import kill_point
from assets.lake import Lake, has_table
from assets.naming import RAW, literal, quoted, table
from assets.raw.landing import rank
from assets.raw.reader.protocol import LEADING, QUARANTINE_COLUMNS, TRAILING, rows_sql
from assets.raw.reader.typed import does_not_fit
from assets.records import Batch, SchemaChange
from assets.spec import ColumnType, SourceSpec

SUPERSEDED = "_superseded"


@dataclass(frozen=True)
class Verdict:
    """What the ledger says about a delivery.

    Args:
        kind: `known`: nothing to do; `duplicate`: the content counts already, in another batch or under another name;
            `load`: its rows count from now on; `late`: a greater version of its batch counts already.
        batch: of `known` and `duplicate` the delivery that was there before.
        version: of the others the number that it gets.
        displaced: a later batch of the same content, which is a duplicate of this one from now on, so that the order
            of arrival decides nothing.
        replaced: of a duplicate what counted for its batch so far, and doesn't from now on.
    """

    kind: Literal["known", "duplicate", "load", "late"]
    batch: Batch | None = None
    version: int = 1
    displaced: Batch | None = None
    replaced: Batch | None = None


class OvertakenError(Exception):
    """Another process loaded a delivery of the same batch in between; nothing was written."""


def judge(written: Sequence[Batch], delivery: Batch, *, is_register: bool) -> Verdict:
    """What to do with a delivery, by its content and never by time.

    Args:
        written: everything in the ledger about its source, in the order of writing.
        delivery: the delivery; its version and status mean nothing yet.
        is_register: whether the source is delivered whole each time, so that the newest content replaces the last.
    """
    counted = [item for item in ledger.current_batches(written) if item.status == "LOADED"]
    newest = max(counted, key=lambda item: item.version, default=None)
    of_name = [item for item in written if item.file_name == delivery.file_name]
    last = of_name[-1] if of_name else None
    same = [item for item in counted if item.sha256 == delivery.sha256 and (not is_register or item == newest)]
    if last and last.sha256 == delivery.sha256:
        if last.status in ("LOADED", "SUPERSEDED"):
            return Verdict("known", next((item for item in counted if item.batch_id == last.batch_id), last))
        if last in settled_duplicates(written):
            return Verdict("known", last)
    siblings = [item for item in written if is_register or item.batch_id == delivery.batch_id]
    version = max((item.version for item in siblings if item.status != "REFUSED"), default=0) + 1
    now = next((item for item in counted if item.batch_id == delivery.batch_id), None)
    # a file that repeats another batch stands for its own one, too: versions before it don't count instead
    repeats = [] if is_register else [item for item in ledger.repeating(written) if item.batch_id == delivery.batch_id]
    standing = [*([now] if now else []), *repeats]
    is_late = bool(standing) and _rank(delivery) < max(map(_rank, standing))
    if same and (is_register or same[0].batch_id <= delivery.batch_id):
        replaced = now if now != same[0] and not (is_register or is_late) else None
        return Verdict("duplicate", same[0], version=version if replaced else 0, replaced=replaced)
    return Verdict("late" if is_late else "load", version=version, displaced=same[0] if same and not is_late else None)


def settled_duplicates(written: Sequence[Batch]) -> list[Batch]:
    """Files that repeat what counts in an earlier batch or their own, unless a version before them counts for that."""
    loaded = (item for item in ledger.current_batches(written) if item.status == "LOADED")
    counted = {(item.source, item.batch_id): item for item in loaded}
    repeating = ledger.repeating(written)
    standing = {place: [item] for place, item in counted.items()}
    for item in repeating:
        place = (item.source, item.batch_id)
        if place in counted and counted[place].sha256 == item.sha256:
            standing[place].append(item)
    return [
        item
        for item in repeating
        if (place := (item.source, item.batch_id)) not in standing or _rank(item) <= max(map(_rank, standing[place]))
    ]


def _rank(item: Batch) -> tuple[tuple[tuple[int, str], ...], str, str]:
    return rank(item.version_label, item.file_name)


def skip_delivery(lake: Lake, delivery: Batch, *, is_register: bool) -> Batch:
    """Write down that a delivery brings nothing new; what counted for its batch before is put away.

    Returns:
        the ledger's row.

    Raises:
        OvertakenError: it is no duplicate any more; judge it again.
    """

    def work(con: duckdb.DuckDBPyConnection) -> Batch:
        verdict = judge(ledger.deliveries(con, delivery.source), delivery, is_register=is_register)
        if verdict.kind == "known" and verdict.batch:
            return verdict.batch
        if verdict.kind != "duplicate" or verdict.batch is None:
            raise OvertakenError(f"{delivery.file_name} repeats nothing by now")
        if verdict.replaced is not None:
            _put_away(con, lake.product, delivery)
        kill_point("ingest.skip.before")
        return ledger.append_batch(
            con,
            delivery.model_copy(
                update={"status": "DUPLICATE", "version": verdict.version, "reason": _repeats(verdict.batch)}
            ),
        )

    return lake.transact(work)


def _repeats(first: Batch) -> str:
    return f"the same content as {first.file_name}, which is batch {first.batch_id}: skipped"


def commit_delivery(
    lake: Lake,
    batch: Batch,
    rows: Sequence[Path],
    quarantine: Path | None,
    columns: Mapping[str, str],
    changes: Sequence[SchemaChange] = (),
    *,
    is_register: bool = False,
    is_evolving: bool = False,
    guard: Callable[[duckdb.DuckDBPyConnection], None] | None = None,
) -> Batch:
    """Add a delivery that was read, exactly once.

    Args:
        lake: the product's lake.
        batch: the delivery with its counts, and the version that it was read as.
        rows: Parquet below the lake's folder with LEADING, the columns and TRAILING; the files are moved away.
        quarantine: Parquet below the lake's folder with QUARANTINE_COLUMNS, or None.
        columns: the raw table's columns from now on, name -> type; new ones are added, wider types taken over.
        changes: differences from the contract that were allowed, for the ledger.
        is_register: see `judge`.
        is_evolving: whether other deliveries may have widened columns since this one was read.
        guard: called in the transaction before anything is written, unless the delivery is there; refuses by raising.

    Returns:
        the ledger's row; that of another process when it was faster.

    Raises:
        HeadraceError: rows are unaccounted for, or the table can't take the columns.
        OvertakenError: the version that it was read as is another delivery's by now; judge and read it again.
    """
    if batch.rows_in != batch.rows_loaded + batch.rows_quarantined:
        raise HeadraceError(
            "rows are unaccounted for",
            product=lake.product,
            where=batch.file_name,
            expected=f"{batch.rows_in} rows counted in the file",
            found=f"{batch.rows_loaded} loaded + {batch.rows_quarantined} quarantined",
            fix="report the file; nothing was loaded",
        )

    def work(con: duckdb.DuckDBPyConnection) -> Batch:
        verdict = judge(ledger.deliveries(con, batch.source), batch, is_register=is_register)
        if verdict.batch is not None:
            return verdict.batch
        (guard or _allow)(con)
        is_late = batch.status == "SUPERSEDED"
        if verdict.version != batch.version or (verdict.kind == "late") != is_late:
            raise OvertakenError(f"batch {batch.batch_id} of {batch.source} has another delivery by now")
        target = batch.source + SUPERSEDED if is_late else batch.source
        if is_evolving and _keeps(table_columns(con, batch.source), columns) != columns:
            raise OvertakenError(f"a column of {batch.source} was widened since {batch.file_name} was read")
        if is_late:
            _align_away(con, lake.product, target, columns)
        else:
            align_table(con, lake.product, target, columns)
            _put_away(con, lake.product, batch)
        if verdict.displaced is not None:
            _displace(con, verdict.displaced, batch)
        kill_point("ingest.supersede.after")
        _add_rows(lake, con, target, batch, rows)
        kill_point("ingest.rows.after")
        if quarantine is not None:
            _add_quarantine(con, batch, quarantine)
        kill_point("ingest.quarantine.after")
        written = ledger.append_batch(con, batch)
        for change in changes:
            ledger.append_once(con, "schema_changes", change.change_id, batch.batch_id, change)
        kill_point("ingest.commit.before")
        return written

    done = lake.transact(work)
    kill_point("ingest.commit.after")
    return done


def _allow(_con: duckdb.DuckDBPyConnection) -> None:
    """The guard of a delivery that has none."""


def _keeps(there: Mapping[str, str], columns: Mapping[str, str]) -> dict[str, str]:
    """The columns, those that are wider in the table as there."""
    return {
        name: "DOUBLE" if (there.get(name), kind) == ("DOUBLE", "BIGINT") else kind for name, kind in columns.items()
    }


def _align_away(con: duckdb.DuckDBPyConnection, product: str, name: str, columns: Mapping[str, str]) -> None:
    """Give a table of superseded rows the columns that are wanted; its rows may be of any former contract."""
    align_table(con, product, name, _keeps(table_columns(con, name), columns))


def raw_ddl(name: str, columns: Mapping[str, str]) -> str:
    """SQL that creates a raw table unless it is there."""
    listed = ", ".join(f"{quoted(column)} {kind}" for column, kind in {**LEADING, **columns, **TRAILING}.items())
    return f"create table if not exists {table(RAW, name)} ({listed})"


def table_columns(con: duckdb.DuckDBPyConnection, name: str) -> dict[str, str]:
    """Columns of a raw table beside our own, name -> type, in the table's order; none before it is there."""
    if not has_table(con, RAW, name):
        return {}
    described = con.execute(f"describe {table(RAW, name)}").fetchall()
    own = {*LEADING, *TRAILING}
    types = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}
    return {str(row[0]): types.get(str(row[1]), str(row[1])) for row in described if row[0] not in own}


def contract_columns(con: duckdb.DuckDBPyConnection, name: str, source: SourceSpec) -> dict[str, str]:
    """The columns that a delivery is held against: the spec's, and what came by evolution."""
    columns: dict[str, str] = dict(source.columns)
    if source.contract != "evolve":
        return columns
    there = {name: kind for name, kind in table_columns(con, name).items() if not name.startswith("headrace_")}
    widened = {name: "DOUBLE" for name, kind in columns.items() if (kind, there.get(name)) == ("BIGINT", "DOUBLE")}
    return {**columns, **widened, **{name: kind for name, kind in there.items() if name not in columns}}


def align_table(con: duckdb.DuckDBPyConnection, product: str, name: str, columns: Mapping[str, str]) -> None:
    """Give a raw table the columns and types that are wanted; columns that are no longer wanted stay.

    Raises:
        HeadraceError: a value that is there doesn't fit the wanted type.
    """
    con.execute(raw_ddl(name, columns))
    there = table_columns(con, name)
    target = table(RAW, name)
    for column, kind in columns.items():
        if column not in there:
            con.execute(f"alter table {target} add column {quoted(column)} {kind}")
        elif there[column] != kind:
            _retype(con, product, name, column, kind)


def _retype(con: duckdb.DuckDBPyConnection, product: str, name: str, column: str, kind: str) -> None:
    """Give a column another type: by the lake itself where it only widens, else by writing the table anew."""
    target, field = table(RAW, name), quoted(column)
    there = table_columns(con, name)[column]
    # a cast would round 1.5, and leave out the time of day
    changed = f"try_cast(try_cast({field}::varchar as {kind}) as {there}) is distinct from {field}"
    if there == "VARCHAR":
        changed = does_not_fit(field, cast("ColumnType", kind))
    misfit = con.execute(
        f"select batch_id, {field}::varchar from {target} where {field} is not null and {changed} limit 1"
    ).fetchone()
    if misfit:
        raise HeadraceError(
            "the raw table has values that are not of the type that the spec wants now",
            product=product,
            where=f"source {name}, column {column}",
            expected=kind,
            found=f"{misfit[1]!r} in batch {misfit[0]}",
            fix="give the column its former type and cast it in the staging model, or correct that batch first",
        )
    try:
        con.execute(f"alter table {target} alter column {field} set data type {kind}")
    except duckdb.Error:
        # a renamed table would keep the folder of its first name, and loads put their files into the table's folder
        con.execute(
            "create or replace temp table retyped as "
            f"select * replace ({field}::varchar::{kind} as {field}) from {target}"
        )
        con.execute(f"drop table {target}")
        con.execute(f"create table {target} as from temp.retyped")
        con.execute("drop table temp.retyped")


def _put_away(con: duckdb.DuckDBPyConnection, product: str, batch: Batch) -> None:
    """Move the rows that counted for this batch so far to the superseded ones."""
    source, away = table(RAW, batch.source), batch.source + SUPERSEDED
    if not con.execute(f"select 1 from {source} where batch_id = ? limit 1", [batch.batch_id]).fetchone():
        return
    _align_away(con, product, away, table_columns(con, batch.source))
    con.execute(f"insert into {table(RAW, away)} by name select * from {source} where batch_id = ?", [batch.batch_id])
    con.execute(f"delete from {source} where batch_id = ?", [batch.batch_id])


def _displace(con: duckdb.DuckDBPyConnection, later: Batch, batch: Batch) -> None:
    """Take the rows of a later batch away that has the same content: they come with this one."""
    con.execute(f"delete from {table(RAW, later.source)} where batch_id = ?", [later.batch_id])
    con.execute(
        f"delete from {table(RAW, 'quarantine')} where source = ? and batch_id = ? and delivery_id = ?",
        [later.source, later.batch_id, later.delivery_id],
    )
    counts = dict.fromkeys(("rows_in", "rows_loaded", "rows_quarantined"), 0)
    ledger.append_batch(con, later.model_copy(update={"status": "DUPLICATE", "reason": _repeats(batch), **counts}))


def _add_rows(lake: Lake, con: duckdb.DuckDBPyConnection, target: str, batch: Batch, rows: Sequence[Path]) -> None:
    if not batch.rows_loaded:
        return
    if not lake.is_local or target != batch.source:
        con.execute(f"insert into {table(RAW, target)} by name select * from {rows_sql(rows)}")
        return
    for number, file in enumerate(rows):
        # a name that only a repetition of this very load can have, so that it replaces what a killed one has left
        name = "-".join((batch.batch_id, batch.sha256[:16], str(batch.version), *([str(number)] if number else [])))
        final = Path(lake.data_path) / RAW / target / f"{name}.parquet"
        if file.exists():  # a retried transaction finds it moved
            final.parent.mkdir(parents=True, exist_ok=True)
            flush(file)
            file.replace(final)
            kill_point("ingest.rows.moved")
            flush(final.parent)
        con.execute(
            f"call ducklake_add_data_files('lake', {literal(target)}, {literal(str(final))}, "
            f"schema => {literal(RAW)}, ignore_extra_columns => true, allow_missing => true)"
        )


def _add_quarantine(con: duckdb.DuckDBPyConnection, batch: Batch, quarantine: Path) -> None:
    columns = ", ".join(QUARANTINE_COLUMNS)
    con.execute(
        f"insert into {table(RAW, 'quarantine')} (source, batch_id, delivery_id, {columns}, quarantined_at) "
        f"select ?, ?, ?, {columns}, ? from read_parquet({literal(str(quarantine))})",
        [batch.source, batch.batch_id, batch.delivery_id, batch.loaded_at],
    )
