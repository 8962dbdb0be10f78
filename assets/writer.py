"""Whose turn it is to write to a product's lake: one writer at a time, on one machine or on many.

With a catalog on this machine the turn is a lock on a file, with one in PostgreSQL an advisory lock of its database.
Both end with the process that holds them. What is written, and how often it is tried, is decided in `lake.py`.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from assets.errors import HeadraceError

if TYPE_CHECKING:
    import psycopg

POSTGRES = "postgres:"

# A writer that waits asks this often: a small commit takes 20 ms, so a longer pause would leave the lake idle.
_ASK_EVERY_SECONDS = 0.005


class _Held(threading.local):
    """The turns of this thread: who has one may begin another inside it."""

    def __init__(self) -> None:
        self.connections: dict[str, psycopg.Connection[tuple[object, ...]]] = {}


_HELD = _Held()


@contextmanager
def file_turn(product: str, path: Path, seconds: float) -> Iterator[None]:
    """Hold a lock on a file; the system frees it when the process dies.

    Raises:
        HeadraceError: another writer kept it for longer than `seconds`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, is_singleton=True)
    try:
        lock.acquire(timeout=seconds, poll_interval=_ASK_EVERY_SECONDS)
    except Timeout:
        raise _too_long(product, str(path), seconds) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def postgres_turn(product: str, conninfo: str, seconds: float) -> Iterator[Callable[[], None]]:
    """Hold an advisory lock of the catalog's database; writers get it in the order they asked.

    Yields:
        a function that raises when the turn was lost, because the server ended the connection.

    Raises:
        HeadraceError: another writer kept it for longer than `seconds`.
        psycopg.OperationalError: the server doesn't answer, or stopped meanwhile.
    """
    import psycopg

    held = _HELD.connections
    place = f"{conninfo}\0{product}"
    if place in held:
        yield _asker(held[place])
        return
    key = int.from_bytes(hashlib.sha256(f"headrace {product}".encode()).digest()[:8], "big", signed=True)
    # of the session, not of a transaction: one that sits idle for the minutes of a build is often ended by its server
    with closing(psycopg.connect(conninfo, autocommit=True, application_name=f"headrace {product} writer")) as con:
        try:
            con.execute("select set_config('lock_timeout', %s, false)", [f"{max(int(seconds * 1000), 1)}ms"])
            con.execute("select pg_advisory_lock(%s)", [key])
        except psycopg.errors.LockNotAvailable:
            raise _too_long(product, f"advisory lock {key} of the catalog", seconds) from None
        held[place] = con
        try:
            yield _asker(con)
        finally:
            del held[place]


def check_conninfo(product: str, conninfo: str) -> None:
    """Refuse a connection string that can't be read or that carries a password; neither is shown.

    Raises:
        HeadraceError: says which of the two.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        has_password = "password" in conninfo_to_dict(conninfo)
    except ProgrammingError:
        raise HeadraceError(
            "the catalog's connection string can't be read",
            product=product,
            where="HEADRACE_LAKE_CATALOG",
            expected="postgres:dbname=NAME host=HOST user=USER, values with spaces in single quotes",
            found="something else",
            fix="correct it (see docs/shared-deployment.md)",
        ) from None
    if has_password:
        raise HeadraceError(
            "the catalog's connection string has a password in it",
            product=product,
            where="HEADRACE_LAKE_CATALOG",
            expected="a connection string that may be shown in a log",
            found="password=...",
            fix="take it out, and set PGPASSWORD or write ~/.pgpass",
        )


def _asker(con: "psycopg.Connection[tuple[object, ...]]") -> Callable[[], None]:
    def ask() -> None:
        con.execute("select 1")

    return ask


def _too_long(product: str, where: str, seconds: float) -> HeadraceError:
    return HeadraceError(
        "another process is writing to the lake",
        product=product,
        where=where,
        expected=f"a turn within {seconds:g} s",
        fix="let the other run end or stop it, then run again; nothing was written",
    )
