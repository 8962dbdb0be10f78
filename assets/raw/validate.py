"""Two verdicts about the raw rows of a batch, column by column: anomalies, and the schema against the last accepted.

Pure but for reading the lake; DuckDB looks at columns. A batch is held against a reference: the batches that the
champion was trained on, else the batches accepted before it. Fences are Tukey's (Exploratory Data Analysis, 1977):
so many interquartile ranges beyond the quartiles of a typical batch, the median over the reference's batches, so that
one bad delivery among them moves nothing.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import duckdb

from assets import blessings, ledger
from assets.errors import HeadraceError
from assets.lake import Lake, newest_snapshot
from assets.naming import RAW, quoted, table
from assets.raw.commit import table_columns
from assets.raw.coverage import coverage_findings
from assets.records import Batch, ColumnFinding, DataValidation, Gate, Provenance, SplitManifest
from assets.spec import ProductSpec, Severity
from assets.splits.service import training_batches

Verdict = Literal["PASSED", "FAILED", "WARNED"]
Quartiles = dict[str, list[float] | None]

ALL_COLUMNS = "(all columns)"
# from so many other batches on their median is usual, whatever came first; before it only what was accepted counts
_ENOUGH_BATCHES = 3
# integers of which so many are different, or that rise with the rows so surely, are names and counters, not quantities
_MOSTLY_DIFFERENT, _RISING = 0.9, 0.95
_SHOWN = 3
# one-sided 95%: what chance adds to a share of few rows
_CHANCE = 1.645


@dataclass(frozen=True)
class Reference:
    """What batches are held against.

    Args:
        rows: loaded batches that are not held, with their rows; those to be validated among them.
        champion_id: the live model, or empty.
        trained_on: the batches that its training rows came in.
        snapshot: the lake as of the last batch that was accepted; None before the first.
    """

    rows: Mapping[str, int]
    champion_id: str = ""
    trained_on: tuple[str, ...] = ()
    snapshot: int | None = None


@dataclass(frozen=True)
class _Facts:
    """A batch in numbers, by column."""

    rows: int
    known: dict[str, int]
    counters: frozenset[str]


def bless_batches(
    lake: Lake, spec: ProductSpec, batches: Sequence[Batch], *, champion_id: str, provenance: Provenance
) -> None:
    """Write both verdicts and a data blessing of each batch that has no fresh one, all in one transaction.

    Args:
        lake: the product's lake.
        spec: the product.
        batches: loaded batches of its own source, in their order.
        champion_id: the live model, or empty.
        provenance: at whose word.
    """
    with lake.connect() as con:
        waiting = _unblessed(con, spec, batches)
        if not waiting:
            return
        snapshot = newest_snapshot(con)
        found = list(validate_batches(con, spec, waiting, reference_of(con, spec, champion_id)))
    passed = limits_in_words(spec)

    def write(con: duckdb.DuckDBPyConnection) -> None:
        still = {batch.batch_id for batch in _unblessed(con, spec, waiting)}
        for batch, validations in found:
            if batch.batch_id not in still:
                continue  # another run was faster
            for item in validations:
                ledger.append_once(con, "validations", item.validation_id, item.batch_id, item)
            gates = [gate_of(item, passed[item.kind]) for item in validations]
            blessing = blessings.bless_data(
                spec, batch, gates, champion_id=champion_id, snapshot=snapshot, provenance=provenance
            )
            blessings.write(con, blessing)

    lake.transact(write)


def _unblessed(con: duckdb.DuckDBPyConnection, spec: ProductSpec, batches: Sequence[Batch]) -> list[Batch]:
    """Batches without a fresh data blessing."""
    newest = {item.as_of: item for item in ledger.all_blessings(con) if item.kind == "data"}
    words = {name: (item.rules_hash, item.row_set_hash) for name, item in newest.items()}
    return [item for item in batches if words.get(item.batch_id) != (spec.data_rules_hash, item.content_id)]


def reference_of(con: duckdb.DuckDBPyConnection, spec: ProductSpec, champion_id: str) -> Reference:
    """What batches are held against now: the champion's training batches, and what was loaded and accepted."""
    held, accepted = blessings.held_batches(con), blessings.overrides(con, "accept")
    rows = {
        item.batch_id: item.rows_loaded
        for item in ledger.batches(con, spec.product)
        if item.status == "LOADED" and item.batch_id not in held
    }
    manifest = ledger.model(con, champion_id) if champion_id else None
    split = next(
        (
            item
            for _, item in ledger.records(con, "splits", SplitManifest)
            if manifest and item.split_id == manifest.split_id
        ),
        None,
    )
    last = [
        item.data_snapshot
        for item in ledger.all_blessings(con)
        if item.kind == "data"
        and item.product == spec.product
        and (item.verdict == "BLESSED" or item.as_of in accepted)
    ]
    return Reference(
        rows=rows,
        champion_id=champion_id if split else "",
        trained_on=tuple(training_batches(split, rows)) if split else (),
        snapshot=last[-1] if last else None,
    )


