"""How much better a challenger is than the champion on the same unseen rows, and how sure that is.

The ROC AUC of two classes has a variance in closed form: DeLong, DeLong & Clarke-Pearson (1988), computed from ranks as
Sun & Xu (2014) do, and a normal interval. Every other metric is bootstrapped (Efron 1979): rows are drawn with
replacement, the same ones for both models (paired), and the interval is that of the percentiles of the differences.
Errors of consecutive rows of a forecast resemble each other, so its rows, which come sorted by key and so by time, are
drawn in blocks of about n^(1/3) neighbours (circular block bootstrap, Politis & Romano 1992).

Rows of the other tasks count as independent, so an interval speaks of more rows of the same days. Where rows of a day
share their luck (`gates.comparison.resample: days`), whole days are drawn, and the variance of an AUC is that of
clustered data (Obuchowski 1997) with Student's t of as many days: on flights 1.4 to 6 times as wide.

A replicate is a row of weights, how often each row was drawn, and a metric a function of weights: no loop over rows.
"""

from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from assets.errors import HeadraceError
from assets.evaluation.metrics import PINBALL_QUANTILE, SHOWN
from assets.records import Comparison
from assets.spec import ProductSpec
from assets.tasks import CLASSIFICATION, DIRECTIONS, NUMERIC, UNKNOWN_CLASS, Labels, Scores, predicted_classes

Floats = NDArray[np.float64]
# weights (replicates, rows) -> the metric of each replicate, NaN where its rows don't define it
Statistic = Callable[[Floats], Floats]

SHOWN_CONFIDENCE = 0.95
# rows (or days) from which an interval says something
_MIN_UNITS = 5
# replicates of intervals that are only shown: their ends are then within a fifth of a standard error
_SHOWN_REPLICATES = 400
# weights held at once: 4 MB, so that they stay in the cache
_BLOCK_WEIGHTS = 1 << 19
# of the interval's ends: sums of floats may differ in the last ones between processors
_DIGITS = 12
# of the squares: less is a rounding error
_NO_VARIATION = 1e-12
# as scikit-learn clips probabilities of two classes, and our metrics those of several
_CLIP_BINARY, _CLIP = float(np.finfo(np.float64).eps), 1e-15


def compare(
    spec: ProductSpec,
    split_id: str,
    challenger_id: str,
    champion_id: str,
    labels: Labels,
    challenger_scores: Scores,
    champion_scores: Scores,
    *,
    classes: Sequence[str],
    champion_labels: Labels | None = None,
    champion_classes: Sequence[str] | None = None,
    days: NDArray[np.int64] | None = None,
) -> Comparison:
    """Hold a challenger against the champion on the same rows, with the interval of `gates.comparison.confidence`.

    Args:
        spec: says the primary metric, the confidence, the replicates and the seed.
        split_id: the split whose test rows these are.
        challenger_id: model id.
        champion_id: model id.
        labels: as `assets.tasks.encode_labels` gives them for the challenger's classes, shape (rows,).
        challenger_scores: see `assets.tasks`; of a clustering the silhouette of each row.
        champion_scores: of the same rows in the same order.
        classes: the challenger's, in the order of its probabilities.
        champion_labels: as the champion's classes encode them, when these are others.
        champion_classes: the champion's, when these are others.
        days: number of each row's day from 0, shape (rows,): whole days are drawn; None draws rows.

    Returns:
        `improvement`, `low` and `high` are positive where the challenger is better, whichever way the metric goes.

    Raises:
        HeadraceError: there are no rows.
    """
    metric, rule = spec.gates.primary, spec.gates.comparison
    if len(labels) == 0:
        raise HeadraceError(
            "these models can't be compared",
            product=spec.product,
            where=f"comparison of {challenger_id} with {champion_id}",
            expected="test rows",
            found="none",
            fix="raise split.min_test_rows",
        )
    held = labels if champion_labels is None else champion_labels
    new = _statistic(spec, metric, labels, challenger_scores, classes)
    old = _statistic(spec, metric, held, champion_scores, classes if champion_classes is None else champion_classes)
    once = np.ones((1, len(labels)))
    value, reference = float(new(once)[0]), float(old(once)[0])
    if metric == "roc_auc" and spec.task == "binary":
        both, contrast = np.stack([challenger_scores, champion_scores]), np.array([1.0, -1.0])
        deviation = _delong_deviation(labels, both, contrast, days)
        low, high = _normal(value - reference, deviation, rule.confidence, (-1.0, 1.0), days)
    else:
        gains = [DIRECTIONS[metric] * (new(w) - old(w)) for w in _weights(spec, len(labels), rule.replicates, days)]
        low, high = _percentiles(np.concatenate(gains), rule.confidence)
    units = len(labels) if days is None else int(days.max()) + 1
    if units < _MIN_UNITS or (low == high and value != reference):
        low, high = np.nan, np.nan  # so few say nothing of others, however much alike they are
    is_exact = metric == "roc_auc" and spec.task == "binary"
    return Comparison(
        challenger_id=challenger_id,
        champion_id=champion_id,
        split_id=split_id,
        metric=metric,
        challenger=value,
        champion=reference,
        improvement=DIRECTIONS[metric] * (value - reference),
        low=low,
        high=high,
        confidence=rule.confidence,
        method=("DELONG" if days is None else "OBUCHOWSKI") if is_exact else "PAIRED_BOOTSTRAP",
        rows=len(labels),
        replicates=0 if is_exact else rule.replicates,
    )


