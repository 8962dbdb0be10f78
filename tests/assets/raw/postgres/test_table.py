"""A table that can't be followed without losing something is refused, and the message is the command to type."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from assets.errors import HeadraceError
from assets.home import Home
from assets.raw.postgres.batches import load_batch, waiting_batch
from assets.raw.postgres.connection import opened
from assets.raw.postgres.slot import forget_source
from assets.raw.postgres.table import _refuse_server_and_table, inspect
from assets.spec import ProductSpec
from tests.servers import PostgresServer

Execute = Callable[..., list[tuple[Any, ...]]]
Product = Callable[..., ProductSpec]

COLUMNS = "order_id bigint, ordered_at timestamp, size double precision, kind text"
FULL = "alter table orders replica identity full"


def refusal(spec: ProductSpec) -> HeadraceError:
    with pytest.raises(HeadraceError) as caught, opened(spec) as con:
        inspect(con, spec)
    return caught.value


@pytest.mark.parametrize(
    ("statements", "what", "fix"),
    [
        ([], "no such table", "correct source.postgres.table"),
        ([f"create table orders ({COLUMNS})", FULL], "no primary key", "add primary key"),
        ([f"create table orders ({COLUMNS}, primary key (order_id))"], "loses columns", f"{FULL};"),
        (
            [f"create table orders ({COLUMNS}, primary key (order_id))", "alter table orders replica identity nothing"],
            "loses columns", f"{FULL};",
        ),
        (
            [f"create table orders ({COLUMNS} not null, primary key (order_id), unique (kind))",
             "alter table orders replica identity using index orders_kind_key"],
            "loses columns", f"{FULL};",
        ),
        (
            ["create view orders as select 1::bigint as order_id, 2 as size"],
            "no changes of this relation", "name the table",
        ),
        (
            [f"create unlogged table orders ({COLUMNS}, primary key (order_id))"],
            "no changes of this relation", 'alter table "public"."orders" set logged;',
        ),
        (
            [f"create table orders ({COLUMNS}, primary key (order_id))".replace("size double precision",
             "size double precision generated always as (order_id * 2) stored"), FULL],
            "leaves out generated columns", "compute them in the staging model",
        ),
        (
            [f'create table orders ({COLUMNS}, "Headrace_LSN" int, primary key (order_id))', FULL],
            "are Headrace's own", 'rename column "Headrace_LSN" to',
        ),
        (
            [f"create table orders ({COLUMNS}, code text primary key)", FULL],
            "key has columns that the spec doesn't", "add them to source.columns",
        ),
        (
            [f"create table orders ({COLUMNS}, primary key (order_id)) partition by range (order_id)",
             "create table orders_old partition of orders for values from (0) to (9)"],
            "loses columns", "alter table orders_old replica identity full;",
        ),
    ],
)  # fmt: skip
def test_it_is_refused_with_what_mends_it(
    execute: Execute, product: Product, statements: list[str], what: str, fix: str
) -> None:
    if statements:
        execute(*statements)
    error = refusal(product())
    assert what in error.what
    assert fix in error.fix


def test_the_command_mends_it(execute: Execute, product: Product) -> None:
    """The key may be columns of the spec's choice when an index says that they are unique."""
    execute(f"create table orders ({COLUMNS})")
    spec = product({"source.postgres.key": ["order_id"]})
    for _ in range(2):
        execute(refusal(spec).fix)
    with opened(spec) as con:
        table = inspect(con, spec)
    assert (table.key, table.names) == (("order_id",), ("order_id", "ordered_at", "size", "kind"))


def test_a_table_without_long_values_needs_no_full_identity(execute: Execute, product: Product) -> None:
    """With fixed-length columns alone, the key says all that a delete or an update has to."""
    execute("create table orders (size double precision, order_id bigint primary key)")
    spec = product({"source.columns": {"order_id": "BIGINT", "size": "DOUBLE"}})
    with opened(spec) as con:
        assert inspect(con, spec).key == ("order_id",)


