"""Held batches and dbt: a real build of the toy shop neither reads nor keeps them, and builds them once accepted."""

import shutil

import pytest

from assets import blessings, ledger
from assets.cleaned import dbt
from assets.home import Home
from assets.lake import Lake
from assets.raw.definitions import load_batches
from assets.raw.landing import REFERENCE_BATCH
from assets.raw.validate import bless_batches
from assets.records import Gate, Override, Provenance
from assets.settings import CHECKOUT, Settings
from assets.spec import load_specs
from tests.toy.shop import TOY, drop, orders

pytestmark = pytest.mark.journey
BUILT = ("cleaned.shop", "features.shop", "features.labels")


@pytest.fixture
def shop_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with the toy shop alone."""
    folder = tmp_path_factory.mktemp("held")
    project = folder / "dbt_project"
    shutil.copytree(
        CHECKOUT / "dbt_project", project, ignore=shutil.ignore_patterns("models", "tests", "target", "logs")
    )
    shutil.copytree(TOY / "models", project / "models")
    (folder / "products").mkdir()
    shutil.copy(TOY / "shop.yaml", folder / "products")
    return Home(Settings(home=folder / ".headrace", products=folder / "products", dbt_project=project))


def test_a_held_batch_is_not_seen_by_dbt_until_a_person_accepts_it(shop_home: Home) -> None:
    """Full refresh, incremental, accepted, and held only after it was built: its rows and its part in history go."""
    spec, lake = load_specs(shop_home.settings.products)["shop"], shop_home.lake("shop")
    drop(shop_home.settings, [1, 3])
    orders(2).tail(20).write_csv(shop_home.landing("shop") / "orders_02.csv")

    def build() -> dict[str, list[tuple[str, int]]]:
        assert all(item.is_success for item in dbt.build(lake))
        with lake.connect() as con:
            return {
                name: con.execute(
                    f"select batch_id, count(*) from lake.{name} group by batch_id order by batch_id"
                ).fetchall()
                for name in BUILT
            }

    def word(action: str) -> None:
        item = Override.model_validate(
            {"product": "shop", "action": action, "subject": "02", "reason": "a test", "asked_by": "me",
             "at": ledger.now()}
        )  # fmt: skip
        lake.transact(lambda con: ledger.append_once(con, "overrides", item.override_id, "02", item))

    load_batches(shop_home, spec, "customers", [REFERENCE_BATCH])
    batches, _ = load_batches(shop_home, spec, "shop", ["01", "02", "03"])
    bless_batches(lake, spec, batches, champion_id="", provenance=Provenance())
    with lake.connect() as con:
        assert blessings.held_batches(con).keys() == {"02"}
    assert build() == every_table([("01", 240), ("03", 240)])
    before = history_of(lake)

    word("accept")
    assert build() == every_table([("01", 240), ("02", 20), ("03", 240)])
    assert history_of(lake) != before, "the accepted orders are history of those after them"

    # the newest word of a person counts: taken back, the batch is held again, and what was built from it is mended
    word("block")
    assert build() == every_table([("01", 240), ("03", 240)])
    assert history_of(lake) == before

    # a newer blessing says yes: held no longer
    good = blessings.bless_data(
        spec, batches[1], [Gate(name="anomalies", verdict="PASSED", observed="mended", threshold="")],
        champion_id="", snapshot=lake.snapshot(), provenance=Provenance(),
    )  # fmt: skip
    lake.transact(lambda con: blessings.write(con, good))
    assert build() == every_table([("01", 240), ("02", 20), ("03", 240)])


def every_table(rows: list[tuple[str, int]]) -> dict[str, list[tuple[str, int]]]:
    """These rows of each batch in all tables."""
    return dict.fromkeys(BUILT, rows)


def history_of(lake: Lake) -> list[tuple[int, int | None]]:
    """What the orders of batch 03 knew of earlier returns of their customers."""
    with lake.connect() as con:
        found: list[tuple[int, int | None]] = con.execute(
            "select order_id, earlier_returns_7d from lake.features.shop where batch_id = '03' order by order_id"
        ).fetchall()
        return found
