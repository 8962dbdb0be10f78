"""What waits in quarantine: rows that didn't fit their columns and files that were refused, each with its reason.

Here it is counted, shown and exported. `commit.py` and `ingest.py` put it there; `replay.py` reads it again.
"""

import os
import shutil
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from assets import ledger
from assets.errors import HeadraceError
from assets.files import flush, own_path
from assets.lake import Lake
from assets.naming import RAW, literal, quoted, table, version_order
from assets.raw.postgres.mended import forget_mended
from assets.records import Batch
from assets.spec import ProductSpec

_CSV, _PARQUET = ".csv", ".parquet"
_SHOWN_TEXT = 300  # characters of a file's reason in a table of the UI

# a cell that begins so is a formula to a spreadsheet (OWASP, CSV injection), unless it is a number
_FORMULA = r"""^(?:[\s"']*[=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]|[\t\r\n])"""  # also full-width
_NUMBER = r"^[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"
# control characters but tab and line ends -> their pictures (U+2400 and on; those from 128 have none)
_PICTURES = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n\r"},
    127: 0x2421,
    **dict.fromkeys(range(128, 160), 0xFFFD),
}
_LINE_PICTURES = {code: 0x2400 + code for code in (9, 10, 13)}


@dataclass(frozen=True)
class WaitingRows:
    """Rows of one delivery that wait for one reason."""

    source: str
    batch_id: str
    file_name: str
    column: str
    expected: str
    rows: int

    @property
    def reason(self) -> str:
        """In words."""
        return f"{self.column}: expected {self.expected}" if self.column else f"expected {self.expected}"


@dataclass(frozen=True)
class Waiting:
    """All that waits, in the order of source and batch.

    Args:
        rows: by delivery and reason.
        files: refused as a whole.
        deliveries: those of `rows`.
    """

    rows: tuple[WaitingRows, ...]
    files: tuple[Batch, ...]
    deliveries: tuple[Batch, ...]

    @property
    def total_rows(self) -> int:
        """Rows that wait, of files that were loaded but for them."""
        return sum(item.rows for item in self.rows)

    def of_batch(self, batch_id: str) -> "Waiting":
        """The same of one batch only."""
        rows, files, deliveries = (
            tuple(item for item in items if item.batch_id == batch_id)
            for items in (self.rows, self.files, self.deliveries)
        )
        return Waiting(rows, files, deliveries)  # type: ignore[arg-type]


def waiting(con: duckdb.DuckDBPyConnection, spec: ProductSpec) -> Waiting:
    """What waits of a product: of the deliveries that count, and of files that no later delivery has replaced."""
    written = ledger.deliveries(con)
    deliveries = [item for item in counting(spec, written) if item.rows_quarantined]
    _name_rows(con, spec, deliveries)
    found = con.execute(
        """select source, batch_id, file_name, coalesce(column_name, ''), coalesce(expected, ''), count(*)
        from temp.waiting_rows group by all order by all"""
    ).fetchall()
    rows = tuple(WaitingRows(*row) for row in found)
    named = {(item.source, item.batch_id) for item in rows}
    of_rows = tuple(item for item in deliveries if (item.source, item.batch_id) in named)
    return Waiting(rows, tuple(refused(spec, written)), of_rows)


def counting(spec: ProductSpec, written: Iterable[Batch]) -> list[Batch]:
    """The deliveries that count: the newest of each batch; of a source without batches the newest of all.

    Args:
        spec: the product.
        written: everything in the ledger, in the order of writing.
    """
    loaded = [item for item in ledger.current_batches(written) if item.status == "LOADED"]
    newest = {item.source: item for item in sorted(loaded, key=lambda item: item.version)}
    return [item for item in loaded if not _is_register(spec, item.source) or item == newest[item.source]]


def refused(spec: ProductSpec, written: Sequence[Batch]) -> list[Batch]:
    """The refused files that wait, oldest first: those whose batch has no greater or later delivery that counts.

    Args:
        spec: the product.
        written: everything in the ledger, in the order of writing.
    """
    arrived = _arrivals(written)
    counts = counting(spec, written)

    def order(item: Batch) -> tuple[Any, ...]:
        return version_order(item.version_label), arrived[_content(item)]

    found = [
        item
        for item in ledger.current_batches(written)
        if item.status == "REFUSED"
        and not any(
            order(other) > order(item)
            for other in counts
            if other.source == item.source and (other.batch_id == item.batch_id or _is_register(spec, item.source))
        )
    ]
    return sorted(found, key=lambda item: arrived[_content(item)])


