"""Raw to features: the same tables in any order of arrival, bad rows kept apart, and new SQL builds all rows again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from assets import ledger
from assets.blessings import accept_batch
from assets.home import Home
from assets.records import Alert
from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli.runs import Runner
from tests.toy.shop import drop

pytestmark = pytest.mark.journey


def test_any_order_of_arrival_gives_the_same_tables(toy_settings: Callable[[str], Settings], shop: ProductSpec) -> None:
    """A batch that comes late changes the history of those after it, so they are built again."""
    hashes = []
    for name, order in (("in_order", [[1, 2, 3]]), ("out_of_order", [[3], [1], [2]])):
        settings = toy_settings(name)
        runner = Runner(settings, shop)
        for batches in order:
            drop(settings, batches)
            runner.load([f"{batch:02}" for batch in batches], cause="test")
        with runner.home.lake("shop").connect() as con:
            hashes.append(
                con.execute(
                    "select (select bit_xor(hash(f)) from lake.features.shop f), "
                    "(select bit_xor(hash(l)) from lake.features.labels l), (select count(*) from lake.features.shop)"
                ).fetchall()
            )
    assert hashes[0] == hashes[1]
    assert hashes[0][0][2] == 720


def test_quarantined_rows_are_counted_and_kept(toy_settings: Callable[[str], Settings], shop: ProductSpec) -> None:
    """Bad rows of a delivery go to quarantine with their place, the rest goes on."""
    settings = toy_settings("quarantine")
    drop(settings, [1])
    path = Home(settings).landing("shop") / "orders_01.csv"
    text = path.read_text().splitlines()
    text[5] = text[5].replace(text[5].split(",")[0], "not a number", 1)
    path.write_text("\n".join(text) + "\n")
    runner = Runner(settings, shop)
    runner.load(["01"], cause="test")
    with runner.home.lake("shop").connect() as con:
        found = con.execute("select row_number, column_name, found from lake.raw.quarantine").fetchall()
        batch = ledger.batches(con, "shop")[0]
    assert found == [(5, "order_id", "not a number")]
    assert (batch.rows_in, batch.rows_loaded, batch.rows_quarantined) == (240, 239, 1)


def test_changed_sql_builds_every_batch_again(
    toy_settings: Callable[[str], Settings], shop: ProductSpec, tmp_path: Path
) -> None:
    """Incremental models would keep the rows of the old SQL under the new feature set's id."""
    first = toy_settings("sql")
    project = tmp_path / "dbt_project"
    shutil.copytree(first.dbt_project, project)
    settings = first.model_copy(update={"dbt_project": project})
    drop(settings, [1])
    Runner(settings, shop).load(["01"], cause="test")
    model = project / "models" / "marts" / "shop" / "shop_features.sql"
    model.write_text(model.read_text().replace("spine.amount,", "spine.amount * 2 as amount,"))
    drop(settings, [2])
    runner = Runner(settings, shop)
    runner.load(["02"], cause="test")
    with runner.home.lake("shop").connect() as con:
        doubled = con.execute(
            "select f.batch_id, bool_and(f.amount = 2 * r.amount) from lake.features.shop f "
            "join lake.raw.shop r using (order_id) group by all order by all"
        ).fetchall()
    assert doubled == [("01", True), ("02", True)]


def contents(settings: Settings) -> dict[str, tuple[int, int]]:
    """Rows and an order-free hash of each table that the shop's rows go through."""
    with Home(settings).lake("shop").connect() as con:
        found = {}
        for name in ("raw.shop", "cleaned.shop", "features.shop", "features.labels"):
            left = "exclude (headrace_delivery)" if name == "raw.shop" else ""
            row = con.execute(f"select count(*), bit_xor(hash(t)) from (select * {left} from lake.{name}) t").fetchone()
            found[name] = tuple(row or ())
    return found


