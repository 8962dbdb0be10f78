"""Balance the classes of training rows: more of the rare, fewer of the common, new ones between, or weights.

It is given training rows only and touches `train*` alone: what validates or tests keeps its shares.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError
from assets.spec import CandidateSpec

NEIGHBOURS = 5
# of each class: a new row lies between two
SMOTE_ROWS = 2


def balanced(rows: TrainingSet, candidate: CandidateSpec, *, seed: int) -> TrainingSet:
    """The rows resampled and weighted as the candidate says; the same rows where it says nothing.

    Raises:
        HeadraceError: a class has too few rows for SMOTE.
    """
    if candidate.resample == "smote":
        rows = _synthesised(rows, seed, candidate.algorithm)
    elif candidate.resample != "none":
        places = _places(rows.train_labels, candidate.resample, seed)
        rows = replace(rows, train=rows.train[places], train_labels=rows.train_labels[places], folds=None)
    if candidate.class_weight == "balanced":
        rows = replace(rows, weights=class_weights(rows.train_labels))
    return rows


def class_weights(labels: NDArray[Any]) -> NDArray[np.float64]:
    """A weight for each row so that classes weigh the same and the mean is 1. Source: King and Zeng (2001)."""
    classes, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = (len(labels) / (len(classes) * counts))[places]
    return weights


def _places(labels: NDArray[Any], how: str, seed: int) -> NDArray[np.int_]:
    """Places of the rows to train on, sorted: in the order of their keys the same model comes out every time."""
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    sampler = (RandomOverSampler if how == "over" else RandomUnderSampler)(random_state=seed)
    sampler.fit_resample(np.arange(len(labels))[:, None], labels)
    return np.sort(sampler.sample_indices_)


def _synthesised(rows: TrainingSet, seed: int, name: str) -> TrainingSet:
    """The training rows, and behind them new ones between neighbours of a rare class.

    Source: Chawla et al. (2002), SMOTE, and SMOTE-NC where some columns are categories. Neighbours are looked for
    with gaps filled by median or most frequent category; the rows themselves keep their gaps.
    """
    from imblearn.over_sampling import SMOTE, SMOTEN, SMOTENC

    smallest = int(np.unique(rows.train_labels, return_counts=True)[1].min())
    if smallest < SMOTE_ROWS:
        raise HeadraceError(
            "SMOTE makes rows between neighbours, and a class has one row only",
            where=f"candidates: {name}",
            expected="two training rows of each class",
            fix="use resample: over, or class_weight: balanced",
        )
    categorical = rows.categorical
    options: dict[str, Any] = {"random_state": seed, "k_neighbors": min(NEIGHBOURS, smallest - 1)}
    if not categorical:
        sampler = SMOTE(**options)
    elif len(categorical) == rows.train.shape[1]:
        sampler = SMOTEN(**options)
    else:
        sampler = SMOTENC(categorical_features=categorical, **options)
    filled, empty = _filled(rows.train, categorical)
    found, labels = sampler.fit_resample(filled, rows.train_labels)
    made = np.asarray(found[len(filled) :], dtype=np.float64)
    made[:, empty] = np.nan
    return replace(rows, train=np.vstack([rows.train, made]), train_labels=labels, folds=None)


def _filled(matrix: NDArray[np.float64], categorical: list[int]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The matrix without gaps, shape (rows, columns), and which columns have nothing to fill them from."""
    empty: NDArray[np.bool_] = np.asarray(np.isnan(matrix).all(axis=0))
    values = np.zeros(matrix.shape[1])
    for place in np.flatnonzero(~empty):
        present = matrix[~np.isnan(matrix[:, place]), place]
        if place in categorical:
            codes, counts = np.unique(present, return_counts=True)
            values[place] = codes[np.argmax(counts)]
        else:
            values[place] = np.median(present)
    return np.where(np.isnan(matrix), values, matrix), empty
