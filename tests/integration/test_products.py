"""The shipped products: what their features may know, and what is found in data that packages or people bring."""

from datetime import date
from pathlib import Path

import duckdb
import jinja2
import polars as pl
import pytest
from dateutil.easter import easter
from sklearn.metrics import adjusted_rand_score

from assets import ledger
from assets.candidates.predictor import load_predictor
from assets.candidates.registry import algorithm
from assets.candidates.training import train
from assets.candidates.training_set import load_training_set
from assets.cleaned import dbt
from assets.errors import HeadraceError
from assets.features.leaks import judge_leaks
from assets.features.read import batch_inputs
from assets.home import Home
from assets.naming import CLEANED, FEATURES, table
from assets.raw.coverage import coverage_findings
from assets.raw.landing import identify
from assets.settings import CHECKOUT, Settings
from assets.spec import ProductSpec, load_specs, parse_spec
from assets.splits.service import make_split
from orchestration.demos import write_movies, write_wines
from tests.loading import load_file

PRODUCTS = CHECKOUT / "orchestration" / "products"
SPECS = load_specs(PRODUCTS)
SHARED = CHECKOUT.parent / "shared" / "data"


def shared(name: str) -> Path:
    """A data set that users bring; without it a test is skipped."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(
            f"{path} is not there: its data may not be part of the project (docs/products says where to get it)"
        )
    return path


def built(home: Home, product: str, files: list[Path]) -> list[dbt.NodeResult]:
    """Load files and build the product's tables."""
    lake, spec = home.lake(product), SPECS[product]
    for file in files:
        _, batch_id, _ = identify(spec, file.name) or ("", "", "")
        load_file(lake, product, spec.source, file, batch_id)
    return dbt.build(lake)


# --- movies: the leak ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["votes", "rating", "r1", "r10"])
def test_an_outcome_of_movies_among_the_inputs_is_refused_by_name(outcome: str) -> None:
    text = (
        (PRODUCTS / "movies.yaml")
        .read_text()
        .replace("    is_action:", f"    {outcome}: {{type: number}}\n    is_action:")
    )
    with pytest.raises(HeadraceError, match=f"{outcome} is known only after the event"):
        parse_spec(text, origin="movies.yaml")


