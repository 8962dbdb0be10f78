"""What is in a home after a day, and what of it is wrong: compared with what landed, and with an undisturbed day.

It reads the tables through the lake, but the catalog's files with SQLite itself and the row numbers from the
deliveries, so that the platform's own accounts are not what it is judged by.
"""

import hashlib
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import duckdb
from pydantic import BaseModel

from assets import ledger
from assets.naming import CLEANED, FEATURES, LEDGER, RAW, table
from tests.faults.scenarios import Day

# when something was written is not part of what was written
TIMES = ("loaded_at", "recorded_at", "quarantined_at")
ISO_TIME = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|\+00:00)?"


class Findings(BaseModel):
    """What a home holds, and what is wrong by itself.

    Args:
        rows: of each table the hash of every row, times left out.
        kept: bytes in quarantine, name and hash.
        lost: rows that landed and are nowhere, and data files that the catalog names and that are not there.
        doubled: rows that are somewhere more than once.
        orphaned: data files that the catalog does not name, and copies that nobody reads any more.
        wrong: what else disagrees, in words.
    """

    rows: dict[str, list[str]]
    kept: dict[str, str]
    lost: int
    doubled: int
    orphaned: list[str]
    wrong: list[str]


def examine(day: Day) -> Findings:
    """Look at everything that a day has left in its home."""
    lake = day.lake
    with lake.connect() as con:
        rows = {
            f"{schema}.{name}": row_hashes(con, schema, name)
            for schema, name in con.execute(
                "select schema_name, table_name from duckdb_tables() where database_name = 'lake' order by all"
            ).fetchall()
            if schema in (RAW, CLEANED, FEATURES, LEDGER)
        }
        lost, doubled, wrong = account(con, day)
    named = named_files(Path(lake.catalog.removeprefix("sqlite:")), Path(lake.data_path))
    there = {path for path in Path(lake.data_path).rglob("*") if path.is_file()}
    wrong += [f"the catalog names {path.name}, which is not there" for path in named - there]
    quarantine = lake.settings.quarantine / lake.product
    kept = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in quarantine.glob("*")}
    wrong += [f"{name} in quarantine has the hash {found}" for name, found in kept.items() if found != name]
    left = [path for path in lake.staging.iterdir() if not path.name.startswith("spill-")]
    return Findings(
        rows=rows,
        kept=kept,
        lost=lost + len(named - there),
        doubled=doubled,
        orphaned=sorted(str(path.relative_to(lake.folder)) for path in (*(there - named), *left)),
        wrong=wrong,
    )


def row_hashes(con: duckdb.DuckDBPyConnection, schema: str, name: str) -> list[str]:
    """A hash of each row of a table, sorted; names of columns are part of it."""
    columns = [str(row[0]) for row in con.execute(f"describe {table(schema, name)}").fetchall()]
    excluded = [column for column in columns if column in TIMES]
    exclude = f"exclude ({', '.join(excluded)})" if excluded else ""
    text = "to_json(kept)::varchar"
    if schema == LEDGER:
        text = f"regexp_replace({text}, '{ISO_TIME}', 'T', 'g')"
    rows = con.execute(f"select md5({text})[:16] from (select * {exclude} from {table(schema, name)}) as kept")
    return sorted(str(row[0]) for row in rows.fetchall())


def account(con: duckdb.DuckDBPyConnection, day: Day) -> tuple[int, int, list[str]]:
    """Hold every row that landed against raw, the superseded rows and quarantine: how many are lost, how many twice."""
    landed = {delivery.sha256: delivery for delivery in day.deliveries}
    written = ledger.deliveries(con)
    last = {(item.batch_id, item.delivery_id): item for item in written}  # replayed, or found to be another's content
    loaded = {name: item for name, item in last.items() if item.status in ("LOADED", "SUPERSEDED")}
    found = rows_found(con)
    expected: Counter[tuple[str, str, int]] = Counter()
    wrong = []
    for (batch_id, delivery_id), item in loaded.items():
        keys = landed[item.sha256].keys
        expected.update((batch_id, delivery_id, number) for number in range(1, len(keys) + 1))
        numbers = {number: key for (*name, number, key) in found if name == [batch_id, delivery_id] and key is not None}
        if any(keys[number - 1] != key for number, key in numbers.items() if number <= len(keys)):
            wrong.append(f"{item.file_name}: rows have the numbers of others")
        counted = (item.rows_in, item.rows_loaded, item.rows_quarantined)
        if counted != (len(keys), len(numbers), len(keys) - len(numbers)):
            wrong.append(f"{item.file_name}: {counted} in the ledger, {len(keys)} landed, {len(numbers)} in raw")
    refused = {item.sha256 for item in written if item.status == "REFUSED"}
    wanted = {delivery.sha256 for delivery in day.deliveries if delivery.is_refused}
    if refused != wanted:
        wrong.append(f"refused files: {sorted(refused)}, not {sorted(wanted)}")
    counts = Counter((batch_id, delivery_id, number) for batch_id, delivery_id, number, _ in found)
    return (expected - counts).total(), (counts - expected).total(), wrong


def rows_found(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str, int, str | None]]:
    """Batch, delivery, number and key of every row in the raw tables and in quarantine; a row there has no key."""
    there = {
        str(row[0])
        for row in con.execute("select table_name from duckdb_tables() where schema_name = 'raw'").fetchall()
    }
    queries = [f"select batch_id, delivery_id, row_number, null from {table(RAW, 'quarantine')}"]
    for source, key in (("parcels", "parcel_id"), ("depots", "depot")):
        queries += [
            f"select batch_id, headrace_delivery, row_number, {key}::varchar from {table(RAW, name)}"
            for name in (source, f"{source}_superseded")
            if name in there
        ]
    return con.execute(" union all ".join(queries)).fetchall()


def named_files(catalog: Path, data: Path) -> set[Path]:
    """Every data and delete file that any snapshot of the catalog names, or that it has marked to be removed."""
    placed = """select file.path, file.path_is_relative, tables.path, tables.path_is_relative, schemas.path
        from {} as file
        join (select distinct table_id, schema_id, path, path_is_relative from ducklake_table) as tables
            using (table_id)
        join ducklake_schema as schemas using (schema_id)"""
    named = set()
    with closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True)) as con:
        for name in ("ducklake_data_file", "ducklake_delete_file"):
            for path, is_relative, folder, in_schema, schema in con.execute(placed.format(name)):
                base = (data / schema if in_schema else data) / folder
                named.add((base if is_relative else data) / path)
        scheduled = "select path, path_is_relative from ducklake_files_scheduled_for_deletion"
        for path, is_relative in con.execute(scheduled):
            named.add(data / path if is_relative else Path(path))
    return named


def differences(found: Findings, expected: Findings) -> Findings:
    """What is wrong in a home by itself or beside an undisturbed day of the same seed."""
    lost, doubled, wrong = found.lost, found.doubled, [*found.wrong]
    for name in sorted({*found.rows, *expected.rows}):
        here, there = Counter(found.rows.get(name, [])), Counter(expected.rows.get(name, []))
        lost += (there - here).total()
        doubled += (here - there).total()
        if here != there or (name in found.rows) != (name in expected.rows):
            wrong.append(f"{name}: {(there - here).total()} rows are lost, {(here - there).total()} are too many")
    if found.kept != expected.kept:
        wrong.append(f"bytes in quarantine: {sorted(found.kept)}, not {sorted(expected.kept)}")
    return Findings(rows={}, kept={}, lost=lost, doubled=doubled, orphaned=found.orphaned, wrong=wrong)
