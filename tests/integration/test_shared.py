"""Two products at once on a shared deployment: catalogs in one PostgreSQL database, data in one bucket."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import polars as pl
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from assets.errors import HeadraceError
from assets.home import Home
from assets.lake import Lake
from assets.live import read_live
from assets.maintenance.maintain import maintain
from assets.settings import CHECKOUT, Settings
from assets.spec import ProductSpec, load_specs
from orchestration.cli.runs import Runner
from orchestration.status import product_status
from tests.servers import PostgresServer
from tests.toy.shop import CUSTOMERS, TOY, drop, environment, headrace, orders

pytestmark = pytest.mark.journey
PRODUCTS = ("shop", "stall")


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory,
    toy_settings: Callable[..., Settings],
    shared_settings_at: Callable[..., Settings],
) -> Settings:
    """A home with the toy shop and its copy `stall`, on one database and one bucket; two batches of each landed."""
    toy = toy_settings("toy")
    places = tmp_path_factory.mktemp("two")
    for folder in ("products", "dbt_project"):
        shutil.copytree(getattr(toy, folder), places / folder)
    (places / "products" / "stall.yaml").write_text(as_stall((TOY / "shop.yaml").read_text()))
    for file in (file for file in (TOY / "models").rglob("*") if file.is_file()):
        target = places / "dbt_project" / "models" / file.relative_to(TOY / "models").parent.parent / "stall"
        target.mkdir(exist_ok=True)
        (target / as_stall(file.name)).write_text(as_stall(file.read_text()))
    made = shared_settings_at(places / ".headrace", products=places / "products", dbt_project=places / "dbt_project")
    for product in PRODUCTS:
        land(made, product, [1, 2])
    return made


def as_stall(text: str) -> str:
    return text.replace("shop", "stall").replace("customers_cleaned", "stall_customers_cleaned")


def land(settings: Settings, product: str, batches: list[int]) -> None:
    folder = Home(settings).landing(product)
    pl.DataFrame({"customer": list(CUSTOMERS), "country": list(CUSTOMERS.values())}).write_csv(folder / "customers.csv")
    for batch in batches:
        orders(batch).write_csv(folder / f"orders_{batch:02}.csv")


def counts(settings: Settings, product: str) -> tuple[int, ...]:
    """Rows of raw, cleaned and features, and what the cleaned rows are."""
    with Home(settings).lake(product).connect() as con:
        return con.execute(
            f"""select (select count(*) from lake.raw.{product}), (select count(*) from lake.features.{product}),
                (select count(*) from lake.cleaned.{product}),
                (select sum(hash(t)) from lake.cleaned.{product} as t)"""
        ).fetchall()[0]


@pytest.fixture(scope="module")
def journeys(settings: Settings) -> dict[str, str]:
    """Both products taken all the way at the same time by the real command; what each printed."""
    running = {
        product: subprocess.Popen(
            [sys.executable, "-m", "orchestration.cli.main", "run", product],
            cwd=CHECKOUT, env=environment(settings), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for product in PRODUCTS
    }  # fmt: skip
    said = {product: process.communicate(timeout=550)[0] for product, process in running.items()}
    assert {product: process.returncode for product, process in running.items()} == dict.fromkeys(PRODUCTS, 0), said
    return said


@pytest.fixture(scope="module")
def specs(settings: Settings) -> dict[str, ProductSpec]:
    return load_specs(settings.products)


def test_two_products_at_once_end_as_on_a_laptop(
    settings: Settings,
    journeys: dict[str, str],
    specs: dict[str, ProductSpec],
    toy_settings: Callable[..., Settings],
) -> None:
    """Loaded, built, trained, judged and live; the tables have the rows of an embedded run, to the last value."""
    for product in PRODUCTS:
        status = product_status(Home(settings), specs[product])
        assert status["rows_in"] == status["rows_loaded"] == 480
        assert status["decisions"][0]["verdict"] == "PROMOTED_FIRST_CHAMPION"
        assert status["live"]["model_id"] == status["champion"]["model_id"]
        assert "locked" not in journeys[product]
    laptop = toy_settings("laptop", lambda home, **changes: Settings(home=home, **changes))
    drop(laptop, [1, 2])
    Runner(laptop, specs["shop"]).load(["01", "02"], cause="test")
    assert counts(settings, "shop") == counts(laptop, "shop")
    assert counts(settings, "stall")[:3] == counts(laptop, "shop")[:3]


@pytest.mark.usefixtures("journeys")
def test_nothing_of_a_lake_and_no_key_is_on_this_machine(settings: Settings) -> None:
    """Landing, models, bentos and reports are; profiles and logs name the variables, not their values."""
    for product in PRODUCTS:
        assert not list(settings.lake_folder(product).rglob("*.parquet"))
        assert not (settings.lake_folder(product) / "catalog.sqlite").exists()
    for path in (
        path for path in settings.home.rglob("*") if path.is_file() and path.suffix in (".yml", ".log", ".txt", ".json")
    ):
        assert "tests only" not in path.read_text(errors="replace"), path


@pytest.mark.usefixtures("journeys")
def test_a_load_that_was_killed_is_whole_after_a_rerun(
    settings: Settings, specs: dict[str, ProductSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    land(settings, "shop", [3])
    monkeypatch.setenv("HEADRACE_KILL_POINT", "ingest.commit.before")
    assert headrace(settings, "run", "shop", "--as-of", "03").returncode == -9
    monkeypatch.delenv("HEADRACE_KILL_POINT")
    assert counts(settings, "shop")[0] == 480
    Runner(settings, specs["shop"]).load(["03"], cause="after the kill")
    assert counts(settings, "shop")[:3] == (720, 720, 720)
    told = maintain(Home(settings), specs["shop"], dry_run=True)
    assert told.orphans == ()  # younger than the grace
    assert read_live(settings.home, "shop") is not None


# --- the catalog's server -------------------------------------------------------------------------------------------


FIRST_USE = """
import sys
from assets.home import Home
from assets.settings import Settings
lake = Home(Settings(home=sys.argv[1])).lake("toy")
for number in range(5):
    lake.transact(lambda con: con.execute("create table if not exists lake.raw.n (i int)") and
                  con.execute("insert into lake.raw.n select coalesce(max(i), 0) + 1 from lake.raw.n"))
