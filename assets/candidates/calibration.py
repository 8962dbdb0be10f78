"""Choose what makes a binary model's probabilities true: nothing, Platt's logistic, or an isotonic line.

Chosen by cross-validated log loss on the validation rows, where it gains clearly, and the Brier score with it. Rows
that come later have other shares of outcomes: measured on nine months of flights, gains of up to 3% on the validation
rows became losses in the next month more often than not, so there a calibration has to gain more. The same rows stop
the boosting and judge a search, so the log losses are a little too good, before as after. How a calibration is applied
is in `predictor.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.candidates.predictor import calibrated, log_odds
from assets.errors import HeadraceError
from assets.records import Calibration
from assets.spec import CandidateSpec
from assets.tasks import Labels, Scores, Task

# share of the log loss that "auto" has to gain: where rows are of one time, and where the unseen ones come later
MIN_GAIN_SHARE, MIN_GAIN_SHARE_LATER = 0.005, 0.05
MIN_GAIN_ERRORS = 2.0  # standard errors that the gain has to be above nothing
ONE_TIME = frozenset({"random", "stratified", "group"})  # strategies whose parts are of the same time
# fewer rows, or fewer of the rarer class, say too little: for "auto", and for a method that the spec names
_NEEDED, _NEEDED_IF_NAMED = (200, 20), (20, 5)
_FOLDS = 5
_CLIP = 1e-15  # a probability of 0 would make the log loss infinite
_STEPS, _HALVINGS, _CONVERGED = 100, 30, 1e-9
_DIGITS = 9  # processors round exponentials differently in the last bits; the model's id shall not change with them

Fit = Callable[[Labels, Scores], Calibration | None]


@dataclass(frozen=True)
class Chosen:
    """A calibration, or none, and for the training's history how that came: in words, log loss before and after."""

    calibration: Calibration | None = None
    history: dict[str, Any] = field(default_factory=dict)


def choose(candidate: CandidateSpec, labels: Labels, raw: Scores, *, strategy: str, seed: int) -> Chosen:
    """The calibration that a candidate asks for, fitted on all of these rows; for "auto" the best, if it gains enough.

    Args:
        candidate: `calibrate` says auto, none, isotonic or platt.
        labels: of the validation rows, 0 or 1, shape (rows,).
        raw: the model's probabilities of them, shape (rows,).
        strategy: of the split; says whether the unseen rows come later.
        seed: of the folds.

    Raises:
        HeadraceError: the spec names a method, and the rows are too few or the model ranks them the wrong way round.
    """
    if candidate.calibrate == "none":
        return Chosen(history={"calibration": "none: the spec says so"})
    is_named = candidate.calibrate != "auto"
    rows, rarer = len(labels), int(min(np.sum(labels == 0), np.sum(labels == 1)))
    needed = _NEEDED_IF_NAMED if is_named else _NEEDED
    if rows < needed[0] or rarer < needed[1]:
        found = f"{rows} validation rows, {rarer} of the rarer class"
        expected = f"{needed[0]} and {needed[1]}"
        if is_named:
            raise _impossible(candidate, expected, found)
        return Chosen(history={"calibration": f"none: {found}; at least {expected} are needed"})
    scored = {"none": raw} | {name: _out_of_fold(fit, labels, raw, seed) for name, fit in _METHODS.items()}
    evidence = {name: round(float(_losses(labels, scores).mean()), _DIGITS) for name, scores in scored.items()}
    method = candidate.calibrate if is_named else _best(labels, scored, strategy)
    calibration = _METHODS[method](labels, raw) if method != "none" else None
    if is_named and calibration is None:
        raise _impossible(candidate, "probabilities that rise with the outcome", "none that do")
    method = calibration.method if calibration else "none"
    said = ", ".join(f"{name} {value:.4f}" for name, value in evidence.items())
    history = {
        "calibration": f"{method}; cross-validated log loss on {rows:,} validation rows: {said}",
        "log_loss_before_calibration": evidence["none"],
        "log_loss_after_calibration": evidence[method],
    }
    return Chosen(calibration.model_copy(update={"evidence": evidence}) if calibration else None, history)


def require_binary(candidate: CandidateSpec, task: Task) -> None:
    """Refuse a method that the spec names for a task that has none.

    Raises:
        HeadraceError: the task isn't binary.
    """
    if task != "binary" and candidate.calibrate in _METHODS:
        raise HeadraceError(
            f"calibrate: {candidate.calibrate} is for probabilities of two classes",
            where=f"candidates: {candidate.algorithm}",
            expected="task: binary",
            found=f"task: {task}",
            fix="leave calibrate out",
        )


def fit_platt(labels: Labels, raw: Scores) -> Calibration | None:
    """A logistic of the log odds, its targets drawn in from 0 and 1 by their number; None where it would turn round.

    Source: Platt (1999), by Newton's method with halved steps as in Lin, Lin and Weng (2007).
    """
    odds = log_odds(raw)
    positives = float(np.sum(labels == 1))
    negatives = len(labels) - positives
    target = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(line: NDArray[np.float64]) -> float:
        values = line[0] * odds + line[1]
        return float((np.logaddexp(0, values) - target * values).mean())

    line = np.array([1.0, 0.0])
    best = loss(line)
    for _ in range(_STEPS):
        step = _newton_step(odds, target, line)
        for halving in range(_HALVINGS):
            tried = line - step / 2**halving
            if (found := loss(tried)) < best:
                break
        else:
            break
        gained, line, best = best - found, tried, found
        if gained < _CONVERGED:
            break
    slope, intercept = (round(float(value), _DIGITS) for value in line)
    return Calibration(method="platt", slope=slope, intercept=intercept) if slope > 0 else None


