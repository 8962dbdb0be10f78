"""The lake of a product: a DuckLake, opened only here.

One writer per product at a time, readers never wait; whole transactions are retried; connections are short and
locked down (no other file, no other configuration) as soon as the lake is attached. SQL of stages is not here.
"""

import hashlib
import importlib.metadata
import itertools
import os
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import duckdb
import psutil
from filelock import FileLock, Timeout
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from assets.errors import HeadraceError
from assets.naming import LEDGER, MONITORING, SCHEMAS, literal, quoted, table
from assets.settings import Settings

T = TypeVar("T")

_ENGINES: dict[tuple[int, str, int, bool], duckdb.DuckDBPyConnection] = {}
_ENGINES_LOCK = threading.Lock()
_SPILLS = itertools.count()

# What a second writer or a crashed one leaves for a moment; anything else is not ours to repeat.
_PASSING = ("database is locked", "conflict", "database table is locked", "could not serialize")

# record tables: each row is a whole record as JSON, named by its content
RECORD_TABLES = {
    "builds": LEDGER,
    "splits": LEDGER,
    "models": LEDGER,
    "trainings": LEDGER,
    "evaluations": LEDGER,
    "validations": LEDGER,
    "blessings": LEDGER,
    "comparisons": LEDGER,
    "decisions": LEDGER,
    "overrides": LEDGER,
    "live": LEDGER,
    "retrains": LEDGER,
    "alerts": LEDGER,
    "notifications": LEDGER,
    "drift": MONITORING,
    "performance": MONITORING,
}
_LEDGER_DDL = (
    f"""create table if not exists {table("ledger", "batches")} (
        source varchar, batch_id varchar, file_name varchar, sha256 varchar, size_bytes bigint, status varchar,
        reason varchar, rows_in bigint, rows_loaded bigint, rows_quarantined bigint, loaded_at timestamptz)""",
    *(
        f"""create table if not exists {table(schema, name)} (
        record_id varchar, batch_id varchar, recorded_at timestamptz, record varchar)"""
        for name, schema in RECORD_TABLES.items()
    ),
)

# named by what was created, so that a lake of an older Headrace gets the tables it lacks
_READY = f"ready-{hashlib.sha256(''.join(_LEDGER_DDL).encode()).hexdigest()[:8]}"


def is_passing(error: BaseException) -> bool:
    """Whether an error is about another writer, so that the whole transaction may be tried again."""
    return isinstance(error, duckdb.Error) and any(sign in str(error).lower() for sign in _PASSING)


def extension_file(name: str) -> Path:
    """The signed extension file that the PyPI package of this DuckDB version ships.

    Raises:
        HeadraceError: the package is missing from the environment.
    """
    package = f"duckdb-extension-{name.replace('_', '-')}"
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for item in files:
        if item.name.endswith(".duckdb_extension"):
            return Path(str(item.locate()))
    raise HeadraceError(
        f"the DuckDB extension {name} is not installed",
        where="lake",
        expected=f"the package {package}=={duckdb.__version__}",
        fix="install requirements.lock again (make env)",
    )


def spill_directory(folder: Path) -> str:
    """Where one DuckDB instance of this process may spill what doesn't fit in memory; DuckDB makes and removes it.

    DuckDB's own default is `.tmp` in whatever folder the command was typed in, and its files have the same names in
    every process. What a killed process of this machine has left below `folder` is removed.
    """
    host = socket.gethostname()
    for left in folder.glob(f"spill-{host}-*"):
        process_id = left.name.removeprefix(f"spill-{host}-").partition("-")[0]
        if process_id.isdigit() and not psutil.pid_exists(int(process_id)):
            shutil.rmtree(left, ignore_errors=True)
    return str(folder / f"spill-{host}-{os.getpid()}-{next(_SPILLS)}")