"""


def test_two_machines_that_use_a_lake_first_at_once_make_one_lake(
    shared_settings_at: Callable[..., Settings], tmp_path: Path
) -> None:
    """Each has a home of its own; they meet in the catalog, and take turns there."""
    settings = shared_settings_at(tmp_path / "third")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_USE, str(tmp_path / name)],
            cwd=CHECKOUT, env=settings.environment(), stderr=subprocess.PIPE, text=True,
        )
        for name in ("first", "second")
    ]  # fmt: skip
    ends = [(process.communicate(timeout=300)[1], process.returncode) for process in running]
    assert [code for _, code in ends] == [0, 0], ends
    with Home(settings).lake("toy").connect() as con:
        assert con.execute("select list(i order by i) from lake.raw.n").fetchone() == (list(range(1, 11)),)


def test_a_restart_of_the_server_is_waited_for(
    shared_settings_at: Callable[..., Settings], postgres_server: PostgresServer, tmp_path: Path
) -> None:
    lake = Home(shared_settings_at(tmp_path / "home")).lake("toy")
    lake.transact(lambda con: con.execute("create table lake.raw.n (i int)"))
    postgres_server.stop()
    with pytest.raises(HeadraceError, match="the lake's catalog doesn't answer"):
        lake.snapshot()
    starting = threading.Thread(target=postgres_server.start)
    starting.start()
    lake.transact(lambda con: con.execute("insert into lake.raw.n values (1)"))
    starting.join()
    with lake.connect() as con:
        assert con.execute("select * from lake.raw.n").fetchall() == [(1,)]


def test_a_lock_that_was_lost_meanwhile_commits_nothing_under_it(
    shared_settings_at: Callable[..., Settings], postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """The server ends the lock's connection alone, once: another writer may have had its turn, so all is done again."""
    lake = Home(shared_settings_at(tmp_path / "home")).lake("toy")
    lake.transact(lambda con: con.execute("create table lake.raw.n (i int)"))
    tries = []

    def work(con: object) -> None:
        tries.append(1)
        con.execute("insert into lake.raw.n values (1)")  # type: ignore[attr-defined]
        if len(tries) == 1:
            with psycopg.connect(postgres_server.conninfo(), autocommit=True) as other:
                holder = "application_name = 'headrace toy writer'"
                other.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {holder}".encode())

    lake.transact(work)
    assert len(tries) == 2
    with lake.connect() as con:
        assert con.execute("select * from lake.raw.n").fetchall() == [(1,)]


