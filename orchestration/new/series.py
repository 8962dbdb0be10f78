"""Time series: is there one value per regular date, and which lags may a forecast use."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from assets.naming import quoted
from orchestration.new.profile import Column

_DAY = 86_400
_REGULAR_SHARE = 0.9
_LEAST = 30  # dates
_MOST_ENTITIES_SHARE = 0.2


@dataclass(frozen=True)
class Step:
    """A usual distance between two dates, and what a forecast at it looks back on (texts of SQL intervals)."""

    name: str
    seconds: tuple[float, float]  # the median distance of two dates lies between
    step: str
    horizon: str
    season: str
    recent: str  # window of the recent mean
    per_season: int  # steps
    calendar: tuple[str, ...]  # parts of the date that say something


STEPS = (
    Step("hourly", (3590, 3610), "1 hour", "24 hours", "168 hours", "23 hours", 168, ("hour", "weekday", "month")),
    Step("daily", (_DAY - 10, _DAY + 10), "1 day", "28 days", "364 days", "27 days", 364, ("weekday", "month")),
    Step("weekly", (6.9 * _DAY, 7.1 * _DAY), "7 days", "28 days", "364 days", "27 days", 52, ("month",)),
    Step("monthly", (27 * _DAY, 32 * _DAY), "1 month", "3 months", "12 months", "11 months", 12, ("month",)),
    Step("quarterly", (88 * _DAY, 93 * _DAY), "3 months", "3 months", "12 months", "9 months", 4, ("month",)),
    Step("yearly", (364 * _DAY, 367 * _DAY), "1 year", "1 year", "1 year", "4 years", 1, ()),
)


@dataclass(frozen=True)
class Series:
    """A series to forecast: one value per entity and date."""

    time: Column
    entities: tuple[Column, ...]
    step: Step
    dates: int

    @property
    def has_season(self) -> bool:
        """Whether two whole seasons are there to learn from."""
        return self.step.per_season > 1 and self.dates >= 2 * self.step.per_season + 10

    @property
    def season(self) -> str:
        """The seasonal lag: a season back, or the horizon where the data are shorter than that."""
        return self.step.season if self.has_season else self.step.horizon


def find_series(con: duckdb.DuckDBPyConnection, time: Column, categories: Sequence[Column]) -> Series | None:
    """The series along a time column: alone, or by one category; None where dates repeat or are irregular."""
    if time.kind != "timestamp" or time.nulls:
        return None
    groups: list[tuple[Column, ...]] = [()]
    if not time.is_unique:
        groups = [
            (column,)
            for column in categories
            if not column.nulls and column.distinct <= time.rows * _MOST_ENTITIES_SHARE
        ]
    for entities in groups:
        keys = ", ".join(quoted(item.name) for item in entities)
        over = f"partition by {keys}" if entities else ""
        at = quoted(time.name)
        row = con.execute(
            f"""with steps as (
                select epoch({at}) - epoch(lag({at}) over ({over} order by {at})) as step from typed)
            select median(step), min(step), count(step), (select count(distinct {at}) from typed) from steps"""
        ).fetchone()
        if row is None or not row[1] or row[1] <= 0 or row[3] < _LEAST:
            continue
        median, _, count, dates = row
        regular = con.execute(
            f"""with steps as (
                select epoch({at}) - epoch(lag({at}) over ({over} order by {at})) as step from typed)
            select count(*) from steps where step between ? and ?""",
            [0.5 * median, 3.1 * median],
        ).fetchone()
        step = next((item for item in STEPS if item.seconds[0] <= median <= item.seconds[1]), None)
        if step is not None and regular and regular[0] >= _REGULAR_SHARE * count:
            return Series(time, entities, step, dates)
    return None
