"""Rows of validation or test that are training rows, too: equal in all inputs and the label, whatever their keys.

Delivered twice under another key, or of so few different values that remembering is as good as learning: either way
the score on such rows says nothing of new ones.
"""

from collections.abc import Mapping

import duckdb

from assets.features.read import joined, key_columns, label_of, listed
from assets.naming import quoted
from assets.records import Gate, SplitManifest
from assets.spec import ProductSpec
from assets.splits.service import assigned

# part -> (rows that are in training, rows)
Identical = Mapping[str, tuple[int, int]]

# split id -> what was found: each candidate of a run may ask
_FOUND: dict[str, Identical] = {}


def identical_rows(con: duckdb.DuckDBPyConnection, spec: ProductSpec, manifest: SplitManifest) -> Identical:
    """How many rows of validation and test equal a training row, by a 64 bit hash of inputs and label.

    Two nulls are equal. Inputs that models see only through row features count, too.
    """
    if manifest.split_id not in _FOUND:
        _FOUND.clear()
        _FOUND[manifest.split_id] = _counted(con, spec, manifest)
    return _FOUND[manifest.split_id]


def _counted(con: duckdb.DuckDBPyConnection, spec: ProductSpec, manifest: SplitManifest) -> Identical:
    hashed = [f"features.{quoted(name)}" for name in spec.features.inputs]
    hashed += [label_of(spec, "labels")] if spec.label else []
    con.register("chosen_rows", assigned(con, spec, manifest).select(*key_columns(spec), "part").to_arrow())
    try:
        found = con.execute(
            f"""with hashed as materialized (
                select chosen.part, hash({", ".join(hashed)}) as content from {joined(spec, manifest.data_snapshot)}
                join chosen_rows as chosen using ({listed(key_columns(spec))}))
            select part, count(*) filter (content in (select content from hashed where part = 'train')), count(*)
            from hashed where part <> 'train' group by part order by part"""
        ).fetchall()
    finally:
        con.unregister("chosen_rows")
    return {part: (int(same), int(rows)) for part, same, rows in found}


def identical_gate(spec: ProductSpec, found: Identical) -> Gate:
    """The larger share of identical rows, of validation or test, against what the spec allows."""
    limit, severity = spec.gates.training.max_identical_share, spec.gates.training.identical_severity
    share = max((same / max(rows, 1) for same, rows in found.values()), default=0.0)
    said = "; ".join(f"{same:,} of {rows:,} {part} rows" for part, (same, rows) in found.items())
    failed = "WARNED" if severity == "warn" else "FAILED"
    return Gate.model_validate(
        {
            "name": "identical_rows",
            "verdict": "PASSED" if share <= limit else failed,
            "observed": share,
            "threshold": limit,
            "detail": f"equal to a training row in all inputs{' and the label' if spec.label else ''}: {said}",
        }
    )
