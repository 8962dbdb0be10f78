"""Read the feature and label tables: whole batches, or the parts of a split as they were at its snapshot.

Only splits, evaluation and monitoring ask for labels; predictions read `batch_inputs`, which cannot see one.
"""

from datetime import timedelta
from typing import Literal

import duckdb
import polars as pl

from assets import ledger
from assets.errors import HeadraceError
from assets.lake import Lake
from assets.naming import FEATURES, quoted, table
from assets.records import SplitManifest
from assets.spec import ProductSpec

Part = Literal["train", "validation", "test"]
LABELS = "labels"


def columns_of(spec: ProductSpec) -> list[str]:
    """Key, batch, event time and inputs: what is read of the feature table."""
    return list(dict.fromkeys([*spec.key, "batch_id", spec.time.event, *spec.features.inputs]))


def batch_inputs(lake: Lake, spec: ProductSpec, batch_id: str) -> pl.DataFrame:
    """Keys and inputs of a batch, sorted by key; no label."""
    columns = ", ".join(quoted(name) for name in columns_of(spec))
    order = ", ".join(quoted(name) for name in spec.key)
    with lake.connect() as con:
        return con.execute(
            f"select {columns} from {table(FEATURES, spec.product)} where batch_id = ? order by {order}", [batch_id]
        ).pl()


def batch_labels(lake: Lake, spec: ProductSpec, batch_id: str) -> pl.DataFrame:
    """Keys, `label` (null without an outcome) and `label_known_at` of a batch, sorted by key."""
    keys = ", ".join(quoted(name) for name in spec.key)
    with lake.connect() as con:
        return con.execute(
            f"select {keys}, {quoted(spec.label.column)} as label, {known_at(spec)} as label_known_at "
            f"from {table(FEATURES, LABELS)} where batch_id = ? order by {keys}",
            [batch_id],
        ).pl()


def known_at(spec: ProductSpec, alias: str = "") -> str:
    """SQL for the moment a label reaches us: when it happened plus the label's delay."""
    prefix = f"{alias}." if alias else ""
    delay = timedelta(minutes=spec.label.delay_minutes)
    return f"({prefix}{quoted(spec.label.known_at)} + interval {int(delay.total_seconds())} seconds)"


def part_condition(spec: ProductSpec, manifest: SplitManifest, part: Part) -> tuple[str, list[object]]:
    """SQL condition on label rows (alias `labels`) that selects a part of a split, with its bound values."""
    bounds = manifest.parts[part]
    event = f"labels.{quoted(spec.time.event)}"
    condition = f"labels.{quoted(spec.label.column)} is not null and {event} >= ? and {event} < ?"
    values: list[object] = [bounds.event_from.replace(tzinfo=None), bounds.event_until.replace(tzinfo=None)]
    if part == "test":
        return f"{condition} and labels.batch_id = ?", [*values, manifest.test_batch]
    return (
        f"{condition} and labels.batch_id <= ? and {known_at(spec, 'labels')} < ?",
        [*values, manifest.test_batch, manifest.known_until.replace(tzinfo=None)],
    )


def as_it_was(name: str, version: int, alias: str) -> str:
    """SQL for a feature table as of a snapshot (an AT clause takes no alias, so it stands in a subquery)."""
    return f"(select * from {table(FEATURES, name)} at (version => {int(version)})) as {alias}"


def joined(spec: ProductSpec, version: int) -> str:
    """SQL of features joined with labels by key, as of a snapshot."""
    keys = ", ".join(quoted(name) for name in (*spec.key, "batch_id"))
    return f"{as_it_was(spec.product, version, 'features')} join {as_it_was(LABELS, version, 'labels')} using ({keys})"


def require_split(lake: Lake, spec: ProductSpec, as_of: str) -> SplitManifest:
    """The newest split as of a batch.

    Raises:
        HeadraceError: there is none yet.
    """
    with lake.connect() as con:
        split = ledger.split_of(con, as_of)
    if split is None:
        raise HeadraceError(
            "there is no split as of this batch",
            product=spec.product,
            where=as_of,
            fix=f"materialise split for {as_of} first (headrace run {spec.product} --as-of {as_of})",
        )
    return split


def read_part(con: duckdb.DuckDBPyConnection, spec: ProductSpec, manifest: SplitManifest, part: Part) -> pl.DataFrame:
    """One part of a split with its `label` as integer, sorted by key: the same rows in the same order every time."""
    condition, values = part_condition(spec, manifest, part)
    columns = ", ".join(f"features.{quoted(name)}" for name in columns_of(spec))
    order = ", ".join(f"features.{quoted(name)}" for name in spec.key)
    return con.execute(
        f"select {columns}, labels.{quoted(spec.label.column)}::int as label "
        f"from {joined(spec, manifest.data_snapshot)} where {condition} order by {order}",
        values,
    ).pl()
