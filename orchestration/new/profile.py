"""Profile files with DuckDB, over all their rows: types, nulls, values, outliers, what could be key or time.

A column's `sql` is the expression that the cleaned model uses as well, so what was profiled is what will be built.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeVar

import duckdb

from assets.errors import HeadraceError
from assets.naming import literal, quoted
from assets.raw.reader.typed import as_type
from assets.settings import Settings
from assets.spec import ColumnType, CsvSpec
from orchestration.new.names import column_names
from orchestration.new.plain import PlainFile
from orchestration.new.style import number_style
from orchestration.new.texts import Texts, read_texts

Kind = Literal["integer", "number", "boolean", "category", "text", "timestamp"]
DATA_TYPES: dict[Kind, str] = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "category": "VARCHAR",
    "text": "VARCHAR",
    "timestamp": "TIMESTAMP",
}
# texts that mean no value wherever they stand, and those that do only in a column of numbers or times
_NULLS = (
    "", "NA", "na", "N/A", "n/a", "N.A.", "#N/A", "<NA>", "NaN", "nan", "NaT", "NULL", "Null", "null", "?", "\\N",
    "#VALUE!", "#DIV/0!",
)  # fmt: skip
_WEAK_NULLS = ("None", "none", "-", "--", ".", "*", "missing", "unknown", "Unknown", "not available")
_BOOLEAN_WORDS = ("yes", "no", "y", "n", "true", "false", "t", "f", "on", "off")
_FOLDED = "spellings that differ in case and spaces only are one value"
_NUMBER_SHARE = 0.95  # from this share of numbers on, the few texts between them are mistakes
_SHOWN = 5
_MEAN_WORDS_OF_TEXT = 3.0
_MAX_CATEGORY_LENGTH = 200  # what serving accepts of a category
_FEW = 50  # values from which on a column is no mere list of names
_COLUMNS_AT_ONCE = 50
_FACTS, _MEASURES = 11, 7

T = TypeVar("T")

# a column that names rows, by its name
ID_NAME = re.compile(r"(^|_)(id|ids|uuid|guid|key|identifier|rownames|row_name|index|number|nr|no|code|ssn|pid)_?$")
_WITH_YEAR = r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
_LONG_YEAR_FORMATS = (
    "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y-%m", "%Y/%m",
    "%b %d %Y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d-%b-%Y", "%b %Y", "%B %Y", "%m/%Y",
    "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%d/%m/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p", "%d/%m/%Y %I:%M %p", "%Y%m%d",
)  # fmt: skip
# %Y takes two digits, too, as a year of the first century, so a year of two digits is tried first (where a day is
# named: `3/4` and `May 20` would be months of a year otherwise)
_DATE_FORMATS = tuple(
    form
    for long in _LONG_YEAR_FORMATS
    for form in ([long.replace("%Y", "%y"), long] if "%d" in long and not long.startswith("%Y") else [long])
)


@dataclass(frozen=True)
class Column:
    """One column: how it comes, what it becomes, and what all its rows say about it."""

    raw: str  # header name
    name: str  # name in the cleaned model
    raw_type: ColumnType
    kind: Kind
    sql: str  # from the raw table's columns to the cleaned value
    rows: int = 0
    nulls: int = 0
    distinct: int = 0
    minimum: float | None = None  # of numbers; of times the text of it is in `examples`
    maximum: float | None = None
    outliers: int = 0  # numbers beyond three interquartile ranges
    mean_words: float = 0.0
    is_whole: bool = False  # a number without a fraction in any row
    is_counter: bool = False  # rises by one from row to row
    form: str = ""  # of a date or time that comes as a text, all of them in this format
    examples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def data_type(self) -> str:
        """DuckDB type in the cleaned model."""
        return DATA_TYPES[self.kind]

    @property
    def present(self) -> int:
        """Rows with a value."""
        return self.rows - self.nulls

    @property
    def is_unique(self) -> bool:
        """Whether every row has a value of its own."""
        return self.rows > 0 and self.distinct == self.rows

    @property
    def null_share(self) -> float:
        """Share of rows without a value."""
        return self.nulls / self.rows if self.rows else 0.0

    @property
    def is_numeric(self) -> bool:
        """Whether it is a number."""
        return self.kind in ("integer", "number")


class _Reading(NamedTuple):
    """A way to read a column's texts."""

    kind: Kind
    sql: str
    note: str = ""
    form: str = ""