@pytest.fixture
def role(execute: Execute, monkeypatch: pytest.MonkeyPatch, postgres_database: str) -> Iterator[str]:
    """A user without any right, and the environment names it."""
    execute("create role reader login")
    monkeypatch.setenv("HEADRACE_POSTGRES", re.sub("user=[a-z]+", "user=reader", postgres_database))
    yield "reader"
    execute("drop owned by reader cascade", "drop role reader")


@pytest.mark.usefixtures("role")
def test_each_missing_right_is_named(orders: Execute, product: Product, own_home: Home) -> None:
    """One after the other: reading, row security, the publication, replication."""
    spec = product()
    assert refusal(spec).fix == 'grant select on "public"."orders" to "reader";'
    orders(refusal(spec).fix, "alter table orders enable row level security")
    assert refusal(spec).fix == 'alter role "reader" bypassrls;'
    orders(refusal(spec).fix)
    batch_id = waiting_batch(own_home, spec)
    assert batch_id is not None
    with pytest.raises(HeadraceError, match="may not create it") as caught:
        load_batch(own_home, spec, batch_id)
    orders(caught.value.fix.partition(": ")[2])
    with pytest.raises(HeadraceError) as caught:
        load_batch(own_home, spec, batch_id)
    assert caught.value.fix == 'alter role "reader" replication;'
    orders(caught.value.fix)
    assert load_batch(own_home, spec, batch_id).rows_loaded == 3
    orders("insert into orders values (4)")
    assert load_batch(own_home, spec, waiting_batch(own_home, spec) or "").rows_loaded == 1
    # the publication is its owner's, as the docs set it up: giving it up must end all the same
    found = forget_source(own_home, spec)
    assert [item.partition(" ")[0] for item in found.dropped] == ["replication"]
    assert "left to its owner" in found.left
    assert forget_source(own_home, spec).dropped == ()
    # the log has not grown since, and still the new snapshot's batch needs a name that is not taken
    assert load_batch(own_home, spec, waiting_batch(own_home, spec) or "").rows_loaded == 5


def test_no_setting_of_the_server_ends_a_session_that_has_its_turn(orders: Execute, product: Product) -> None:
    """The turn to load is the session's, which says nothing while a large batch is written."""
    (name,) = orders("select current_database()")[0]
    orders(f"alter database {name} set idle_session_timeout = '1s'")
    for replication in (False, True):
        with opened(product(), replication=replication) as con:
            assert con.execute("show idle_session_timeout").fetchall() == [("0",)]


def test_a_server_without_logical_log_is_refused(product: Product) -> None:
    """What the server says can't be changed while it runs, so it is said by a connection that says otherwise."""
    with pytest.raises(HeadraceError, match="wal_level = replica") as caught:
        _refuse_server_and_table(product(), {"wal_level": "replica"}, "orders")
    assert caught.value.fix.startswith("alter system set wal_level = logical;")


@pytest.mark.parametrize("conninfo", ["", "postgresql://ada:geheim@[", "host=/nowhere user=ada password=geheim"])
def test_no_message_shows_the_password(
    product: Product, own_home: Home, monkeypatch: pytest.MonkeyPatch, conninfo: str
) -> None:
    """Neither when the string can't be read nor when nobody answers."""
    monkeypatch.setenv("HEADRACE_POSTGRES", conninfo)
    with pytest.raises(HeadraceError) as caught:
        waiting_batch(own_home, product())
    assert "HEADRACE_POSTGRES" in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_wrong_password_is_not_repeated(
    product: Product, own_home: Home, monkeypatch: pytest.MonkeyPatch, postgres_server: PostgresServer
) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES", f"{postgres_server.conninfo(host='127.0.0.1')} password=wrong%word")
    with pytest.raises(HeadraceError, match="authentication failed") as caught:
        waiting_batch(own_home, product())
    assert "wrong%word" not in str(caught.value)
    assert not isinstance(caught.value.__cause__, psycopg.Error)
