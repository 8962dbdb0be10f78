"""A database of one's own with a table of orders, and the toy product whose source it is."""

from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import psycopg
import pytest

from assets.home import Home
from assets.raw.postgres.batches import load_batch, waiting_batch
from assets.records import Batch
from assets.settings import Settings
from assets.spec import ProductSpec

Execute = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def execute(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Execute]:
    """Runs statements in the database, which the environment names; returns the rows of the last one."""
    monkeypatch.setenv("HEADRACE_POSTGRES", postgres_database)
    with psycopg.connect(postgres_database, autocommit=True) as con:

        def run(*statements: str) -> list[tuple[Any, ...]]:
            for statement in statements:
                cursor = con.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

        run("create view own_slots as select * from pg_replication_slots where database = current_database()")
        yield run


@pytest.fixture
def orders(execute: Execute) -> Execute:
    """The same, with a table of three orders."""
    execute(
        "create table orders (order_id bigint primary key, ordered_at timestamp, size double precision, kind text)",
        "alter table orders replica identity full",
        "insert into orders select g, '2024-01-01', g / 4.0, 'small' from generate_series(1, 3) g",
    )
    return execute


@pytest.fixture
def product(spec_of: Callable[..., ProductSpec]) -> Callable[..., ProductSpec]:
    """The toy product with the table as its source, and changes by dotted path."""

    def make(changes: dict[str, Any] | None = None) -> ProductSpec:
        return spec_of({"source.files": ..., "source.postgres": {"table": "orders"}, **(changes or {})})

    return make


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home for all tests of this folder: opening a lake costs a second."""
    return Home(Settings(home=tmp_path_factory.mktemp("postgres") / "home"))


@pytest.fixture
def own_home(shared_home: Home) -> Home:
    """The same with an empty lake."""

    def empty(con: duckdb.DuckDBPyConnection) -> None:
        con.execute("drop table if exists lake.raw.toy")
        for name in ("raw.quarantine", "ledger.batches", "ledger.slots", "ledger.schema_changes"):
            con.execute(f"delete from lake.{name}")

    shared_home.lake("toy").transact(empty)
    return shared_home


@pytest.fixture
def load(own_home: Home) -> Callable[[ProductSpec], Batch]:
    """Loads the batch that waits."""

    def next_batch(spec: ProductSpec) -> Batch:
        batch_id = waiting_batch(own_home, spec)
        assert batch_id is not None
        return load_batch(own_home, spec, batch_id)

    return next_batch