def test_a_correction_gives_the_tables_of_a_home_that_never_saw_the_mistake(
    toy_settings: Callable[[str], Settings], shop: ProductSpec
) -> None:
    """Its batch and the history of those after it are built again; what it replaces stays beside the raw table."""
    right, mended = toy_settings("right"), toy_settings("mended")
    drop(right, [1, 2, 3])
    Runner(right, shop).load(["01", "02", "03"], cause="test")
    drop(mended, [1, 2, 3])
    drop(mended, [2], shift=500.0)
    runner = Runner(mended, shop)
    runner.load(["01", "02", "03"], cause="test")
    assert contents(mended) != contents(right)
    drop(mended, [2])
    runner.load(["01", "02", "03"], cause="test")
    assert contents(mended) == contents(right)
    with runner.home.lake("shop").connect() as con:
        assert con.execute("select count(*) from lake.raw.shop_superseded").fetchall() == [(240,)]
        assert [item.version for item in ledger.batches(con, "shop")] == [1, 2, 1]
        (alert,) = [item for _, item in ledger.records(con, "alerts", Alert) if item.kind == "correction"]
    assert "stale until built again: 02, 03" in alert.message
    assert runner.load(["01", "02", "03"], cause="test") == 0


def test_a_new_register_is_in_the_features_of_every_batch(
    toy_settings: Callable[[str], Settings], shop: ProductSpec
) -> None:
    """Regression: batches built before it kept what the old one said, so tables depended on the order of arrival."""
    at_once, late = toy_settings("at_once"), toy_settings("late_register")
    drop(at_once, [1, 2])
    Runner(at_once, shop).load(["01", "02"], cause="test")
    drop(late, [1])
    (Home(late).landing("shop") / "customers.csv").write_text("customer,country\nana,xx\n")
    runner = Runner(late, shop)
    runner.load(["01"], cause="test")
    drop(late, [2])
    runner.load(["02"], cause="test")
    assert contents(late) == contents(at_once)


def test_a_correction_may_take_every_row_away(toy_settings: Callable[[str], Settings], shop: ProductSpec) -> None:
    """Regression: rows of a batch stayed in the tables when nothing was delivered in their place."""
    settings = toy_settings("emptied")
    drop(settings, [1, 2])
    runner = Runner(settings, shop)
    runner.load(["01", "02"], cause="test")
    path = Home(settings).landing("shop") / "orders_01.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    runner.load(["01", "02"], cause="test")
    accept_batch(runner.home.lake("shop"), shop, "01", reason="it is empty", asked_by="test")
    runner.load(["01", "02"], cause="test")
    with runner.home.lake("shop").connect() as con:
        for name in ("raw.shop", "cleaned.shop", "features.shop"):
            assert con.execute(f"select distinct batch_id from lake.{name}").fetchall() == [("02",)], name


def test_the_same_file_under_another_name_is_skipped_and_said(
    toy_settings: Callable[[str], Settings], shop: ProductSpec
) -> None:
    settings = toy_settings("twice")
    drop(settings, [1])
    folder = Home(settings).landing("shop")
    shutil.copy(folder / "orders_01.csv", folder / "orders_02.csv")
    runner = Runner(settings, shop)
    runner.load(["01", "02"], cause="test")
    with runner.home.lake("shop").connect() as con:
        first, second = ledger.batches(con, "shop")
        assert con.execute("select count(*) from lake.raw.shop").fetchall() == [(240,)]
    assert (first.status, second.status) == ("LOADED", "DUPLICATE")
    assert "the same content as orders_01.csv" in second.reason
    assert runner.load(["01", "02"], cause="test") == 0


def test_what_repeated_a_file_that_is_corrected_is_loaded_by_the_same_command(
    toy_settings: Callable[[str], Settings], shop: ProductSpec
) -> None:
    """A month is delivered under the name of the one before, too; once that is mended, its own rows count."""
    settings = toy_settings("repeated")
    drop(settings, [3])
    folder = Home(settings).landing("shop")
    shutil.copy(folder / "orders_03.csv", folder / "orders_02.csv")
    runner = Runner(settings, shop)
    assert runner.load_landed(["02", "03"], cause="test") == (["02", "03"], 2)
    assert runner.landed_batches() == ["02"]
    drop(settings, [2])
    assert runner.load_landed(["02"], cause="test") == (["02", "03"], 2)
    with runner.home.lake("shop").connect() as con:
        rows = con.execute("select batch_id, count(*) from lake.features.shop group by all order by all").fetchall()
    assert rows == [("02", 240), ("03", 240)]
    assert runner.load_landed(["02", "03"], cause="test") == (["02", "03"], 0)
