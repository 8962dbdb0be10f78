"""Writing a product: whole or not at all, never over another, and what is written is what was concluded."""

import gzip
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from assets.cleaned import dbt
from assets.errors import HeadraceError
from assets.settings import CHECKOUT, Settings
from assets.spec import load_specs
from orchestration.cli.new import new
from orchestration.new.conclude import conclude
from orchestration.new.coverage import find_coverage
from orchestration.new.models import jinja
from orchestration.new.names import file_pattern
from orchestration.new.spec_file import text_of
from orchestration.new.wishes import Wishes
from orchestration.new.write import ensure_free, write_product
from tests.profiles import assert_loads_as_profiled, profile_of

KILLED = """
import os, signal, sys
from pathlib import Path
from assets.settings import Settings
from orchestration.cli.new import new
import orchestration.new.write as write
write._parse = lambda settings: os.kill(os.getpid(), signal.SIGKILL)
new(Settings(), "shop", [Path(sys.argv[1])], yes=True)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    shutil.copytree(
        CHECKOUT / "dbt_project", tmp_path / "dbt_project", ignore=shutil.ignore_patterns("staging", "marts", "tests")
    )
    return Settings(home=tmp_path / "home", products=tmp_path / "products", dbt_project=tmp_path / "dbt_project")


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    size = random.normal(size=200).round(3)
    pl.DataFrame(
        {
            "order": range(5, 205),
            "size {{ x }}": size,
            "returned": np.where(size + random.normal(size=200) > 0, "yes", "no"),
        }
    ).write_csv(tmp_path / "orders_2024-01.csv")
    return tmp_path / "orders_2024-01.csv"


def everything(settings: Settings) -> list[str]:
    folders = (settings.products, settings.dbt_project)
    return sorted(
        str(path.relative_to(folder))
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".new.lock"
    )


def test_new_writes_a_product_that_loads_and_never_over_another(
    settings: Settings, orders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(settings)
    new(settings, "shop", [orders], yes=True)
    spec = load_specs(settings.products)["shop"]
    assert (spec.task, spec.wants_label.column) == ("binary", "returned")
    assert list(spec.features.inputs) == ["size_x"]
    assert set(everything(settings)) - set(before) == {
        "shop.yaml",
        "models/staging/shop/_shop__sources.yml",
        "models/staging/shop/_shop__models.yml",
        "models/staging/shop/shop_cleaned.sql",
        "models/marts/shop/_shop__models.yml",
        "models/marts/shop/shop_features.sql",
        "models/marts/shop/shop_labels.sql",
    }
    said = capsys.readouterr().out
    assert "positive is returned = yes" in said
    assert "identifier-like: counts the rows" in " ".join(said.split())
    assert f"headrace land shop {orders}" in said
    written = everything(settings), (settings.products / "shop.yaml").read_text()
    with pytest.raises(HeadraceError, match="there already"):
        new(settings, "shop", [orders], yes=True)
    assert (everything(settings), (settings.products / "shop.yaml").read_text()) == written


def test_models_that_dbt_can_not_read_leave_nothing(settings: Settings, orders: Path) -> None:
    (settings.dbt_project / "models" / "broken.sql").write_text("{% if %}")
    before = everything(settings)
    with pytest.raises(HeadraceError, match="dbt parse failed"):
        new(settings, "shop", [orders], yes=True)
    assert everything(settings) == before


def test_a_kill_leaves_no_half_product_and_the_next_new_clears_up(settings: Settings, orders: Path) -> None:
    environment = {
        **settings.environment(),
        "HEADRACE_PRODUCTS": str(settings.products),
        "HEADRACE_DBT_PROJECT": str(settings.dbt_project),
    }
    before = everything(settings)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(orders)], cwd=CHECKOUT, env=environment, capture_output=True, check=False
    )
    assert killed.returncode == -9
    assert not (settings.products / "shop.yaml").exists()
    assert (settings.dbt_project / "models" / "staging" / "shop").exists()
    ensure_free(settings, "shop")
    assert everything(settings) == before


def test_a_second_new_of_the_name_waits_for_the_first(
    settings: Settings, orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the second took what the first had made so far for the rest of a killed one, and cleared it away."""
    writing, go_on = threading.Event(), threading.Event()
    parse = dbt.ensure_manifest

    def paused(of: Settings) -> Any:
        writing.set()
        assert go_on.wait(60)
        return parse(of)

    monkeypatch.setattr(dbt, "ensure_manifest", paused)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(new, settings, "shop", [orders], yes=True)
        assert writing.wait(60)
        second = pool.submit(ensure_free, settings, "shop")
        with pytest.raises(TimeoutError):
            second.result(0.5)
        go_on.set()
        first.result(60)
        with pytest.raises(HeadraceError, match="there already"):
            second.result(60)
    assert (settings.dbt_project / "models" / "marts" / "shop" / "shop_features.sql").exists()