def fit_isotonic(labels: Labels, raw: Scores) -> Calibration:
    """Isotonic regression whose steps are joined by a line through their centres, so that hardly any scores tie.

    A step never says 0 or 1 but stays 1 / (rows + 2) away; before the first centre the line comes from (0, 0), and from
    the last it goes to (1, 1). Source: Zadrozny and Elkan (2002); centred as in Oron and Flournoy (2017).
    """
    from sklearn.isotonic import isotonic_regression

    values, places, counts = np.unique(raw, return_inverse=True, return_counts=True)
    shares = np.bincount(places, weights=labels) / counts
    levels = isotonic_regression(shares, sample_weight=counts, increasing=True)
    starts = np.flatnonzero(np.diff(levels, prepend=-1.0) > 0)
    rows = np.add.reduceat(counts, starts)
    centres = (np.add.reduceat(values * counts, starts) / rows).round(_DIGITS)
    edge = 1 / (len(raw) + 2)
    made = np.clip(levels[starts], edge, 1 - edge).round(_DIGITS)
    kept = (centres > 0) & (centres < 1) & (np.diff(centres, prepend=0.0) > 0)
    # where raw scores are 0 or 1 themselves, their own step is the end of the line
    first, last = float(made[0]) if centres[0] <= 0 else 0.0, float(made[-1]) if centres[-1] >= 1 else 1.0
    return Calibration(
        method="isotonic", raw=(0.0, *centres[kept].tolist(), 1.0), calibrated=(first, *made[kept].tolist(), last)
    )


# the simplest first
_METHODS: dict[str, Fit] = {"platt": fit_platt, "isotonic": fit_isotonic}


def _best(labels: Labels, scored: dict[str, Scores], strategy: str) -> str:
    """The simplest method on which no other gains enough: none before Platt's two numbers before the isotonic curve."""
    best, share = "none", MIN_GAIN_SHARE if strategy in ONE_TIME else MIN_GAIN_SHARE_LATER
    for name in _METHODS:
        if _gains(labels, scored[best], scored[name], share):
            # methods move the base rate alike, so between them only the shape decides
            best, share = name, MIN_GAIN_SHARE
    return best


def _gains(labels: Labels, simple: Scores, other: Scores, share: float) -> bool:
    """Whether other scores clearly have less log loss, by more than a share of it, and a lower Brier score, too.

    A few rows with extreme scores can decide the log loss; the Brier score is of all.
    """
    before = _losses(labels, simple)
    gain = before - _losses(labels, other)
    return bool(
        gain.mean() > share * before.mean()
        and _is_clear(gain)
        and _is_clear((simple - labels) ** 2 - (other - labels) ** 2)
    )


def _is_clear(gain: NDArray[np.float64]) -> bool:
    return bool(gain.mean() > MIN_GAIN_ERRORS * gain.std() / np.sqrt(len(gain)))


def _newton_step(odds: Scores, target: Scores, line: NDArray[np.float64]) -> NDArray[np.float64]:
    chance = 1 / (1 + np.exp(-np.clip(line[0] * odds + line[1], -500, 500)))
    off, weight = chance - target, chance * (1 - chance) + 1e-12
    gradient = np.array([(off * odds).sum(), off.sum()])
    # sums and not products of matrices: those may round otherwise on another processor
    a, b, c = (weight * odds * odds).sum(), (weight * odds).sum(), weight.sum()
    if a * c - b * b <= 0:  # all scores are the same: only their level can be moved
        return np.array([0.0, gradient[1] / c])
    found = np.array([c * gradient[0] - b * gradient[1], a * gradient[1] - b * gradient[0]]) / (a * c - b * b)
    return np.asarray(found)


def _out_of_fold(fit: Fit, labels: Labels, raw: Scores, seed: int) -> Scores:
    """Each row calibrated by a fit on the other folds, which are seeded and have the same share of both classes."""
    random = np.random.default_rng(seed)
    folds = np.empty(len(labels), dtype=np.int64)
    for value in (0, 1):
        members = np.flatnonzero(labels == value)
        folds[random.permutation(members)] = np.arange(len(members)) % _FOLDS
    result = raw.copy()
    for fold in range(_FOLDS):
        inside = folds == fold
        found = fit(labels[~inside], raw[~inside])
        if found is not None:
            result[inside] = calibrated(found, raw[inside])
    return result


def _losses(labels: Labels, scores: Scores) -> NDArray[np.float64]:
    """Log loss of each row."""
    return np.asarray(-np.log(np.clip(np.where(labels == 1, scores, 1 - scores), _CLIP, 1)))


def _impossible(candidate: CandidateSpec, expected: str, found: str) -> HeadraceError:
    return HeadraceError(
        f"can't be calibrated by {candidate.calibrate}",
        where=f"candidates: {candidate.algorithm}",
        expected=expected,
        found=found,
        fix="write calibrate: auto, or give the split more validation rows",
    )
