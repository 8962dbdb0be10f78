"""What waits becomes batches, each once: values, columns that change, and a server that has lost something."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from assets import ledger
from assets.errors import HeadraceError
from assets.home import Home
from assets.raw import quarantine
from assets.raw.postgres import changes as changes_module
from assets.raw.postgres import delivery as delivery_module
from assets.raw.postgres.batches import load_batch, waiting, waiting_batch
from assets.raw.postgres.slot import forget_source
from assets.records import Batch, SchemaChange
from assets.spec import ProductSpec

Execute = Callable[..., list[tuple[Any, ...]]]
Product = Callable[..., ProductSpec]
Load = Callable[[ProductSpec], Batch]


def raw(home: Home, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    with home.lake("toy").connect() as con:
        return con.execute(f"select {columns} from lake.raw.toy where {where} order by batch_id, row_number").fetchall()


def test_a_snapshot_then_each_transaction_in_its_order(
    orders: Execute, product: Product, load: Load, own_home: Home
) -> None:
    spec = product()
    snapshot = load(spec)
    assert (snapshot.rows_in, snapshot.rows_loaded, snapshot.status) == (3, 3, "LOADED")
    assert waiting_batch(own_home, spec) is None
    orders(
        "insert into orders values (4, 'epoch', 0.1, '')",
        "update orders set kind = null, size = 1e300 where order_id = 4",
        "update orders set order_id = 5 where order_id = 4",
        "delete from orders where order_id = 1",
        "truncate orders",
    )
    batch = load(spec)
    found = raw(own_home, "headrace_change, order_id, size, kind", f"batch_id = '{batch.batch_id}'")
    assert found == [
        ("insert", 4, 0.1, ""),
        ("update", 4, 1e300, None),
        ("delete", 4, None, None),
        ("insert", 5, 1e300, None),
        ("delete", 1, None, None),
        ("truncate", None, None, None),
    ]
    assert batch.batch_id > snapshot.batch_id
    assert load_batch(own_home, spec, batch.batch_id) == batch
    assert waiting_batch(own_home, spec) is None


def test_a_batch_that_was_asked_for_is_said_again_until_it_is_loaded(
    orders: Execute, product: Product, load: Load, own_home: Home
) -> None:
    """More changes don't give the same changes another name; one that others took in between is empty."""
    spec = product()
    load(spec)
    orders("delete from orders where order_id = 1")
    first = waiting_batch(own_home, spec) or ""
    orders("delete from orders where order_id = 2")
    second = waiting_batch(own_home, spec) or ""
    assert second > first
    assert waiting_batch(own_home, spec, asked=[first]) == first
    assert load_batch(own_home, spec, second).rows_in == 2
    assert load_batch(own_home, spec, first).rows_in == 0
    with pytest.raises(HeadraceError, match="no transaction that waits ends"):
        load_batch(own_home, spec, "lsn-00ffffffffffffff")
    with pytest.raises(HeadraceError, match="no batch of a PostgreSQL table"):
        load_batch(own_home, spec, "2024-01")


def test_a_batch_ends_with_the_transaction_that_fills_it(
    orders: Execute, product: Product, load: Load, own_home: Home
) -> None:
    """Whole transactions only, the large one too, and what waits behind is another batch."""
    spec = product({"source.postgres.max_batch_changes": 50})
    load(spec)
    orders(
        "insert into orders select g, null, g, 'bulk' from generate_series(11, 1010) g",
        "update orders set size = 0 where order_id <= 5",
        *(f"update orders set size = {size} where order_id = 1" for size in range(20)),
    )
    found = waiting(own_home, spec)
    assert found is not None
    assert not found.is_newest
    # the server counts the begin and the end of each transaction, too
    assert [load(spec).rows_in for _ in range(3)] == [1000, 3 + 15, 5]
    assert waiting_batch(own_home, spec) is None


