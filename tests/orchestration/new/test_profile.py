"""Profiles of columns as people write them."""

from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from orchestration.new.profile import Column, Profile, profile_files, span

MOMENT = datetime.fromisoformat


def profiled(folder: Path, **columns: list[str | None]) -> Profile:
    pl.DataFrame(columns).write_csv(folder / "data.csv")
    return profile_files(duckdb.connect(), [folder / "data.csv"])


def read(profile: Profile, name: str) -> tuple[Column, list[object]]:
    """A column, and its cleaned values in the file's order."""
    column = profile.column(name)
    assert column is not None
    rows = profile.con.execute(f'select "{column.name}" from typed order by headrace_row').fetchall()
    return column, [value for (value,) in rows]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("12/31/20", MOMENT("2020-12-31")), ("12/31/2020", MOMENT("2020-12-31")),
        ("31/12/20", MOMENT("2020-12-31")), ("31.12.20", MOMENT("2020-12-31")),
        ("31-12-99", MOMENT("1999-12-31")), ("31-Dec-20", MOMENT("2020-12-31")),
        ("Dec 31, 20", MOMENT("2020-12-31")), ("12/31/20 17:05", MOMENT("2020-12-31 17:05")),
        ("12/31/2020 05:06 PM", MOMENT("2020-12-31 17:06")), ("31/12/2020 5:06 am", MOMENT("2020-12-31 05:06")),
        ("2020/12/31", MOMENT("2020-12-31")),
    ],
)  # fmt: skip
def test_a_date_is_of_our_time(text: str, moment: datetime, tmp_path: Path) -> None:
    """Regression: `%Y` took `12/31/20` for a day in the year 20."""
    column, values = read(profiled(tmp_path, at=[text, text], x=["a", "b"]), "at")
    assert (column.kind, values) == ("timestamp", [moment, moment])


def test_fractions_and_mixed_years_are_no_dates_of_the_first_century(tmp_path: Path) -> None:
    profile = profiled(tmp_path, share=["3/4", "1/20"], day=["12/31/20", "12/31/2020"])
    assert {column.kind for column in profile.columns} == {"category"}


def test_years_that_python_has_not_count_as_missing_in_a_span(tmp_path: Path) -> None:
    """Regression: such a moment comes from DuckDB as text, and the arithmetic on it ended in a stack trace."""
    profile = profiled(tmp_path, at=["0000-01-01", "2020-01-01", "2021-01-01"], x=["a", "b", "c"])
    column = profile.column("at")
    assert column is not None
    assert column.kind == "timestamp"
    assert span(profile.con, column) == (MOMENT("2020-01-01"), MOMENT("2021-01-01"))
    profile = profiled(tmp_path, at=["0000-01-01", "0000-02-01"], x=["a", "b"])
    assert span(profile.con, profile.columns[0]) == (None, None)


def test_whole_numbers_are_dates_if_nearly_all_are(tmp_path: Path) -> None:
    """Regression: one impossible day among dates such as 20130105 ended in DuckDB's error."""
    days = [f"202001{day:02}" for day in range(1, 31)]
    column, values = read(profiled(tmp_path, order_date=[*days, "20201301"]), "order_date")
    assert (column.kind, column.raw_type, column.nulls) == ("timestamp", "BIGINT", 1)
    assert (values[0], values[-1]) == (MOMENT("2020-01-01"), None)
    assert "1 read as missing" in " ".join(column.notes)
    column, _ = read(profiled(tmp_path, order_date=["20201301", "20209999", "20200101"]), "order_date")
    assert column.kind == "integer"


def test_spaces_around_values_are_no_part_of_them(tmp_path: Path) -> None:
    """Regression: the type was decided on trimmed texts, and the untrimmed ones didn't cast: all was missing."""
    moments = [" 2024-01-01 10:00:00", "2024-01-02 10:00:00 "]
    profile = profiled(tmp_path, flag=[" True", "False "], at=moments, n=[" 1", "2 "])
    assert [(column.raw_type, column.nulls) for column in profile.columns] == [
        ("BOOLEAN", 0), ("TIMESTAMP", 0), ("BIGINT", 0),
    ]  # fmt: skip
    assert read(profile, "flag")[1] == [True, False]


def test_zero_before_a_comma_is_no_thousand(tmp_path: Path) -> None:
    """Regression: `0,123` was read as 123."""
    profile = profiled(tmp_path, fraction=["0,123", "0,456"], amount=["1,123", "$2,456.50"])
    assert profile.columns[0].kind == "category"
    assert read(profile, "amount")[1] == [1123.0, 2456.5]


def test_spreadsheets_and_databases_spell_nothing_in_their_ways(tmp_path: Path) -> None:
    nothing = ["\\N", "na", "N.A.", "#VALUE!", "#DIV/0!"]
    profile = profiled(tmp_path, x=["1", *nothing, "2"])
    assert (profile.columns[0].raw_type, profile.columns[0].nulls) == ("BIGINT", 5)
    assert set(nothing) < set(profile.nulls)


def test_yes_and_no_are_two_values_however_they_are_written(tmp_path: Path) -> None:
    """Regression: `Yes`, `YES` and `yes` with a tab were three categories."""
    texts = ["Yes", "YES", "yes\t", "no", "No"]
    column, values = read(profiled(tmp_path, member=texts, size=["S", "s", "M", "L", "XL"]), "member")
    assert (column.distinct, values) == (2, ["yes", "yes", "yes", "no", "no"])
    assert "one value" in " ".join(column.notes)
    # other texts may mean something by their case
    assert read(profiled(tmp_path, size=["S", "s", "M"], x=["1", "2", "3"]), "size")[1] == ["S", "s", "M"]
