"""What the algorithms of clustering share: k-means, and how many clusters there are."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.candidates.preprocessing import Preprocessing, fit_preprocessing
from assets.candidates.registry import Progress
from assets.candidates.training_set import TrainingSet

_STARTS = 4
# rows of the sample on which a number of clusters is judged: a silhouette costs the square of them
_SILHOUETTE_ROWS = 2_000
# rows that clusters are fitted on: centres of more hardly differ
_FIT_ROWS = 50_000


def fit_centres(
    rows: TrainingSet, *, clusters: int, max_clusters: int, seed: int, progress: Progress
) -> tuple[Preprocessing, NDArray[np.float32], dict[str, Any]]:
    """Centres of k-means on scaled training rows; their number by the silhouette unless it is given.

    Source: Lloyd (1982) from starts of Arthur and Vassilvitskii (2007); silhouette of Rousseeuw (1987), on a sample of
    the validation rows.

    Returns:
        the preprocessing, centres (clusters, width), and the history: how many clusters, the silhouette of each
        number that was tried, and how many steps the kept one took of how many allowed.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score
    from threadpoolctl import threadpool_limits

    ready = fit_preprocessing(rows, scale=True)
    train = ready.transform(_sample(rows.train, _FIT_ROWS, seed)).astype(np.float64)
    judged_on = rows.validation if len(rows.validation) > max_clusters else rows.train
    judged = ready.transform(_sample(judged_on, _SILHOUETTE_ROWS, seed)).astype(np.float64)
    most = len(np.unique(train, axis=0))
    tried = [clusters] if clusters else list(range(2, max(2, max_clusters) + 1))
    silhouettes: dict[str, float] = {}
    best, centres, steps = -np.inf, train.mean(axis=0, keepdims=True), {}
    # threads of k-means add up their parts in the order in which they finish
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different rows than clusters
        for count in [min(number, most) for number in tried if number <= max(most, tried[0])]:
            model = KMeans(count, n_init=_STARTS, random_state=seed).fit(train)
            places = model.predict(judged)
            separable = 1 < len(np.unique(places)) < len(judged)
            value = float(silhouette_score(judged, places)) if separable else -1.0
            silhouettes[str(count)] = value
            progress(f"k-means: {count} clusters, silhouette {value:.3f}")
            if value > best:
                best, centres = value, model.cluster_centers_
                steps = {"iterations": int(model.n_iter_), "max_iterations": int(model.max_iter)}
    history = {"clusters": len(centres), "silhouette_by_clusters": silhouettes, **steps}
    return ready, centres.astype(np.float32), history


def nearness(ready: Preprocessing, centres: NDArray[np.float32]) -> bytes:
    """The file whose scores are minus the distances to the centres, shape (rows, clusters)."""
    graph, value = ready.graph()
    distances = graph.add("Sqrt", graph.square_distances(value, centres, np.ones_like(centres)))
    return graph.bytes_of(graph.add("Neg", distances))


def sample_for_fit(rows: TrainingSet, seed: int) -> NDArray[Any]:
    """The training rows that clusters are fitted on, shape (rows, columns)."""
    return _sample(rows.train, _FIT_ROWS, seed)


def _sample(matrix: NDArray[np.float64], count: int, seed: int) -> NDArray[np.float64]:
    if len(matrix) <= count:
        return matrix
    return matrix[np.sort(np.random.default_rng(seed).permutation(len(matrix))[:count])]