def test_models_of_somebody_else_are_not_touched(settings: Settings, orders: Path, tmp_path: Path) -> None:
    folder = settings.dbt_project / "models" / "marts" / "shop"
    folder.mkdir(parents=True)
    (folder / "mine.sql").write_text("select 1")
    found = conclude("shop", profile_of(tmp_path, orders), r"orders_(?P<batch>.*)\.csv", Wishes())
    with pytest.raises(HeadraceError, match="without a product"):
        write_product(settings, found)
    assert (folder / "mine.sql").read_text() == "select 1"
    assert not settings.products.joinpath("shop.yaml").exists()


@given(st.text(max_size=60))
def test_any_text_is_one_line_of_yaml(text: str) -> None:
    line = text_of(text)
    assert "\n" not in line
    assert yaml.safe_load(f"{{a: {line}}}") == {"a": text}


@given(st.text(alphabet=st.sampled_from("{}%#\"\\'a \n"), max_size=30))
def test_any_sql_comes_through_jinja_unchanged(text: str) -> None:
    import jinja2

    sql = f'"{text}"'
    assert jinja2.Environment(autoescape=False, keep_trailing_newline=True).from_string(jinja(sql)).render() == sql  # noqa: S701


# --- what is written of files that are otherwise ----------------------------------------------------------------------


def daily_loads(folder: Path, year: int, days: int) -> Path:
    """A German export of a year: semicolons, decimal commas, German dates, Windows-1252, packed."""
    random = np.random.default_rng(year)
    first = date(year, 1, 1)
    loads = random.normal(600, 50, days)
    lines = [f"{first + timedelta(days=day):%d.%m.%Y};{int(load)},5;Süd" for day, load in enumerate(loads)]
    lines.insert(0, "Tag;Lastmenge (MWh);Zone")
    path = folder / f"last_{year}.csv.gz"
    path.write_bytes(gzip.compress("\r\n".join([*lines, ""]).encode("cp1252")))
    return path


def test_how_files_are_written_and_what_they_hold_is_in_the_spec(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [daily_loads(tmp_path, 2020, 366), daily_loads(tmp_path, 2021, 365), daily_loads(tmp_path, 2022, 38)]
    new(settings, "last", files, target="Lastmenge (MWh)", task="regression", yes=True)
    written = yaml.safe_load((settings.products / "last.yaml").read_text())["source"]
    assert written["files"] == r"last_(?P<batch>\d{4})\.csv\.gz"
    assert written["csv"] == {"delimiter": ";", "encoding": "cp1252", "decimal": ",", "date_format": "%d.%m.%Y"}
    assert written["columns"] == {"Tag": "DATE", "Lastmenge (MWh)": "DOUBLE", "Zone": "VARCHAR"}
    assert written["coverage"] == {"column": "Tag", "period": "year"}
    assert not {"format", "contract", "arrival"} & set(written), "only what differs from the defaults"
    source = load_specs(settings.products)["last"].source
    assert_loads_as_profiled(profile_of(tmp_path, *files), source, tmp_path, files)
    assert "each holds one year: Tag has rows in nearly every day of it" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ({"2020": range(366), "2021": range(365)}, {"column": "day", "period": "year"}),
        ({"2020-02": range(31, 60)}, {"column": "day", "period": "month"}),
        ({"2020-W01": range(5), "2020-W02": range(5, 12)}, None),
        ({"2020": range(0, 366, 14)}, {"column": "day", "period": "year", "every": "month"}),
        ({"2020": range(100)}, None),
        ({"2021": range(366)}, None),
        ({"part1": range(366)}, None),
        ({"2020-01-01": range(1)}, None),
    ],
)
def test_coverage_is_expected_where_dates_fill_the_periods_that_files_are_named_by(
    days: dict[str, range], expected: dict[str, str] | None, tmp_path: Path
) -> None:
    files = []
    for batch, numbers in days.items():
        files.append(tmp_path / f"sales_{batch}.csv")
        at = [
            date(2020, 1, 1) + timedelta(days=number + 366 * (batch == "2021" and "2020" in days)) for number in numbers
        ]
        pl.DataFrame({"day": at, "sold": range(len(at))}).write_csv(files[-1])
    pattern, _ = file_pattern([file.name for file in files])
    found = find_coverage(profile_of(tmp_path, *files), pattern, Wishes())
    assert (found.model_dump(exclude_defaults=True) if found else None) == expected