def validate_batches(
    con: duckdb.DuckDBPyConnection, spec: ProductSpec, batches: Sequence[Batch], reference: Reference
) -> Iterator[tuple[Batch, tuple[DataValidation, DataValidation]]]:
    """Judge batches in their order; one that fails is no reference for those after it.

    Args:
        con: a connection to the product's lake.
        spec: the product.
        batches: loaded batches of the product's own source.
        reference: what they are held against.

    Raises:
        HeadraceError: a range is declared for a column that holds no numbers.
    """
    _refuse_ranges(spec)
    failed: set[str] = set()
    waiting = {batch.batch_id for batch in batches}
    facts, plain = _facts(con, spec, sorted(waiting)), _ranges_and_duplicates(con, spec, sorted(waiting))
    covered = coverage_findings(con, spec, sorted(waiting))
    quartiles = _quartiles(con, spec, sorted(reference.trained_on or reference.rows))
    for batch in batches:
        usable = {name: rows for name, rows in reference.rows.items() if name not in failed | {batch.batch_id}}
        accepted = [name for name in usable if name not in waiting]
        against = [name for name in reference.trained_on or accepted if name in quartiles and name != batch.batch_id]
        counted = usable if len(usable) >= _ENOUGH_BATCHES else {name: usable[name] for name in accepted}
        findings = [
            *plain[batch.batch_id],
            *_outliers(con, spec, batch.batch_id, facts[batch.batch_id], {name: quartiles[name] for name in against}),
            # changes of a table are as many as they are
            *([] if spec.source.postgres else [_count(spec, facts[batch.batch_id].rows, sorted(counted.values()))]),
            *([covered[batch.batch_id]] if batch.batch_id in covered else []),
        ]
        found = (
            DataValidation(
                product=spec.product,
                batch_id=batch.batch_id,
                kind="anomalies",
                verdict=verdict_of(findings),
                reference=reference.champion_id or _named(against),
                rows=facts[batch.batch_id].rows,
                columns=tuple(findings),
            ),
            _schema(con, spec, batch, facts[batch.batch_id], sorted(accepted), reference.snapshot),
        )
        waiting.discard(batch.batch_id)
        if any(item.verdict == "FAILED" for item in found):
            failed.add(batch.batch_id)
        yield batch, found


def gate_of(validation: DataValidation, passed: str) -> Gate:
    """A data verdict as a gate: the columns that moved it, in words.

    Args:
        validation: the verdict.
        passed: what was looked at, in words.
    """
    bad = [item for item in validation.columns if item.verdict == validation.verdict]
    if validation.verdict == "PASSED":
        said = f"{validation.rows:,} rows, nothing unusual"
        return Gate(name=validation.kind, verdict="PASSED", observed=said, threshold=passed)
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    said = "; ".join(item.detail for item in bad[:_SHOWN]) + more
    allowed = "; ".join(dict.fromkeys(str(item.threshold) for item in bad[:_SHOWN]))
    return Gate(
        name=validation.kind,
        verdict=validation.verdict,
        observed=said,
        threshold=allowed,
        detail=f"{said} (allowed: {allowed})",
    )


def limits_in_words(spec: ProductSpec) -> dict[str, str]:
    """What each verdict allows."""
    limits = spec.validation.anomalies
    low, high = limits.usual_count
    return {
        "anomalies": f"{len(limits.ranges)} declared ranges, {limits.outlier_fences:g} interquartile ranges, "
        f"at most {limits.max_duplicate_share:.2%} of rows twice, {low:g} to {high:g} times the usual rows",
        "schema": "columns and types as last accepted, none suddenly empty",
    }


