"""Metrics of every task against scikit-learn, numbers by hand and bounds."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from assets.errors import HeadraceError
from assets.evaluation.metrics import (
    SHOWN,
    UNSEEN,
    binary_metrics,
    calibration_curve,
    calibration_error,
    calibration_noise,
    class_metrics,
    standardised,
    task_metrics,
)
from assets.tasks import DIRECTIONS, PRIMARIES, TASKS, improvement

LABELS = np.array([0, 1, 1, 0, 1, 0, 0, 1])
SCORES = np.array([0.1, 0.9, 0.4, 0.35, 0.8, 0.6, 0.2, 0.5])
PAIRS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 8).map(lambda eighths: eighths / 8)), min_size=1, max_size=80
)


def arrays(pairs: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([label for label, _ in pairs]), np.array([score for _, score in pairs])


def test_metrics_are_those_of_scikit_learn() -> None:
    found, classes = binary_metrics(LABELS, SCORES, threshold=0.5), SCORES >= 0.5
    assert found["roc_auc"] == metrics.roc_auc_score(LABELS, SCORES)
    assert found["average_precision"] == metrics.average_precision_score(LABELS, SCORES)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(LABELS, SCORES))
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(LABELS, SCORES))
    assert found["f1"] == metrics.f1_score(LABELS, classes)


def test_class_metrics_are_those_by_hand() -> None:
    """At 0.5 four are called positive, three of them are; three of the four positives are found."""
    found = binary_metrics(LABELS, SCORES, threshold=0.5)
    assert (found["rows"], found["positive_share"], found["predicted_positive_share"]) == (8, 0.5, 0.5)
    assert (found["precision"], found["recall"], found["accuracy"]) == (0.75, 0.75, 0.75)


def test_the_threshold_itself_is_positive() -> None:
    assert binary_metrics(LABELS, np.full(8, 0.3), threshold=0.3)["predicted_positive_share"] == 1


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_ranking(label: int) -> None:
    found = binary_metrics(np.full(4, label), np.array([0.1, 0.2, 0.3, 0.9]), threshold=0.5)
    assert (found["roc_auc"], found["average_precision"]) == (0.5, 0.0)
    assert all(np.isfinite(value) for value in found.values())


def test_no_rows_have_no_metric() -> None:
    assert binary_metrics(np.array([], dtype=int), np.array([]), threshold=0.5) == {"rows": 0.0}


def test_scores_that_are_no_numbers_are_no_metric() -> None:
    """A NaN must stop, not become a score."""
    with pytest.raises(ValueError, match="NaN"):
        binary_metrics(LABELS, np.where(SCORES > 0.8, np.nan, SCORES), threshold=0.5)


# --- calibration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backwards", [False, True])
def test_a_constant_at_the_positive_share_is_calibrated_in_whatever_order(backwards: bool) -> None:
    """Regression: equal scores were divided among bins by row order, so sorted labels gave an error of 0.5."""
    labels = np.array([0] * 50 + [1] * 50)
    assert calibration_error(labels[::-1] if backwards else labels, np.full(100, 0.5)) == 0


def test_a_constant_elsewhere_is_off_by_the_difference() -> None:
    assert calibration_error(np.array([0, 1] * 50), np.full(100, 0.9)) == pytest.approx(0.4)


def test_two_groups_are_weighed_by_their_rows() -> None:
    """80 rows said 0.2 of which 0.25 are; 20 rows said 0.9 of which 0.5 are."""
    scores = np.array([0.2] * 80 + [0.9] * 20)
    labels = np.array([1] * 20 + [0] * 60 + [1] * 10 + [0] * 10)
    assert calibration_error(labels, scores) == pytest.approx(0.8 * 0.05 + 0.2 * 0.4)


def test_scores_that_are_the_true_probabilities_are_calibrated() -> None:
    random = np.random.default_rng(1)
    scores = random.random(50_000)
    labels = (random.random(50_000) < scores).astype(int)
    assert calibration_error(labels, scores) < 0.01
    assert calibration_error(labels, scores**2) > 0.1
    assert calibration_error(1 - labels, scores) > 0.4


@pytest.mark.parametrize("rows", [15, 150, 15_000])
def test_the_error_of_exact_probabilities_is_what_chance_gives(rows: int) -> None:
    """On average over samples; with 15 rows it is most of what a small set shows."""
    random = np.random.default_rng(8)
    scores = random.random(rows)
    found = np.mean([calibration_error((random.random(rows) < scores).astype(int), scores) for _ in range(200)])
    # two rows of a bin are not yet normal
    assert calibration_noise(scores) == pytest.approx(found, rel=0.25 if rows == 15 else 0.1)


def test_bins_of_different_scores_have_about_equally_many_rows() -> None:
    predicted, observed, weights = calibration_curve(np.zeros(1_000, dtype=int), np.linspace(0, 1, 1_000))
    assert len(predicted) == len(observed) == 10
    assert np.abs(weights - 0.1).max() < 0.01
    assert (np.diff(predicted) > 0).all()


@given(pairs=PAIRS, order=st.randoms(use_true_random=False))
def test_no_metric_depends_on_the_order_of_the_rows(pairs: list[tuple[int, float]], order: Any) -> None:
    shuffled = list(pairs)
    order.shuffle(shuffled)
    one, two = (binary_metrics(*arrays(rows), threshold=0.5) for rows in (pairs, shuffled))
    assert one == pytest.approx(two)


@given(PAIRS)
def test_the_calibration_error_is_a_weighted_mean_of_gaps(pairs: list[tuple[int, float]]) -> None:
    labels, scores = arrays(pairs)
    predicted, observed, weights = calibration_curve(labels, scores)
    assert weights.sum() == pytest.approx(1)
    assert (predicted * weights).sum() == pytest.approx(scores.mean())
    assert (observed * weights).sum() == pytest.approx(labels.mean())
    assert abs(scores.mean() - labels.mean()) <= calibration_error(labels, scores) + 1e-12 <= 1 + 1e-9


# --- every task -----------------------------------------------------------------------------------------------------

CLASSES = ("a", "b", "c")
THREE = np.array([0, 1, 2, 2, 1, 0])
CHANCES = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.4, 0.35, 0.25]]
)
ACTUAL = np.array([100.0, 200.0, 0.0, 50.0])
PREDICTED = np.array([110.0, 190.0, 5.0, 50.0])
NUMBERS = st.lists(
    st.tuples(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), st.floats(-1e6, 1e6).map(lambda x: round(x, 3))),
    min_size=2,
    max_size=40,
)


def blobs(rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two far groups, and scores that say which."""
    random = np.random.default_rng(2)
    places = np.arange(rows) % 3 == 0
    return random.normal(0, 1, (rows, 3)) + 20 * places[:, None], np.column_stack([~places, places]).astype(float)


