"""Challenger against champion: metrics as they are measured, intervals against known variances, the error of luck."""

import functools
import tracemalloc
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from assets.errors import HeadraceError
from assets.evaluation.comparison import compare, intervals
from assets.evaluation.metrics import SHOWN, task_metrics
from assets.records import Comparison
from assets.spec import ProductSpec
from assets.tasks import CLASSIFICATION, DIRECTIONS, NUMERIC, PRIMARIES, UNKNOWN_CLASS, Task

CLASSES: dict[Task, tuple[str, ...]] = {
    "binary": ("false", "true"), "multiclass": ("a", "b", "c"), "regression": (), "forecast": ()
}  # fmt: skip
MEASURED = [(task, metric) for task in CLASSES for metric in PRIMARIES[task]]
NAIVE = [
    {"algorithm": "seasonal_naive", "params": {"column": "size"}},
    {"algorithm": "last_value", "params": {"column": "size"}},
]
SEEDS = 200


@pytest.fixture(scope="module")
def product(spec_of: Callable[..., ProductSpec]) -> Callable[..., ProductSpec]:
    """The toy as a product of a task with a primary metric, made once."""

    @functools.cache
    def make(task: Task, metric: str, **comparison: Any) -> ProductSpec:
        learner = {"algorithm": "logistic_regression" if task in CLASSIFICATION else "linear_regression"}
        candidates = [{"algorithm": "baseline"}, *(NAIVE if task == "forecast" else []), learner]
        return spec_of(
            {"task": task, "gates.primary": metric, "gates.comparison": comparison, "candidates": candidates}
        )

    return make


