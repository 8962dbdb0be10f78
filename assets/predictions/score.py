"""Score a batch with the live model before its labels are looked at, and keep the scores beside the features.

A batch is scored once: by the model that was live when it came. The inputs are read without labels.
"""

from datetime import datetime

import duckdb
import polars as pl

from assets.candidates.predictor import Predictor
from assets.lake import Lake, has_table
from assets.naming import PREDICTIONS, quoted, table
from assets.spec import ProductSpec
from assets.tasks import prediction_columns


def scored_frame(
    spec: ProductSpec, inputs: pl.DataFrame, predictor: Predictor, *, batch_id: str, scored_at: datetime
) -> pl.DataFrame:
    """Keys with what the task keeps of scores (`assets.tasks.prediction_columns`), batch, model and moment."""
    manifest = predictor.manifest
    kept = prediction_columns(spec.task, predictor.scores(inputs), manifest.classes, manifest.decision_threshold)
    return inputs.select(spec.key).with_columns(
        pl.lit(batch_id).alias("batch_id"),
        *(column.alias(name) for name, column in kept.items()),
        pl.lit(manifest.model_id).alias("model_id"),
        pl.lit(manifest.as_of).alias("model_as_of"),
        pl.lit(scored_at).alias("scored_at"),
    )


def save_scores(con: duckdb.DuckDBPyConnection, spec: ProductSpec, batch_id: str, scores: pl.DataFrame) -> int:
    """Append a batch's scores unless it was scored before; says how many rows were new."""
    target = table(PREDICTIONS, spec.product)
    con.register("scores", scores.to_arrow())
    con.execute(f"create table if not exists {target} as select * from scores limit 0")
    present = con.execute(f"select 1 from {target} where batch_id = ? limit 1", [batch_id]).fetchone()
    if not present:
        con.execute(f"insert into {target} by name select * from scores")
    con.unregister("scores")
    return 0 if present else scores.height


def read_scores(lake: Lake, spec: ProductSpec, batch_id: str) -> pl.DataFrame | None:
    """A batch's scores sorted by key, or None when it was not scored."""
    with lake.connect() as con:
        if not has_table(con, PREDICTIONS, spec.product):
            return None
        order = ", ".join(quoted(name) for name in spec.key)
        found = con.execute(
            f"select * from {table(PREDICTIONS, spec.product)} where batch_id = ? order by {order}", [batch_id]
        ).pl()
    return None if found.is_empty() else found