def test_values_that_no_column_can_hold_are_quarantined(
    execute: Execute, product: Product, load: Load, own_home: Home
) -> None:
    """In the snapshot and in changes alike, with the reason; the good rows go on."""
    execute(
        "create table orders (order_id numeric primary key, ordered_at timestamp, size numeric, kind text)",
        "alter table orders replica identity full",
        "insert into orders values (1, 'infinity', 1, 'a'), (2, '2024-01-01', 'NaN', 'b'), (3, null, null, 'c')",
    )
    spec = product()
    assert (load(spec).rows_loaded, load(spec) if waiting_batch(own_home, spec) else None) == (1, None)
    execute(
        "insert into orders values (99999999999999999999, null, 1, 'd'), (4, '4713-01-01 BC', 2, 'e')",
        "insert into orders values (5)",
    )
    batch = load(spec)
    assert (batch.rows_in, batch.rows_quarantined) == (3, 2)
    with own_home.lake("toy").connect() as con:
        found = con.execute(
            "select column_name, found from lake.raw.quarantine order by batch_id, row_number"
        ).fetchall()
    assert found == [
        ("ordered_at", "infinity"), ("size", "NaN"), ("order_id", "99999999999999999999"),
        ("ordered_at", "4713-01-01 00:00:00 BC"),
    ]  # fmt: skip


def test_a_row_waits_in_quarantine_until_its_next_change(
    orders: Execute, product: Product, load: Load, own_home: Home
) -> None:
    """Regression: what was mended in the database, as the message asks, was listed for ever."""
    spec = product()
    load(spec)

    def waits() -> list[tuple[str, str]]:
        with own_home.lake("toy").connect() as con:
            found = quarantine.waiting(con, spec)
            rows = quarantine.rows_of(con, spec, found, limit=10)
        assert found.total_rows == len(rows)
        assert {item.batch_id for item in found.deliveries} == {row["batch_id"] for row in rows}
        return [(json.loads(row["raw_text"])["order_id"], row["found"]) for row in rows]

    orders("update orders set size = 'NaN'")
    load(spec)
    assert waits() == [("1", "NaN"), ("2", "NaN"), ("3", "NaN")]
    orders(
        "update orders set size = 1 where order_id = 1",
        "delete from orders where order_id = 2",
        "update orders set size = 'infinity' where order_id = 3",
    )
    assert load(spec).rows_quarantined == 1
    assert waits() == [("3", "Infinity")]
    orders("truncate orders")
    load(spec)
    assert waits() == []


def test_long_values_that_stay_are_not_lost(orders: Execute, product: Product, load: Load, own_home: Home) -> None:
    """An update leaves out what is stored out of line and unchanged; a replica identity that hides it is refused."""
    spec = product()
    orders("update orders set kind = (select string_agg(md5(g::text), '') from generate_series(1, 500) g)")
    load(spec)
    orders("update orders set size = 9, order_id = -order_id")
    batch = load(spec)
    assert (
        raw(own_home, "length(kind), size", f"batch_id = '{batch.batch_id}' and headrace_change = 'insert'")
        == [(16000, 9.0)] * 3
    )
    orders("alter table orders replica identity default", "update orders set size = 10", FULL)
    with pytest.raises(HeadraceError, match="left out a long value"):
        load(spec)
    assert len(raw(own_home, "order_id")) == 9


FULL = "alter table orders replica identity full"


@pytest.mark.parametrize("contract", ["rescue", "evolve"])
def test_columns_come_and_go(orders: Execute, product: Product, load: Load, own_home: Home, contract: str) -> None:
    """Also amid a transaction: a new column is kept as JSON or as a column, a dropped one is null, both recorded."""
    spec = product({"source.contract": contract})
    load(spec)
    with_change = "begin; insert into orders values (4, null, 1, 'a'); alter table orders add column weight int; "
    orders(
        with_change + "insert into orders values (5, null, 2, 'b', 7); commit",
        "alter table orders drop column size",
        "insert into orders values (6, null, 'c', 8)",
    )
    batch = load(spec)
    extra = "headrace_rescued" if contract == "rescue" else "weight"
    found = raw(own_home, f"order_id, size, kind, {extra}", f"batch_id = '{batch.batch_id}'")
    seven, eight = ('{"weight":"7"}', '{"weight":"8"}') if contract == "rescue" else (7, 8)
    assert found == [(4, 1.0, "a", None), (5, 2.0, "b", seven), (6, None, "c", eight)]
    with own_home.lake("toy").connect() as con:
        recorded = {(item.kind, item.column) for _, item in ledger.records(con, "schema_changes", SchemaChange)}
    assert recorded == {("rescued" if contract == "rescue" else "added", "weight"), ("dropped", "size")}


