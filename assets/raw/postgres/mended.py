"""Rows of a followed table that wait in quarantine no more: a later change has brought or deleted them."""

import duckdb

from assets import ledger
from assets.naming import RAW, literal, quoted, table
from assets.raw.postgres.slot import SLOTS, SlotEvent
from assets.spec import ProductSpec, fold_name


def forget_mended(con: duckdb.DuckDBPyConnection, spec: ProductSpec, rows: str) -> None:
    """Delete from a temporary copy of the quarantine what a later change of the same row, or a truncate, has replaced.

    Args:
        con: a connection to the product's lake.
        spec: the product.
        rows: the copy, with the columns of the quarantine.
    """
    key = _key(con)
    raw = table(RAW, spec.product)
    types = {fold_name(name): kind for name, kind, *_ in con.execute(f"describe {raw}").fetchall()}
    if not key or any(fold_name(name) not in types for name in key):
        return
    is_same_row = " and ".join(f"later.{quoted(name)} = {_key_text(name, types[fold_name(name)])}" for name in key)
    both = " and ".join(f"{_key_text(name, 'varchar')} = {_key_text(name, 'varchar', 'later')}" for name in key)
    is_later = "(later.batch_id, later.row_number) > (bad.batch_id, bad.row_number)"
    con.execute(
        f"""delete from {rows} where source = $source and (batch_id, row_number) in (
            select (bad.batch_id, bad.row_number) from {rows} as bad join {raw} as later on {is_same_row} and {is_later}
            where later.headrace_change is not null
            union all
            select (bad.batch_id, bad.row_number) from {rows} as bad join {rows} as later
                on bad.source = $source and later.source = $source and {both} and {is_later}
            union all
            select (bad.batch_id, bad.row_number) from {rows} as bad join {raw} as later on {is_later}
            where later.headrace_change = 'truncate'
        )""",
        {"source": spec.product},
    )


def _key(con: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """The columns that name a row, as the server said at the last load; of a lake older than that record none."""
    events = [event for _, event in ledger.records(con, SLOTS, SlotEvent)]
    return next((event.layout.key for event in reversed(events) if event.layout), ())


def _key_text(name: str, kind: str, rows: str = "bad") -> str:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    return f"try_cast(json_extract_string({rows}.raw_text, {literal(pointer)}) as {kind})"