def _is_register(spec: ProductSpec, source: str) -> bool:
    return source in spec.sources and not spec.sources[source].has_batch


def _content(item: Batch) -> tuple[str, str, str]:
    return item.source, item.file_name, item.sha256


def _arrivals(written: Iterable[Batch]) -> dict[tuple[str, str, str], datetime]:
    """When each content came: a replay of what was refused before, or of its rows, is no new arrival."""
    arrived: dict[tuple[str, str, str], datetime] = {}
    last: dict[tuple[str, str, str], Batch] = {}
    for item in written:
        before = last.get(_content(item))
        if before is None or (before.status, before.version) not in (("REFUSED", 1), (item.status, item.version)):
            arrived[_content(item)] = item.loaded_at
        last[_content(item)] = item
    return arrived


def rows_of(con: duckdb.DuckDBPyConnection, spec: ProductSpec, found: Waiting, *, limit: int) -> list[dict[str, Any]]:
    """Rows that wait, one by one, in the order of source, batch and row number; at most so many."""
    _name_rows(con, spec, found.deliveries)
    answer = con.execute(
        f"""select source, batch_id, file_name, row_number, column_name as "column", expected, found, raw_text
        from temp.waiting_rows order by source, batch_id, row_number limit {limit}"""
    )
    names = [item[0] for item in answer.description or []]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def by_reason(found: Waiting) -> list[dict[str, Any]]:
    """Counts by reason over all batches, the most frequent first: rows by column and expectation, then files."""
    groups: dict[tuple[str, str], list[WaitingRows]] = defaultdict(list)
    for item in found.rows:
        groups[item.source, item.reason].append(item)
    rows: list[dict[str, Any]] = [
        {
            "source": source,
            "reason": visible(reason, one_line=True),
            "rows": sum(item.rows for item in items),
            "batches": len({item.batch_id for item in items}),
        }
        for (source, reason), items in groups.items()
    ]
    files = [
        {
            "source": item.source,
            "reason": visible(f"{item.file_name} refused: {item.reason}", one_line=True)[:_SHOWN_TEXT],
            "rows": 0,
            "batches": 1,
        }
        for item in found.files
    ]
    return [*sorted(rows, key=lambda row: (-row["rows"], row["source"], row["reason"])), *files]


def as_asset(found: Waiting, spec: ProductSpec) -> dict[str, Any]:
    """What the asset of a product's quarantine shows: counts, a table by reason, and how to go on."""
    return {
        "rows_waiting": found.total_rows,
        "files_refused": len(found.files),
        "by_reason": by_reason(found),
        "look": f"headrace quarantine {spec.product}",
        "replay": how_to_mend(spec),
    }


def how_to_mend(spec: ProductSpec) -> str:
    """What brings rows and files out of a product's quarantine: a command, and of a followed table its own changes."""
    replay = f"after a fix of the spec: headrace replay-quarantine {spec.product}"
    if spec.source.postgres is None:
        return replay
    rows = "mend the spec or the rows, then update these rows in the database: the changes bring them again"
    return f"{rows}; files, {replay}" if spec.references else rows


def visible(text: str, *, one_line: bool = False) -> str:
    """A text whose control characters are shown, not obeyed: by a terminal, or by a reader from right to left."""
    pictured = text.translate({**_PICTURES, **(_LINE_PICTURES if one_line else {})})
    return "".join("\ufffd" if unicodedata.category(sign) == "Cf" else sign for sign in pictured)