@pytest.mark.parametrize("hidden", [["r8"], ["r1"], ["votes", "r5", "r6", "r10"]])
def test_an_outcome_of_movies_under_another_name_is_found_by_what_it_knows(
    hidden: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    (file,) = write_movies(tmp_path_factory.mktemp("movies"))
    raw = pl.read_csv(file, null_values=["NA"])
    honest = raw.select(
        pl.col("title"),
        pl.col("year").alias("release_year"),
        pl.col("length").alias("length_minutes"),
        pl.col("budget").alias("budget_usd"),
        pl.col("mpaa").alias("mpaa_rating"),
        *[
            (pl.col(genre) == 1).alias(f"is_{genre.lower()}")
            for genre in ("Action", "Animation", "Comedy", "Drama", "Documentary", "Romance", "Short")
        ],
    )
    label = (raw["rating"] >= 5.5).alias("label")
    assert judge_leaks(SPECS["movies"], honest, label)[0].verdict == "PASSED"
    fields = SPECS["movies"].model_dump(mode="json")
    names = {name: f"innocent_{place}" for place, name in enumerate(hidden)}
    fields["features"]["inputs"] |= {name: {"type": "number"} for name in names.values()}
    frame = honest.with_columns(raw[name].cast(pl.Float64).alias(alias) for name, alias in names.items())
    gate, _ = judge_leaks(ProductSpec.model_validate(fields), frame, label)
    assert gate.verdict == "FAILED", gate.detail


# --- wines: clusters that nobody named -------------------------------------------------------------------------------


def test_wines_fall_into_the_clusters_of_their_vines_without_being_told(tmp_path: Path) -> None:
    """178 wines of three vines: as many clusters are found, and they agree (adjusted Rand index; 0 is chance)."""
    home, spec = Home(Settings(home=tmp_path / ".headrace")), SPECS["wines"]
    built(home, "wines", write_wines(tmp_path))
    lake, candidate = home.lake("wines"), next(item for item in spec.candidates if item.algorithm == "kmeans")
    with lake.connect() as con:
        (as_of,) = ledger.loaded_batch_ids(con, "wines")
        split = make_split(con, spec, as_of, "features-1")
        vines = con.execute(f"select cultivar from {table(CLEANED, 'wines')} order by batch_id, row_number").fetchall()
        columns = {row[0] for row in con.execute(f"describe {table(FEATURES, 'wines')}").fetchall()}
    assert "cultivar" not in columns
    trained = train(
        algorithm("kmeans"), candidate, spec=spec, split=split, rows=load_training_set(lake, spec, split),
        folder=home.models("wines"), threads=1, progress=lambda _: None,
    )  # fmt: skip
    clusters = load_predictor(trained.folder).scores(batch_inputs(lake, spec, as_of)).argmax(axis=1)
    assert len(set(clusters.tolist())) == 3
    assert adjusted_rand_score([vine for (vine,) in vines], clusters) > 0.7


# --- loans: values that cannot be ------------------------------------------------------------------------------------


def test_impossible_ages_of_loans_are_counted_and_unknown_and_every_row_stays(tmp_path: Path) -> None:
    file = shared("loan_data.csv")
    home = Home(Settings(home=tmp_path / ".headrace"))
    results = built(home, "loans", [file])
    assert {item.status for item in results} == {"success", "pass", "warn"}
    (warned,) = [item for item in results if item.status == "warn"]
    assert ("assert_loans_are_plausible" in warned.unique_id, warned.failures) == (True, 7)
    with home.lake("loans").connect() as con:
        query = f"select count(*), count(age_years), max(age_years) from {table(FEATURES, 'loans')}"
        assert con.execute(query).fetchone() == (45_000, 44_993, 94.0)


# --- power load: nothing of the target year --------------------------------------------------------------------------


def test_power_load_features_of_a_year_do_not_change_with_the_loads_of_that_year(tmp_path: Path) -> None:
    """Scramble the loads of 2020: its 366 rows of features stay as they are, to the bit; 2019's are 365."""
    folder = shared("power_load_by_year")
    earlier = [folder / f"{year}.parquet" for year in range(2014, 2020)]
    found = []
    for name, frame in {
        "true": pl.read_parquet(folder / "2020.parquet"),
        "scrambled": pl.read_parquet(folder / "2020.parquet").with_columns(Load=pl.col("Load").reverse() * 3),
    }.items():
        file = tmp_path / name / "power_load_2020.csv"
        file.parent.mkdir()
        frame.with_columns(pl.col("Date").dt.date()).write_csv(file)
        home = Home(Settings(home=tmp_path / name / ".headrace"))
        assert {item.status for item in built(home, "power_load", [*earlier, file])} == {"success", "pass"}
        with home.lake("power_load").connect() as con:
            found.append(con.execute(f"select * from {table(FEATURES, 'power_load')} order by day").pl())
    assert found[0].filter(batch_id="2020").height == 366
    assert found[0].filter(batch_id="2019").height == 365
    assert found[0].equals(found[1])
    leap_day = found[0].row(by_predicate=pl.col("day") == date(2020, 2, 29), named=True)
    assert leap_day["load_profile_mwh"] > 0
    newest = found[0].filter(batch_id="2020")
    assert newest["load_same_weekday_mwh"].null_count() == 0, "the last days of a leap year look back twice as far"


def test_a_part_of_a_year_of_power_load_is_said_to_be_one(tmp_path: Path) -> None:
    home, spec = Home(Settings(home=tmp_path / ".headrace")), SPECS["power_load"]
    lake = home.lake("power_load")
    for year in ("2020", "2022"):
        load_file(lake, "power_load", spec.source, shared("power_load_by_year") / f"{year}.parquet", year)
    with lake.connect() as con:
        found = coverage_findings(con, spec, ["2020", "2022"])
    assert {year: item.verdict for year, item in found.items()} == {"2020": "PASSED", "2022": "WARNED"}
    assert found["2022"].detail == (
        "38 of 365 days of 2022 have rows (10%), from 2022-01-01 to 2022-02-07; a part of a year is not a year"
    )


# --- the Italian calendar --------------------------------------------------------------------------------------------


def calendar(first: int, last: int) -> pl.DataFrame:
    """The macro's calendar, rendered as dbt renders it."""
    source = (CHECKOUT / "dbt_project" / "macros" / "italian_calendar.sql").read_text()
    call = f"with {{{{ italian_calendar('calendar', '{first}', '{last}') }}}} select * from calendar order by day"
    sql = jinja2.Environment(autoescape=False).from_string(source + call).render()  # noqa: S701 - SQL, not HTML
    with duckdb.connect() as con:
        return con.execute(sql).pl()


def test_easter_of_the_macro_is_easter() -> None:
    days = calendar(1900, 2199).filter(pl.col("occasion") == "easter")["day"].to_list()
    assert days == [easter(year) for year in range(1899, 2201)]


def test_the_calendar_knows_holidays_bridges_eves_and_leap_days() -> None:
    days = {row["day"]: row for row in calendar(2019, 2021).iter_rows(named=True)}
    assert len([day for day in days if day.year == 2020]) == 366
    kinds = {
        date(2020, 4, 13): "holiday",  # Easter Monday
        date(2020, 6, 1): "bridge",  # the Monday before the day of the republic
        date(2019, 4, 26): "bridge",  # the Friday after the liberation
        date(2020, 12, 24): "eve",
        date(2020, 2, 29): "ordinary",
    }
    assert {day: days[day]["day_kind"] for day in kinds} == kinds
    assert (days[date(2020, 8, 15)]["occasion"], days[date(2020, 8, 14)]["part_of_year"]) == (
        "ferragosto",
        "ferragosto",
    )
    assert days[date(2020, 12, 31)]["days_to_holiday"] == 1, "the new year of the next year is the nearest"
    assert days[date(2020, 3, 15)]["days_to_holiday"] == 15