def metrics_of(task: str) -> dict[str, float]:
    """The metrics of rows that fit the task."""
    if task == "clustering":
        matrix, scores = blobs()
        return task_metrics(task, np.zeros(300), scores, matrix=matrix)
    labels, scores = {"binary": (LABELS, SCORES), "multiclass": (THREE, CHANCES)}.get(task, (ACTUAL, PREDICTED))
    return task_metrics(task, labels, scores, classes=CLASSES)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_the_metrics_that_may_decide_and_that_are_shown(task: str) -> None:
    found = metrics_of(task)
    assert {*PRIMARIES[task], *SHOWN[task]} <= set(found)
    assert all(isinstance(value, float) and np.isfinite(value) for value in found.values())


@pytest.mark.parametrize("task", TASKS)
def test_no_rows_have_no_metric_in_any_task(task: str) -> None:
    shape = (0, 3) if task in ("multiclass", "clustering") else (0,)
    assert task_metrics(task, np.array([]), np.zeros(shape), matrix=np.zeros((0, 2))) == {"rows": 0.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_said(bad: float) -> None:
    with pytest.raises(HeadraceError, match="NaN or infinite") as caught:
        task_metrics("regression", ACTUAL, np.array([1, 2, bad, 3]))
    assert caught.value.found == "1 of 4"


def test_several_classes_are_as_scikit_learn_says() -> None:
    found, called = task_metrics("multiclass", THREE, CHANCES, classes=CLASSES), CHANCES.argmax(axis=1)
    assert found["f1_macro"] == metrics.f1_score(THREE, called, average="macro")
    assert found["f1_weighted"] == metrics.f1_score(THREE, called, average="weighted")
    assert found["accuracy"] == metrics.accuracy_score(THREE, called)
    assert found["balanced_accuracy"] == metrics.balanced_accuracy_score(THREE, called)
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(THREE, CHANCES, multi_class="ovr"))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(THREE, CHANCES))
    assert found["brier"] == pytest.approx(np.mean(((CHANCES - np.eye(3)[THREE]) ** 2).sum(axis=1)))
    assert (found["predicted_classes"], found["unseen_share"]) == (3, 0)


def test_two_classes_as_one_of_several_have_the_averages_of_two() -> None:
    """The same rows as binary and as multiclass."""
    both = np.column_stack([1 - SCORES, SCORES])
    two, several = binary_metrics(LABELS, SCORES, threshold=0.5), task_metrics(
        "multiclass", LABELS, both, classes=("false", "true")
    )  # fmt: skip
    assert two["roc_auc"] == several["roc_auc"]
    assert two["log_loss"] == pytest.approx(several["log_loss"])
    assert several["brier"] == pytest.approx(2 * two["brier"])