def test_a_frozen_contract_stops_before_anything_is_consumed(
    orders: Execute, product: Product, load: Load, own_home: Home
) -> None:
    """With the reason; when the table is as it was again, or the spec follows, the same changes are loaded."""
    spec = product({"source.contract": "freeze"})
    load(spec)
    orders("alter table orders add column weight int", "insert into orders values (4, null, 1, 'a', 7)")
    for _ in range(2):
        with pytest.raises(HeadraceError, match="unknown weight"):
            load(spec)
    assert len(raw(own_home, "order_id")) == 3
    columns = {**spec.source.columns, "weight": "BIGINT"}
    assert load(product({"source.contract": "freeze", "source.columns": columns})).rows_loaded == 1
    assert raw(own_home, "order_id, weight", "order_id = 4") == [(4, 7)]


def test_a_contract_that_the_table_breaks_leaves_no_slot(orders: Execute, product: Product, load: Load) -> None:
    """A slot that nobody reads would make the server keep its log for ever."""
    spec = product({"source.columns": {"order_id": "BIGINT", "price": "DOUBLE"}, "source.required": []})
    with pytest.raises(HeadraceError, match="missing price"):
        load(spec)
    assert orders("select count(*) from own_slots") == [(0,)]
    assert load(product()).rows_loaded == 3


def test_partitions_are_one_table(execute: Execute, product: Product, load: Load, own_home: Home) -> None:
    """A row that moves to another partition is a change of the table, and a new partition belongs to it."""
    execute(
        "create table orders (order_id bigint, ordered_at timestamp, size float8, kind text, primary key (order_id)) "
        "partition by range (order_id)",
        "create table orders_1 partition of orders for values from (0) to (10)",
        "alter table orders_1 replica identity full",
        "insert into orders values (1, null, 1, 'a')",
    )
    spec = product()
    load(spec)
    execute(
        "create table orders_2 partition of orders for values from (10) to (20)",
        "alter table orders_2 replica identity full",
        "update orders set order_id = 11",
    )
    batch = load(spec)
    assert raw(own_home, "headrace_change, order_id", f"batch_id = '{batch.batch_id}'") == [
        ("delete", 1), ("insert", 11),
    ]  # fmt: skip


NEW_SNAPSHOT = "headrace forget-source toy"
AWAY, BACK = (f"alter publication headrace_toy {word} table orders" for word in ("drop", "add"))
SET = "alter publication headrace_toy set"


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("select pg_drop_replication_slot(slot_name) from own_slots", "slot is gone"),
        ("select pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) from own_slots", "ahead of the lake"),
        ("drop publication headrace_toy", "publication is gone"),
        (f"{AWAY}; delete from orders where order_id = 2; {BACK}", "taken out of the publication"),
    ],
)  # fmt: skip
def test_lost_changes_are_said_and_a_new_snapshot_makes_it_right(
    orders: Execute, product: Product, load: Load, own_home: Home, statement: str, what: str
) -> None:
    spec = product()
    load(spec)
    orders("delete from orders where order_id = 1", *statement.split("; "))
    with pytest.raises(HeadraceError, match=what) as caught:
        waiting_batch(own_home, spec)
    assert NEW_SNAPSHOT in caught.value.fix
    forget_source(own_home, spec)
    batch = load(spec)
    changes = raw(own_home, "headrace_change", f"batch_id = '{batch.batch_id}'")
    assert changes == [("truncate",), *[("snapshot",)] * orders("select count(*) from orders")[0][0]]


@pytest.mark.parametrize(
    ("statement", "fix"),
    [
        (AWAY, 'add table only "public"."orders"'),
        (f"{SET} (publish = 'insert')", "set (publish = 'insert, update, delete, truncate')"),
        (f"{SET} table orders where (order_id > 1)", "drop table"),
    ],
)  # fmt: skip
def test_a_publication_that_leaves_out_something_is_refused(
    orders: Execute, product: Product, load: Load, own_home: Home, statement: str, fix: str
) -> None:
    spec = product()
    load(spec)
    orders(statement)
    with pytest.raises(HeadraceError) as caught:
        waiting_batch(own_home, spec)
    assert fix in caught.value.fix


