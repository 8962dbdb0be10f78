"""Read the feature and label tables: whole batches, or the parts of a split as they were at its snapshot.

Only splits, evaluation and monitoring ask for labels; predictions read `batch_inputs`, which cannot see one.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Literal

import duckdb
import polars as pl

from assets import ledger
from assets.errors import HeadraceError
from assets.lake import Lake
from assets.naming import FEATURES, literal, quoted, table
from assets.records import SplitManifest
from assets.spec import ProductSpec
from assets.tasks import NUMERIC

Part = Literal["train", "validation", "test"]
LABELS = "labels"


def key_columns(spec: ProductSpec) -> list[str]:
    """The columns that name a row in the feature and label tables: its key, and the batch it came in."""
    return list(dict.fromkeys([*spec.key, "batch_id"]))


def named_columns(spec: ProductSpec) -> list[str]:
    """Key, batch and event time."""
    return list(dict.fromkeys([*key_columns(spec), *([spec.time.event] if spec.time else [])]))


def columns_of(spec: ProductSpec) -> list[str]:
    """Key, batch, event time and inputs: what is read of the feature table."""
    return list(dict.fromkeys([*named_columns(spec), *spec.features.inputs]))


def listed(names: list[str] | tuple[str, ...], alias: str = "") -> str:
    """Column names as SQL, each with the table's alias."""
    prefix = f"{alias}." if alias else ""
    return ", ".join(prefix + quoted(name) for name in names)


def batch_inputs(lake: Lake, spec: ProductSpec, batch_id: str | None) -> pl.DataFrame:
    """Keys and inputs of a batch (None: of all), sorted by key; no label."""
    with lake.connect() as con:
        return con.execute(
            f"select {listed(columns_of(spec))} from {table(FEATURES, spec.product)} where {_is_of(batch_id)} "
            f"order by {listed(spec.key)}"
        ).pl()


def batch_labels(lake: Lake, spec: ProductSpec, batch_id: str | None) -> pl.DataFrame:
    """Keys, `label` (null: no outcome) and `label_known_at` (null: known with the row), sorted by key; None: of all."""
    with lake.connect() as con:
        return con.execute(
            f"select {listed(key_columns(spec))}, {label_of(spec)} as label, {known_at(spec)} as label_known_at "
            f"from {table(FEATURES, LABELS)} where {_is_of(batch_id)} order by {listed(spec.key)}"
        ).pl()


def _is_of(batch_id: str | None) -> str:
    return "true" if batch_id is None else f"batch_id = {literal(batch_id)}"


def label_of(spec: ProductSpec, alias: str = "") -> str:
    """SQL for the label; a number that isn't finite is no outcome."""
    column = f"{alias}.{quoted(spec.wants_label.column)}" if alias else quoted(spec.wants_label.column)
    return f"case when isfinite({column}::double) then {column}::double end" if spec.task in NUMERIC else column


def known_at(spec: ProductSpec, alias: str = "") -> str:
    """SQL for the moment a label reaches us: when it happened plus the label's delay; null where not declared."""
    label = spec.wants_label
    if label.known_at is None:
        return "null::timestamp"
    prefix = f"{alias}." if alias else ""
    delay = timedelta(minutes=label.delay_minutes)
    return f"({prefix}{quoted(label.known_at)} + interval {int(delay.total_seconds())} seconds)"


def as_it_was(name: str, version: int, alias: str) -> str:
    """SQL for a feature table as of a snapshot (an AT clause takes no alias, so it stands in a subquery)."""
    return f"(select * from {table(FEATURES, name)} at (version => {int(version)})) as {alias}"


def joined(spec: ProductSpec, version: int) -> str:
    """SQL of features joined with labels by key, as of a snapshot; of features alone where there is no label."""
    features = as_it_was(spec.product, version, "features")
    if spec.label is None:
        return features
    return f"{features} join {as_it_was(LABELS, version, 'labels')} using ({listed(key_columns(spec))})"


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


def read_part(
    con: duckdb.DuckDBPyConnection,
    spec: ProductSpec,
    manifest: SplitManifest,
    part: Part,
    *,
    inputs: Collection[str] | None = None,
    with_label: bool = True,
    with_fold: bool = False,
) -> pl.DataFrame:
    """One part of a split with its `label`, sorted by key: the same rows in the same order every time.

    Args:
        con: a connection to the product's lake.
        spec: the product.
        manifest: the split; its rule is applied again to the rows as they were at its snapshot.
        part: which part.
        inputs: those to read; the spec's when left out (an older snapshot may lack one of today's).
        with_label: add `label` as it is in the label table (none for a clustering).
        with_fold: add `fold` (time_series_folds: 0 the oldest; else null).
    """
    from assets.splits.service import assigned

    wanted = columns_of(spec) if inputs is None else list(dict.fromkeys([*named_columns(spec), *inputs]))
    chosen = assigned(con, spec, manifest).filter(pl.col("part") == part).drop("part")
    label = f", {label_of(spec, 'labels')} as label" if with_label and spec.label else ""
    fold = ", chosen.fold" if with_fold else ""
    source = (
        joined(spec, manifest.data_snapshot) if label else as_it_was(spec.product, manifest.data_snapshot, "features")
    )
    con.register("chosen_rows", chosen.to_arrow())
    try:
        return con.execute(
            f"select {listed(wanted, 'features')}{label}{fold} from {source} "
            f"join chosen_rows as chosen using ({listed(key_columns(spec))}) "
            f"order by {listed(spec.key, 'features')}"
        ).pl()
    finally:
        con.unregister("chosen_rows")