@dataclass(frozen=True)
class Profile:
    """All files together. `con` has the tables `raw` (texts) and `typed` (cleaned names and types)."""

    con: duckdb.DuckDBPyConnection
    files: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: int
    rejected: int  # rows of another shape than the header's, which will be quarantined
    duplicates: int  # rows that repeat another whole row
    nulls: tuple[str, ...]  # texts that mean no value, as they are spelled
    format: str  # of the files, as a spec says it
    csv: CsvSpec  # how they are written, if delimited

    def column(self, name: str) -> Column | None:
        """A column by its header name or its cleaned name, whatever the case."""
        wanted = name.strip().lower()
        exact = [item for item in self.columns if name in (item.raw, item.name)]
        near = [item for item in self.columns if wanted in (item.raw.strip().lower(), item.name)]
        return next(iter(exact or near), None)


def profile_files(con: duckdb.DuckDBPyConnection, files: Sequence[PlainFile], settings: Settings) -> Profile:
    """Read files whole and profile every column.

    Raises:
        HeadraceError: the files have different columns, no row, or lines that the raw stage would not read.
    """
    con.execute("set preserve_insertion_order=true")
    texts = read_texts(con, files, settings)
    names = [file.path.name for file in files]
    rows = _one(con, "select count(*) from raw")
    if not rows:
        raise HeadraceError("there is no row to learn from", where=", ".join(names), fix="give files with rows")
    nulls = _null_spellings(con, texts.columns)
    style = texts.csv.model_copy(update=_number_style(con, texts, nulls))
    columns = _typed(con, column_names(texts.columns), nulls, style)
    if texts.has_csv:
        style, columns = _with_formats(style, columns)
    selected = ", ".join(f"{item.sql} as {quoted(item.name)}" for item in columns)
    as_nulls = ", ".join(literal(text) for text in nulls)
    raw_values = ", ".join(
        f"{as_type(value, item.raw_type, style)} as {quoted(item.raw)}"
        for item in columns
        for value in (f"case when {quoted(item.raw)} not in ({as_nulls}) then {quoted(item.raw)} end",)
    )
    con.execute(f"create table loaded as select headrace_file, headrace_row, {raw_values} from raw")
    con.execute(f"create table typed as select headrace_file, headrace_row, {selected} from loaded")
    measured = _measured(con, columns, rows)
    every = ", ".join(quoted(item.name) for item in columns)
    distinct = _one(con, f"select count(*) from (select distinct {every} from typed)")
    return Profile(
        con, tuple(names), measured, rows, texts.rejected, rows - distinct, nulls, format=texts.format, csv=style
    )


def _number_style(con: duckdb.DuckDBPyConnection, texts: Texts, nulls: Sequence[str]) -> dict[str, str]:
    """What the rows say of decimals and thousands, of files whose fields are apart by another sign than a comma."""
    if texts.csv.delimiter == ",":
        return {}
    none = ", ".join(literal(text) for text in {*nulls, *_WEAK_NULLS})
    return number_style(
        con, [f"case when trim({quoted(n)}) not in ({none}) then trim({quoted(n)}) end" for n in texts.columns]
    )


def _with_formats(style: CsvSpec, columns: list[Column]) -> tuple[CsvSpec, list[Column]]:
    """Dates that are all in one format are dates in the raw table already, and so are times."""
    kinds = {item.raw_type for item in columns}
    found: dict[str, ColumnType] = {}
    ways: tuple[tuple[ColumnType, bool, set[ColumnType]], ...] = (
        ("DATE", False, {"DATE"}),
        ("TIMESTAMP", True, {"TIMESTAMP", "TIMESTAMPTZ"}),
    )
    for kind, has_hours, own in ways:
        forms = {item.form for item in columns if item.form and _has_hours(item.form) == has_hours}
        if len(forms) == 1 and not kinds & own:  # dates as in ISO 8601 would be read by the format as well
            found[forms.pop()] = kind
    typed = [
        replace(item, raw_type=found[item.form], sql=f"{quoted(item.raw)}::timestamp") if item.form in found else item
        for item in columns
    ]
    return style.model_copy(update={f"{kind.lower()}_format": form for form, kind in found.items()}), typed


def _has_hours(form: str) -> bool:
    return "%H" in form or "%I" in form