def test_log_of_other_tables_is_let_go(
    orders: Execute, product: Product, load: Load, own_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a quiet table would make a busy server keep its log for ever."""
    monkeypatch.setattr(changes_module, "_IDLE_BYTES", 1 << 10)
    spec = product()
    load(spec)
    place = "select confirmed_flush_lsn from own_slots"
    before = orders(place)
    orders("create table other (text text)", "insert into other select repeat('x', 100) from generate_series(1, 999)")
    assert waiting_batch(own_home, spec) is None
    assert orders(place) > before
    orders("delete from orders where order_id = 1")
    assert load(spec).rows_in == 1


def test_another_server_is_noticed(orders: Execute, product: Product, load: Load, own_home: Home) -> None:
    """A log that ends before what was loaded is not the same log."""
    spec = product()
    load(spec)
    forget_source(own_home, spec)
    orders("delete from orders")
    with pytest.raises(HeadraceError, match="another server"):
        load_batch(own_home, spec, "lsn-7fffffffffffffff")


def test_processes_that_load_at_once_load_once(orders: Execute, product: Product, own_home: Home) -> None:
    """One has its turn, the others find it done; looks in between disturb nobody."""
    spec = product()
    for change in ("select 1", "delete from orders where order_id = 1"):
        orders(change)
        batch_id = waiting_batch(own_home, spec) or ""
        with ThreadPoolExecutor(4) as pool:
            looks = [pool.submit(waiting_batch, own_home, spec) for _ in range(2)]
            loads = [pool.submit(load_batch, own_home, spec, batch_id) for _ in range(2)]
            assert len({item.result().sha256 for item in loads}) == 1
            said = [item.result() for item in looks]
        # before there is a snapshot, a look names the end of the log
        assert change == "select 1" or {batch_id, None}.issuperset(said)
    assert len(raw(own_home, "order_id")) == 4
    assert orders("select count(*) from own_slots") == [(1,)]


CUT_OFF = (
    "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' "
    "and database = (select oid from pg_database where datname = current_database())"
)


@pytest.mark.parametrize("is_snapshot", [True, False])
def test_a_loader_that_lost_its_turn_loads_nothing(
    orders: Execute, product: Product, load: Load, own_home: Home, monkeypatch: pytest.MonkeyPatch, is_snapshot: bool
) -> None:
    """Its connection ended while it wrote what it had read, another took the same changes under another name."""
    spec = product()
    if not is_snapshot:
        load(spec)
    orders("insert into orders values (10, null, 1, 'a')")
    commit = delivery_module.commit_delivery

    def overtaken(*arguments: Any, **options: Any) -> Batch:
        monkeypatch.setattr(delivery_module, "commit_delivery", commit)
        orders(CUT_OFF, "delete from orders where order_id = 10")
        load(spec)
        return commit(*arguments, **options)

    monkeypatch.setattr(delivery_module, "commit_delivery", overtaken)
    with pytest.raises(HeadraceError, match="another process has loaded from this table"):
        load(spec)
    assert waiting_batch(own_home, spec) is None
    changes = [item[0] for item in raw(own_home, "headrace_change")]
    assert changes == ["snapshot"] * 3 + ([] if is_snapshot else ["insert", "delete"])
    assert orders("select count(*) from own_slots") == [(1,)]


def test_a_look_may_let_the_server_forget_more_than_a_load_is_about_to(
    orders: Execute, product: Product, load: Load, own_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the slot can't be set back to the batch's place, and needn't."""
    monkeypatch.setattr(changes_module, "_IDLE_BYTES", 1 << 10)
    spec = product()
    load(spec)
    orders("create table other (text text)", "delete from orders where order_id = 1")
    advance = changes_module.advance

    def overtaken(*arguments: Any) -> None:
        monkeypatch.setattr(changes_module, "advance", advance)
        orders("insert into other select repeat('x', 100) from generate_series(1, 999)")
        assert waiting_batch(own_home, spec) is None
        advance(*arguments)

    monkeypatch.setattr(changes_module, "advance", overtaken)
    assert load(spec).rows_in == 1


def test_what_fails_behind_the_commit_is_no_failed_load(
    orders: Execute, product: Product, load: Load, own_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is in the lake, and the next look tells the server."""
    spec = product()
    load(spec)
    orders("delete from orders where order_id = 1")
    advance = changes_module.advance

    def lost(*_: Any) -> None:
        monkeypatch.setattr(changes_module, "advance", advance)
        orders(CUT_OFF)
        raise psycopg.OperationalError("server closed the connection")

    monkeypatch.setattr(changes_module, "advance", lost)
    assert load(spec).rows_in == 1
    assert waiting_batch(own_home, spec) is None


def test_a_table_that_was_dropped_and_made_anew_is_another(orders: Execute, product: Product, load: Load) -> None:
    """Also in a publication for all tables, which has no entry of it."""
    orders("create publication headrace_toy for all tables")
    spec = product()
    load(spec)
    orders("begin; create table anew (like orders including all); drop table orders; alter table anew rename to orders")
    orders("alter table orders replica identity full", "commit")
    with pytest.raises(HeadraceError, match="dropped and made anew") as caught:
        load(spec)
    assert NEW_SNAPSHOT in caught.value.fix


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("alter table orders add column size_2 int not null default 7", "came with a value"),
        ("alter table orders add column size_2 int default 7; alter table orders alter size_2 drop default",
         "came with a value"),
        ("alter table orders add column size_2 float8 default random()", "every row was written anew"),
        ("alter table orders alter column size type numeric using size * 100", "another type"),
        ("alter table orders alter column size type float8 using size * 100", "every row was written anew"),
        ("alter table orders drop column kind, add column kind text", "dropped and made anew"),
        ("alter table orders rename column kind to size_2", "under another name"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_in_stream", [True, False])
def test_values_that_changed_without_a_message_are_noticed(
    orders: Execute, product: Product, load: Load, own_home: Home, statement: str, what: str, is_in_stream: bool
) -> None:
    """Such a statement gives old rows other values, and the log tells of none of them; later changes hide nothing."""
    spec = product({"source.contract": "evolve"})
    load(spec)
    orders(*statement.split("; "), *(["update orders set size = 0 where order_id = 1"] if is_in_stream else []))
    with pytest.raises(HeadraceError, match=what) as caught:
        waiting_batch(own_home, spec)
    assert NEW_SNAPSHOT in caught.value.fix
    forget_source(own_home, spec)
    load(spec)
    columns = "order_id, size" + (", size_2" if "size_2" in statement else "")
    newest = "batch_id = (select max(batch_id) from lake.raw.toy) and order_id is not null"
    assert sorted(raw(own_home, columns, newest)) == [
        (key, float(size), *rest) for key, size, *rest in orders(f"select {columns} from orders order by 1")
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "vacuum full orders",
        "truncate orders",
        "alter table orders alter column size set default 3, alter column size set not null",
        "alter table orders alter column kind type varchar(99)",
        "alter table orders alter column kind type text",
        "alter table orders add column weight float8",
        "alter table orders drop column ordered_at",
        "alter table orders add column weight float8; alter table orders alter weight set default 3",
    ],
)
def test_statements_that_change_no_value_of_old_rows_are_none_of_it(
    orders: Execute, product: Product, load: Load, own_home: Home, statement: str
) -> None:
    """A new snapshot of a large table is not asked for without need, and not after the next batch either."""
    spec = product({"source.contract": "evolve"})
    orders("alter table orders alter column kind type varchar(9)")
    load(spec)
    for key in (10, 11):
        orders(*statement.split("; ") if key == 10 else [], f"insert into orders (order_id, size) values ({key}, 1)")
        load(spec)
    assert raw(own_home, "size", "order_id >= 10") == [(1.0,), (1.0,)]


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("alter table orders add column weight int default 7", "came with a value"),
        ("alter table orders alter column size type float8 using size * 100", "every row was written anew"),
        ("vacuum full orders_1", ""),
        ("create table orders_2 partition of orders for values from (10) to (20)", ""),
    ],
)
def test_partitions_are_written_anew_like_tables(
    execute: Execute, product: Product, load: Load, own_home: Home, statement: str, what: str
) -> None:
    """The files are theirs, and a new partition has none of old rows."""
    execute(
        "create table orders (order_id bigint primary key, ordered_at timestamp, size float8, kind text) "
        "partition by range (order_id)",
        "create table orders_1 partition of orders for values from (0) to (10)",
        "alter table orders_1 replica identity full",
        "insert into orders values (1, null, 1, 'a')",
    )
    spec = product({"source.contract": "evolve"})
    load(spec)
    execute(statement)
    if "orders_2" in statement:
        execute("alter table orders_2 replica identity full")
    if what:
        with pytest.raises(HeadraceError, match=what):
            load(spec)
    else:
        assert waiting_batch(own_home, spec) is None


def test_a_column_that_came_is_compared_from_the_batch_on_that_has_it(
    orders: Execute, product: Product, load: Load
) -> None:
    """It is remembered with the batch, as those of the snapshot are; so is one that went."""
    spec = product({"source.contract": "evolve"})
    load(spec)
    orders("alter table orders add column weight int", "update orders set weight = 1", "alter table orders drop kind")
    load(spec)
    orders("alter table orders add column kind text")
    with pytest.raises(HeadraceError, match="column kind was dropped and made anew"):
        load(spec)
    orders("alter table orders drop kind", "alter table orders alter weight type int using weight + 1")
    with pytest.raises(HeadraceError, match="every row was written anew"):
        load(spec)


def test_a_column_that_the_spec_names_later_needs_its_old_values(orders: Execute, product: Product, load: Load) -> None:
    """Until then they were kept as JSON, so old rows would have none in cleaned; one that nobody follows is free."""
    spec = product()
    load(spec)
    orders("alter table orders add column weight int default 1", "update orders set weight = 2 where order_id = 1")
    load(spec)
    with pytest.raises(HeadraceError, match="in the contract only now"):
        load(product({"source.columns": {**spec.source.columns, "weight": "BIGINT"}}))


def test_a_column_gets_the_type_that_the_server_says(
    orders: Execute, product: Product, load: Load, own_home: Home
) -> None:
    """Its first values say little: a postal code may begin with digits, and the next one would be quarantined."""
    spec = product({"source.contract": "evolve"})
    orders("alter table orders add column fee numeric(8, 2) default 1.5")
    load(spec)
    orders(
        "alter table orders add zip text, add is_new boolean, add day date, add at timestamptz, add big numeric, "
        "add clock time, add small smallint",
        "update orders set zip = '12345', is_new = true, day = '2024-02-29', at = '2024-01-01 12:00+02', "
        "big = 12345678901234567890, clock = '12:00', small = 7 where order_id = 1",
        "update orders set zip = 'SW1A', is_new = false, big = 'NaN' where order_id = 1",
    )
    assert load(spec).rows_quarantined == 0
    with own_home.lake("toy").connect() as con:
        kinds = {row[0]: row[1] for row in con.execute("describe lake.raw.toy").fetchall()}
    names = ("fee", "zip", "is_new", "day", "at", "big", "clock", "small")
    assert [kinds[name] for name in names] == [
        "DOUBLE", "VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP WITH TIME ZONE", "VARCHAR", "VARCHAR", "BIGINT",
    ]  # fmt: skip
    assert raw(own_home, "zip, is_new, big, fee", "headrace_change = 'update'") == [
        ("12345", True, "12345678901234567890", 1.5), ("SW1A", False, "NaN", 1.5),
    ]  # fmt: skip


def test_forgetting_leaves_nothing_on_the_server(orders: Execute, product: Product, load: Load, own_home: Home) -> None:
    spec = product()
    assert forget_source(own_home, spec).dropped == ()
    load(spec)
    assert [re.sub("toy_.*", "toy_…", item) for item in forget_source(own_home, spec).dropped] == [
        "replication slot headrace_toy_…", "publication headrace_toy",
    ]  # fmt: skip
    assert orders("select count(*) from pg_publication") == [(0,)]
    assert len(raw(own_home, "order_id")) == 3


def test_a_database_that_is_down_is_said(own_home: Home, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES", "host=127.0.0.1 port=1 dbname=none")
    with pytest.raises(HeadraceError, match="PostgreSQL said no") as caught:
        waiting_batch(own_home, product())
    assert not isinstance(caught.value, psycopg.Error)
