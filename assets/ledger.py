"""The ledger: append-only tables beside the rows they speak of, and the questions that stages ask them.

Rows are appended once by their record id inside the caller's transaction; nothing is updated or deleted.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TypeVar

import duckdb
from pydantic import ValidationError

from assets.errors import HeadraceError
from assets.lake import RECORD_TABLES, Lake
from assets.naming import table
from assets.records import Alert, Batch, Blessing, Decision, EvaluationReport, ModelManifest, Record, SplitManifest

R = TypeVar("R", bound=Record)

_BATCH_COLUMNS = tuple(Batch.model_fields)


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def append_batch(con: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    """Append what became of one delivered file."""
    values = [getattr(batch, name) for name in _BATCH_COLUMNS]
    marks = ", ".join("?" for _ in values)
    con.execute(f"insert into {table('ledger', 'batches')} ({', '.join(_BATCH_COLUMNS)}) values ({marks})", values)


def batches(con: duckdb.DuckDBPyConnection, source: str | None = None) -> list[Batch]:
    """Delivered files in the order of their batch, refused ones too."""
    rows = con.execute(
        f"select {', '.join(_BATCH_COLUMNS)} from {table('ledger', 'batches')} "
        "where $source is null or source = $source order by source, batch_id, loaded_at",
        {"source": source},
    ).fetchall()
    return [Batch.model_validate(dict(zip(_BATCH_COLUMNS, row, strict=True))) for row in rows]


def loaded_batch_ids(con: duckdb.DuckDBPyConnection, source: str) -> list[str]:
    """Ids of the loaded batches of a source, sorted."""
    return sorted({batch.batch_id for batch in batches(con, source) if batch.status == "LOADED"})


def record_table(name: str) -> str:
    """The quoted name of a table of records."""
    return table(RECORD_TABLES[name], name)


def append_once(con: duckdb.DuckDBPyConnection, name: str, record_id: str, batch_id: str, record: Record) -> bool:
    """Append a record unless its id is there; says whether it was new."""
    target = record_table(name)
    present = con.execute(f"select 1 from {target} where record_id = ? limit 1", [record_id]).fetchone()
    if present:
        return False
    con.execute(f"insert into {target} values (?, ?, ?, ?)", [record_id, batch_id, now(), record.to_json()])
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
