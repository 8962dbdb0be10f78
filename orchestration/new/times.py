"""Time: which column says when a row is, whether it makes a series, and how rows are split."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from assets.errors import HeadraceError
from assets.naming import quoted
from assets.tasks import CLASSIFICATION, Task
from orchestration.new.names import batch_of, is_period
from orchestration.new.profile import Column, Profile, as_time, span
from orchestration.new.series import Series, find_series
from orchestration.new.wishes import Wishes, no_column, shortened

_DAYS_OF_TWO_YEARS = 730
_LEAST_DAYS, _LEAST_MOMENTS = 2.0, 20
_MAX_NULL_SHARE = 0.01
_TIME_NAME = re.compile(r"date|time|day|month|year|period|week|quarter|_at$|^at$|^ts$|^dt$")
_YEAR_NAME = re.compile(r"year|time|date")


def find_time(profile: Profile, wishes: Wishes, useless: Mapping[str, str]) -> tuple[Column | None, Series | None]:
    """The time column that was asked for, or one along which there is a regular series.

    Raises:
        HeadraceError: what was asked for is no time.
    """
    categories = [column for column in profile.columns if column.kind == "category" and column.name not in useless]
    if wishes.time:
        time = _asked_time(profile, wishes)
        return time, find_series(profile.con, time, categories)
    if wishes.task not in ("auto", "forecast"):
        return None, None
    ordered = sorted(profile.columns, key=lambda item: (item.kind != "timestamp", not _TIME_NAME.search(item.name)))
    for column in ordered:
        # a year or decimal year is a number, so it must be named and be unique to be taken for a time
        is_time = column.kind == "timestamp" or (
            column.is_numeric and _YEAR_NAME.search(column.name) and column.is_unique
        )
        if not is_time or column.nulls or not (column.is_unique or wishes.task == "forecast"):
            continue
        made = as_time(profile.con, column)
        series = find_series(profile.con, made, categories) if made is not None else None
        if series is not None:
            return made, series
    return None, None


def _asked_time(profile: Profile, wishes: Wishes) -> Column:
    asked = profile.column(wishes.time)
    if asked is None:
        raise no_column(profile, "--time", wishes.time)
    time = as_time(profile.con, asked)
    if time is None or time.null_share > _MAX_NULL_SHARE:
        raise HeadraceError(
            "this column is no time of the rows",
            where=f"--time {wishes.time}",
            expected="dates, times, years or Unix seconds in every row",
            found=f"{asked.kind}, {asked.nulls:,} rows without, such as {', '.join(asked.examples[:3])}",
            fix="name another column, or leave --time out",
        )
    wishes.say("time", "; ".join([f"{asked.raw}, as you said", *(note for note in time.notes if time is not asked)]))
    return time


def require_series(profile: Profile, wishes: Wishes, series: Series | None) -> Series:
    """The series of a forecast.

    Raises:
        HeadraceError: there is none.
    """
    if series is not None:
        return series
    raise HeadraceError(
        "there is no regular series to forecast",
        where=f"--time {wishes.time}" if wishes.time else "--task forecast",
        expected="one value per hour, day, week, month, quarter or year (or per category and date), at least 30 dates",
        found=shortened([f"{item.raw} ({item.kind})" for item in profile.columns]),
        fix="name its column with --time, bring the rows to one per date, or choose --task regression",
    )


def find_split(
    profile: Profile, pattern: str, wishes: Wishes, time: Column | None, target: Column | None, task: Task
) -> tuple[Column | None, str]:
    """The time that orders the rows, if one does, and the split's strategy.

    Raises:
        HeadraceError: the time that was asked for has too little spread.
    """
    if wishes.time and time is not None:
        first, last = span(profile.con, time)
        days = (last - first).total_seconds() / 86400 if first and last else 0.0
        if days < _LEAST_DAYS or time.distinct < _LEAST_MOMENTS:
            raise HeadraceError(
                "the time has too little spread to split by it",
                where=f"--time {wishes.time}",
                expected=f"at least {_LEAST_MOMENTS} moments over {_LEAST_DAYS:.0f} days",
                found=f"{time.distinct} moments, {first} to {last}",
                fix="leave --time out: the split is then drawn at random",
            )
        wishes.say("split", f"temporal: trained on earlier rows, tested on later ones ({days:,.0f} days of {time.raw})")
        return time, "temporal"
    ordered = _ordering_time(profile, pattern, target) if len(profile.files) > 1 else None
    if ordered is not None:
        wishes.say("split", f"temporal: each file is tested by a model of those before it, by {ordered.raw}")
        return ordered, "temporal"
    drawn = "stratified" if task in CLASSIFICATION else "random"
    unused = [column.raw for column in profile.columns if column.kind == "timestamp" and column is not target]
    hint = f"; by time with --time {unused[0]}" if unused and task != "clustering" else ""
    wishes.say("split", f"{drawn}: no time orders the files{hint}")
    return None, drawn


def _ordering_time(profile: Profile, pattern: str, target: Column | None) -> Column | None:
    """A time column in whose order the batches are, where their names are periods."""
    batches = [batch_of(pattern, file) for file in profile.files]
    if not all(is_period(batch) for batch in batches):
        return None
    places = sorted(range(len(batches)), key=lambda place: batches[place])
    for column in profile.columns:
        if column.kind != "timestamp" or column.nulls or column is target:
            continue
        at = quoted(column.name)
        rows = profile.con.execute(
            # as seconds: Python has no moment before our era
            f"select headrace_file, epoch(min({at})), epoch(median({at})) from typed group by 1"
        ).fetchall()
        spans = {file: (first, middle) for file, first, middle in rows}
        known = [spans[place] for place in places if place in spans]
        if all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(known)):
            return column
    return None


def time_parts(profile: Profile, column: Column, *, is_event: bool) -> tuple[str, ...]:
    """The parts of a time that vary: year, month, weekday, hour.

    Not the year of the time that splits the rows, and its month only over two years: they would say which batch.
    """
    at = quoted(column.name)
    counts: Sequence[int] = profile.con.execute(
        f"select count(distinct year({at})), count(distinct month({at})), count(distinct isodow({at})), "
        f"count(distinct hour({at})) from typed"
    ).fetchone() or (0, 0, 0, 0)
    first, last = span(profile.con, column)
    is_long = first is not None and last is not None and (last - first).days >= _DAYS_OF_TWO_YEARS
    skip = {"year"} | (set() if is_long else {"month"}) if is_event else set()
    parts = zip(("year", "month", "weekday", "hour"), counts, strict=True)
    return tuple(part for part, count in parts if count > 1 and part not in skip)
