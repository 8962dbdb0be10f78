"""The predictions asset: the batch scored by the live model, before its labels are looked at."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from assets import blessings, ledger
from assets.candidates.predictor import load_predictor
from assets.definitions import HomeParam, batch_of, key_of, records_table, shown_errors, stage_asset
from assets.features.read import batch_inputs
from assets.home import Home
from assets.live import read_live
from assets.naming import FEATURES
from assets.predictions import checks
from assets.predictions.score import read_scores, save_scores, scored_frame
from assets.spec import ProductSpec

# classes or clusters of the table
_SHOWN = 20


def build(spec: ProductSpec) -> list[dg.AssetsDefinition]:
    """The predictions of a product."""

    @stage_asset(
        spec,
        checks.STAGE,
        description="Scores of this batch by the model that was live when it came.",
        kinds={"polars"},
        deps=[key_of(spec, FEATURES)],
        checks=checks.specs(spec),
        one_run_per_batch=True,
    )
    def predictions(context: dg.AssetExecutionContext, home: HomeParam) -> Iterator[Any]:
        lake = home.lake(spec.product)
        with shown_errors():
            with lake.connect() as con:
                blessings.require_data(con, spec, batch_of(context), where=checks.STAGE)
            inputs = batch_inputs(lake, spec, batch_of(context))
            scores = score_batch(home, spec, batch_of(context), inputs)
        yield dg.MaterializeResult(key_of(spec, checks.STAGE), metadata=_metadata(spec, scores))
        yield from checks.results(spec, scores, inputs.height)

    return [predictions]


def score_batch(home: Home, spec: ProductSpec, batch_id: str, inputs: pl.DataFrame) -> pl.DataFrame | None:
    """Score a batch once with the live model, if that model has not seen it; returns the batch's scores."""
    lake = home.lake(spec.product)
    live = read_live(home.settings.home, spec.product)
    present = read_scores(lake, spec, batch_id)
    if present is not None or live is None or live.as_of >= batch_id:
        return present
    predictor = load_predictor(home.models(spec.product) / live.model_id, threads=home.settings.threads)
    if not predictor.manifest.features.can_score(inputs.columns):
        return None
    scores = scored_frame(spec, inputs, predictor, batch_id=batch_id, scored_at=ledger.now())
    lake.transact(lambda con: save_scores(con, spec, batch_id, scores))
    return read_scores(lake, spec, batch_id)


def _metadata(spec: ProductSpec, scores: pl.DataFrame | None) -> dict[str, Any]:
    if scores is None:
        return {"rows_scored": 0, "model_id": "no champion that had not seen this batch"}
    return {
        "rows_scored": scores.height,
        "model_id": str(scores["model_id"][0]),
        **_described(spec, scores),
        "scored_at": str(scores["scored_at"][0]),
    }


def _described(spec: ProductSpec, scores: pl.DataFrame) -> dict[str, Any]:
    """The predictions in a few numbers: means, or how many rows of each class or cluster."""
    if spec.task in ("multiclass", "clustering"):
        name = "cluster" if spec.task == "clustering" else "predicted"
        counts = scores[name].value_counts(sort=True, name="rows").rename({name: "predicted"})
        return {"predicted": records_table(counts.head(_SHOWN).to_dicts())}
    if spec.task == "binary":
        return {
            "mean_probability": float(scores["probability"].mean()),  # type: ignore[arg-type]
            "positive_share": float(scores["is_positive"].cast(pl.Float64).mean()),  # type: ignore[arg-type]
        }
    return {
        "mean_predicted": float(scores["predicted"].mean()),  # type: ignore[arg-type]
        "least_predicted": float(scores["predicted"].min()),  # type: ignore[arg-type]
        "most_predicted": float(scores["predicted"].max()),  # type: ignore[arg-type]
    }
