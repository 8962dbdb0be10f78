"""How much of its period a batch holds: counted by the calendar, in words, whatever the batch is called."""

from calendar import monthrange
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.raw.coverage import Period, coverage_findings, parse_period, period_kind
from assets.records import ColumnFinding
from assets.spec import ProductSpec

Moment = date | datetime | None
Specs = Callable[..., ProductSpec]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with a schema called as the lake's."""
    with duckdb.connect(config={"threads": "1"}) as opened:
        opened.execute("attach ':memory:' as lake; create schema lake.raw")
        yield opened


def covered(
    con: duckdb.DuckDBPyConnection,
    spec_of: Specs,
    batches: Mapping[str, Sequence[Moment]],
    kind: str = "DATE",
    **coverage: Any,
) -> dict[str, ColumnFinding]:
    """Batches with these times, judged."""
    spec = spec_of(
        {
            "product": "measured",
            "source.columns": {"at": kind},
            "source.required": [],
            "source.coverage": {"column": "at", "period": "year", **coverage},
        }
    )
    con.execute(f'create or replace table lake.raw.measured (batch_id varchar, "at" {kind})')
    for batch, times in batches.items():
        con.execute(
            "insert into lake.raw.measured select ?, unnest(?::varchar[])",
            [batch, [str(at) if at is not None else None for at in times]],
        )
    return coverage_findings(con, spec, list(batches))


def days(first: date, count: int) -> list[Moment]:
    return [first + timedelta(days=place) for place in range(count)]


def test_a_part_of_a_year_is_said_to_be_one(con: duckdb.DuckDBPyConnection, spec_of: Specs) -> None:
    found = covered(con, spec_of, {"2019": days(date(2019, 1, 1), 38), "2020": days(date(2020, 1, 1), 366)})
    assert found["2019"].detail == (
        "38 of 365 days of 2019 have rows (10%), from 2019-01-01 to 2019-02-07; a part of a year is not a year"
    )
    assert (found["2019"].verdict, found["2019"].observed) == ("WARNED", 38 / 365)
    assert (found["2020"].verdict, found["2020"].observed) == ("PASSED", 1.0)
    assert found["2020"].detail == "366 of 366 days of 2020 have rows (100%), from 2020-01-01 to 2020-12-31"
    assert found["2019"].threshold == "at least 0.9 of the days of a year"


def test_severity_and_share_are_the_declared_ones(con: duckdb.DuckDBPyConnection, spec_of: Specs) -> None:
    most = {"2019": days(date(2019, 1, 1), 364)}
    assert covered(con, spec_of, most, min_share=1.0, severity="block")["2019"].verdict == "FAILED"
    assert "(99%)" in covered(con, spec_of, most, min_share=1.0)["2019"].detail, "only a whole year is 100%"
    assert covered(con, spec_of, most, min_share=0.99)["2019"].verdict == "PASSED"


def test_rows_outside_of_the_period_and_without_a_time_are_counted_apart(
    con: duckdb.DuckDBPyConnection, spec_of: Specs
) -> None:
    times = [*days(date(2019, 3, 1), 31), date(2019, 2, 28), date(2019, 4, 1), None]
    found = covered(con, spec_of, {"2019-03": times}, period="month")["2019-03"]
    assert (found.verdict, found.observed) == ("PASSED", 1.0)
    assert "; 2 of 34 rows are outside of it; 1 of 34 rows have no at" in found.detail


def test_a_batch_without_rows_or_with_none_in_its_period_has_nothing(
    con: duckdb.DuckDBPyConnection, spec_of: Specs
) -> None:
    found = covered(con, spec_of, {"2019": [], "2020": [None, date(2019, 5, 5)]})
    assert [(item.observed, item.verdict) for item in found.values()] == [(0.0, "WARNED")] * 2
    assert found["2019"].detail == "0 of 365 days of 2019 have rows (0%); a part of a year is not a year"
    assert "1 of 2 rows are outside of it" in found["2020"].detail


@pytest.mark.parametrize("batch", ["2019-13", "march", "2019", "2019-Q1", "2019-03-01", "0000-01", "20190301"])
def test_a_batch_id_that_is_no_such_period_is_a_finding_with_its_fix(
    batch: str, con: duckdb.DuckDBPyConnection, spec_of: Specs
) -> None:
    found = covered(con, spec_of, {batch: days(date(2019, 3, 1), 31)}, period="month", severity="block")[batch]
    assert (found.verdict, found.observed) == ("FAILED", batch)
    assert f"batch id {batch} names no month" in found.detail
    assert "source.coverage.period" in found.detail