def verdict_of(findings: Sequence[ColumnFinding]) -> Verdict:
    """The verdict about a batch: the worst of its findings."""
    found = {item.verdict for item in findings}
    return "FAILED" if "FAILED" in found else "WARNED" if "WARNED" in found else "PASSED"


def failing(severity: Severity) -> Literal["FAILED", "WARNED"]:
    """What a finding beyond its threshold is called."""
    return "FAILED" if severity == "block" else "WARNED"


def _refuse_ranges(spec: ProductSpec) -> None:
    for column in spec.validation.anomalies.ranges:
        if spec.source.columns[column] not in ("BIGINT", "DOUBLE"):
            raise HeadraceError(
                "a range is declared for a column that holds no numbers",
                product=spec.product,
                where=f"validation.anomalies.ranges.{column}",
                expected="a column of type BIGINT or DOUBLE",
                found=spec.source.columns[column],
                fix="remove it, or give the column its type in source.columns",
            )


def _numbers(spec: ProductSpec) -> list[str]:
    """Columns that may be quantities; the parts of a key are names."""
    return [name for name, kind in spec.source.columns.items() if kind in ("BIGINT", "DOUBLE") and name not in spec.key]


def _facts(con: duckdb.DuckDBPyConnection, spec: ProductSpec, batches: list[str]) -> dict[str, _Facts]:
    """One pass over the rows of the batches to judge."""
    columns = list(spec.source.columns)
    integers = [name for name in _numbers(spec) if spec.source.columns[name] == "BIGINT"]
    parts = [
        *(f"count({quoted(name)})" for name in columns),
        *(f"approx_count_distinct({quoted(name)})" for name in integers),
        *(f"corr({quoted(name)}, row_number)" for name in integers),
    ]
    found = {row[0]: row[1:] for row in _by_batch(con, spec, ["count(*)", *parts], batches)}
    empty = (0, *(0 for _ in parts))
    return {batch: _facts_of(found.get(batch, empty), columns, integers) for batch in batches}


def _rows(spec: ProductSpec) -> str:
    """SQL of the rows to judge: of a database's changes those that say what a row is."""
    raw = table(RAW, spec.product)
    is_table = spec.source.postgres is not None
    return f"(select * from {raw} where headrace_change in ('snapshot', 'insert', 'update'))" if is_table else raw


def _by_batch(
    con: duckdb.DuckDBPyConnection, spec: ProductSpec, parts: list[str], batches: list[str]
) -> list[tuple[Any, ...]]:
    """The batch and what is asked for of its rows, for each batch that has some."""
    return con.execute(
        f"select batch_id, {', '.join(parts)} from {_rows(spec)} "
        "where batch_id in (select unnest(?::varchar[])) group by batch_id",
        [batches],
    ).fetchall()


def _facts_of(row: tuple[Any, ...], columns: list[str], integers: list[str]) -> _Facts:
    known = dict(zip(columns, map(int, row[1 : 1 + len(columns)]), strict=True))
    different, rising = row[1 + len(columns) : -len(integers) or None], row[len(row) - len(integers) :]
    counters = {
        name
        for name, values, correlation in zip(integers, different, rising, strict=True)
        if values >= _MOSTLY_DIFFERENT * known[name] or (correlation is not None and correlation >= _RISING)
    }
    return _Facts(int(row[0]), known, frozenset(counters))


def _quartiles(con: duckdb.DuckDBPyConnection, spec: ProductSpec, batches: list[str]) -> dict[str, Quartiles]:
    """Batch -> column -> quartiles of its numbers, None where it has none."""
    numbers = _numbers(spec)
    if not numbers:
        return {}
    parts = [f"quantile_cont({quoted(name)}, [0.25, 0.75])" for name in numbers]
    return {row[0]: dict(zip(numbers, row[1:], strict=True)) for row in _by_batch(con, spec, parts, batches)}


def _named(batches: list[str]) -> str:
    if not batches:
        return ""
    return f"batch {batches[0]}" if len(batches) == 1 else f"{len(batches)} batches, {min(batches)} to {max(batches)}"