def export(lake: Lake, spec: ProductSpec, path: Path) -> Waiting:
    """Write all rows and refused files that wait to one file, which appears whole or not at all.

    In CSV, control characters are replaced by their pictures, and a text that a spreadsheet would take for a formula
    gets an apostrophe before it. Parquet has the texts as they are.

    Args:
        lake: the product's lake.
        spec: the product.
        path: ends in .csv or .parquet; an older file is replaced.

    Raises:
        HeadraceError: the name ends otherwise, or its folder isn't there.
    """
    form = path.suffix.lower()
    if form not in (_CSV, _PARQUET) or not path.parent.is_dir() or path.is_dir():
        raise HeadraceError(
            "quarantine can't be exported there",
            product=spec.product,
            where=str(path),
            expected="a file name that ends in .csv or .parquet, in a folder that is there",
            fix=f"headrace quarantine {spec.product} --export {spec.product}-quarantine.csv",
        )
    staged = own_path(lake.staging, "export")
    try:
        with lake.connect() as con:
            found = waiting(con, spec)
            _name_files(con, found.files)
            con.execute(f"copy ({_export_query(is_csv=form == _CSV)}) to {literal(str(staged))} ({_FORMS[form]})")
        with _appearing(path) as part:
            shutil.copyfile(staged, part)
    finally:
        staged.unlink(missing_ok=True)
    return found


_FORMS = {_CSV: "format csv, header", _PARQUET: "format parquet, compression zstd"}
_EXPORTED = {
    "source": ("source", "source"),
    "batch_id": ("batch_id", "batch_id"),
    "kind": ("'row'", "'file'"),
    "file_name": ("file_name", "file_name"),
    "sha256": ("sha256", "sha256"),
    "row_number": ("row_number", "null"),
    "column_name": ("column_name", "null"),
    "expected": ("expected", "null"),
    "found": ("found", "null"),
    "reason": ("null", "reason"),
    "raw_text": ("raw_text", "null"),
    "quarantined_at": ("quarantined_at", "loaded_at"),
}
_NO_TEXT = {"row_number", "quarantined_at"}


def _export_query(*, is_csv: bool) -> str:
    rows, files = (", ".join(f"{sql[place]} as {quoted(name)}" for name, sql in _EXPORTED.items()) for place in (0, 1))
    shown = ", ".join(
        f"{_defused(quoted(name))} as {quoted(name)}" if is_csv and name not in _NO_TEXT else quoted(name)
        for name in _EXPORTED
    )
    return f"""select {shown} from (
        select {rows} from temp.waiting_rows
        union all select {files} from temp.refused_files
    ) as waiting order by source, batch_id, kind, file_name, row_number"""


def _defused(text: str) -> str:
    """SQL of a text that no spreadsheet obeys and no terminal either."""
    codes, pictures = ("||".join(f"chr({code})" for code in items) for items in (_PICTURES.keys(), _PICTURES.values()))
    is_formula = f"regexp_matches({text}, {literal(_FORMULA)}) and not regexp_matches({text}, {literal(_NUMBER)})"
    return f"translate(if({is_formula}, '''' || {text}, {text}), {codes}, {pictures})"


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A place beside a file to write to; the file is replaced by what was written there, flushed to disk."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        flush(part)
        part.replace(path)
        flush(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _name_rows(con: duckdb.DuckDBPyConnection, spec: ProductSpec, deliveries: Sequence[Batch]) -> None:
    """Make `temp.waiting_rows` of the rows of exactly these; of a followed table without those that came again."""
    con.execute(
        f"""create or replace temp table waiting_rows as
        with deliveries as (select unnest($items::struct(
            source varchar, batch_id varchar, delivery_id varchar, file_name varchar, sha256 varchar)[],
            recursive := true))
        select * from {table(RAW, "quarantine")} join deliveries using (source, batch_id, delivery_id)""",
        {
            "items": [
                {
                    "source": item.source,
                    "batch_id": item.batch_id,
                    "delivery_id": item.delivery_id,
                    "file_name": item.file_name,
                    "sha256": item.sha256,
                }
                for item in deliveries
            ]
        },
    )
    if spec.source.postgres is not None and deliveries:
        forget_mended(con, spec, "temp.waiting_rows")


def _name_files(con: duckdb.DuckDBPyConnection, files: Sequence[Batch]) -> None:
    """Make `temp.refused_files`."""
    names = ("source", "batch_id", "file_name", "sha256", "reason", "loaded_at")
    con.execute(
        """create or replace temp table refused_files as select unnest($items::struct(
            source varchar, batch_id varchar, file_name varchar, sha256 varchar, reason varchar,
            loaded_at timestamptz)[], recursive := true)""",
        {"items": [{name: getattr(item, name) for name in names} for item in files]},
    )
