"""k nearest neighbours: the mean outcome of the training rows that are most alike."""

from typing import Any

import numpy as np

from assets.candidates.preprocessing import fit_preprocessing
from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet
from assets.tasks import CLASSIFICATION

DEFAULTS: dict[str, Any] = {"neighbours": 25, "max_rows": 10_000}
# the training rows are the model: as many numbers as keep its file below 20 MB
_MAX_VALUES = 4_000_000


def fit(rows: TrainingSet, params: dict[str, Any], seed: int, _threads: int, progress: Progress) -> Fitted:
    """Keep a seeded sample of the scaled training rows with their outcomes. Source: Fix and Hodges (1951)."""
    used = merged(DEFAULTS, params, name="k_nearest")
    ready = fit_preprocessing(rows, scale=True)
    kept = min(len(rows.train), used["max_rows"], max(1, _MAX_VALUES // ready.width))
    places = np.sort(np.random.default_rng(seed).permutation(len(rows.train))[:kept])
    labels = rows.train_labels[places]
    answers = np.asarray(labels, dtype=np.float64)[:, None]
    if rows.task == "multiclass":
        answers = (labels[:, None] == np.arange(len(rows.classes))).astype(np.float64)
    progress(f"k_nearest: {kept:,} of {len(rows.train):,} rows")
    graph, value = ready.graph()
    references = ready.transform(rows.train[places])
    scores = graph.nearest(value, references, answers, min(used["neighbours"], kept))
    return Fitted("model.onnx", graph.bytes_of(scores), used, {"kept_rows": kept})


ALGORITHM = Algorithm(
    description="k nearest neighbours",
    tasks=CLASSIFICATION | {"regression"},
    kinds=frozenset({"onnx"}),
    fit=fit,
    defaults=DEFAULTS,
    space={"neighbours": (3, 200)},
    quick={"max_rows": 500},
)
