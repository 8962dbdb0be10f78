"""Texts become values of the contract's types, or go to quarantine; a value is kept as it was written or not at all.

Every format ends here: it hands over its records as texts by column name. What is a good value, what a widened or an
added column, and what is kept of unknown ones, is decided in SQL over all rows. How a file is parsed is not here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from assets.naming import literal, quoted
from assets.raw.reader.columns import ColumnPlan
from assets.raw.reader.protocol import (
    QUARANTINE_COLUMNS,
    QUARANTINE_FILE,
    ROWS_FILE,
    FoundChange,
    ReadRequest,
    RefusedFileError,
)
from assets.spec import ColumnType, CsvSpec

PLAIN = CsvSpec()
"""Numbers with a point before the decimals, times as in ISO 8601."""

# below it a double has a place for the half between two integers
_EXACT = 1 << 52
# digits that a double keeps
_DIGITS = 15
# places behind the point of a decimal that holds every BIGINT before it
_DECIMALS = 18
_DATE = r"-?[0-9]+[-/ \\][0-9]{1,2}[-/ \\][0-9]{1,2}( \(BC\))?"
_TESTS_AT_ONCE = 50
_INFERRED: tuple[ColumnType, ...] = ("BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP")


@dataclass(frozen=True)
class Written:
    """What `write_typed` wrote: rows.parquet, and quarantine.parquet when something is in it."""

    rows_loaded: int
    rows_quarantined: int
    columns: dict[str, ColumnType]
    changes: tuple[FoundChange, ...]


def as_type(text: str, kind: ColumnType, style: CsvSpec = PLAIN) -> str:
    """SQL of a text as a value of its column's type, null where it isn't one.

    Args:
        text: SQL of the text.
        kind: the column's type.
        style: how numbers and times are written.
    """
    form = style.date_format if kind == "DATE" else style.timestamp_format
    if kind in ("DATE", "TIMESTAMP", "TIMESTAMPTZ") and form:
        return f"try_cast(try_strptime({_bare(text, kind, style)}, {literal(form)}) as {kind})"
    return f"try_cast({_bare(text, kind, style)} as {kind})"


def does_not_fit(text: str, kind: ColumnType, style: CsvSpec = PLAIN) -> str:
    """SQL that is true where a cast would fail, or would succeed by changing the value; arguments as of `as_type`."""
    field, cast = _bare(text, kind, style), as_type(text, kind, style)
    finite = f"coalesce(isfinite({cast}), false)"
    # digits behind the microsecond would be cut off
    short = f"not regexp_matches({field}, '[.][0-9]{{6}}[0-9]*[1-9]')"
    in_form = style.date_format if kind == "DATE" else style.timestamp_format
    # DuckDB reads 1_000 as a thousand, and +-1 as a double
    digits = f"not contains({field}, '_') and not starts_with({field}, '+-')"
    is_date = "false" if in_form else f"regexp_full_match({field}, {literal(_DATE)})"
    fits = {
        "VARCHAR": f"not contains({field}, chr(0))",
        "BOOLEAN": f"{cast} is not null",
        "DOUBLE": f"({finite} and {digits})",
        "BIGINT": _is_whole(field, cast),
        # a cast would leave out what is behind the date, and of a timestamp its zone; not every date has a timestamp
        "DATE": f"({finite} and coalesce(try_cast({cast} as timestamp) = {_moment(field, in_form)}, {is_date}))",
        # a case looks at the rows that are left only; `or` would do the slow test for all
        "TIMESTAMP": finite
        if in_form
        else f"case when not {finite} then false when {field} like '____-__-_____:__:__' then true "
        f"else {short} and coalesce({cast}::timestamptz = try_cast({field} as timestamptz), true) end",
        "TIMESTAMPTZ": f"({finite} and {short})",
    }
    return f"({text} is not null and not ({fits[kind]}))"


def _is_whole(field: str, cast: str) -> str:
    """SQL that is true where a text is a whole number and the cast keeps it: the cast itself would round 1.5.

    Most are digits alone. Of others a decimal shows what the cast did, as far as it has places; those of nought have to
    be looked at, as 1e-400 would be 0 as a decimal too.
    """
    significant = f"trim(regexp_replace({field}, '[eE].*|[^0-9]', '', 'g'), '0')"
    return (
        f"case when regexp_full_match({field}, '[+-]?[0-9]+([.]0*)?') then {cast} is not null "
        f"when {cast} is null or contains({field}, '_') then false "
        f"when {cast} = 0 then regexp_full_match({field}, '[+-]?[0.]+([eE].*)?') "
        f"else strlen({significant}) <= {_DECIMALS} "
        f"and coalesce({cast} = try_cast({field} as decimal(38, {_DECIMALS})), false) end"
    )


def _moment(field: str, form: str) -> str:
    return f"try_strptime({field}, {literal(form)})" if form else f"try_cast({field} as timestamp)"


def _bare(text: str, kind: ColumnType, style: CsvSpec) -> str:
    """SQL of a text without the spaces around it, which belong to no number, boolean or time; a number as in SQL.

    DuckDB's own casts pass over them for some types only: ` 1` is a number, but ` True` is no boolean.
    """
    if kind == "VARCHAR":
        return text
    field = f"trim({text})"
    if kind not in ("BIGINT", "DOUBLE") or (style.decimal == "." and not style.thousands):
        return field
    point = f"[{style.decimal}]"
    whole = f"[0-9]{{1,3}}([{style.thousands}][0-9]{{3}})+|[0-9]*" if style.thousands else "[0-9]*"
    pattern = f"[+-]?({whole})({point}[0-9]*)?([eE][+-]?[0-9]+)?"
    plain = f"replace({field}, {literal(style.thousands)}, '')" if style.thousands else field
    number = f"replace({plain}, {literal(style.decimal)}, '.')"
    return f"(case when regexp_full_match({field}, {literal(pattern)}) then {number} end)"


def write_typed(
    con: duckdb.DuckDBPyConnection,
    texts: str,
    plan: ColumnPlan,
    request: ReadRequest,
    *,
    rejected: str = "",
    style: CsvSpec = PLAIN,
    types: Mapping[str, ColumnType] | None = None,
) -> Written:
    """Write the good rows and the bad ones, each once, in the order of the file.

    Args:
        con: where `texts` can be read.
        texts: SQL of a relation of `headrace_row BIGINT` (the record's number in the file, from 1) and a text for each
            column of the file, null where the text means no value; it is read two or three times.
        plan: which column of the file is which of the contract.
        request: the contract, and where to write.
        rejected: SQL of a relation of QUARANTINE_COLUMNS: records that never became a row.
        style: how numbers and times are written.
        types: of unknown columns those whose type the format says; of others it is inferred.

    Raises:
        RefusedFileError: the contract is frozen and a value is bad.
    """
    columns, changes = dict(request.columns), plan.changes
    if request.contract.contract == "evolve":
        columns, changes = _evolve(con, texts, plan, request, style, types or {})
    taken = {**{name: name for name in plan.unknown if name in columns}, **plan.taken}
    faults = _faults(columns, taken, request.contract.required, style)
    fields = list(dict.fromkeys([*taken.values(), *plan.unknown]))
    quarantined = _write_quarantine(con, texts, fields, faults, request, rejected)
    bad = " or ".join(fault.test for fault in faults)
    loaded = _write_rows(con, texts, columns, taken, plan.unknown, bad, request, style)
    return Written(loaded, quarantined, columns, changes)


def _write_rows(
    con: duckdb.DuckDBPyConnection,
    texts: str,
    columns: dict[str, ColumnType],
    taken: dict[str, str],
    unknown: Sequence[str],
    bad: str,
    request: ReadRequest,
    style: CsvSpec,
) -> int:
    values = [
        f"{as_type(quoted(taken[name]), kind, style) if name in taken else f'null::{kind}'} as {quoted(name)}"
        for name, kind in columns.items()
    ]
    rescued = rescued_json({name: quoted(name) for name in unknown if name not in columns})
    leading = f"{literal(request.batch_id)} as batch_id, headrace_row as row_number"
    trailing = f"{literal(request.delivery_id)} as headrace_delivery, {rescued} as headrace_rescued"
    return copy_to(
        con,
        f"select {leading}, {', '.join(values)}, {trailing} from ({texts}) where not ({bad})",
        Path(request.folder) / ROWS_FILE,
    )


def copy_to(con: duckdb.DuckDBPyConnection, query: str, path: Path) -> int:
    """Write the rows of a query to a Parquet file in their order and count them."""
    # its encodings of numbers and times take half the space of the first version's
    row = con.execute(f"copy ({query}) to {literal(str(path))} (format parquet, parquet_version v2)").fetchone()
    return int(row[0]) if row else 0


def rescued_json(unknown: Mapping[str, str]) -> str:
    """SQL of unknown columns' values (column name -> SQL of the text) as a JSON object, null when there are none."""
    if not unknown:
        return "null::varchar"
    fields = ", ".join(f"{literal(name)}: {text}" for name, text in unknown.items())
    some = " or ".join(f"{text} is not null" for text in unknown.values())
    return f"case when {some} then to_json({{{fields}}})::varchar end"


@dataclass(frozen=True)
class _Fault:
    """What can be wrong with one column's text."""

    column: str
    field: str
    """SQL of the text"""
    test: str
    """SQL that is true where it is wrong"""
    expected: str


def _faults(
    columns: dict[str, ColumnType], taken: dict[str, str], required: Sequence[str], style: CsvSpec
) -> list[_Fault]:
    """Of each column that the file has, in the contract's order: the first that is true is the one that is reported."""
    faults = []
    for name, kind in columns.items():
        if name not in taken:
            continue
        field = quoted(taken[name])
        if name in required:
            faults.append(_Fault(name, field, f"{field} is null", "a value"))
        expected = "text without NUL" if kind == "VARCHAR" else kind
        faults.append(_Fault(name, field, does_not_fit(field, kind, style), expected))
    return faults


def _write_quarantine(
    con: duckdb.DuckDBPyConnection,
    texts: str,
    fields: Sequence[str],
    faults: Sequence[_Fault],
    request: ReadRequest,
    rejected: str,
) -> int:
    """Write each bad row with its first fault; the file is only there when something is in it."""
    path = Path(request.folder) / QUARANTINE_FILE
    values = {
        "place": [str(place) for place in range(len(faults))],
        "column_name": [literal(fault.column) for fault in faults],
        "expected": [literal(fault.expected) for fault in faults],
        "found": [fault.field for fault in faults],
    }
    tests = " ".join(f"when {fault.test} then {place}" for place, fault in enumerate(faults))
    of_place = ", ".join(
        f"case headrace_place {' '.join(f'when {place} then {sql}' for place, sql in enumerate(listed))} end as {name}"
        for name, listed in values.items()
        if name != "place"
    )
    raw = ", ".join(f"{literal(name)}: {quoted(name)}" for name in fields)
    query = f"""select headrace_row as row_number, {of_place}, to_json({{{raw}}})::varchar as raw_text
        from (select *, case {tests} end as headrace_place from ({texts})) where headrace_place is not null"""
    if rejected:
        query = f"{query} union all select {', '.join(QUARANTINE_COLUMNS)} from ({rejected})"
    count = copy_to(con, f"select * from ({query}) order by row_number", path)
    if not count:
        path.unlink()
    elif request.contract.contract == "freeze":
        raise _frozen(con, path, count)
    return count


def _frozen(con: duckdb.DuckDBPyConnection, path: Path, count: int) -> RefusedFileError:
    """The refusal of a file with bad values under a frozen contract: it names the first."""
    row = con.execute(
        f"select row_number, column_name, expected, found from read_parquet({literal(str(path))}) limit 1"
    ).fetchone()
    number, column, expected, found = row or (0, "", "", "")
    path.unlink()
    return RefusedFileError(
        f"{count:,} rows don't keep to the frozen contract",
        where=f"row {number}" + (f", column {column}" if column else ""),
        expected=expected,
        found="nothing" if found is None else repr(found[:80]),
        fix="deliver the file with these values, or set `contract: rescue`, which sends bad rows to quarantine",
    )


def _evolve(
    con: duckdb.DuckDBPyConnection,
    texts: str,
    plan: ColumnPlan,
    request: ReadRequest,
    style: CsvSpec,
    types: Mapping[str, ColumnType],
) -> tuple[dict[str, ColumnType], tuple[FoundChange, ...]]:
    """The columns with those that the file adds and widens, and the changes with what happened; one scan."""
    whole = [name for name, kind in request.columns.items() if kind == "BIGINT" and name in plan.taken]
    tests = [_widens(quoted(plan.taken[name]), style) for name in whole]
    tests += [_all_fit(quoted(name), kind, style) for name in plan.unknown if name not in types for kind in _INFERRED]
    # the time to plan a query grows with the square of its tests
    blocks = [tests[start : start + _TESTS_AT_ONCE] for start in range(0, len(tests), _TESTS_AT_ONCE)]
    answers = iter(
        [a for block in blocks for a in con.execute(f"select {', '.join(block)} from ({texts})").fetchall()[0]]
    )
    columns, changes = dict(request.columns), list(plan.changes)
    for name in whole:
        if next(answers):
            columns[name] = "DOUBLE"
            changes.append(FoundChange(kind="widened", column=name, before="BIGINT", after="DOUBLE"))
    for name in plan.unknown:
        fitting = [types[name]] if name in types else [kind for kind in _INFERRED if next(answers)]
        columns[name] = fitting[0] if fitting else "VARCHAR"
        changes.append(FoundChange(kind="added", column=name, after=columns[name]))
    return columns, tuple(changes)


def _widens(field: str, style: CsvSpec) -> str:
    """SQL over all rows: some text is a number with decimals, and no whole number would change as a double."""
    number = as_type(field, "DOUBLE", style)
    decimals = f"({number} <> trunc({number}) and abs({number}) < {_EXACT})"
    return f"coalesce(bool_or({decimals}) and max(abs(try_cast({number} as double))) <= {_EXACT}, false)"


def _all_fit(field: str, kind: ColumnType, style: CsvSpec) -> str:
    """SQL over all rows: every text is a value of this type, and could be written the same from it.

    `007` and a number of twenty digits stay texts: they name something, and as numbers they would be something else.
    """
    fits = f"not {does_not_fit(field, kind, style)}"
    if kind in ("BIGINT", "DOUBLE"):
        bare = _bare(field, kind, style)
        fits += (
            f" and regexp_full_match({bare}, '-?(0|[1-9][0-9]*)?([.][0-9]+)?([eE][+-]?[0-9]+)?')"
            f" and length(regexp_replace({bare}, '[eE].*|[^0-9]', '', 'g')) <= {_DIGITS if kind == 'DOUBLE' else 19}"
        )
    if kind == "BIGINT":
        fits += f" and not regexp_matches({_bare(field, kind, style)}, '[.eE]')"
    if kind == "BOOLEAN":
        fits += f" and lower(trim({field})) in ('true', 'false')"
    return f"coalesce(bool_and({fits}) filter (where {field} is not null), false)"