def _chunked(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Pieces of a list: one statement about many columns is planned once, one about all would take long to plan."""
    for start in range(0, len(items), _COLUMNS_AT_ONCE):
        yield items[start : start + _COLUMNS_AT_ONCE]


def _row(con: duckdb.DuckDBPyConnection, sql: str) -> list[Any]:
    return list(con.execute(sql).fetchone() or ())


def _null_spellings(con: duckdb.DuckDBPyConnection, header: Sequence[str]) -> tuple[str, ...]:
    """The texts among all values that mean no value, as they are spelled (` ?` is another text than `?`)."""
    texts = ", ".join(literal(text) for text in _NULLS)
    found = {""}
    for names in _chunked(header):
        lists = ", ".join(f"list(distinct {quoted(n)}) filter (trim({quoted(n)}) in ({texts}))" for n in names)
        found.update(str(value) for values in _row(con, f"select {lists} from raw") for value in values or ())
    return tuple(sorted(found))


def _typed(
    con: duckdb.DuckDBPyConnection, names: Mapping[str, str], nulls: Sequence[str], style: CsvSpec
) -> list[Column]:
    """The type of every column, decided by all of its values."""
    as_nulls = ", ".join(literal(text) for text in nulls)
    columns = []
    for chunk in _chunked(list(names)):
        values = {raw: f"case when {quoted(raw)} not in ({as_nulls}) then trim({quoted(raw)}) end" for raw in chunk}
        texts = ", ".join(f"{value} as v{place}" for place, value in enumerate(values.values()))
        numbers = ", ".join(f"{as_type(f'v{place}', 'DOUBLE', style)} as d{place}" for place in range(len(chunk)))
        tests = ", ".join(
            test for place in range(len(chunk)) for test in _tests(f"v{place}", f"d{place}", style.decimal)
        )
        facts = _row(con, f"select {tests} from (select *, {numbers} from (select {texts} from raw))")
        for place, raw in enumerate(chunk):
            own = facts[place * _FACTS : (place + 1) * _FACTS]
            columns.append(_as_plain(raw, names[raw], own) or _as_text(con, raw, names[raw], values[raw], style))
    return columns


def _tests(text: str, number: str, decimal: str) -> list[str]:
    """SQL of what `_as_plain` asks about a column's texts and their numbers, `_FACTS` in number; LIKE is cheap."""
    digits = f"not contains({text}, {literal(decimal)}) and not contains({text}, 'e') and not contains({text}, 'E')"
    signed = f"{text} like '0_%' or {text} like '+0_%' or {text} like '-0_%'"
    zero = f"(({signed}) and {text} not like '%0{decimal}%' and not contains(lower({text}), 'e'))"
    # CASE, since AND doesn't spare the casts, which are the dear part
    day = f"{text} like '____-%' and {text} not like '%:%'"
    date = f"case when {day} then try_cast({text} as date) is not null else false end"
    moment = f"case when {text} like '____-%:%' then try_cast({text} as timestamptz) is not null else false end"
    zone = "':.*(Z|[+-][0-9]{2}(:?[0-9]{2})?)$'"
    present = f"filter ({text} is not null)"
    return [
        f"count({text})",
        f"bool_and(lower({text}) in ('true', 'false')) {present}",
        f"bool_and(coalesce({number} = floor({number}), false) and {digits}) {present}",
        f"bool_and(coalesce(isfinite({number}), false)) {present}",
        f"bool_or({number} is not null and ({zero} or ({digits} and length({text}) > 18))) {present}",
        f"bool_and({date}) {present}",
        f"bool_and({moment}) {present}",
        f"bool_or(case when {text} like '____-%:%' then regexp_matches({text}, {zone}) else false end) {present}",
        f"min({number})",
        f"max({number})",
        f"count(*) filter (case when length({text}) = 8 then try_strptime({text}, '%Y%m%d') is not null end)",
    ]


def _as_text(con: duckdb.DuckDBPyConnection, raw: str, name: str, value: str, style: CsvSpec) -> Column:
    """A column that comes as text: read as times or numbers where that is what it holds."""
    field = quoted(raw)
    con.execute(
        f"create or replace temp table cells as select {value} as v, count(*) as n from raw "
        "group by 1 having v is not null"
    )
    weak = ", ".join(literal(text) for text in _WEAK_NULLS)
    spelled = [str(v) for (v,) in con.execute(f"select v from cells where v in ({weak}) order by v").fetchall()]
    con.execute(f"delete from cells where v in ({weak})")
    said = ", ".join(literal(text) for text in spelled)
    value = f"case when trim({field}) not in ({said}) then trim({field}) end" if spelled else f"trim({field})"
    notes = (f"{', '.join(spelled)} read as no value",) if spelled else ()
    for kind, sql, note, form in _readings(con, value, name, style):
        notes = (*notes, *((note,) if note else ()))
        return Column(raw, name, "VARCHAR", kind, sql, notes=notes, form="" if spelled else form)
    text, words = f"nullif(trim({field}), '')", ", ".join(literal(word) for word in _BOOLEAN_WORDS)
    fewer = f"count(distinct {_folded('v')}) < count(*)"
    (is_yes_no,) = _row(con, f"select {fewer} and bool_and({_folded('v')} in ({words})) from cells")
    if is_yes_no:
        return Column(raw, name, "VARCHAR", "category", _folded(text), notes=(_FOLDED,))
    return Column(raw, name, "VARCHAR", "category", text)


def _folded(text: str) -> str:
    """SQL of a text in small letters with single spaces: as people mean it who write `Yes`, `YES` and `yes `."""
    return f"lower(trim(regexp_replace({text}, '\\s+', ' ', 'g')))"


def fold_spellings(con: duckdb.DuckDBPyConnection, column: Column) -> Column:
    """A category whose spellings of one value are one, in `typed` as well; itself where there are none such.

    Values stay as they are where only one would be left: `A` and `a` are then what there is to tell apart.
    """
    field = quoted(column.name)
    if column.kind != "category" or not 1 < _one(con, f"select count(distinct {_folded(field)}) from typed") < (
        column.distinct
    ):
        return column
    con.execute(f"create or replace table typed as select * replace ({_folded(field)} as {field}) from typed")
    folded = replace(column, sql=_folded(column.sql), notes=(*column.notes, _FOLDED))
    return _measured(con, [folded], column.rows)[0]


def _as_plain(raw: str, name: str, facts: Sequence[Any]) -> Column | None:
    """A column whose texts the raw stage can cast itself."""
    field = quoted(raw)
    present, boolean, integer, number, is_code, date, moment, zoned, low, high, dates = facts
    text, code = f"nullif(trim({field}), '')", "digits with leading zeros or very long: a code, not a number"
    compact, utc = f"try_strptime({field}::varchar, '%Y%m%d')", f"{field} at time zone 'UTC'"
    as_date = "read as year, month, day" + (f"; {present - dates:,} read as missing: no date" * (dates < present))
    is_date = integer and dates >= _NUMBER_SHARE * present and _is_compact_date(name, low, high)
    readings: tuple[tuple[Any, ColumnType, Kind, str, str], ...] = (
        (not present, "VARCHAR", "category", text, ""),
        (boolean, "BOOLEAN", "boolean", field, ""),
        (is_code and number, "VARCHAR", "category", text, code),
        (is_date, "BIGINT", "timestamp", compact, as_date),
        (integer, "BIGINT", "integer", field, ""),
        (number, "DOUBLE", "number", field, ""),
        (date, "DATE", "timestamp", f"{field}::timestamp", ""),
        (moment and zoned, "TIMESTAMPTZ", "timestamp", utc, "brought to UTC"),
        (moment, "TIMESTAMP", "timestamp", field, ""),
    )
    for holds, raw_type, kind, sql, note in readings:
        if holds:
            return Column(raw, name, raw_type, kind, sql, notes=(note,) if note else ())
    return None


def _readings(con: duckdb.DuckDBPyConnection, value: str, name: str, style: CsvSpec) -> Iterator[_Reading]:
    """Ways to read texts that the raw stage leaves as texts: dates, numbers as people write them, with mistakes."""
    total, distinct = con.execute("select coalesce(sum(n), 0), count(*) from cells").fetchone() or (0, 0)
    if total:
        yield from _dates(con, value, total)
        yield from _numbers(con, value, name, total, distinct, style)


def _dates(con: duckdb.DuckDBPyConnection, value: str, total: int) -> Iterator[_Reading]:
    for form in _DATE_FORMATS:
        if not _fits(con, form):
            continue
        other = form.replace("%m/%d", "%d/%m")
        note = f"read as {form}" + (f"; {other} would fit, too" if other != form and _fits(con, other) else "")
        yield _Reading("timestamp", f"try_strptime({value}, {literal(form)})", note, form)
    if not _one(con, f"select count(*) from cells where not regexp_full_match(v, '{_WITH_YEAR}([T ].*)?')"):
        bad = _one(con, "select coalesce(sum(n), 0) from cells where try_cast(v as timestamp) is null")
        if bad <= (1 - _NUMBER_SHARE) * total:
            note = f"{bad:,} read as missing: no time" if bad else ""
            yield _Reading("timestamp", f"try_cast({value} as timestamp)", note)


def _fits(con: duckdb.DuckDBPyConnection, form: str) -> bool:
    """Whether every text is a time of this format, and none of the first century."""
    time = f"try_strptime(v, {literal(form)})"
    return not _one(con, f"select count(*) from cells where coalesce(year({time}) < 100, true)")


def _numbers(
    con: duckdb.DuckDBPyConnection, value: str, name: str, total: int, distinct: int, style: CsvSpec
) -> Iterator[_Reading]:
    plain = f"""coalesce(isfinite({as_type("v", "DOUBLE", style)}), false)
        and regexp_full_match(v, '[-+0-9., ''eE]+')"""
    good = _one(con, f"select coalesce(sum(n), 0) from cells where {plain}")
    codes = _one(con, "select count(*) from cells where regexp_full_match(v, '[+-]?0[0-9]+')")
    number = as_type(value, "DOUBLE", style)
    if good == total and not codes:
        yield _Reading("number", number)
    money = r"[-+]?\s*[$€£¥]?\s*[-+]?([1-9][0-9]{0,2}(,[0-9]{3})+|[0-9]+)?([.][0-9]+)?\s*[%€$]?"
    if not codes and not _one(con, f"select count(*) from cells where not regexp_full_match(v, {literal(money)})"):
        formatted = f"regexp_replace({value}, '[$€£¥%,\\s]', '', 'g')"
        yield _Reading(
            "number", f"try_cast({formatted} as double)", "a number, without its sign, thousands commas or %"
        )
    is_many = good >= _NUMBER_SHARE * total and distinct > _SHOWN
    if is_many and not codes and not ID_NAME.search(name):
        odd = con.execute(f"select v from cells where not ({plain}) order by n desc, v limit 3").fetchall()
        note = f"{total - good:,} read as missing: {', '.join(str(v) for (v,) in odd)}" if odd else ""
        yield _Reading("number", f"case when isfinite({number}) then {number} end", note)


def _is_compact_date(name: str, low: float | None, high: float | None) -> bool:
    """Whether whole numbers are dates such as 20130105: named so, and within plausible years."""
    named = re.search(r"(^|_)(date|day|dt|time|ymd)(_|$)", name) is not None
    return named and low is not None and high is not None and 18000101 <= low <= high <= 21001231  # noqa: PLR2004


def _measured(con: duckdb.DuckDBPyConnection, columns: Sequence[Column], rows: int) -> tuple[Column, ...]:
    """Count values, nulls and outliers; tell text from categories."""
    found: list[Column] = []
    for chunk in _chunked(columns):
        tests = [test for column in chunk for test in _measures(column)]
        facts = _row(con, "select " + ", ".join(tests) + " from typed")
        bounds = [_wide_bounds(facts[place * _MEASURES : (place + 1) * _MEASURES]) for place in range(len(chunk))]
        far = _row(
            con,
            "select "
            + ", ".join(
                f"count(*) filter ({quoted(c.name)} {b})" if b else "0" for c, b in zip(chunk, bounds, strict=True)
            )
            + " from typed",
        )
        for place, column in enumerate(chunk):
            own = facts[place * _MEASURES : (place + 1) * _MEASURES]
            found.append(_with_facts(con, column, rows, own, far[place]))
    return tuple(found)


def _measures(column: Column) -> list[str]:
    """SQL of what is measured of a column, `_MEASURES` in number; null where it means nothing."""
    field = quoted(column.name)
    if not column.is_numeric:
        return [f"count(distinct {field})", f"count({field})", *["null"] * 5]
    quartiles = (f"quantile_cont({field}, {share})" for share in (0.25, 0.75))
    return [
        f"count(distinct {field})",
        f"count({field})",
        f"min({field})",
        f"max({field})",
        *quartiles,
        f"bool_and({field} = floor({field}))",
    ]


def _wide_bounds(facts: Sequence[Any]) -> str:
    """SQL of being beyond three interquartile ranges; empty where there is no spread (Tukey's outer fences, 1977)."""
    low, high = facts[4], facts[5]
    if low is None or high is None or high <= low:
        return ""
    return f"not between {low - 3 * (high - low)!r} and {high + 3 * (high - low)!r}"


def _with_facts(con: duckdb.DuckDBPyConnection, column: Column, rows: int, facts: Sequence[Any], far: int) -> Column:
    field, (distinct, present, low, high) = quoted(column.name), facts[:4]
    found = replace(
        column, rows=rows, nulls=rows - present, distinct=distinct, minimum=low, maximum=high, outliers=far,
        is_whole=bool(facts[6]),
    )  # fmt: skip
    if distinct and (not column.is_numeric or distinct <= _FEW):
        examples = con.execute(
            f"select {field}::varchar from typed where {field} is not null "
            f"group by 1 order by count(*) desc, 1 limit {_SHOWN}"
        ).fetchall()
    else:
        examples = [(low,), (high,)] if distinct else []
    found = replace(found, examples=tuple(str(value) for (value,) in examples))
    if found.kind == "integer" and found.is_unique and not found.nulls:
        steps = _one(
            con,
            f"""select count(*) from (select {field} - lag({field}) over (
                partition by headrace_file order by headrace_row) as step from typed) where step <> 1""",
        )
        return replace(found, is_counter=not steps and rows > 1)
    if found.kind == "category" and distinct > _FEW:
        words, longest = _row(
            con,
            f"""select avg(len(string_split_regex({field}, '\\s+'))), max(length({field}))
            from (select distinct {field} from typed where {field} is not null)""",
        )
        is_text = (words >= _MEAN_WORDS_OF_TEXT and distinct > 0.3 * present) or longest > _MAX_CATEGORY_LENGTH
        return replace(found, mean_words=words, kind="text" if is_text else "category")
    return found


def span(con: duckdb.DuckDBPyConnection, column: Column) -> tuple[datetime | None, datetime | None]:
    """First and last moment of a time column; those that Python can't have (before our era) count as missing."""
    field = quoted(column.name)
    known = f"from typed where year({field}) between 1 and 9999"
    first, last = con.execute(f"select min({field}), max({field}) {known}").fetchone() or (None, None)
    return first, last


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    """The one whole number that a query gives."""
    row = con.execute(sql).fetchone()
    return int(row[0]) if row else 0


def as_time(con: duckdb.DuckDBPyConnection, column: Column) -> Column | None:
    """A time column as it is; of years, decimal years (1949.25) or Unix seconds a time column made of it, else None.

    A made column is a column of its own, called `<name>_at`, added to `typed`.
    """
    if column.kind == "timestamp":
        return column
    if not column.is_numeric or column.minimum is None or column.maximum is None:
        return None
    low, high = column.minimum, column.maximum
    if low >= 1500 and high <= 2200:  # noqa: PLR2004 - plausible years
        months = "round(12 * ({} - floor({} + 0.02)))"
        off = _one(
            con,
            f"select count(*) from (select 12 * {quoted(column.name)} as month from typed) "
            "where abs(month - round(month)) > 0.05",
        )
        if off:
            return None
        # a twelfth is rounded in the file, so December may be a hair below the next year
        form = f"make_date(floor({{}} + 0.02)::int, greatest({months}, 0)::int + 1, 1)::timestamp"
        note = "a year" if column.kind == "integer" else "a decimal year"
    elif low >= 1e8 and high <= 5e9 and re.search(r"time|stamp|epoch|date", column.name):  # noqa: PLR2004
        form, note = "to_timestamp({}) at time zone 'UTC'", "Unix seconds"
    elif low >= 1e11 and high <= 5e12 and re.search(r"time|stamp|epoch|date", column.name):  # noqa: PLR2004
        form, note = "epoch_ms(({})::bigint)", "Unix milliseconds"
    else:
        return None
    name = f"{column.name[:58]}_at"
    made = replace(column, name=name, kind="timestamp", sql=form.replace("{}", column.sql), notes=(f"made of {note}",))
    here = form.replace("{}", quoted(column.name))
    con.execute(f"create or replace table typed as select *, {here} as {quoted(name)} from typed")
    return _measured(con, [made], column.rows)[0]
