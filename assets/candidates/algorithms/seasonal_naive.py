"""Seasonal naive: what it was a season ago, from a column of the features that says so."""

from typing import Any

from assets.candidates.naive import answer_column
from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet

DEFAULTS: dict[str, Any] = {"column": ""}


def fit(rows: TrainingSet, params: dict[str, Any], _seed: int, _threads: int, _progress: Progress) -> Fitted:
    """Answer the column; the training mean where it is missing."""
    used = merged(DEFAULTS, params, name="seasonal_naive")
    return answer_column(rows, used, "seasonal_naive")


ALGORITHM = Algorithm(
    description="The value a season ago",
    tasks=frozenset({"forecast"}),
    kinds=frozenset({"onnx"}),
    fit=fit,
    defaults=DEFAULTS,
    is_baseline=True,
)
