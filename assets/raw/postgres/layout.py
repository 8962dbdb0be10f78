"""What tells that rows of a table were changed without a message: by a statement that writes the whole table anew.

Replication sends no row for `add column … default`, `alter column … type … using` or a column that goes and comes
again, though each gives rows other values. What the server's catalog says of the columns and files is therefore kept
with the slot, and compared before each load.
"""

import hashlib
from typing import LiteralString

from assets.raw.postgres.connection import Connection, rows_of
from assets.raw.postgres.table import Table
from assets.records import Record
from assets.spec import ProductSpec

# a varchar becomes a text without another value
_COLUMNS: LiteralString = """
select attname as name, attnum::int as number, case atttypid when 1043 then 25 else atttypid::bigint end as type_oid,
    c.relnatts::int as last
from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.oid = %(oid)s and attnum > 0 and not attisdropped and attgenerated = ''
"""
# of a partitioned table the partitions that hold rows
_FILES: LiteralString = """
select c.oid::bigint as oid, c.relfilenode::bigint as file, attname as name, a.xmin::text as written,
    atthasmissing as is_filled
from pg_class c join pg_attribute a on a.attrelid = c.oid
where attnum > 0 and not attisdropped and (
    c.oid = %(oid)s and c.relkind = 'r'
    or c.oid in (select relid from pg_partition_tree(%(oid)s::oid::regclass) where isleaf and relid <> %(oid)s)
)
order by 1, name
"""


class Layout(Record):
    """A table's columns and files at a moment."""

    last: int
    """the number of the newest column; a dropped one's is never given again"""
    columns: dict[str, tuple[int, int]]
    """number and type of each column that raw has"""
    filled: tuple[str, ...] = ()
    """columns that were added with a value for the rows that were there"""
    files: dict[str, tuple[int, str]]
    """of the table or each of its partitions the file, and which catalog rows describe the columns in it"""
    key: tuple[str, ...] = ()
    """the columns that name a row"""


def read_layout(con: Connection, spec: ProductSpec, table: Table) -> Layout:
    """What the server says now, of the columns that the contract lets into raw."""
    found = rows_of(con, _COLUMNS, {"oid": table.oid})
    is_all = spec.source.contract == "evolve"
    columns = {
        str(item["name"]): (int(item["number"]), int(item["type_oid"]))
        for item in found
        if is_all or item["name"] in spec.source.columns
    }
    own = [item for item in rows_of(con, _FILES, {"oid": table.oid}) if item["name"] in columns]
    marks: dict[tuple[str, int], list[str]] = {}
    for item in own:
        marks.setdefault((str(item["oid"]), int(item["file"])), []).append(f"{item['name']} {item['written']}")
    return Layout(
        last=max((int(item["last"]) for item in found), default=0),
        columns=columns,
        filled=tuple(sorted({str(item["name"]) for item in own if item["is_filled"]})),
        key=table.key,
        files={oid: (file, hashlib.sha256("\n".join(of).encode()).hexdigest()) for (oid, file), of in marks.items()},
    )


def unsent(before: Layout, now: Layout) -> str:
    """What changed values of rows that were loaded, in words; empty if nothing did.

    A file alone is also written anew by VACUUM FULL and TRUNCATE, and a catalog row by what changes no value; both
    together are taken for a change.
    """
    for name, (number, type_oid) in now.columns.items():
        was = before.columns.get(name)
        if was and was[0] != number:
            return f"column {name} was dropped and made anew"
        if was and was[1] != type_oid:
            return f"column {name} got another type"
        if not was and number <= before.last:
            return f"column {name} was there before under another name, or is in the contract only now"
        if not was and name in now.filled:
            return f"column {name} came with a value for the rows that were there"
    for oid, (file, mark) in now.files.items():
        was_file, was_mark = before.files.get(oid, (file, mark))
        if file != was_file and mark != was_mark:
            return "every row was written anew when columns were changed"
    return ""


def kept(before: Layout | None, now: Layout) -> Layout:
    """What to compare with the next time: a dropped column is remembered, for old rows in raw have its values."""
    return now.model_copy(update={"columns": {**before.columns, **now.columns}}) if before else now
