"""Last value: what it was when it was last known, from a column of the features that says so."""

from typing import Any

from assets.candidates.naive import answer_column
from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet

DEFAULTS: dict[str, Any] = {"column": ""}


def fit(rows: TrainingSet, params: dict[str, Any], _seed: int, _threads: int, _progress: Progress) -> Fitted:
    """Answer the column; the training mean where it is missing."""
    used = merged(DEFAULTS, params, name="last_value")
    return answer_column(rows, used, "last_value")


ALGORITHM = Algorithm(
    description="The last known value",
    tasks=frozenset({"forecast"}),
    kinds=frozenset({"onnx"}),
    fit=fit,
    defaults=DEFAULTS,
    is_baseline=True,
)
