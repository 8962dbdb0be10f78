"""What the source's table is: columns, key, replica identity; and why it can't be followed, with the remedy."""

from dataclasses import dataclass
from typing import Any

from assets.errors import HeadraceError
from assets.naming import quoted
from assets.raw.postgres.connection import Connection, postgres_of, rows_of
from assets.raw.postgres.pgoutput import Column
from assets.spec import ProductSpec, fold_name

# raw's own columns
_OWN = "headrace_"

_TABLE = """
select c.oid::bigint as oid, n.nspname as schema, c.relname as name, c.relkind::text as kind,
    c.relpersistence::text as persistence, has_table_privilege(c.oid, 'select') as is_readable,
    row_security_active(c.oid) as is_filtered, current_user::text as role,
    current_setting('wal_level') as wal_level, current_setting('server_encoding') as encoding,
    c.reltuples::bigint as about_rows
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %(schema)s and c.relname = %(name)s
"""
# a value may be stored out of line if its type has no fixed length and its storage isn't plain
_COLUMNS = """
select attname as name, attgenerated <> '' as is_generated, attlen = -1 and attstorage <> 'p' as is_toastable,
    atttypid::bigint as type_oid, atttypmod as modifier
from pg_attribute where attrelid = %(oid)s and attnum > 0 and not attisdropped order by attnum
"""
_UNIQUE = """
select i.indisprimary as is_primary,
    array_agg(a.attname::text order by array_position(i.indkey::smallint[], a.attnum)) as columns
from pg_index i join pg_attribute a
    on a.attrelid = i.indrelid and a.attnum = any((i.indkey::smallint[])[0:i.indnkeyatts - 1])
where i.indrelid = %(oid)s and i.indisunique and i.indisvalid and i.indimmediate
    and i.indpred is null and i.indexprs is null
group by i.indexrelid, i.indisprimary
"""
# of a partitioned table the partitions that hold rows: each has an identity of its own
_IDENTITIES = """
select c.oid::regclass::text as name, c.relreplident::text as identity,
    coalesce((
        select array_agg(a.attname::text)
        from pg_index i join pg_attribute a
            on a.attrelid = c.oid and a.attnum = any((i.indkey::smallint[])[0:i.indnkeyatts - 1])
        where i.indrelid = c.oid
            and (c.relreplident = 'd' and i.indisprimary or c.relreplident = 'i' and i.indisreplident)
    ), '{}') as columns
from pg_class c
where c.oid = %(oid)s and c.relkind = 'r'
    or c.oid in (select relid from pg_partition_tree(%(oid)s::oid::regclass) where isleaf and relid <> %(oid)s)
order by 1
"""


@dataclass(frozen=True)
class Table:
    """A table that can be followed."""

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    """in their order, without generated ones, which replication leaves out"""
    key: tuple[str, ...]
    is_partitioned: bool
    about_rows: int
    """as the server estimates; below 0 if it has never counted"""

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns' names."""
        return tuple(item.name for item in self.columns)

    @property
    def quoted(self) -> str:
        """Its name in SQL."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def only(self) -> str:
        """The same without tables that inherit from it; the partitions of a partitioned one are part of it."""
        return self.quoted if self.is_partitioned else f"only {self.quoted}"


def inspect(con: Connection, spec: ProductSpec) -> Table:
    """Look at the product's table.

    Raises:
        HeadraceError: it can't be followed without losing something; the fix is the command to type.
    """
    schema, name = table_name(spec)
    found = rows_of(con, _TABLE, {"schema": schema, "name": name})
    if not found:
        raise _refusal(
            spec,
            "there is no such table in this database",
            expected=f"table {name} in schema {schema}",
            fix="correct source.postgres.table, or create the table",
        )
    facts = found[0]
    target = f"{quoted(schema)}.{quoted(name)}"
    _refuse_server_and_table(spec, facts, target)
    columns = rows_of(con, _COLUMNS, {"oid": facts["oid"]})
    sent = tuple(
        Column(item["name"], item["type_oid"], item["modifier"]) for item in columns if not item["is_generated"]
    )
    generated = [item["name"] for item in columns if item["is_generated"] and item["name"] in spec.source.columns]
    if generated:
        raise _refusal(
            spec,
            "replication leaves out generated columns",
            expected="columns that are stored by an insert or update",
            found=", ".join(generated),
            fix="remove them from source.columns and compute them in the staging model",
        )
    ours = [item.name for item in sent if fold_name(item.name).startswith(_OWN)]
    if ours:
        raise _refusal(
            spec,
            f"column names that begin with {_OWN} are Headrace's own",
            expected="other names",
            found=", ".join(ours),
            fix="; ".join(f"alter table {target} rename column {quoted(name)} to …" for name in ours) + ";",
        )
    key = _key(con, spec, facts, target)
    _refuse_identity(con, spec, facts["oid"], key, [item["name"] for item in columns if item["is_toastable"]])
    return Table(
        oid=int(facts["oid"]),
        schema=schema,
        name=name,
        columns=sent,
        key=key,
        is_partitioned=facts["kind"] == "p",
        about_rows=int(facts["about_rows"]),
    )


def table_name(spec: ProductSpec) -> tuple[str, str]:
    """Schema and name of the product's table."""
    schema, dot, name = postgres_of(spec).table.partition(".")
    return (schema, name) if dot else ("public", schema)


