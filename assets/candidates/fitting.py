"""What every fit of a candidate shares, be it the final one, a trial of a search, or a second one as a proof."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from assets.candidates.registry import Algorithm, Fitted, Progress
from assets.candidates.resampling import balanced
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError
from assets.spec import CandidateSpec
from assets.tasks import CLASSIFICATION, UNKNOWN_CLASS


def prepared(algorithm: Algorithm, candidate: CandidateSpec, rows: TrainingSet) -> TrainingSet:
    """The rows as this candidate uses them: monotone columns named, validation rows of unseen classes left out.

    Raises:
        HeadraceError: an option is not for this algorithm or these columns, or the training rows hold one class only.
    """
    where = f"candidates: {candidate.algorithm}"
    if rows.task in CLASSIFICATION and len(np.unique(rows.train_labels)) < min(2, len(rows.train_labels)):
        raise HeadraceError(
            "all training rows have the same outcome, so there is nothing to learn",
            where=where,
            fix="deliver rows of other outcomes, or change split so that the training rows have both",
        )
    if candidate.class_weight != "none" and not algorithm.supports_weights:
        raise HeadraceError("takes no class weights", where=where, fix="use resample: over, or another algorithm")
    if candidate.monotone:
        _check_monotone(algorithm, candidate, rows, where)
    known = rows.validation_labels != UNKNOWN_CLASS if rows.task == "multiclass" else slice(None)
    return replace(
        rows,
        validation=rows.validation[known],
        validation_labels=rows.validation_labels[known],
        monotone=dict(candidate.monotone),
    )


def fit_candidate(
    algorithm: Algorithm,
    candidate: CandidateSpec,
    rows: TrainingSet,
    found: Mapping[str, Any],
    *,
    seed: int,
    threads: int,
    progress: Progress,
) -> Fitted:
    """One fit on resampled or weighted training rows, with the spec's parameters and those that a search found.

    Raises:
        HeadraceError: a parameter is unknown or has an impossible value, or the algorithm can't be fitted on the rows.
    """
    import lightgbm
    from sklearn.utils._param_validation import InvalidParameterError

    balanced_rows = balanced(rows, candidate, seed=seed)
    try:
        return algorithm.fit(balanced_rows, {**candidate.params, **found}, seed, threads, progress)
    except (InvalidParameterError, lightgbm.basic.LightGBMError) as error:
        raise HeadraceError(
            "the algorithm refused its parameters",
            where=f"candidates: {candidate.algorithm}",
            found=" ".join(str(error).split()),
            fix="correct params, or the space of the search",
        ) from None
    except ValueError as error:
        raise HeadraceError(
            "the algorithm can't be fitted on these rows",
            where=f"candidates: {candidate.algorithm}",
            found=" ".join(str(error).split()),
            fix="look for labels and features that are no finite numbers, deliver more rows, or remove the candidate",
        ) from error


def _check_monotone(algorithm: Algorithm, candidate: CandidateSpec, rows: TrainingSet, where: str) -> None:
    numbers = [name for name, kind in rows.schema.columns if kind == "number"]
    lost = sorted(set(candidate.monotone) - set(numbers))
    if lost:
        raise HeadraceError(
            f"monotone: {', '.join(lost)} is no number that the model sees",
            where=where,
            expected=", ".join(numbers),
            fix="name model columns, after selection and fitted transforms",
        )
    if not algorithm.supports_monotone or rows.task in ("multiclass", "clustering"):
        raise HeadraceError(
            f"can't hold monotone for {rows.task}", where=where, fix="use lightgbm or a tree on one score, or remove it"
        )
