"""The lake of a product: a DuckLake, opened only here.

One writer per product at a time, readers never wait; whole transactions are retried; connections are short and
locked down (no other file, no other configuration) as soon as the lake is attached. SQL of stages is not here.
"""

import hashlib
import importlib.metadata
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import duckdb
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from assets.errors import HeadraceError
from assets.files import spill_directory
from assets.kill_points import kill_point
from assets.naming import CLEANED, FEATURES, LEDGER, MONITORING, PREDICTIONS, RAW, SCHEMAS, literal, quoted, table
from assets.object_store import object_store
from assets.settings import Settings
from assets.writer import POSTGRES, check_conninfo, file_turn, postgres_turn

T = TypeVar("T")

_ENGINES: dict[tuple[int, str, int, bool], duckdb.DuckDBPyConnection] = {}
_ENGINES_LOCK = threading.Lock()

# What a second writer or a crashed one leaves for a moment; anything else is not ours to repeat.
_PASSING = ("database is locked", "conflict", "database table is locked", "could not serialize")

# What the server of a shared catalog leaves while it is restarted.
_GONE = (
    "unable to connect to postgres",
    "connection to server",
    "server closed the connection",
    "terminating connection",
    "the connection is lost",
    "the connection is closed",
    "the database system is",
)

# record tables: each row is a whole record as JSON, named by its content
RECORD_TABLES = {
    "schema_changes": LEDGER,
    "slots": LEDGER,
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
        source varchar, batch_id varchar, version bigint, version_label varchar, file_name varchar, sha256 varchar,
        size_bytes bigint, status varchar, reason varchar, rows_in bigint, rows_loaded bigint, rows_quarantined bigint,
        loaded_at timestamptz)""",
    # what each table of dbt is made of; the only table here whose rows are taken away again
    f"""create table if not exists {table("ledger", "built")} (
        model varchar, source varchar, batch_id varchar, content_id varchar)""",
    f"""create table if not exists {table("raw", "quarantine")} (
        source varchar, batch_id varchar, delivery_id varchar, row_number bigint, column_name varchar,
        expected varchar, found varchar, raw_text varchar, quarantined_at timestamptz)""",
    *(
        f"""create table if not exists {table(schema, name)} (
        record_id varchar, batch_id varchar, recorded_at timestamptz, record varchar)"""
        for name, schema in RECORD_TABLES.items()
    ),
)


def is_passing(error: BaseException) -> bool:
    """Whether an error is about another writer or a server's restart, so that the whole transaction may be repeated."""
    return is_gone(error) or (isinstance(error, duckdb.Error) and any(sign in str(error).lower() for sign in _PASSING))


