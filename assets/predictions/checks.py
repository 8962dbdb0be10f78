"""Checks of predictions: every row scored, every score in its range, and not the same answer for all."""

import dagster as dg
import numpy as np
import polars as pl

from assets.definitions import check_result, check_spec, key_of
from assets.spec import ProductSpec
from assets.tasks import CLASSIFICATION, NUMERIC, Scores, Task, scores_of

STAGE = "predictions"
# probabilities of all classes add up to 1, but for what single precision loses
_ROUNDING = 1e-4
_RANGE: dict[Task, str] = {
    "binary": "Every score is a probability",
    "multiclass": "Every score is a probability, of all classes 1",
}
_VARIED: dict[Task, tuple[str, str]] = {
    "binary": ("positive_share", "Share of rows predicted positive"),
    "multiclass": ("several_classes", "How many classes are predicted"),
    "regression": ("not_constant", "How many values are predicted"),
    "forecast": ("not_constant", "How many values are predicted"),
    "clustering": ("several_clusters", "How many clusters the rows fall into"),
}


def specs(spec: ProductSpec) -> list[dg.AssetCheckSpec]:
    """The checks of a batch's predictions."""
    name, text = _VARIED[spec.task]
    return [
        check_spec(spec, "counts", "Every row of the batch has one score", STAGE, blocking=True),
        check_spec(spec, "range", _RANGE.get(spec.task, "Every score is a finite number"), STAGE, blocking=True),
        check_spec(spec, name, text, STAGE, blocking=False),
    ]


def results(spec: ProductSpec, predictions: pl.DataFrame | None, rows: int) -> list[dg.AssetCheckResult]:
    """The outcome; without a champion there is nothing to score and nothing to find."""
    key, (varied, _) = key_of(spec, STAGE), _VARIED[spec.task]
    if predictions is None:
        return [
            check_result(key, name, passed=True, observed=0, threshold="no champion for this batch", warn=True)
            for name in ("counts", "range", varied)
        ]
    improper = improper_rows(spec.task, scores_of(spec.task, predictions))
    observed, threshold, passed = _variety(spec, predictions)
    return [
        check_result(key, "counts", passed=predictions.height == rows, observed=predictions.height, threshold=rows),
        check_result(key, "range", passed=improper == 0, observed=improper, threshold=0),
        check_result(key, varied, passed=passed, observed=observed, threshold=threshold, warn=True),
    ]


def improper_rows(task: Task, scores: Scores) -> int:
    """How many rows have a score that can't be one: NaN, infinite, or no probability where it should be."""
    rows = scores.reshape(len(scores), -1)
    proper = np.isfinite(rows).all(axis=1)
    if task in CLASSIFICATION:
        proper &= ((rows >= 0) & (rows <= 1)).all(axis=1)
    if task == "multiclass":
        proper &= np.abs(rows.sum(axis=1) - 1) < _ROUNDING
    return int((~proper).sum())


def _variety(spec: ProductSpec, predictions: pl.DataFrame) -> tuple[float, str, bool]:
    """What was observed, against what, and whether the predictions differ as they should."""
    if spec.task == "binary":
        low, high = spec.gates.positive_share
        share = float(predictions["is_positive"].cast(pl.Float64).mean() or 0.0)  # type: ignore[arg-type]
        return share, f"{low:g} to {high:g}", low <= share <= high
    different = predictions["cluster" if spec.task == "clustering" else "predicted"].n_unique()
    # a batch of one row has one answer
    needed = min(2, predictions.height)
    return different, f"{needed} or more" + (" values" if spec.task in NUMERIC else ""), different >= needed
