"""Checks of predictions: every row scored, every score a probability, the share of positives plausible."""

import dagster as dg
import polars as pl

from assets.definitions import check_result, check_spec, key_of
from assets.spec import ProductSpec

STAGE = "predictions"


def specs(spec: ProductSpec) -> list[dg.AssetCheckSpec]:
    """The checks of a batch's predictions."""
    return [
        check_spec(spec, "counts", "Every row of the batch has one score", STAGE, blocking=True),
        check_spec(spec, "range", "Every score is a probability", STAGE, blocking=True),
        check_spec(spec, "positive_share", "Share of rows predicted positive", STAGE, blocking=False),
    ]


def results(spec: ProductSpec, scores: pl.DataFrame | None, rows: int) -> list[dg.AssetCheckResult]:
    """The outcome; without a champion there is nothing to score and nothing to find."""
    key = key_of(spec, STAGE)
    if scores is None:
        return [
            check_result(key, name, passed=True, observed=0, threshold="no champion for this batch", warn=True)
            for name in ("counts", "range", "positive_share")
        ]
    improper = scores.filter(~pl.col("probability").is_between(0, 1) | pl.col("probability").is_nan()).height
    share = float(scores["is_positive"].cast(pl.Float64).mean() or 0.0)  # type: ignore[arg-type]
    low, high = spec.gates.positive_share
    return [
        check_result(key, "counts", passed=scores.height == rows, observed=scores.height, threshold=rows),
        check_result(key, "range", passed=improper == 0, observed=improper, threshold=0),
        check_result(
            key,
            "positive_share",
            passed=low <= share <= high,
            observed=share,
            threshold=f"{low:g} to {high:g}",
            warn=True,
        ),
    ]
