"""Whether a batch holds all of its period: a "year" of 38 days is not a year.

Pure but for reading the raw table: which period a batch id names, and how many of its hours, days or months have rows.
Times are UTC; those without a zone are taken as they stand.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple

import duckdb

from assets.naming import RAW, literal, quoted, table
from assets.records import ColumnFinding
from assets.spec import ColumnType, CoverageSpec, ProductSpec

PeriodKind = Literal["day", "week", "month", "quarter", "year"]
Every = Literal["hour", "day", "month"]

# ISO 8601, with or without its signs between the parts; of `20130105` a day, of `201301` a month
_FORMS: dict[PeriodKind, str] = {
    "day": r"(\d{4})([-_.]?)(\d{2})\2(\d{2})",
    "week": r"(\d{4})[-_.]?[Ww](\d{2})",
    "month": r"(\d{4})[-_.]?(\d{2})",
    "quarter": r"(\d{4})[-_.]?[Qq]([1-4])",
    "year": r"(\d{4})",
}
_EXAMPLES: dict[PeriodKind, str] = {
    "day": "2013-03-01",
    "week": "2013-W09",
    "month": "2013-03",
    "quarter": "2013-Q1",
    "year": "2013",
}
_MONTHS_A_YEAR, _MONTHS_A_QUARTER = 12, 3
_SHOWN_AS = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d", "month": "%Y-%m"}


@dataclass(frozen=True)
class Period:
    """The days from `first` up to, and without, `until`."""

    first: date
    until: date

    def count(self, every: Every) -> int:
        """How many hours, days or (begun) months it has."""
        if every == "month":
            last = self.until - timedelta(days=1)
            return _MONTHS_A_YEAR * (last.year - self.first.year) + last.month - self.first.month + 1
        days = (self.until - self.first).days
        return days * 24 if every == "hour" else days


class Seen(NamedTuple):
    """What the rows of a batch have of its period."""

    rows: int = 0
    without: int = 0
    """rows without a time"""
    outside: int = 0
    """rows with a time outside of the period"""
    parts: int = 0
    """hours, days or months of the period that have rows"""
    first: datetime | None = None
    last: datetime | None = None


def parse_period(batch_id: str, kind: PeriodKind) -> Period | None:
    """The period that a batch id names; None where it names none of this kind."""
    found = re.fullmatch(_FORMS[kind], batch_id, re.ASCII)
    if found is None:
        return None
    parts = [int(part) for part in found.groups() if part.isdigit()]
    try:
        return _period(kind, *parts)
    except (ValueError, OverflowError):  # no such day, or no day after it
        return None


def period_kind(batch_id: str) -> PeriodKind | None:
    """The kind of period that a batch id names, if it names one."""
    return next((kind for kind in _FORMS if parse_period(batch_id, kind) is not None), None)


def coverage_findings(
    con: duckdb.DuckDBPyConnection, spec: ProductSpec, batches: Sequence[str]
) -> dict[str, ColumnFinding]:
    """Batch id -> how much of its period has rows.

    Args:
        con: a connection to the product's lake.
        spec: the product; without `source.coverage` nothing is found.
        batches: ids of loaded batches of the product's own source.
    """
    declared = spec.source.coverage
    if declared is None:
        return {}
    periods = {batch: parse_period(batch, declared.period) for batch in batches}
    known = {batch: period for batch, period in periods.items() if period is not None}
    moment = moment_of(declared.column, spec.source.columns[declared.column])
    seen = count_seen(con, table(RAW, spec.product), moment, declared.every, known)
    return {
        batch: _finding(declared, batch, period, seen[batch]) if period else _no_period(declared, batch)
        for batch, period in periods.items()
    }


def moment_of(column: str, kind: ColumnType) -> str:
    """SQL of a column as a UTC time."""
    utc = " at time zone 'UTC'" if kind == "TIMESTAMPTZ" else ""
    return f"({quoted(column)}{utc})::timestamp"


def count_seen(
    con: duckdb.DuckDBPyConnection, relation: str, moment: str, every: Every, periods: Mapping[str, Period]
) -> dict[str, Seen]:
    """Batch id -> what its rows have of its period, in one pass.

    Args:
        con: any connection.
        relation: SQL of rows with a `batch_id`.
        moment: SQL of a row's UTC time.
        every: what is counted once.
        periods: batch id -> its period.
    """
    rows = con.execute(
        f"""with periods as (
            select unnest($batches::varchar[]) as batch_id, unnest($firsts::timestamp[]) as first,
                unnest($untils::timestamp[]) as until
        ), placed as (
            select batch_id, moment, coalesce(moment >= first and moment < until, false) as is_inside
            from (select batch_id, {moment} as moment from {relation}
                where batch_id in (select unnest($batches::varchar[])))
            join periods using (batch_id)
        )
        select batch_id, count(*), count(*) filter (moment is null), count(moment) filter (not is_inside),
            count(distinct date_trunc({literal(every)}, moment)) filter (is_inside),
            min(moment) filter (is_inside), max(moment) filter (is_inside)
        from placed group by batch_id""",
        {
            "batches": list(periods),
            "firsts": [period.first for period in periods.values()],
            "untils": [period.until for period in periods.values()],
        },
    ).fetchall()
    found = {str(row[0]): Seen(*row[1:]) for row in rows}
    return {batch: found.get(batch, Seen()) for batch in periods}


def _period(kind: PeriodKind, year: int, part: int = 1, day: int = 1) -> Period:
    if kind == "day":
        first = date(year, part, day)
        return Period(first, first + timedelta(days=1))
    if kind == "week":
        first = date.fromisocalendar(year, part, 1)
        return Period(first, first + timedelta(weeks=1))
    months = {"month": 1, "quarter": _MONTHS_A_QUARTER, "year": _MONTHS_A_YEAR}[kind]
    begin, end = (part - 1) * months, part * months
    return Period(date(year, begin + 1, 1), date(year + end // _MONTHS_A_YEAR, end % _MONTHS_A_YEAR + 1, 1))


def _no_period(declared: CoverageSpec, batch: str) -> ColumnFinding:
    example = _EXAMPLES[declared.period]
    return ColumnFinding(
        check="coverage",
        column=declared.column,
        verdict=_failing(declared),
        observed=batch,
        threshold=f"a batch id that names a {declared.period}, such as {example}",
        detail=f"batch id {batch} names no {declared.period}, so how much of one it holds is unknown; have files named "
        f"so that the group `batch` of source.files gives {example}, or correct source.coverage.period",
    )


def _finding(declared: CoverageSpec, batch: str, period: Period, seen: Seen) -> ColumnFinding:
    expected = period.count(declared.every)
    is_whole = seen.parts / expected >= declared.min_share
    # rounded down, so that only what is whole is 100%
    said = f"{seen.parts:,} of {expected:,} {declared.every}s of {batch} have rows ({100 * seen.parts // expected}%)"
    if seen.first and seen.last:
        shown = _SHOWN_AS[declared.every]
        said += f", from {seen.first.strftime(shown)} to {seen.last.strftime(shown)}"
    if seen.outside:
        said += f"; {seen.outside:,} of {seen.rows:,} rows are outside of it"
    if seen.without:
        said += f"; {seen.without:,} of {seen.rows:,} rows have no {declared.column}"
    return ColumnFinding(
        check="coverage",
        column=declared.column,
        verdict="PASSED" if is_whole else _failing(declared),
        observed=seen.parts / expected,
        threshold=f"at least {declared.min_share:.4g} of the {declared.every}s of a {declared.period}",
        detail=said if is_whole else f"{said}; a part of a {declared.period} is not a {declared.period}",
    )


def _failing(declared: CoverageSpec) -> Literal["FAILED", "WARNED"]:
    return "FAILED" if declared.severity == "block" else "WARNED"