def _ranges_and_duplicates(
    con: duckdb.DuckDBPyConnection, spec: ProductSpec, batches: list[str]
) -> dict[str, list[ColumnFinding]]:
    """Of each batch: rows that are there twice in all columns, and values outside of declared ranges."""
    columns = ", ".join(quoted(name) for name in spec.source.columns)
    # hashed twice: DuckDB joins a row's last column by XOR
    parts = ["count(*)", f"count(distinct hash(hash({columns})))"]
    for name, (low, high) in spec.validation.anomalies.ranges.items():
        column = quoted(name)
        outside = " or ".join(
            f"{column} {sign} {float(limit)!r}" for sign, limit in (("<", low), (">", high)) if limit is not None
        )
        parts += [f"count(*) filter ({outside or 'false'})", f"min({column})", f"max({column})"]
    found = {row[0]: row[1:] for row in _by_batch(con, spec, parts, batches)}
    empty = (0, 0, *(0, None, None) * len(spec.validation.anomalies.ranges))
    return {batch: [*_findings(spec, found.get(batch, empty))] for batch in batches}


def _findings(spec: ProductSpec, row: Sequence[Any]) -> Iterator[ColumnFinding]:
    limits = spec.validation.anomalies
    bad, rows, different, rest = failing(limits.severity), int(row[0]), int(row[1]), row[2:]
    twice = 1 - different / rows if rows else 0.0
    yield ColumnFinding(
        check="duplicates",
        column=ALL_COLUMNS,
        verdict=bad if twice > limits.max_duplicate_share else "PASSED",
        observed=twice,
        threshold=f"at most {limits.max_duplicate_share:.2%} of rows twice",
        detail=f"{rows - different:,} of {rows:,} rows are there before in all columns",
    )
    for place, (name, (low, high)) in enumerate(limits.ranges.items()):
        outside, least, most = rest[3 * place : 3 * place + 3]
        share = outside / rows if rows else 0.0
        yield ColumnFinding(
            check="range",
            column=name,
            verdict=bad if share > limits.max_out_of_range_share else "PASSED",
            observed=share,
            threshold=f"at most {limits.max_out_of_range_share:.2%} of rows outside {_span(low, high)}",
            detail=f"{name}: {outside:,} of {rows:,} rows outside {_span(low, high)}"
            + (f" (from {least:g} to {most:g})" if least is not None else ""),
        )