def intervals(
    spec: ProductSpec, labels: Labels, scores: Scores, *, classes: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """95% intervals of the primary and the shown metrics of one model, by the same methods; for a clustering none.

    Args:
        spec: says the task, the primary metric and the seed.
        labels: as the model's classes encode them, shape (rows,).
        scores: see `assets.tasks`.
        classes: the model's, in the order of its probabilities.

    Returns:
        metric -> (low, high); metrics that these rows don't define are left out.
    """
    if spec.task == "clustering" or len(labels) == 0:
        return {}
    names = dict.fromkeys((spec.gates.primary, *SHOWN[spec.task]))
    if spec.task == "binary":
        # rows of these tasks are exchangeable: in the order of their scores ranking them again costs nothing
        order = np.argsort(-scores, kind="stable")
        labels, scores = labels[order], scores[order]
    found = {name: _statistic(spec, name, labels, scores, classes) for name in names}
    once = np.ones((1, len(labels)))
    values = {name: float(statistic(once)[0]) for name, statistic in found.items()}
    defined = {name: statistic for name, statistic in found.items() if np.isfinite(values[name])}
    ends: dict[str, tuple[float, float]] = {}
    if spec.task == "binary" and "roc_auc" in defined:
        deviation = _delong_deviation(labels, scores[None, :], np.ones(1))
        ends["roc_auc"] = _normal(values["roc_auc"], deviation, SHOWN_CONFIDENCE, (0.0, 1.0))
    drawn = {name: statistic for name, statistic in defined.items() if name not in ends}
    blocks = [
        [statistic(weights) for statistic in drawn.values()]
        for weights in _weights(spec, len(labels), _shown_replicates(spec, len(labels)))
    ]
    for name, parts in zip(drawn, zip(*blocks, strict=True), strict=True):
        ends[name] = _percentiles(np.concatenate(parts), SHOWN_CONFIDENCE)
    return {name: ends[name] for name in names if name in ends}


# --- the interval ---------------------------------------------------------------------------------------------------


def _weights(spec: ProductSpec, rows: int, replicates: int, days: NDArray[np.int64] | None = None) -> Iterator[Floats]:
    """How often each row is drawn, replicates in blocks of shape (block, rows); of days all rows together."""
    if days is not None:
        for weights in _weights(spec, int(days.max()) + 1, replicates):
            step = max(1, _BLOCK_WEIGHTS // len(days))
            yield from (weights[at : at + step][:, days] for at in range(0, len(weights), step))
        return
    random = np.random.default_rng(spec.seed)
    length = round(rows ** (1 / 3)) if spec.task == "forecast" else 1
    at_once = max(1, _BLOCK_WEIGHTS // rows)
    for start in range(0, replicates, at_once):
        count = min(at_once, replicates - start)
        places = random.integers(0, rows, size=(count, -(-rows // length)))
        if length > 1:
            runs = (places[:, :, None] + np.arange(length)) % rows
            places = runs.reshape(count, -1)[:, :rows]
        places += (np.arange(count) * rows)[:, None]
        yield np.bincount(places.ravel(), minlength=count * rows).reshape(count, rows).astype(np.float64)


def _shown_replicates(spec: ProductSpec, rows: int) -> int:
    """Fewer where each costs more: the interval of a million rows is narrow whatever its ends."""
    fewer = max(100, _SHOWN_REPLICATES * 200_000 // max(rows, 1))
    return min(_SHOWN_REPLICATES, fewer, spec.gates.comparison.replicates)


def _percentiles(values: Floats, confidence: float) -> tuple[float, float]:
    """The middle part of replicates, of those whose rows define the metric."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return _rounded(low), _rounded(high)


def _normal(
    value: float,
    deviation: float,
    confidence: float,
    limits: tuple[float, float],
    days: NDArray[np.int64] | None = None,
) -> tuple[float, float]:
    """A normal interval (of days: Student's) within the metric's limits; without a deviation it is all there is."""
    from scipy.special import stdtrit

    if not np.isfinite(deviation):
        return limits
    until = (1 + confidence) / 2
    reach = deviation * (NormalDist().inv_cdf(until) if days is None else float(stdtrit(days.max(), until)))
    return _rounded(max(value - reach, limits[0])), _rounded(min(value + reach, limits[1]))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _delong_deviation(labels: Labels, scores: Floats, contrast: Floats, days: NDArray[np.int64] | None = None) -> float:
    """The standard error of a contrast of correlated ROC AUCs.

    Args:
        labels: 0 or 1, shape (rows,).
        scores: of each model, shape (models, rows).
        contrast: weight of each model's AUC, shape (models,).
        days: number of each row's day, or None: then rows are independent.

    Returns:
        NaN where a class has less than two rows, or there are less than two days, which have no variance.
    """
    positive = labels == 1
    wins, losses = int(positive.sum()), int((~positive).sum())
    if min(wins, losses) < 2:  # noqa: PLR2004 - a variance needs two
        return np.nan
    # placement of each positive among the negatives, and the reverse, of the contrast at once
    of_positive, of_negative = np.zeros(wins), np.zeros(losses)
    for weight, values in zip(contrast, scores, strict=True):
        ranks = _midranks(values)
        of_positive += weight * (ranks[positive] - _midranks(values[positive])) / losses
        of_negative += weight * (1 - (ranks[~positive] - _midranks(values[~positive])) / wins)
    if days is None:
        return float(np.sqrt(of_positive.var(ddof=1) / wins + of_negative.var(ddof=1) / losses))
    influence = np.empty(len(labels))
    influence[positive] = (of_positive - of_positive.mean()) / wins
    influence[~positive] = (of_negative - of_negative.mean()) / losses
    sums = np.bincount(days, weights=influence)
    return float(np.sqrt(len(sums) / (len(sums) - 1) * np.sum(sums**2))) if len(sums) > 1 else np.nan


def _midranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    ordered = np.sort(values)
    return (ordered.searchsorted(values, "left") + ordered.searchsorted(values, "right") + 1) / 2


# --- metrics as functions of weights, defined as in assets.evaluation.metrics -----------------------------------------


def _statistic(spec: ProductSpec, metric: str, labels: Labels, scores: Scores, classes: Sequence[str]) -> Statistic:
    if spec.task == "clustering" or spec.task in NUMERIC:
        return _mean(scores) if spec.task == "clustering" else _of_numbers(metric, labels, scores)
    if metric in ("brier", "log_loss"):
        return _of_probabilities(metric, labels, scores, len(classes) if spec.task == "multiclass" else 0)
    if metric == "average_precision":
        return _average_precision(labels == 1, scores)
    if metric == "roc_auc" and spec.task == "binary":
        return _mean_of([_roc_auc(labels == 1, scores)])
    if metric == "roc_auc":
        return _mean_of([_roc_auc(labels == place, scores[:, place]) for place in range(len(classes))])
    if spec.task in CLASSIFICATION:
        return _of_classes(metric, labels, predicted_classes(spec.task, scores, spec.decision_threshold))
    raise ValueError(f"{metric} of {spec.task} has no interval")


def _ratio(numerator: Floats, denominator: Floats, default: float = np.nan) -> Floats:
    """By element; the default where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, default), where=denominator != 0)


def _sums(weights: Floats, table: Floats) -> Floats:
    """Weighted sums of the columns of a table, shape (columns, replicates).

    This way around: with the weights first OpenBLAS has its threads wait for each other ten times as long.
    """
    return table.T @ weights.T


def _mean(terms: Floats, mask: Floats | None = None) -> Statistic:
    """The weighted mean of a term per row, of the rows whose mask is 1."""
    table = np.stack([terms, np.ones(len(terms)) if mask is None else mask], axis=1)

    def statistic(weights: Floats) -> Floats:
        total, rows = _sums(weights, table)
        return _ratio(total, rows)

    return statistic


def _of_numbers(metric: str, actual: Labels, predicted: Scores) -> Statistic:
    error = np.abs(predicted - actual)
    if metric == "r2":
        return _r2(actual, error)
    if metric == "rmse":
        mean_square = _mean(error**2)
        return lambda weights: np.sqrt(mean_square(weights))
    if metric == "mape":
        nonzero = (actual != 0).astype(np.float64)
        return _mean(100 * _ratio(error, np.abs(actual), default=0.0), nonzero)
    terms = {
        "mae": error,
        "smape": 100 * _ratio(error, (np.abs(predicted) + np.abs(actual)) / 2, default=0.0),
        # of the median both sides cost the same
        "pinball": PINBALL_QUANTILE * error,
    }
    return _mean(terms[metric])


def _r2(actual: Labels, error: Floats) -> Statistic:
    """Of two rows or more; where the actual values don't vary 1 if there is no error, else 0, as in scikit-learn."""
    centred = actual - actual.mean()
    table = np.stack([error**2, centred**2, centred], axis=1)

    def statistic(weights: Floats) -> Floats:
        unexplained, squares, total = _sums(weights, table)
        variation = squares - total**2 / len(actual)
        # equal values leave a rounding error
        varied = variation > _NO_VARIATION * squares
        value = 1 - _ratio(unexplained, np.where(varied, variation, 0.0))
        return np.where(varied, value, np.where(unexplained == 0, 1.0, 0.0))

    return statistic if len(actual) > 1 else lambda weights: np.full(len(weights), np.nan)


def _of_probabilities(metric: str, labels: Labels, scores: Scores, classes: int) -> Statistic:
    """`brier` and `log_loss`, of two classes (0) or of several."""
    if not classes:
        if metric == "brier":
            return _mean((scores - labels) ** 2)
        own = np.where(labels == 1, scores, 1 - scores)
        return _mean(-np.log(np.clip(own, _CLIP_BINARY, 1 - _CLIP_BINARY)))
    truth = labels[:, None] == np.arange(classes)
    if metric == "brier":
        return _mean(((scores - truth) ** 2).sum(axis=1) + (labels == UNKNOWN_CLASS))
    return _mean(-np.log(np.clip(np.where(truth, scores, 0).sum(axis=1), _CLIP, 1)))


def _mean_of(statistics: Sequence[Statistic]) -> Statistic:
    """The mean of ROC AUCs, of those that a replicate's rows define; 0.5 where they define none."""

    def statistic(weights: Floats) -> Floats:
        values = np.stack([item(weights) for item in statistics])
        known = np.isfinite(values)
        return _ratio(np.where(known, values, 0).sum(axis=0), known.sum(axis=0).astype(np.float64), default=0.5)

    return statistic


def _ranked(positive: NDArray[np.bool_], scores: Floats) -> tuple[Callable[[Floats], Floats], NDArray[np.int_], Floats]:
    """Rows from the highest score down: how to sort weights so, the places of the positives, and the sorted scores."""
    order = np.argsort(-scores, kind="stable")
    is_sorted = bool((order == np.arange(len(order))).all())
    return (
        (lambda weights: weights if is_sorted else np.take(weights, order, axis=1)),
        np.flatnonzero(positive[order]),
        -scores[order],
    )


def _roc_auc(positive: NDArray[np.bool_], scores: Floats) -> Statistic:
    """Weighted Mann-Whitney: NaN where only one class was drawn.

    Over all rows the mean number of rows above a positive counts other positives, too: half their number on average.
    """
    sort, places, ordered = _ranked(positive, scores)
    above = ordered.searchsorted(ordered[places], "left")
    until = ordered.searchsorted(ordered[places], "right")

    def statistic(weights: Floats) -> Floats:
        drawn = sort(weights)
        counts = np.zeros((len(drawn), drawn.shape[1] + 1))
        np.cumsum(drawn, axis=1, out=counts[:, 1:])
        own = drawn[:, places]
        wins = own.sum(axis=1)
        losses = counts[:, -1] - wins
        beaten_by = np.einsum("ij,ij->i", own, counts[:, above] + counts[:, until]) / 2 - wins**2 / 2
        return 1 - _ratio(beaten_by, wins * losses)

    return statistic


def _average_precision(positive: NDArray[np.bool_], scores: Floats) -> Statistic:
    """Mean precision at the positives, each at the end of its group of equal scores; 0 where one class was drawn."""
    sort, places, ordered = _ranked(positive, scores)
    last = ordered.searchsorted(ordered[places], "right") - 1
    last_own = places.searchsorted(last, "right") - 1

    def statistic(weights: Floats) -> Floats:
        drawn = sort(weights)
        counts = np.cumsum(drawn, axis=1)
        own = drawn[:, places]
        wins = own.sum(axis=1)
        precision = _ratio(np.cumsum(own, axis=1)[:, last_own], counts[:, last], default=0.0)
        found = _ratio(np.einsum("ij,ij->i", own, precision), wins, default=0.0)
        return np.where(wins < counts[:, -1], found, 0.0)

    return statistic


def _of_classes(metric: str, labels: Labels, predicted: NDArray[np.int64]) -> Statistic:
    """From the counts of each class drawn or predicted: F1 is 2 hits / (actual + predicted)."""
    if metric == "accuracy":
        return _mean((labels == predicted).astype(np.float64))
    names = np.union1d(labels, predicted)
    actual, called = labels[:, None] == names, predicted[:, None] == names
    table = np.concatenate([actual, called, actual & called], axis=1).astype(np.float64)

    def statistic(weights: Floats) -> Floats:
        rows, calls, hits = np.split(_sums(weights, table).T, 3, axis=1)
        f1 = _ratio(2 * hits, rows + calls, default=0.0)
        if metric == "f1":
            return np.asarray(np.where(names == 1, f1, 0).sum(axis=1))
        if metric == "f1_weighted":
            return _ratio((f1 * rows).sum(axis=1), rows.sum(axis=1))
        if metric == "balanced_accuracy":
            return _ratio(_ratio(hits, rows, default=0.0).sum(axis=1), (rows > 0).sum(axis=1).astype(np.float64))
        return _ratio(f1.sum(axis=1), (rows + calls > 0).sum(axis=1).astype(np.float64))

    return statistic