class Lake:
    """One product's lakehouse. Cheap to create; nothing is opened before it is asked for."""

    def __init__(self, product: str, settings: Settings) -> None:
        self.product = product
        self.settings = settings
        self.folder = settings.lake_folder(product)
        self.staging = self.folder / "staging"
        self.extensions = settings.home / "extensions" / duckdb.__version__
        self.catalog = settings.catalog_of(product)
        self.data_path = settings.data_path_of(product)

    @property
    def is_local(self) -> bool:
        """Whether the data is in a folder of this machine."""
        return "://" not in self.data_path

    def extension_names(self) -> list[str]:
        """The extensions that this catalog and data path need, in the order to load them."""
        catalog = {"sqlite": "sqlite_scanner", "postgres": "postgres_scanner"}.get(self.catalog.split(":", 1)[0], "")
        return ["ducklake", *([catalog] if catalog else []), *([] if self.is_local else ["httpfs"])]

    def attach_options(self) -> dict[str, str | bool]:
        """Options of ATTACH beside READ_ONLY. In a shared catalog each product has a schema of its own.

        The data path is the settings' one, not the catalog's: a home that was moved is still the same lake.
        """
        options: dict[str, str | bool] = {"DATA_PATH": self.data_path, "OVERRIDE_DATA_PATH": True}
        if self.catalog.startswith("postgres:"):
            options["METADATA_SCHEMA"] = f"headrace_{self.product}"
        return options

    def allowed_directories(self) -> list[str]:
        """What a connection may touch after the lock-down: this lake's folder and data path."""
        return [str(self.folder), self.data_path]

    def exists(self) -> bool:
        """Whether `ensure` has completed once."""
        return (self.folder / _READY).exists()

    def ensure(self) -> None:
        """Create folders, catalog (in WAL mode), schemas and ledger once; a second call costs one stat."""
        if self.exists():
            return
        for folder in (self.staging, self.folder / "data", self.extensions):
            folder.mkdir(parents=True, exist_ok=True)
        with self.write_lock():
            self._install_extensions()
            if self.catalog.startswith("sqlite:"):
                catalog = Path(self.catalog.removeprefix("sqlite:"))
                catalog.parent.mkdir(parents=True, exist_ok=True)
                with sqlite3.connect(catalog) as connection:
                    connection.execute("pragma journal_mode=wal")
                connection.close()

            def create(con: duckdb.DuckDBPyConnection) -> None:
                for schema in SCHEMAS:
                    con.execute(f"create schema if not exists lake.{quoted(schema)}")
                for statement in _LEDGER_DDL:
                    con.execute(statement)

            (self.folder / "catalog.id").touch()
            self._retried(create)
            (self.folder / _READY).touch()

    def _install_extensions(self) -> None:
        with duckdb.connect(config={"extension_directory": str(self.extensions)}) as con:
            for name in self.extension_names():
                con.execute(f"install {literal(str(extension_file(name)))}")

    @contextmanager
    def write_lock(self) -> Iterator[None]:
        """Hold this product's writer's place; the system frees it when a process dies.

        Raises:
            HeadraceError: another writer kept it longer than the settings allow.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "writer.lock", is_singleton=True)
        try:
            lock.acquire(timeout=self.settings.lock_timeout_seconds)
        except Timeout:
            raise HeadraceError(
                "another process is writing to the lake",
                product=self.product,
                where=str(self.folder / "writer.lock"),
                expected=f"a turn within {self.settings.lock_timeout_seconds:g} s",
                fix="let the other run end or stop it, then run again; nothing was written",
            ) from None
        try:
            with self._advisory_lock():
                yield
        finally:
            lock.release()

    @contextmanager
    def _advisory_lock(self) -> Iterator[None]:
        """With a PostgreSQL catalog, writers on other machines take turns by an advisory lock of the catalog."""
        if not self.catalog.startswith("postgres:"):
            yield
            return
        self.extensions.mkdir(parents=True, exist_ok=True)
        self._install_extensions()
        with duckdb.connect(config={"extension_directory": str(self.extensions)}) as con:
            con.execute("load postgres_scanner")
            con.execute(f"attach {literal(self.catalog.removeprefix('postgres:'))} as pg (type postgres)")
            key = int.from_bytes(self.product.encode()[:7], "big")
            # Inside a transaction the attached connection is pinned, so the lock lives until the commit below.
            con.execute("begin")
            con.execute(f"call postgres_execute('pg', 'select pg_advisory_xact_lock({key})')")
            yield
            con.execute("commit")

    @contextmanager
    def connect(self, *, read_only: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
        """A short connection to the lake, attached as `lake` and locked down.

        Each use is a connection of its own (transaction, temporary tables); the engine below it is kept for the
        process, because verifying the extensions' signatures costs 0.6 CPU seconds each time they are loaded.
        Between transactions it holds no lock on the catalog.
        """
        with self._engine(read_only=read_only).cursor() as con:
            yield con

    def _engine(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        # the mark's identity: a home that was deleted and made again is another lake
        key = (os.getpid(), self.catalog, (self.folder / "catalog.id").stat().st_ino, read_only)
        with _ENGINES_LOCK:
            if key not in _ENGINES:
                _ENGINES[key] = self._attempts()(self._open, read_only=read_only)
            return _ENGINES[key]

    def _open(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        config = {
            "extension_directory": str(self.extensions),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "threads": str(self.settings.threads),
            "temp_directory": spill_directory(self.staging),
        }
        con = duckdb.connect(config=config)  # type: ignore[arg-type]
        try:
            for name in self.extension_names():
                con.execute(f"load {name}")
            con.execute("set global timezone='UTC'")
            options = self.attach_options() | ({"READ_ONLY": True} if read_only else {})
            listed = ", ".join(
                f"{name} {literal(value) if isinstance(value, str) else value}" for name, value in options.items()
            )
            con.execute(f"attach {literal('ducklake:' + self.catalog)} as lake ({listed})")
            directories = ", ".join(literal(item) for item in self.allowed_directories())
            con.execute(f"set allowed_directories=[{directories}]")
            con.execute("set enable_external_access=false")
            con.execute("set lock_configuration=true")
        except duckdb.Error:
            con.close()
            raise
        return con

    def transact(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run `work` in one transaction under the write lock; retried whole when another writer got in between.

        `work` must decide from what it reads in its own transaction (the ledger) whether it still has to be done:
        a commit can succeed without its acknowledgement being seen.
        """
        with self.write_lock():
            return self._retried(work)

    def _retried(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        result: T = self._attempts()(self._once, work)
        return result

    def _once(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        with self.connect(read_only=False) as con:
            con.execute("begin")
            result = work(con)
            con.execute("commit")
            return result

    @staticmethod
    def _attempts() -> Retrying:
        return Retrying(
            retry=retry_if_exception(is_passing),
            wait=wait_random_exponential(multiplier=0.05, max=2),
            stop=stop_after_attempt(12),
            reraise=True,
        )

    def snapshot(self) -> int:
        """The id of the newest snapshot: the version of the data."""
        with self.connect() as con:
            return newest_snapshot(con)


def newest_snapshot(con: duckdb.DuckDBPyConnection) -> int:
    """The id of the newest snapshot that a connection sees."""
    row = con.execute("select id from lake.current_snapshot()").fetchone()
    return int(row[0]) if row else 0


def has_table(con: duckdb.DuckDBPyConnection, schema: str, name: str) -> bool:
    """Whether a table of the lake exists."""
    found = con.execute(
        "select count(*) from duckdb_tables() where database_name = 'lake' and schema_name = ? and table_name = ?",
        [schema, name],
    ).fetchone()
    return bool(found and found[0])


def write_file_atomically(path: Path, content: bytes) -> None:
    """Make a file appear whole or not at all: write beside it, flush to disk, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
