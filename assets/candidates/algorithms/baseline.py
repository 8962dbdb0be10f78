"""The baseline: what is answered without looking at a row. What doesn't beat it has learned nothing.

Classification: the training rows' share of each class, whose largest is the majority's. Numbers: the training mean.
Clustering: k-means centres of rows whose columns were shuffled apart, so that what belongs together no longer does.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from assets.candidates.clusters import fit_centres, nearness
from assets.candidates.graph import Graph
from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet
from assets.tasks import NUMERIC, TASKS

DEFAULTS: dict[str, Any] = {}
MAX_CLUSTERS = 8


def fit(rows: TrainingSet, params: dict[str, Any], seed: int, _threads: int, progress: Progress) -> Fitted:
    """Build a graph that answers the same for each row; for a clustering see above."""
    used = merged(DEFAULTS, params, name="baseline")
    if rows.task == "clustering":
        return _clusters_of_nothing(rows, used, seed, progress)
    graph = Graph(len(rows.columns))
    if rows.task in NUMERIC:
        answer, history = [float(np.mean(rows.train_labels))], {"mean": float(np.mean(rows.train_labels))}
    else:
        shares = np.bincount(rows.train_labels, minlength=len(rows.classes)) / len(rows.train_labels)
        answer = shares[-1:].tolist() if rows.task == "binary" else shares.tolist()
        history = {f"share of {name}": float(share) for name, share in zip(rows.classes, shares, strict=True)}
    return Fitted("model.onnx", graph.bytes_of(graph.same_for_all(np.array(answer))), used, history)


def _clusters_of_nothing(rows: TrainingSet, used: dict[str, Any], seed: int, progress: Progress) -> Fitted:
    random = np.random.default_rng(seed)
    shuffled = replace(
        rows, train=random.permuted(rows.train, axis=0), validation=random.permuted(rows.validation, axis=0)
    )
    ready, centres, _ = fit_centres(shuffled, clusters=0, max_clusters=MAX_CLUSTERS, seed=seed, progress=progress)
    return Fitted("model.onnx", nearness(ready, centres), used, {"clusters": len(centres)})


ALGORITHM = Algorithm(
    description="What the training rows answer without looking",
    tasks=frozenset(TASKS),
    kinds=frozenset({"onnx"}),
    fit=fit,
    defaults=DEFAULTS,
    is_baseline=True,
)
