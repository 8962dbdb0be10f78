"""Checks of the cleaned stage beside dbt's own tests: duplicates, sudden counts, schema against the last accepted."""

from collections.abc import Iterator

import dagster as dg
import duckdb

from assets import ledger
from assets.definitions import HomeParam, batches_of, check_result, check_spec, key_of
from assets.live import read_live
from assets.naming import CLEANED, RAW, table
from assets.spec import ProductSpec

# A batch with less than a third or more than three times the usual rows is worth a look.
_USUAL = (1 / 3, 3.0)


def build(spec: ProductSpec) -> dg.AssetChecksDefinition:
    """The checks of the product's own cleaned table, in one step."""
    key = key_of(spec, CLEANED)
    specs = [
        check_spec(spec, "duplicates", "Share of a batch's rows whose key was there before", CLEANED, blocking=True),
        check_spec(spec, "usual_count", "Rows of a batch against the median of the others", CLEANED, blocking=False),
        check_spec(
            spec, "schema", "Columns and types are those of the champion's training data", CLEANED, blocking=True
        ),
    ]

    @dg.multi_asset_check(name=f"{spec.product}__cleaned_checks", specs=specs)
    def cleaned_checks(context: dg.AssetCheckExecutionContext, home: HomeParam) -> Iterator[dg.AssetCheckResult]:
        batches = batches_of(context)
        live = read_live(home.settings.home, spec.product)
        with home.lake(spec.product).connect() as con:
            raw, cleaned = rows_by_batch(con, spec, RAW), rows_by_batch(con, spec, CLEANED)
            champion = ledger.model(con, live.model_id) if live else None
            changes = schema_changes(con, spec, champion.data_snapshot) if champion else []
        loaded = sum(raw.get(batch, 0) for batch in batches)
        kept = sum(cleaned.get(batch, 0) for batch in batches)
        share = 1 - kept / loaded if loaded else 0.0
        limit = spec.gates.max_duplicate_share
        yield check_result(key, "duplicates", passed=share <= limit, observed=share, threshold=limit)
        others = sorted(count for batch, count in cleaned.items() if batch not in batches)
        usual = others[len(others) // 2] if others else max(kept // max(len(batches), 1), 1)
        ratios = [cleaned.get(batch, 0) / usual for batch in batches]
        worst = max(ratios, key=lambda ratio: abs(ratio - 1), default=1.0)
        yield check_result(
            key,
            "usual_count",
            passed=_USUAL[0] <= worst <= _USUAL[1],
            observed=worst,
            warn=True,
            threshold=f"{_USUAL[0]:.2f} to {_USUAL[1]:.2f} of {usual:,} rows",
        )
        yield check_result(
            key,
            "schema",
            passed=not changes,
            observed="; ".join(changes) or "unchanged",
            threshold="as at the champion's training" if champion else "no champion yet",
        )

    return cleaned_checks


def rows_by_batch(con: duckdb.DuckDBPyConnection, spec: ProductSpec, schema: str) -> dict[str, int]:
    """Rows of each batch in the product's table of a stage."""
    rows = con.execute(f"select batch_id, count(*) from {table(schema, spec.product)} group by batch_id").fetchall()
    return {str(batch): int(count) for batch, count in rows}


def schema_changes(con: duckdb.DuckDBPyConnection, spec: ProductSpec, version: int) -> list[str]:
    """What differs between the cleaned table now and at a snapshot, in words."""
    now, then = (
        {name: kind for name, kind, *_ in con.execute(f"describe (select * from {source})").fetchall()}
        for source in (
            table(CLEANED, spec.product),
            f"{table(CLEANED, spec.product)} at (version => {int(version)})",
        )
    )
    return [
        *(f"{name} added" for name in now if name not in then),
        *(f"{name} gone" for name in then if name not in now),
        *(f"{name} was {then[name]}, is {now[name]}" for name in now if name in then and now[name] != then[name]),
    ]
