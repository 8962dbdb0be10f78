"""The ledger: append-only tables beside the rows they speak of, and the questions that stages ask them.

Rows are appended once by their record id inside the caller's transaction; nothing is updated or deleted.
"""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import duckdb
from pydantic import ValidationError

from assets.errors import HeadraceError
from assets.lake import RECORD_TABLES, Lake
from assets.naming import table
from assets.records import (
    Alert,
    Batch,
    Blessing,
    Decision,
    EvaluationReport,
    ModelManifest,
    Record,
    SchemaChange,
    SplitManifest,
)

R = TypeVar("R", bound=Record)

_BATCH_COLUMNS = tuple(Batch.model_fields)


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def append_batch(con: duckdb.DuckDBPyConnection, batch: Batch) -> Batch:
    """Append what became of one delivery; behind all that was written before, also when a clock was set back."""
    last = con.execute(f"select max(loaded_at) from {table('ledger', 'batches')}").fetchall()[0][0]
    if last is not None and batch.loaded_at <= last:
        batch = batch.model_copy(update={"loaded_at": last + timedelta(microseconds=1)})
    values = [getattr(batch, name) for name in _BATCH_COLUMNS]
    marks = ", ".join("?" for _ in values)
    con.execute(f"insert into {table('ledger', 'batches')} ({', '.join(_BATCH_COLUMNS)}) values ({marks})", values)
    return batch


def deliveries(con: duckdb.DuckDBPyConnection, source: str | None = None) -> list[Batch]:
    """Everything that was ever written about deliveries, in the order of writing."""
    rows = con.execute(
        f"select {', '.join(_BATCH_COLUMNS)} from {table('ledger', 'batches')} "
        "where $source is null or source = $source order by loaded_at, source, batch_id, version, rows_loaded",
        {"source": source},
    ).fetchall()
    return [Batch.model_validate(dict(zip(_BATCH_COLUMNS, row, strict=True))) for row in rows]


def batches(con: duckdb.DuckDBPyConnection, source: str | None = None) -> list[Batch]:
    """What counts now, by source and batch: of each loaded batch its newest version, and files that wait in quarantine.

    A file that was refused or skipped and was loaded later counts as loaded only.
    """
    return current_batches(deliveries(con, source))


def current_batches(written: Iterable[Batch]) -> list[Batch]:
    """Of everything written about deliveries, in the order of writing, what counts now."""
    loaded: dict[tuple[str, str], Batch] = {}
    others: dict[tuple[str, str, str], Batch] = {}
    for item in written:
        place = (item.source, item.file_name, item.sha256)
        others.pop(place, None)
        if item.status != "LOADED":
            others[place] = item
            before = loaded.get((item.source, item.batch_id))
            if item.status == "DUPLICATE" and item.version and before and before.version <= item.version:
                del loaded[item.source, item.batch_id]  # another batch has the same content
        elif (item.source, item.batch_id) not in loaded or item.version >= loaded[item.source, item.batch_id].version:
            loaded[item.source, item.batch_id] = item
    return sorted(
        (*loaded.values(), *others.values()), key=lambda item: (item.source, item.batch_id, item.loaded_at, item.sha256)
    )


def loaded_batch_ids(con: duckdb.DuckDBPyConnection, source: str) -> list[str]:
    """Ids of the loaded batches of a source, sorted."""
    return sorted({batch.batch_id for batch in batches(con, source) if batch.status == "LOADED"})


def skipped_batch_ids(con: duckdb.DuckDBPyConnection, source: str) -> set[str]:
    """Batches of which nothing is loaded, since their file repeats what counts in another batch."""
    written = deliveries(con, source)
    loaded = {item.batch_id for item in current_batches(written) if item.status == "LOADED"}
    return {item.batch_id for item in repeating(written)} - loaded


def repeating(written: Iterable[Batch]) -> list[Batch]:
    """Of everything written, in the order of writing, the files that repeat what counts in an earlier batch.

    Once that batch is corrected they repeat nothing any more, and are to be loaded.
    """
    written = list(written)
    first: dict[tuple[str, str], str] = {}
    for item in current_batches(written):
        if item.status == "LOADED":
            first.setdefault((item.source, item.sha256), item.batch_id)
    newest = {(item.source, item.file_name): item for item in written}
    return [
        item
        for item in newest.values()
        if item.status == "DUPLICATE" and first.get((item.source, item.sha256), chr(sys.maxunicode)) <= item.batch_id
    ]


def built_from(con: duckdb.DuckDBPyConnection, model: str, source: str) -> dict[str, str]:
    """Batches that a table of dbt (`schema.name`) is made of, with their content; empty if it is built whole."""
    found = con.execute(
        f"select batch_id, content_id from {table('ledger', 'built')} where model = ? and source = ?", [model, source]
    ).fetchall()
    return {str(batch_id): str(content_id) for batch_id, content_id in found}


def schema_changes(con: duckdb.DuckDBPyConnection, about: Iterable[Batch]) -> list[SchemaChange]:
    """Differences from the contract that were allowed in these deliveries."""
    wanted = {(item.source, item.delivery_id, item.batch_id) for item in about}
    found = [item for _, item in records(con, "schema_changes", SchemaChange)]
    return [item for item in found if (item.source, item.delivery_id, item.batch_id) in wanted]


def record_table(name: str) -> str:
    """The quoted name of a table of records."""
    return table(RECORD_TABLES[name], name)