def test_a_class_that_training_has_not_seen_is_always_wrong_and_costs_the_most() -> None:
    labels = np.append(THREE, -1)
    found = task_metrics("multiclass", labels, np.vstack([CHANCES, [0.98, 0.01, 0.01]]), classes=CLASSES)
    known = task_metrics("multiclass", THREE, CHANCES, classes=CLASSES)
    assert found["accuracy"] == pytest.approx(known["accuracy"] * 6 / 7)
    assert found["log_loss"] == pytest.approx((known["log_loss"] * 6 - np.log(1e-15)) / 7)
    assert found["f1_macro"] < known["f1_macro"]
    assert found["unseen_share"] == pytest.approx(1 / 7)


def test_each_class_has_its_precision_recall_and_rows() -> None:
    found = class_metrics("multiclass", np.append(THREE, -1), np.vstack([CHANCES, [1, 0, 0]]), classes=CLASSES)
    assert found["a"] == {"precision": pytest.approx(2 / 3), "recall": 1, "f1": pytest.approx(0.8), "rows": 2}
    assert found[UNSEEN] == {"precision": 0, "recall": 0, "f1": 0, "rows": 1}
    assert list(class_metrics("binary", LABELS, SCORES)) == ["false", "true"]
    assert class_metrics("regression", ACTUAL, PREDICTED) == {}


def test_metrics_of_numbers_are_those_by_hand() -> None:
    """Row three has an actual value of 0: it counts everywhere but in mape."""
    found = task_metrics("forecast", ACTUAL, PREDICTED)
    assert (found["mae"], found["pinball"], found["bias"]) == (6.25, 3.125, 1.25)
    assert found["rmse"] == pytest.approx(np.sqrt(225 / 4))
    assert found["mape"] == pytest.approx(5.0)
    assert found["mape_rows"] == 3
    assert found["smape"] == pytest.approx(100 * (10 / 105 + 10 / 195 + 5 / 2.5) / 4)
    assert found["r2"] == metrics.r2_score(ACTUAL, PREDICTED)


def test_actual_values_of_nothing_but_zero_have_no_mape_and_one_row_no_r2() -> None:
    found = task_metrics("forecast", np.zeros(1), np.zeros(1))
    assert "mape" not in found
    assert "r2" not in found
    assert found["smape"] == found["mae"] == 0


@given(NUMBERS)
def test_metrics_of_numbers_keep_their_bounds(pairs: list[tuple[float, float]]) -> None:
    actual, predicted = np.array(pairs).T
    found = task_metrics("regression", actual, predicted)
    assert 0 <= found["mae"] <= found["rmse"] * (1 + 1e-9)
    assert abs(found["bias"]) <= found["mae"] * (1 + 1e-9)
    assert 0 <= found["smape"] <= 200 + 1e-9
    assert found["r2"] <= 1
    assert found["pinball"] == pytest.approx(found["mae"] / 2)


@given(NUMBERS)
def test_nothing_is_better_than_the_truth_whichever_way_the_metric_goes(pairs: list[tuple[float, float]]) -> None:
    actual, predicted = np.array(pairs).T
    found, perfect = (task_metrics("regression", actual, guess) for guess in (predicted, actual))
    for name in set(found) & set(DIRECTIONS):
        assert improvement(name, perfect[name], found[name]) >= 0, name


def test_far_groups_have_a_silhouette_near_one_and_one_cluster_has_none() -> None:
    matrix, scores = blobs()
    found = task_metrics("clustering", np.zeros(300), scores, matrix=matrix)
    assert found["silhouette"] == pytest.approx(metrics.silhouette_score(standardised(matrix), scores.argmax(axis=1)))
    assert found["silhouette"] > 0.8
    assert (found["clusters"], found["smallest_cluster_share"]) == (2, pytest.approx(1 / 3))
    one = task_metrics("clustering", np.zeros(300), np.ones((300, 1)), matrix=matrix)
    assert (one["silhouette"], one["clusters"]) == (0, 1)


def test_a_silhouette_does_not_depend_on_units_and_survives_gaps_and_categories() -> None:
    matrix, scores = blobs()
    coded = np.column_stack([matrix, np.arange(300) % 3 == 0, np.full(300, np.nan)])
    gaps = coded * [1000, 1, 0.001, 1, 1]
    gaps[::50, 0] = np.nan
    one, two = (
        task_metrics("clustering", np.zeros(300), scores, matrix=rows, categorical=[3]) for rows in (coded, gaps)
    )
    assert one["silhouette"] == pytest.approx(two["silhouette"], abs=0.02)


def test_rows_are_standardised_and_categories_become_columns() -> None:
    matrix = np.array([[1.0, 0.0, 7.0], [3.0, 2.0, 7.0], [np.nan, np.nan, 7.0]])
    found = standardised(matrix, [1])
    assert found[:, 0] == pytest.approx([-1.2247, 1.2247, 0], abs=1e-3)
    assert (found[:, 1] == 0).all()
    assert found[:, 2:].tolist() == [[1, 0], [0, 1], [0, 0]]
