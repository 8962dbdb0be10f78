"""Connections to the source's database, and errors of it in words: what belongs to a table or a slot is not here.

The connection string comes from the environment alone, and no message shows its password.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, LiteralString
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from assets.errors import HeadraceError
from assets.spec import PostgresSpec, ProductSpec

Connection = psycopg.Connection[TupleRow]

_CONNECT_SECONDS = 10
# a firewall forgets a connection on which nothing is said, and with it a loader would lose its turn
_KEEPALIVE_SECONDS = 60
# the first server that ends idle sessions
_IDLE_TIMEOUT_VERSION = 140000
# a killed client's session keeps its slot until the server notices
_SLOT_BUSY_SECONDS = 60
# values arrive as text, so the session decides how they are written; and nothing may cut a long snapshot short
_SESSION = {
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}


def postgres_of(spec: ProductSpec) -> PostgresSpec:
    """The table that a product's source is.

    Raises:
        HeadraceError: the product's source is files.
    """
    if spec.source.postgres is None:
        raise HeadraceError(
            "the product's source is files, not a table",
            product=spec.product,
            where="source",
            expected="source.postgres",
            fix=f"headrace land {spec.product} FILE",
        )
    return spec.source.postgres


@contextmanager
def opened(spec: ProductSpec, *, replication: bool = False, lock_seconds: float = 0) -> Iterator[Connection]:
    """A connection that commits each statement by itself; closed at the end.

    Args:
        spec: the product, whose spec names the environment variable.
        replication: whether it speaks the replication protocol.
        lock_seconds: how long a statement waits for a lock; 0 is for ever.

    Raises:
        HeadraceError: no connection, or any error of the database inside the block.
    """
    conninfo = _conninfo(spec)
    wanted = {**_SESSION, "lock_timeout": f"{int(lock_seconds * 1000)}"}
    known = conninfo_to_dict(conninfo)
    given = str(known.get("options") or os.environ.get("PGOPTIONS", ""))
    with (
        _said(spec, known),
        psycopg.connect(
            make_conninfo(
                conninfo,
                options=" ".join([given, *(f"-c {name}={value}" for name, value in wanted.items())]).strip(),
                client_encoding="UTF8",
                application_name=known.get("application_name") or f"headrace {spec.product}",
                connect_timeout=known.get("connect_timeout") or _CONNECT_SECONDS,
                keepalives_idle=known.get("keepalives_idle") or _KEEPALIVE_SECONDS,
            ),
            autocommit=True,
            **({"replication": "database"} if replication else {}),  # type: ignore[arg-type]
        ) as con,
    ):
        if con.info.server_version >= _IDLE_TIMEOUT_VERSION:  # an older server would refuse it among the options
            con.execute("set idle_session_timeout = 0")
        yield con


def _conninfo(spec: ProductSpec) -> str:
    variable = postgres_of(spec).connection
    conninfo = os.environ.get(variable, "").strip()
    fix = f"export {variable}='host=… port=5432 dbname=… user=… password=…'"
    if not conninfo:
        raise HeadraceError(
            "the connection string is not in the environment",
            product=spec.product,
            where="source.postgres.connection",
            expected=f"the environment variable {variable}",
            fix=fix,
        )
    try:
        conninfo_to_dict(conninfo)
    except psycopg.Error:  # its message repeats a part of the string, which may be the password
        raise HeadraceError(
            "the connection string can't be read",
            product=spec.product,
            where=f"environment variable {variable}",
            expected="a PostgreSQL connection string or postgresql:// address",
            fix=fix,
        ) from None
    return conninfo


@contextmanager
def _said(spec: ProductSpec, known: Mapping[str, Any]) -> Iterator[None]:
    """Turn errors of the database into ones without a stack trace and without the password."""
    try:
        yield
    except psycopg.Error as error:
        server = f"{known.get('host') or os.environ.get('PGHOST', 'local socket')}/{known.get('dbname') or ''}"
        raise HeadraceError(
            "PostgreSQL said no",
            product=spec.product,
            where=f"{server}, table {postgres_of(spec).table}",
            found=masked(str(error).strip() or type(error).__name__, known),
            fix=_fix_of(error, spec, known),
        ) from None


def _fix_of(error: psycopg.Error, spec: ProductSpec, known: Mapping[str, Any]) -> str:
    user = known.get("user") or os.environ.get("PGUSER", "the_user")
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return "another process loads from this table: let it end, then run again; nothing was loaded"
    if "replication" in str(error).lower() and (
        isinstance(error, psycopg.errors.InsufficientPrivilege) or error.sqlstate is None
    ):
        return f'alter role "{user}" replication;'
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return f"give the user {user} the rights that docs/postgres.md names, then run again; nothing was loaded"
    if "replication slots are in use" in str(error):
        return "drop a slot that nobody reads, or raise max_replication_slots and restart the server"
    return f"mend what is named (the server, or {postgres_of(spec).connection}), then run again; nothing was loaded"


def masked(text: str, known: Mapping[str, Any]) -> str:
    """A message without the password, as it is and as an address writes it."""
    for secret in (known.get("password"), os.environ.get("PGPASSWORD")):
        if secret:
            for written in (str(secret), quote(str(secret), safe="")):
                text = text.replace(written, "***")
    return text


def rows_of(con: Connection, query: LiteralString, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The rows of a short question, by column name."""
    cursor = con.execute(query, values)
    names = [item.name for item in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def when_free() -> Retrying:
    """Tries again while another session has the slot: a sensor looks at it for a moment, a killed one for longer."""
    return Retrying(
        retry=retry_if_exception_type(psycopg.errors.ObjectInUse),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_delay(_SLOT_BUSY_SECONDS),
        reraise=True,
    )
