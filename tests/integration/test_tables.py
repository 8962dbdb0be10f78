"""Raw to features: the same tables in any order of arrival, bad rows kept apart, and new SQL builds all rows again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from assets import ledger
from assets.home import Home
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
