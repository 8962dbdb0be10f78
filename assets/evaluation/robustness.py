"""How a model behaves beside its metric: whether small noise moves its scores, and whether it is right on average."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.candidates.predictor import Predictor
from assets.tasks import NUMERIC, Labels, Scores, Task

# rows that are scored once more with noise: the mean change of so many is known to a hundredth of itself
NOISE_ROWS = 5_000
# values of a column closer than this share of its deviation are one value that was computed in two ways
_EQUAL_SHARE = 1e-9
# standard errors of a mean that chance may explain: about 95 of 100 means are within
_STANDARD_ERRORS = 2.0


def noise_changes(
    model: Predictor, rows: pl.DataFrame, scores: Scores, *, noise: float, seed: int
) -> NDArray[np.float64]:
    """How far each score of a seeded sample of rows moves when its numbers are a little off.

    Perturbing inputs within what is measured inaccurately anyway is the metamorphic test of Breck et al., The ML Test
    Score (2017), and of Goodfellow et al. (2015) without an adversary.

    Args:
        model: scores the encoded rows once more.
        rows: inputs of the test rows, shape (rows, columns).
        scores: what the model gave them, in the shape of its task.
        noise: deviation of the noise as a share of each column's own.
        seed: of the sample and of the noise.

    Returns:
        absolute change per sampled row, its mean over classes or clusters, in deviations of the scores; shape
        (min(rows, 5,000),), zeros where the scores don't vary.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(rows.height)[:NOISE_ROWS])
    matrix = model.encoder.matrix(rows[chosen])
    numbers = [place for place, (_, kind) in enumerate(model.manifest.features.columns) if kind == "number"]
    before = scores[chosen].reshape(len(chosen), -1)
    after = model.scores_of_matrix(perturbed(matrix, numbers, noise=noise, seed=seed)).reshape(before.shape)
    deviation = float(np.sqrt(before.var(axis=0).mean())) if len(chosen) else 0.0
    return np.abs(after - before).mean(axis=1) / deviation if deviation > 0 else np.zeros(len(chosen))


def perturbed(matrix: NDArray[np.float64], numbers: list[int], *, noise: float, seed: int) -> NDArray[np.float64]:
    """The rows with Gaussian noise in their numbers, in whole steps of each column.

    A column's step is the smallest gap between two of its values. So a count stays whole, a flag or an hour of the day
    stays what it is, since the noise is less than half a step, and a length with two decimals keeps two decimals:
    nothing is made that could not have come in. Codes of categories are not touched, what is missing stays missing.

    Args:
        matrix: encoded rows, shape (rows, columns).
        numbers: places of the columns that hold numbers.
        noise: deviation of the noise as a share of each column's own.
        seed: of the noise.
    """
    moved = matrix.copy()
    random = np.random.default_rng(seed)
    for place in numbers:
        column = matrix[:, place]
        found = np.unique(column[~np.isnan(column)])
        drawn = random.standard_normal(len(column))
        deviation = float(np.nanstd(column)) if len(found) > 1 else 0.0
        gaps = np.diff(found)
        gaps = gaps[gaps > _EQUAL_SHARE * deviation]
        if len(gaps):
            step = gaps.min()
            moved[:, place] += np.round(drawn * noise * deviation / step) * step
    return moved


def prediction_bias(task: Task, labels: Labels, scores: Scores) -> dict[str, float]:
    """How far predictions are from outcomes on average, which ranking metrics don't see.

    Args:
        task: any with an outcome.
        labels: as `assets.tasks.encode_labels` gives them, shape (rows,).
        scores: as models give them, see `assets.tasks`.

    Returns:
        `prediction_bias`: |mean probability - observed share|, of several classes the largest; of numbers
        |mean predicted - mean actual| in deviations of the outcome. `prediction_bias_noise`: what chance may give on so
        few rows, two standard errors. Nothing for numbers that are all alike.
    """
    if task in NUMERIC:
        deviation = float(labels.std())
        if not deviation > 0:
            return {}
        errors = (scores - labels) / deviation
        return _bias(abs(float(errors.mean())), float(errors.var()), len(labels))
    probabilities = scores.reshape(len(scores), -1)
    truth = labels[:, None] == (np.arange(probabilities.shape[1]) if task == "multiclass" else np.ones(1))
    gaps = np.abs(probabilities.mean(axis=0) - truth.mean(axis=0))
    worst = int(gaps.argmax())
    likely = np.clip(probabilities[:, worst], 0, 1)
    return _bias(float(gaps[worst]), float((likely * (1 - likely)).mean()), len(labels))


def _bias(gap: float, variance: float, rows: int) -> dict[str, float]:
    return {"prediction_bias": gap, "prediction_bias_noise": _STANDARD_ERRORS * float(np.sqrt(variance / rows))}
