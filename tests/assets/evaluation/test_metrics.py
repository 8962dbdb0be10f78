"""Metrics against scikit-learn and numbers by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from assets.evaluation.metrics import binary_metrics, calibration_curve, calibration_error

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