def append_once(con: duckdb.DuckDBPyConnection, name: str, record_id: str, batch_id: str, record: Record) -> bool:
    """Append a record unless its id is there; says whether it was new."""
    target = record_table(name)
    present = con.execute(f"select 1 from {target} where record_id = ? limit 1", [record_id]).fetchone()
    if present:
        return False
    # behind all that was written before, also when a clock was set back: the newest word is the one that counts
    last = con.execute(f"select max(recorded_at) from {target}").fetchall()[0][0]
    moment = now() if last is None else max(now(), last + timedelta(microseconds=1))
    con.execute(f"insert into {target} values (?, ?, ?, ?)", [record_id, batch_id, moment, record.to_json()])
    return True


def append_newest(con: duckdb.DuckDBPyConnection, name: str, record_id: str, batch_id: str, record: Record) -> bool:
    """Append a record unless it is the newest of its batch; a return to an older one is a row of its own."""
    newest = con.execute(
        f"select record_id from {record_table(name)} where batch_id = ? "
        "order by recorded_at desc, record_id desc limit 1",
        [batch_id],
    ).fetchone()
    if newest and str(newest[0]).partition("@")[0] == record_id:
        return False
    return append_once(con, name, record_id, batch_id, record) or append_once(
        con, name, f"{record_id}@{now().isoformat()}", batch_id, record
    )


def records(
    con: duckdb.DuckDBPyConnection, name: str, kind: type[R], *, batch_id: str | None = None
) -> list[tuple[datetime, R]]:
    """All records of a ledger table in the order they were written, with the moment of writing."""
    rows = con.execute(
        f"select recorded_at, record from {record_table(name)} "
        "where $batch is null or batch_id = $batch order by recorded_at, record_id",
        {"batch": batch_id},
    ).fetchall()
    try:
        return [(at, kind.model_validate_json(text)) for at, text in rows]
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        raise HeadraceError(
            "the ledger has records of another version of Headrace",
            where=f"ledger table {name}, field {'.'.join(str(part) for part in item['loc'])}",
            expected=f"a {kind.__name__} of this version",
            found=str(item["msg"]),
            fix="use the version that wrote this home, or start a new one (HEADRACE_HOME) and land the files there",
        ) from None


def latest(con: duckdb.DuckDBPyConnection, name: str, kind: type[R], *, batch_id: str) -> R | None:
    """The newest record of a batch, or None."""
    found = records(con, name, kind, batch_id=batch_id)
    return found[-1][1] if found else None


def split_of(con: duckdb.DuckDBPyConnection, as_of: str) -> SplitManifest | None:
    """The newest split as of a batch."""
    return latest(con, "splits", SplitManifest, batch_id=as_of)


def split_by_id(con: duckdb.DuckDBPyConnection, split_id: str) -> SplitManifest:
    """The split of this id.

    Raises:
        HeadraceError: the ledger has none.
    """
    found = next((item for _, item in records(con, "splits", SplitManifest) if item.split_id == split_id), None)
    if found is None:
        raise HeadraceError(
            "the split is not in the ledger",
            where="ledger.splits",
            expected=split_id,
            found="other ones",
            fix="run the product again, so that the split is made anew",
        )
    return found


def models_of(
    con: duckdb.DuckDBPyConnection, split_id: str, *, spec_hash: str | None = None
) -> dict[str, ModelManifest]:
    """The newest model of each algorithm that was trained on a split, under a spec if one is named."""
    found = [
        model
        for _, model in records(con, "models", ModelManifest)
        if model.split_id == split_id and spec_hash in (None, model.spec_hash)
    ]
    return {model.algorithm: model for model in found}


def model(con: duckdb.DuckDBPyConnection, model_id: str) -> ModelManifest | None:
    """A model's manifest by its id."""
    row = con.execute(f"select record from {table('ledger', 'models')} where record_id = ?", [model_id]).fetchone()
    return ModelManifest.model_validate_json(row[0]) if row else None


def all_blessings(con: duckdb.DuckDBPyConnection) -> list[Blessing]:
    """All blessings, oldest first."""
    return [item for _, item in records(con, "blessings", Blessing)]


def blessings_of(con: duckdb.DuckDBPyConnection, model_id: str) -> list[Blessing]:
    """All blessings about a model, oldest first."""
    return [item for item in all_blessings(con) if item.model_id == model_id]


def evaluations_of(con: duckdb.DuckDBPyConnection, split_id: str) -> list[EvaluationReport]:
    """All evaluations on a split's rows, the newest of each model."""
    found = [item for _, item in records(con, "evaluations", EvaluationReport) if item.split_id == split_id]
    return list({(item.model_id, item.role): item for item in found}.values())


def decisions(con: duckdb.DuckDBPyConnection) -> list[tuple[datetime, Decision]]:
    """All decisions, oldest first."""
    return records(con, "decisions", Decision)


def append_alerts(con: duckdb.DuckDBPyConnection, alerts: Iterable[Alert]) -> int:
    """Append alerts, one per cause; says how many were new."""
    return sum(append_once(con, "alerts", alert.alert_id, alert.batch_id, alert) for alert in alerts)


def append_to_lake(lake: Lake, name: str, items: Iterable[tuple[str, str, Record]]) -> int:
    """Append records (id, batch, record) in one transaction of their own; says how many were new."""
    found = list(items)
    return lake.transact(lambda con: sum(append_once(con, name, *item) for item in found))