def rows_of(task: Task, seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes, the scores of a good model and of a worse one; equal scores and outcomes are among them."""
    random = np.random.default_rng(seed)
    if task in NUMERIC:
        labels = random.integers(-8, 24, rows) / 4
        good, bad = (np.round(labels + random.normal(0, noise, rows), 2) for noise in (1, 2))
        return labels, good, bad
    if task == "binary":
        labels = random.integers(0, 2, rows)
        # a grid, so that scores are equal to each other, to the threshold, to 0 and to 1
        good, bad = (np.clip(np.round(labels * 0.4 + random.random(rows) * size, 1), 0, 1) for size in (0.6, 1))
        return labels, good, bad
    labels = random.integers(UNKNOWN_CLASS, 3, rows)
    truth = labels[:, None] == np.arange(3)
    good, bad = (random.integers(1, 9, (rows, 3)) + size * truth for size in (8, 2))
    return labels, good / good.sum(axis=1, keepdims=True), bad / bad.sum(axis=1, keepdims=True)


def compared(spec: ProductSpec, labels: np.ndarray, new: np.ndarray, old: np.ndarray, **options: Any) -> Comparison:
    return compare(spec, "split-1", "new", "old", labels, new, old, classes=CLASSES[spec.task], **options)


# --- the values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", CLASSES)
@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 40))
def test_what_is_compared_is_what_evaluation_measures(
    product: Callable[..., ProductSpec], task: Task, seed: int, rows: int
) -> None:
    """Each metric that may decide, on one row, one class, a class that training has not seen, ties and constants."""
    labels, new, old = rows_of(task, seed, rows)
    threshold = product(task, PRIMARIES[task][0]).decision_threshold
    wanted = [task_metrics(task, labels, item, threshold=threshold, classes=CLASSES[task]) for item in (new, old)]
    for metric in PRIMARIES[task]:
        found = compared(product(task, metric, replicates=200), labels, new, old)
        expected = [item.get(metric, np.nan) for item in wanted]
        assert [found.challenger, found.champion] == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize(("task", "metric"), MEASURED)
def test_positive_means_that_the_challenger_is_better_whichever_way_the_metric_goes(
    product: Callable[..., ProductSpec], task: Task, metric: str
) -> None:
    labels, good, bad = rows_of(task, 1, 400)
    spec = product(task, metric)
    better, worse = compared(spec, labels, good, bad), compared(spec, labels, bad, good)
    assert 0 < better.low < better.improvement < better.high
    assert better.improvement == pytest.approx(DIRECTIONS[metric] * (better.challenger - better.champion))
    assert (worse.improvement, worse.low) == (-better.improvement, pytest.approx(-better.high, rel=0.2))
    assert (better.metric, better.rows, better.confidence) == (metric, 400, 0.95)


@pytest.mark.parametrize(("task", "metric"), MEASURED)
def test_the_same_scores_are_no_improvement_for_sure(
    product: Callable[..., ProductSpec], task: Task, metric: str
) -> None:
    labels, good, _ = rows_of(task, 1, 100)
    found = compared(product(task, metric), labels, good, good)
    assert (found.improvement, found.low, found.high) == (0, 0, 0)


def test_models_with_other_classes_are_compared_by_their_own(product: Callable[..., ProductSpec]) -> None:
    """The champion has never seen class b, so it is wrong there; its other classes have other places."""
    labels, scores, _ = rows_of("multiclass", 3, 200)
    spec = product("multiclass", "accuracy")
    own = np.select([labels == 0, labels == 2], [0, 1], UNKNOWN_CLASS)
    found = compared(
        spec, labels, scores, scores[:, [0, 2]], champion_labels=own, champion_classes=("a", "c")
    )  # fmt: skip
    assert found.champion == (np.argmax(scores[:, [0, 2]], axis=1) == own).mean()
    assert found.challenger == (np.argmax(scores, axis=1) == labels).mean()


def test_a_comparison_is_the_same_every_time_and_is_kept_as_json(product: Callable[..., ProductSpec]) -> None:
    labels, good, bad = rows_of("binary", 1, 300)
    spec = product("binary", "average_precision")
    first, second = compared(spec, labels, good, bad), compared(spec, labels, good, bad)
    assert first.comparison_id == second.comparison_id
    assert Comparison.model_validate_json(first.to_json()) == first


def test_without_rows_nothing_is_compared(product: Callable[..., ProductSpec]) -> None:
    none, spec = np.zeros(0), product("binary", "roc_auc")
    with pytest.raises(HeadraceError, match="can't be compared"):
        compare(spec, "split-1", "new", "old", none, none, none, classes=())
    assert intervals(spec, none, none, classes=()) == {}


# --- the intervals --------------------------------------------------------------------------------------------------


def slow_delong(labels: np.ndarray, new: np.ndarray, old: np.ndarray) -> float:
    """The standard error by the definition of DeLong et al. (1988): every positive against every negative."""
    placed = []
    for scores in (new, old):
        wins, losses = scores[labels == 1][:, None], scores[labels == 0][None, :]
        placed.append((wins > losses) + 0.5 * (wins == losses))
    of_positive, of_negative = (np.stack([part.mean(axis=axis) for part in placed]) for axis in (1, 0))
    covariance = np.cov(of_positive) / of_positive.shape[1] + np.cov(of_negative) / of_negative.shape[1]
    contrast = np.array([1, -1])
    return float(np.sqrt(contrast @ covariance @ contrast))


@given(seed=st.integers(0, 10_000), rows=st.integers(8, 60))
def test_the_interval_of_a_roc_auc_is_delongs(product: Callable[..., ProductSpec], seed: int, rows: int) -> None:
    labels, new, old = rows_of("binary", seed, rows)
    labels[:4] = (0, 0, 1, 1)
    found = compared(product("binary", "roc_auc", confidence=0.9), labels, new, old)
    reach = NormalDist().inv_cdf(0.95) * slow_delong(labels, new, old)
    assert found.method == "DELONG"
    assert found.low == pytest.approx(max(found.improvement - reach, -1), abs=1e-9)
    assert found.high == pytest.approx(min(found.improvement + reach, 1), abs=1e-9)


def test_a_single_positive_row_says_nothing_about_a_roc_auc(product: Callable[..., ProductSpec]) -> None:
    labels = np.array([1, 0, 0, 0])
    found = compared(product("binary", "roc_auc"), labels, np.array([0.9, 0.1, 0.2, 0.3]), np.full(4, 0.5))
    assert found.improvement == 0.5
    assert not np.isfinite([found.low, found.high]).any()


def test_so_few_rows_or_days_that_they_are_all_alike_promote_nothing(product: Callable[..., ProductSpec]) -> None:
    """Regression: one day of rows, or a perfect score on a handful, had an interval without a width, above 0."""
    labels, new, old = rows_of("binary", 3, 200)
    spec = product("binary", "brier")
    one_day = compare(spec, "s", "new", "old", labels, new, old, classes=(), days=np.zeros(200, dtype=np.int64))
    assert not np.isfinite([one_day.low, one_day.high]).any()
    ones = np.array([1, 1, 1, 0, 0, 0])
    perfect = compared(product("binary", "roc_auc"), ones, ones * 0.8 + 0.1, np.full(6, 0.5))
    assert not np.isfinite([perfect.low, perfect.high]).any()


@pytest.mark.parametrize("metric", ["accuracy", "brier", "log_loss"])
def test_a_bootstrap_of_means_is_as_wide_as_a_paired_t_interval(
    product: Callable[..., ProductSpec], metric: str
) -> None:
    labels, new, old = rows_of("binary", 2, 2_000)
    new, old = np.clip(new, 0.05, 0.95), np.clip(old, 0.05, 0.95)
    found = compared(product("binary", metric, replicates=2_000), labels, new, old)
    terms = {
        "accuracy": lambda scores: (scores >= 0.5) == labels,
        "brier": lambda scores: -((scores - labels) ** 2),
        "log_loss": lambda scores: np.log(np.where(labels == 1, scores, 1 - scores)),
    }[metric]
    gains = terms(new).astype(float) - terms(old)
    wanted = stats.t.interval(0.95, len(gains) - 1, gains.mean(), stats.sem(gains))
    assert (found.low, found.high) == pytest.approx(wanted, abs=0.1 * (wanted[1] - wanted[0]))
    assert (found.method, found.replicates) == ("PAIRED_BOOTSTRAP", 2_000)


def pairs_won(positive: np.ndarray, scores: np.ndarray) -> float:
    """The ROC AUC by its definition."""
    wins, losses = scores[positive][:, None], scores[~positive][None, :]
    return float(((wins > losses) + 0.5 * (wins == losses)).mean())


@pytest.mark.parametrize(("task", "metric"), [("multiclass", "roc_auc"), ("binary", "average_precision")])
def test_a_bootstrap_by_weights_is_one_by_rows(product: Callable[..., ProductSpec], task: Task, metric: str) -> None:
    """The same interval from drawing rows and measuring each draw with the metrics of evaluation."""
    labels, new, old = rows_of(task, 5, 150)
    found = compared(product(task, metric), labels, new, old)
    measure = {
        "roc_auc": lambda labels, scores: np.mean([pairs_won(labels == place, scores[:, place]) for place in range(3)]),
        "average_precision": metrics.average_precision_score,
    }[metric]
    random, gains = np.random.default_rng(0), []
    for _ in range(300):
        rows = random.integers(0, len(labels), len(labels))
        gains.append(measure(labels[rows], new[rows]) - measure(labels[rows], old[rows]))
    low, high = np.quantile(gains, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_neighbours_of_a_forecast_are_drawn_together_as_their_errors_resemble_each_other(
    product: Callable[..., ProductSpec],
) -> None:
    """Of errors that persist, rows drawn singly would promise an interval that is far too narrow."""
    random = np.random.default_rng(1)
    rows, persistence = 1_000, 0.9
    noise = random.normal(0, 1, rows)
    errors = np.zeros(rows)
    for day in range(1, rows):
        errors[day] = persistence * errors[day - 1] + noise[day]
    labels = np.zeros(rows)
    widths = {}
    for task in ("regression", "forecast"):
        found = compared(product(task, "mae"), labels, 50 + errors, np.full(rows, 50.0))
        widths[task] = found.high - found.low
    assert widths["regression"] == pytest.approx(2 * 1.96 * errors.std() / np.sqrt(rows), rel=0.1)
    assert widths["forecast"] > 2 * widths["regression"]


@pytest.mark.parametrize("task", CLASSES)
def test_the_shown_metrics_of_a_model_have_intervals_around_what_was_measured(
    product: Callable[..., ProductSpec], task: Task
) -> None:
    labels, scores, _ = rows_of(task, 4, 300)
    spec = product(task, PRIMARIES[task][-1])
    found = intervals(spec, labels, scores, classes=CLASSES[task])
    assert set(found) == {spec.gates.primary, *SHOWN[task]}
    measured = task_metrics(task, labels, scores, classes=CLASSES[task])
    assert all(low < measured[name] < high for name, (low, high) in found.items())


def test_metrics_that_rows_do_not_define_have_no_interval(product: Callable[..., ProductSpec]) -> None:
    found = intervals(product("regression", "mae"), np.zeros(20), np.ones(20), classes=())
    assert "mape" not in found
    assert found["mae"] == (1, 1)


# --- luck -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "metric"), [("binary", "roc_auc"), ("binary", "f1_macro"), ("regression", "rmse")])
def test_of_two_equally_good_models_one_in_forty_looks_better(
    product: Callable[..., ProductSpec], task: Task, metric: str
) -> None:
    """The type I error of superiority: half of the 5% that a 95% interval leaves; not more than 5% in 200 tries."""
    spec = product(task, metric, replicates=200)
    promoted = 0
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        known = random.normal(0, 1, 500)
        new, old = (known + random.normal(0, 0.7, 500) for _ in range(2))
        labels = known + random.normal(0, 1, 500)
        if task == "binary":
            labels, new, old = (labels > 0.5).astype(int), 1 / (1 + np.exp(0.5 - new)), 1 / (1 + np.exp(0.5 - old))
        promoted += compared(spec, labels, new, old).low > 0
    assert promoted <= 0.05 * SEEDS


def test_the_weights_of_a_large_test_are_not_held_at_once(product: Callable[..., ProductSpec]) -> None:
    """1,000 replicates of 30,000 rows are 240 MB of weights."""
    labels, good, bad = rows_of("binary", 1, 30_000)
    tracemalloc.start()
    compared(product("binary", "average_precision", replicates=200), labels, good, bad)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6


@pytest.mark.parametrize("metric", ["roc_auc", "brier"])
def test_rows_that_share_the_luck_of_their_day_make_the_interval_wider(
    product: Callable[..., ProductSpec], metric: str
) -> None:
    """Forty days, on each of which one model is right by chance: drawn by rows that looks like a sure win."""
    random = np.random.default_rng(3)
    days = np.repeat(np.arange(40), 100)
    labels = random.integers(0, 2, len(days))
    luck = random.normal(0, 1, 40)[days]
    old = 1 / (1 + np.exp(-(labels - 0.5 + random.normal(0, 1, len(days)))))
    new = 1 / (1 + np.exp(-(labels - 0.5) * (1 + luck) - random.normal(0, 1, len(days))))
    spec = product("binary", metric)
    by_rows = compare(spec, "s", "new", "old", labels, new, old, classes=())
    by_days = compare(spec, "s", "new", "old", labels, new, old, classes=(), days=days)
    assert by_days.improvement == by_rows.improvement
    assert by_days.high - by_days.low > 1.5 * (by_rows.high - by_rows.low)
    alone = compare(spec, "s", "new", "old", labels, new, old, classes=(), days=np.arange(len(days)))
    assert alone.high - alone.low == pytest.approx(by_rows.high - by_rows.low, rel=0.1), "a row a day is a row"


def test_clusterings_are_compared_by_the_silhouettes_of_the_same_rows(spec_of: Callable[..., ProductSpec]) -> None:
    clusters = {"task": "clustering", "label": ..., "gates.slices": {}}
    spec = spec_of({**clusters, "candidates": [{"algorithm": "baseline"}, {"algorithm": "kmeans"}]})
    random = np.random.default_rng(5)
    old = random.uniform(-0.2, 0.6, 300)
    new = old + 0.1 + random.normal(0, 0.05, 300)
    found = compare(spec, "s", "new", "old", np.zeros(300), new, old, classes=())
    assert found.improvement == pytest.approx(np.mean(new) - np.mean(old))
    assert 0.08 < found.low < found.improvement < found.high < 0.12