def is_gone(error: BaseException) -> bool:
    """Whether an error says that the server of a shared catalog doesn't answer."""
    is_ours = isinstance(error, duckdb.Error) or type(error).__module__.startswith("psycopg")
    return is_ours and any(sign in str(error).lower() for sign in _GONE)


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

    @property
    def is_shared(self) -> bool:
        """Whether the catalog is in a PostgreSQL server."""
        return self.catalog.startswith(POSTGRES)

    @property
    def _is_sqlite(self) -> bool:
        return self.catalog.startswith("sqlite:")

    def attach_options(self) -> dict[str, str | bool | int]:
        """Options of ATTACH beside READ_ONLY. In a shared catalog each product has a schema of its own.

        The data path is the settings' one, not the catalog's: a home that was moved is still the same lake.
        """
        options: dict[str, str | bool | int] = {"DATA_PATH": self.data_path, "OVERRIDE_DATA_PATH": True}
        if self.is_shared:
            options["METADATA_SCHEMA"] = f"headrace_{self.product}"
        return options

    def allowed_directories(self) -> list[str]:
        """What a connection may touch after the lock-down: this lake's folder and data path."""
        return [str(self.folder), self.data_path]

    def exists(self) -> bool:
        """Whether `ensure` has completed once from this home."""
        return self._ready.exists()

    @property
    def _ready(self) -> Path:
        """Named by what was created and where: an older lake gets the tables it lacks, another one its own."""
        made = "".join((*_LEDGER_DDL, self.settings.lake_catalog, self.settings.lake_data))
        return self.folder / f"ready-{hashlib.sha256(made.encode()).hexdigest()[:8]}"

    def ensure(self) -> None:
        """Create folders, catalog (in WAL mode), schemas and ledger once; a second call costs one stat."""
        if self.exists():
            return
        self._check_settings()
        for folder in (self.staging, self.folder / "data", self.extensions):
            folder.mkdir(parents=True, exist_ok=True)
        with self._told(), self.write_lock():
            self._install_extensions()
            if self._is_sqlite:
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

            kill_point("lake.catalog.after")

            def keep_data_out_of_the_catalog(con: duckdb.DuckDBPyConnection) -> None:
                # a SQLite catalog can't merge the files of a table that has doubles among its inlined rows
                for schema in (RAW, CLEANED, FEATURES, PREDICTIONS):
                    con.execute(
                        f"call ducklake_set_option('lake', 'data_inlining_row_limit', 0, schema => {literal(schema)})"
                    )

            (self.folder / "catalog.id").touch()
            self._attempts()(self._once, create)
            self._attempts()(self._once, keep_data_out_of_the_catalog)
            kill_point("lake.ready.before")
            self._ready.touch()

    def _check_settings(self) -> None:
        """Refuse places that can't be a lake's.

        Raises:
            HeadraceError: the data of several products would lie in one folder, or the catalog can't be reached so.
        """
        if not self.catalog.startswith(("sqlite:", POSTGRES)):  # not shown: it may have a password in it
            raise HeadraceError(
                "the address of the lake's catalog is none",
                product=self.product,
                where="HEADRACE_LAKE_CATALOG",
                expected="sqlite:PATH, or postgres:dbname=NAME host=HOST user=USER",
                found="something else",
                fix="correct it (see docs/shared-deployment.md)",
            )
        if "{product}" not in self.settings.lake_data:
            raise HeadraceError(
                "all products would share one folder of data files",
                product=self.product,
                where="HEADRACE_LAKE_DATA",
                expected="an address with {product} in it, such as s3://bucket/{product}/",
                found=self.settings.lake_data,
                fix="put {product} into it",
            )
        if self.is_shared:
            check_conninfo(self.product, self._conninfo)
        if not self.is_local:
            object_store()

    @property
    def _conninfo(self) -> str:
        return self.catalog.removeprefix(POSTGRES)

    def _install_extensions(self) -> None:
        with duckdb.connect(config={"extension_directory": str(self.extensions)}) as con:
            for name in self.extension_names():
                con.execute(f"install {literal(str(extension_file(name)))}")

    @contextmanager
    def write_lock(self) -> Iterator[Callable[[], None]]:
        """Hold this product's writer's place, on this machine or in the shared catalog; it ends with the process.

        Yields:
            a function that raises when the place was lost meanwhile.

        Raises:
            HeadraceError: another writer kept it longer than the settings allow.
        """
        seconds = self.settings.lock_timeout_seconds
        if self.is_shared:
            with postgres_turn(self.product, self._conninfo, seconds) as check:
                yield check
        else:
            with file_turn(self.product, self.folder / "writer.lock", seconds):
                yield lambda: None

    @contextmanager
    def connect(self, *, read_only: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
        """A short connection to the lake, attached as `lake` and locked down.

        Each use is a connection of its own (transaction, temporary tables); the engine below it is kept for the
        process, because verifying the extensions' signatures costs 0.6 CPU seconds each time they are loaded.

        Raises:
            HeadraceError: the server of a shared catalog doesn't answer.
        """
        with self._told():
            engine = self._engine(read_only=read_only)
            with self._held_open(engine), engine.cursor() as con:
                yield con

    @contextmanager
    def _held_open(self, engine: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Keep a SQLite catalog open meanwhile: who opens or closes it while nobody else has it open locks it.

        That moment is waited for here, for milliseconds; the SQLite in DuckDB's extension can only wait for seconds, so
        its own waiting is switched off.
        """
        if not self._is_sqlite:
            yield
            return
        with engine.cursor() as keeper:
            self._attempts()(begin_reading, keeper)
            yield

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
            if not self.is_local:
                con.execute(object_store().secret_sql(self.data_path))
            con.execute("set global timezone='UTC'")
            options = self.attach_options() | ({"READ_ONLY": True} if read_only else {})
            if self._is_sqlite:
                options["META_BUSY_TIMEOUT"] = 0  # milliseconds; see `_held_open`
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

        def attempt() -> T:
            with self.write_lock() as check:
                return self._once(work, check)

        with self._told():
            result: T = self._attempts()(attempt)
            return result

    def _once(self, work: Callable[[duckdb.DuckDBPyConnection], T], check: Callable[[], None] = lambda: None) -> T:
        with self._engine(read_only=False).cursor() as con:
            con.execute("begin")
            result = work(con)
            check()
            kill_point("lake.commit.before")
            con.execute("commit")
            kill_point("lake.commit.after")
            return result

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say in words what a server or a store that isn't there, or refuses, makes of a statement."""
        try:
            yield
        except Exception as error:
            found = (str(error).strip().splitlines() or [""])[0]
            if is_gone(error):
                raise HeadraceError(
                    "the lake's catalog doesn't answer",
                    product=self.product,
                    where=self.catalog,
                    expected="a PostgreSQL server",
                    found=found,
                    fix="start it or correct HEADRACE_LAKE_CATALOG, then run again; what was committed is safe",
                ) from None
            if not isinstance(error, duckdb.Error):
                raise
            if self.is_shared and "permission denied" in str(error):
                raise HeadraceError(
                    "the lake's catalog refuses its user",
                    product=self.product,
                    where=self.catalog,
                    expected="a user that may create a schema in the database",
                    found=found,
                    fix="grant create on database ... to that user, then run again",
                ) from None
            if not self.is_local and (isinstance(error, duckdb.HTTPException) or "for HTTP" in found):
                raise HeadraceError(
                    "the object store of the lake's data refuses, or doesn't answer",
                    product=self.product,
                    where=self.data_path,
                    expected="a bucket that is there, which the keys may read and write",
                    found=found,
                    fix="start the store, create the bucket or correct HEADRACE_LAKE_DATA, then run again; what was "
                    "committed is safe",
                ) from None
            raise

    @staticmethod
    def _attempts() -> Retrying:
        return Retrying(
            retry=retry_if_exception(is_passing),
            wait=wait_random_exponential(multiplier=0.01, max=0.2),
            stop=stop_after_delay(10),
            reraise=True,
        )

    def snapshot(self) -> int:
        """The id of the newest snapshot: the version of the data."""
        with self.connect() as con:
            return newest_snapshot(con)


def begin_reading(con: duckdb.DuckDBPyConnection) -> None:
    """Begin a transaction that has seen the newest snapshot, or none.

    Raises:
        duckdb.Error: the catalog is locked, or isn't there.
    """
    con.execute("begin")
    try:
        newest_snapshot(con)
    except duckdb.Error:
        con.execute("rollback")
        raise


def newest_snapshot(con: duckdb.DuckDBPyConnection) -> int:
    """The id of the newest snapshot that a connection sees."""
    row = con.execute("select id from lake.current_snapshot()").fetchone()
    return int(row[0]) if row else 0


def has_table(con: duckdb.DuckDBPyConnection, schema: str, name: str) -> bool:
    """Whether a table of the lake exists."""
    # asked of the table itself: DuckDB's list of tables counts the rows of each (0.6 s against 0.03 s)
    try:
        con.execute(f"select 1 from {table(schema, name)} limit 0")
    except duckdb.CatalogException:
        return False
    return True
