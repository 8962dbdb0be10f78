"""k-means: clusters around centres, as many as the silhouette of the validation rows says."""

from typing import Any

from assets.candidates.clusters import fit_centres, nearness
from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet

DEFAULTS: dict[str, Any] = {"clusters": 0, "max_clusters": 8}


def fit(rows: TrainingSet, params: dict[str, Any], seed: int, _threads: int, progress: Progress) -> Fitted:
    """Fit each number of clusters from 2 (or the one given) and keep the best; scores are minus the distances."""
    used = merged(DEFAULTS, params, name="kmeans")
    ready, centres, history = fit_centres(
        rows, clusters=used["clusters"], max_clusters=used["max_clusters"], seed=seed, progress=progress
    )
    return Fitted("model.onnx", nearness(ready, centres), used, history)


ALGORITHM = Algorithm(
    description="Clusters around centres (k-means)",
    tasks=frozenset({"clustering"}),
    kinds=frozenset({"scikitlearn", "onnx"}),
    fit=fit,
    defaults=DEFAULTS,
    space={"clusters": (0, 12)},
    quick={"max_clusters": 3},
)