def test_an_hour_with_a_zone_is_an_hour_of_utc(con: duckdb.DuckDBPyConnection, spec_of: Specs) -> None:
    """Every hour of 1 March in UTC, written by a clock six hours behind it, whatever zone the reader is in."""
    clock = timezone(timedelta(hours=-6))
    hours = [datetime(2019, 3, 1, hour, 30, tzinfo=UTC).astimezone(clock) for hour in range(24)]
    con.execute("set timezone = 'Asia/Kathmandu'")
    found = covered(con, spec_of, {"2019-03-01": hours}, "TIMESTAMPTZ", period="day", every="hour")["2019-03-01"]
    assert found.detail == ("24 of 24 hours of 2019-03-01 have rows (100%), from 2019-03-01 00:00 to 2019-03-01 23:00")
    local = covered(
        con, spec_of, {"2019-03-01": [at.replace(tzinfo=None) for at in hours]}, "TIMESTAMP", period="day", every="hour"
    )
    assert local["2019-03-01"].observed == 18 / 24, "times without a zone are taken as they stand"


def test_months_of_a_year_are_counted_once(con: duckdb.DuckDBPyConnection, spec_of: Specs) -> None:
    found = covered(con, spec_of, {"2019": [*days(date(2019, 1, 1), 90), date(2019, 12, 31)]}, every="month")["2019"]
    assert found.detail.startswith("4 of 12 months of 2019 have rows (33%), from 2019-01 to 2019-12")


def test_without_a_declaration_nothing_is_looked_at(con: duckdb.DuckDBPyConnection, toy: ProductSpec) -> None:
    assert coverage_findings(con, toy, ["2019-01"]) == {}


@pytest.mark.parametrize(
    ("batch", "kind", "first", "until"),
    [
        ("2013", "year", date(2013, 1, 1), date(2014, 1, 1)),
        ("2013-Q1", "quarter", date(2013, 1, 1), date(2013, 4, 1)),
        ("2013q4", "quarter", date(2013, 10, 1), date(2014, 1, 1)),
        ("2012-02", "month", date(2012, 2, 1), date(2012, 3, 1)),
        ("201212", "month", date(2012, 12, 1), date(2013, 1, 1)),
        ("2013-W01", "week", date(2012, 12, 31), date(2013, 1, 7)),
        ("2020-W53", "week", date(2020, 12, 28), date(2021, 1, 4)),
        ("2012-02-29", "day", date(2012, 2, 29), date(2012, 3, 1)),
        ("20131231", "day", date(2013, 12, 31), date(2014, 1, 1)),
        ("2013_12_31", "day", date(2013, 12, 31), date(2014, 1, 1)),
    ],
)
def test_a_batch_id_names_its_period(batch: str, kind: Any, first: date, until: date) -> None:
    assert parse_period(batch, kind) == Period(first, until)
    assert period_kind(batch) == kind


@pytest.mark.parametrize(
    "batch", ["2019-W53", "2013-W00", "2013-02-29", "2013-Q5", "9999", "0000", "2013-1", "٢٠١٣", "2013-01_05", "x2013"]
)
def test_what_is_no_day_of_the_calendar_is_no_period(batch: str) -> None:
    assert period_kind(batch) is None


@given(st.dates(date(1, 1, 8), date(9998, 12, 24)))
def test_any_period_has_the_days_of_the_calendar(day: date) -> None:
    year, week, _ = day.isocalendar()
    leap = monthrange(day.year, 2)[1] - 28
    quarter = (day.month + 2) // 3
    lengths = {
        day.isoformat(): 1,
        f"{year:04}-W{week:02}": 7,
        f"{day.year:04}-{day.month:02}": monthrange(day.year, day.month)[1],
        f"{day.year:04}-Q{quarter}": sum(monthrange(day.year, 3 * quarter - part)[1] for part in range(3)),
        f"{day.year:04}": 365 + leap,
    }
    for batch, length in lengths.items():
        kind = period_kind(batch)
        period = parse_period(batch, kind) if kind else None
        assert period is not None
        assert period.first <= day < period.until
        assert period.count("day") == length == period.count("hour") / 24
        assert period.count("month") in ({"year": 12, "quarter": 3}.get(kind or "", 1), 2 if kind == "week" else 0)


@given(seen=st.sets(st.integers(-5, 36)), share=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_the_share_is_that_of_days_with_rows(
    seen: set[int], share: float, con: duckdb.DuckDBPyConnection, spec_of: Specs
) -> None:
    times = [date(2020, 2, 1) + timedelta(days=place) for place in seen]
    found = covered(con, spec_of, {"2020-02": times * 2}, period="month", min_share=share)["2020-02"]
    inside = len([at for at in times if at.month == 2 and at.year == 2020])
    assert found.observed == inside / 29
    assert (found.verdict == "PASSED") == (inside / 29 >= share)
    assert (f"{2 * (len(times) - inside):,} of {2 * len(times):,} rows are outside" in found.detail) == (
        len(times) > inside
    )
