"""Gaussian mixture: clusters as bells with axes along the columns, as many as BIC says."""

import warnings
from typing import Any

import numpy as np

from assets.candidates.clusters import sample_for_fit
from assets.candidates.preprocessing import fit_preprocessing
from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet

# Numbers have variance 1. A bell around a category that all its rows have would be infinitely narrow without a floor.
DEFAULTS: dict[str, Any] = {"clusters": 0, "max_clusters": 8, "smallest_variance": 0.05}


def fit(rows: TrainingSet, params: dict[str, Any], seed: int, _threads: int, progress: Progress) -> Fitted:
    """Fit each number of bells from 2 by EM and keep the lowest BIC (Schwarz 1978); scores are shares of each row."""
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    used = merged(DEFAULTS, params, name="gaussian_mixture")
    ready = fit_preprocessing(rows, scale=True)
    train = ready.transform(sample_for_fit(rows, seed)).astype(np.float64)
    counts = [used["clusters"]] if used["clusters"] else list(range(2, max(2, used["max_clusters"]) + 1))
    found: dict[int, tuple[float, Any]] = {}
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged within the steps: BIC judges what came out
        for count in [min(number, len(train)) for number in counts if number <= max(len(train), counts[0])]:
            model = GaussianMixture(
                count, covariance_type="diag", reg_covar=used["smallest_variance"], random_state=seed
            ).fit(train)
            found[count] = float(model.bic(train)), model
            progress(f"gaussian_mixture: {count} clusters, BIC {found[count][0]:.4g}")
    best = min(found, key=lambda count: found[count][0])
    mixture = found[best][1]
    graph, value = ready.graph()
    densities = graph.log_densities(value, mixture.means_, mixture.covariances_, mixture.weights_)
    history = {
        "clusters": best,
        "bic_by_clusters": {str(count): bic for count, (bic, _) in found.items()},
        "iterations": int(mixture.n_iter_),
        "max_iterations": int(mixture.max_iter),
    }
    return Fitted("model.onnx", graph.bytes_of(graph.add("Softmax", densities, axis=1)), used, history)


ALGORITHM = Algorithm(
    description="Clusters as normal distributions",
    tasks=frozenset({"clustering"}),
    kinds=frozenset({"scikitlearn", "onnx"}),
    fit=fit,
    defaults=DEFAULTS,
    space={"clusters": (0, 12), "smallest_variance": (0.001, 0.5)},
    quick={"max_clusters": 3},
)