def _refuse_server_and_table(spec: ProductSpec, facts: dict[str, Any], target: str) -> None:
    if facts["wal_level"] != "logical":
        raise _refusal(
            spec,
            "the server's log doesn't say what changed",
            expected="wal_level = logical",
            found=f"wal_level = {facts['wal_level']}",
            fix="alter system set wal_level = logical; then restart the server",
        )
    if facts["encoding"] == "SQL_ASCII":
        raise _refusal(
            spec,
            "the database doesn't say how its text is encoded",
            expected="a database with an encoding, best UTF8",
            found="SQL_ASCII",
            fix="copy it to a database made by: create database … encoding 'UTF8' template template0;",
        )
    if facts["kind"] not in ("r", "p") or facts["persistence"] != "p":
        raise _refusal(
            spec,
            "the server's log holds no changes of this relation",
            expected="an ordinary or partitioned table that is logged",
            found={"v": "a view", "m": "a materialised view", "f": "a foreign table"}.get(
                facts["kind"], "an unlogged or temporary table"
            ),
            fix=f"alter table {target} set logged;"
            if facts["kind"] == "r"
            else "name the table that it is made of in source.postgres.table",
        )
    if not facts["is_readable"]:
        raise _refusal(
            spec,
            "the table can't be read",
            expected=f"the right to select for {facts['role']}",
            fix=f"grant select on {target} to {quoted(facts['role'])};",
        )
    if facts["is_filtered"]:
        raise _refusal(
            spec,
            "row security hides rows of the table from a snapshot",
            expected=f"all rows for {facts['role']}",
            fix=f"alter role {quoted(facts['role'])} bypassrls;",
        )


def _key(con: Connection, spec: ProductSpec, facts: dict[str, Any], target: str) -> tuple[str, ...]:
    """The columns that name a row: those of the spec, or the primary key."""
    unique = rows_of(con, _UNIQUE, {"oid": facts["oid"]})
    primary = next((item["columns"] for item in unique if item["is_primary"]), None)
    asked = postgres_of(spec).key
    if not asked and primary is None:
        raise _refusal(
            spec,
            "the table has no primary key, so a change doesn't say which row it is about",
            fix=f"alter table {target} add primary key (…); or name unique columns in source.postgres.key",
        )
    key = tuple(asked or primary or ())
    listed = ", ".join(quoted(name) for name in key)
    if not any(set(item["columns"]) <= set(key) for item in unique):
        raise _refusal(
            spec,
            "two rows of the table may have the same key",
            expected=f"a unique index on {listed}",
            fix=f"alter table {target} add unique ({listed});",
        )
    missing = sorted(set(key) - set(spec.source.columns))
    if missing:
        raise _refusal(
            spec,
            "the key has columns that the spec doesn't",
            expected="every column of the key in source.columns",
            found=f"not there: {', '.join(missing)}",
            fix="add them to source.columns",
        )
    return key


def _refuse_identity(con: Connection, spec: ProductSpec, oid: int, key: tuple[str, ...], toastable: list[str]) -> None:
    """Refuse what an update or a delete would not tell.

    A long value that an update leaves as it was is sent only with replica identity FULL; what it was can't be looked
    up in the lake for certain, for the change that brought it may be in quarantine.
    """
    for item in rows_of(con, _IDENTITIES, {"oid": oid}):
        if item["identity"] == "f":
            continue
        without = sorted(set(key) - set(item["columns"]))
        if without or toastable:
            raise _refusal(
                spec,
                "the table's replica identity loses columns",
                expected="replica identity full"
                + ("" if without else ", since updates leave out long values that stay as they are"),
                found=f"{item['name']} without {', '.join(without or toastable)}",
                fix=f"alter table {item['name']} replica identity full;",
            )


def _refusal(spec: ProductSpec, what: str, *, expected: str = "", found: str = "", fix: str) -> HeadraceError:
    return HeadraceError(
        what,
        product=spec.product,
        where=f"PostgreSQL table {'.'.join(table_name(spec))}",
        expected=expected,
        found=found,
        fix=fix,
    )