def test_a_writer_that_waits_too_long_says_so_and_one_may_begin_inside_its_own_turn(
    shared_settings_at: Callable[..., Settings], tmp_path: Path
) -> None:
    lake = Home(shared_settings_at(tmp_path / "home", lock_timeout_seconds=0.2)).lake("toy")
    waiting: list[str] = []

    def other() -> None:
        try:
            lake.transact(lambda _: None)
        except HeadraceError as error:
            waiting.append(error.what)

    with lake.write_lock():
        lake.transact(lambda con: con.execute("create table lake.raw.inside (i int)"))
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert waiting == ["another process is writing to the lake"]


def test_a_database_of_any_name_is_found_and_its_password_comes_from_the_environment(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = 'our "lake\'s" \\ one'
    with psycopg.connect(postgres_server.conninfo(), autocommit=True) as con:
        con.execute(psycopg.sql.SQL("create database {}").format(psycopg.sql.Identifier(name)))
    conninfo = make_conninfo("", dbname=name, host="127.0.0.1", port=postgres_server.port, user=postgres_server.user)
    settings = Settings(home=tmp_path / "home", lake_catalog=f"postgres:{conninfo}")
    monkeypatch.setenv("PGPASSWORD", "not this one")
    with pytest.raises(HeadraceError, match="password authentication failed") as caught:
        Home(settings).lake("toy")
    assert "not this one" not in str(caught.value)
    monkeypatch.setenv("PGPASSWORD", postgres_server.password)
    assert Home(settings).lake("toy").snapshot() > 0


@pytest.mark.parametrize(
    "conninfo", ["dbname=x password=hunter2", "postgresql://me:hunter2@host/x", "dbname='x hunter2"]
)
def test_a_connection_string_with_a_password_or_a_fault_is_refused_unseen(tmp_path: Path, conninfo: str) -> None:
    with pytest.raises(HeadraceError, match="connection string") as caught:
        Lake("toy", Settings(home=tmp_path / "home", lake_catalog=f"postgres:{conninfo}")).ensure()
    assert "hunter2" not in str(caught.value)


def test_products_never_share_a_folder_of_data(tmp_path: Path) -> None:
    """Maintenance of one would find the other's files to be orphans."""
    with pytest.raises(HeadraceError, match="all products would share one folder"):
        Lake("toy", Settings(home=tmp_path / "home", lake_data=str(tmp_path / "data"))).ensure()


def test_a_home_that_moves_to_a_shared_deployment_gets_its_lake_there(
    shared_settings_at: Callable[..., Settings], tmp_path: Path
) -> None:
    """What says that a lake was made is about that lake: the embedded one's mark is not the shared one's."""
    Home(Settings(home=tmp_path / "home")).lake("toy")
    lake = Home(shared_settings_at(tmp_path / "home")).lake("toy")
    with lake.connect() as con:
        assert con.execute("select count(*) from lake.ledger.batches").fetchone() == (0,)


def test_a_bucket_that_is_not_there_is_said(shared_settings_at: Callable[..., Settings], tmp_path: Path) -> None:
    """Regression: DuckDB's own error and a stack trace were all that a user saw of it."""
    settings = shared_settings_at(tmp_path / "home").model_copy(update={"lake_data": "s3://no-such-bucket/{product}/"})
    lake = Home(settings).lake("toy")
    with pytest.raises(HeadraceError, match="the object store of the lake's data refuses") as caught:
        lake.transact(lambda con: con.execute("create table lake.raw.numbers as from range(1000)"))
    assert "s3://no-such-bucket/toy/" in str(caught.value)


def test_a_user_of_the_catalog_who_may_not_create_a_schema_is_said(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    conninfo = postgres_server.new_database()
    with psycopg.connect(conninfo, autocommit=True) as con:
        con.execute("create role reader login")
    reader = make_conninfo(conninfo, user="reader")
    with pytest.raises(HeadraceError, match="the lake's catalog refuses its user"):
        Home(Settings(home=tmp_path / "home", lake_catalog=f"postgres:{reader}")).lake("toy")