def _span(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"at least {low:g}" if low is not None else f"at most {high:g}" if high is not None else "any number"
    return f"{low:g} to {high:g}"


def _outliers(
    con: duckdb.DuckDBPyConnection,
    spec: ProductSpec,
    batch_id: str,
    facts: _Facts,
    against: Mapping[str, Quartiles],
) -> list[ColumnFinding]:
    """Far-out numbers: their share above that in the reference, as far as chance doesn't explain it."""
    limits = spec.validation.anomalies
    fences = {
        name: fence
        for name in _numbers(spec)
        if name not in facts.counters
        and (fence := _fences([found[name] for found in against.values()], limits.outlier_fences))
    }
    shares = _beyond(con, spec, [batch_id], fences)
    # looked for only where the batch alone has too many: the reference is ten times as many rows
    suspects = {name: fences[name] for name, share in shares.items() if share > limits.max_outlier_share}
    usual = _beyond(con, spec, sorted(against), suspects)
    findings = []
    for name, (low, high) in fences.items():
        expected = min(usual.get(name, 0.0) + limits.max_outlier_share, 1.0)
        chance = _CHANCE * math.sqrt(expected * (1 - expected) / max(facts.known[name], 1))
        is_bad = shares[name] > expected + chance
        findings.append(
            ColumnFinding(
                check="outliers",
                column=name,
                verdict=failing(limits.severity) if is_bad else "PASSED",
                observed=shares[name],
                threshold=f"at most {expected + chance:.2%} of rows far out",
                detail=f"{name}: {shares[name]:.2%} of rows below {low:g} or above {high:g}"
                + (f", {usual[name]:.2%} in the reference" if name in usual else ""),
            )
        )
    return findings


def _fences(quartiles: Sequence[list[float] | None], ranges: float) -> tuple[float, float] | None:
    """Fences around the quartiles of a typical batch; None without any, or where most values are one."""
    known = [item for item in quartiles if item is not None]
    if not known:
        return None
    low, high = median(item[0] for item in known), median(item[1] for item in known)
    spread = ranges * (high - low)
    return (low - spread, high + spread) if spread > 0 else None


def _beyond(
    con: duckdb.DuckDBPyConnection, spec: ProductSpec, batches: list[str], fences: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    """Share of the known values of each column beyond its fences."""
    if not fences:
        return {}
    parts = ", ".join(
        f"avg(({quoted(name)} not between {low!r} and {high!r})::int)" for name, (low, high) in fences.items()
    )
    row = con.execute(f"select {parts} from {_rows(spec)} where batch_id in (select unnest(?))", [batches]).fetchall()[
        0
    ]
    return {name: float(share or 0.0) for name, share in zip(fences, row, strict=True)}


def _count(spec: ProductSpec, rows: int, counts: list[int]) -> ColumnFinding:
    limits = spec.validation.anomalies
    low, high = limits.usual_count
    usual = median(counts) if counts else 0
    ratio = rows / usual if usual else 1.0
    return ColumnFinding(
        check="count",
        column=ALL_COLUMNS,
        verdict="PASSED" if low <= ratio <= high else failing(limits.severity),
        observed=ratio,
        threshold=f"{low:g} to {high:g} times the usual rows",
        detail=f"{rows:,} rows, {ratio:.2f} times the usual {usual:,.0f}" if usual else f"{rows:,} rows, none before",
    )


def _schema(
    con: duckdb.DuckDBPyConnection,
    spec: ProductSpec,
    batch: Batch,
    facts: _Facts,
    accepted: list[str],
    snapshot: int | None,
) -> DataValidation:
    """Columns and types of the raw table against the last accepted, and columns that have become empty.

    What the contract lets evolve, and what a person has declared in the spec, are warnings: seen, and nothing is held.
    """
    bad = failing(spec.validation.schema_severity)
    changes = _schema_changes(con, spec, snapshot) if snapshot is not None else {}
    emptied = _emptied(con, spec, facts, accepted)
    there, wanted = table_columns(con, spec.product), spec.source.columns
    allowed = {name for name in changes if spec.source.contract == "evolve" or there.get(name) == wanted.get(name)}
    findings = []
    for name in dict.fromkeys([*spec.source.columns, *changes]):
        words = changes.get(name) or ("no value in any row, and every batch before had some" if name in emptied else "")
        kind = str(spec.source.columns.get(name, ""))
        findings.append(
            ColumnFinding(
                check="type" if name in changes or name not in emptied else "empty",
                column=name,
                verdict="PASSED" if not words else "WARNED" if name in allowed else bad,
                observed=words or kind,
                threshold="as last accepted",
                detail=f"{name}: {words}" if words else "",
            )
        )
    return DataValidation(
        product=spec.product,
        batch_id=batch.batch_id,
        kind="schema",
        verdict=verdict_of(findings),
        reference=f"snapshot {snapshot}" if snapshot is not None else "",
        rows=facts.rows,
        columns=tuple(findings),
    )


def _schema_changes(con: duckdb.DuckDBPyConnection, spec: ProductSpec, snapshot: int) -> dict[str, str]:
    """Column -> what differs between the raw table now and as it was last accepted."""
    raw = table(RAW, spec.product)
    now, then = (
        {str(name): str(kind) for name, kind, *_ in con.execute(f"describe (select * from {source})").fetchall()}
        for source in (raw, f"{raw} at (version => {int(snapshot)})")
    )
    return {
        **{name: f"new, {kind}" for name, kind in now.items() if name not in then},
        **{name: "missing" for name in then if name not in now},
        **{name: f"was {then[name]}, is {kind}" for name, kind in now.items() if then.get(name, kind) != kind},
    }


def _emptied(con: duckdb.DuckDBPyConnection, spec: ProductSpec, facts: _Facts, accepted: list[str]) -> frozenset[str]:
    """Columns without a value in a batch that has rows, while every accepted batch had some."""
    empty = [name for name, known in facts.known.items() if facts.rows and not known]
    if not empty or not accepted or spec.source.postgres is not None:
        return frozenset()
    counts = ", ".join(f"count({quoted(name)})" for name in empty)
    rows = con.execute(
        f"select {counts} from {table(RAW, spec.product)} where batch_id in (select unnest(?)) group by batch_id",
        [accepted],
    ).fetchall()
    return frozenset(name for place, name in enumerate(empty) if rows and all(row[place] for row in rows))
