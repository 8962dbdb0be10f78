"""Checks of the cleaned stage beside dbt's own tests: rows whose key was there before.

Counts, columns and types are judged in raw, per batch and before dbt sees them (assets/raw/validate.py). What could
differ here besides is the SQL, and that is no fault of the data: the marts promise their columns by contract, and other
SQL is another feature set, with which the champion isn't compared.
"""

from collections.abc import Iterator

import dagster as dg
import duckdb

from assets import blessings
from assets.definitions import HomeParam, batches_of, check_result, check_spec, key_of
from assets.naming import CLEANED, RAW, table
from assets.spec import ProductSpec


def build(spec: ProductSpec) -> dg.AssetChecksDefinition:
    """The checks of the product's own cleaned table, in one step."""
    key = key_of(spec, CLEANED)
    specs = [
        check_spec(spec, "duplicates", "Share of a batch's rows whose key was there before", CLEANED, blocking=True)
    ]

    @dg.multi_asset_check(name=f"{spec.product}__cleaned_checks", specs=specs)
    def cleaned_checks(context: dg.AssetCheckExecutionContext, home: HomeParam) -> Iterator[dg.AssetCheckResult]:
        with home.lake(spec.product).connect() as con:
            held = blessings.held_batches(con)
            raw, cleaned = rows_by_batch(con, spec, RAW), rows_by_batch(con, spec, CLEANED)
        batches = [batch for batch in batches_of(context) if batch not in held]
        loaded = sum(raw.get(batch, 0) for batch in batches)
        kept = sum(cleaned.get(batch, 0) for batch in batches)
        share = 1 - kept / loaded if loaded else 0.0
        limit = spec.gates.max_duplicate_share
        yield check_result(
            key,
            "duplicates",
            passed=share <= limit,
            observed=share,
            threshold=limit,
            detail=f"{loaded - kept:,} of {loaded:,} rows have a key that was there before",
            gate="data",
        )

    return cleaned_checks


def rows_by_batch(con: duckdb.DuckDBPyConnection, spec: ProductSpec, schema: str) -> dict[str, int]:
    """Rows of each batch in the product's table of a stage."""
    rows = con.execute(f"select batch_id, count(*) from {table(schema, spec.product)} group by batch_id").fetchall()
    return {str(batch): int(count) for batch, count in rows}
