"""A calibration is chosen where it clearly makes probabilities truer, never turns scores round; same bits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from assets.candidates.calibration import (
    MIN_GAIN_SHARE,
    MIN_GAIN_SHARE_LATER,
    choose,
    fit_isotonic,
    fit_platt,
    require_binary,
)
from assets.candidates.predictor import Predictor, calibrated, load_predictor
from assets.candidates.registry import Fitted, algorithm
from assets.candidates.training import train
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError
from assets.evaluation.metrics import binary_metrics
from assets.records import Calibration, ModelManifest, Provenance, SplitManifest
from assets.spec import CandidateSpec, ProductSpec

Floats = NDArray[np.float64]
ROWS = 4_000
CALIBRATIONS = [
    Calibration(method="platt", slope=1.37, intercept=-0.21),
    Calibration(method="platt", slope=0.31, intercept=2.5),
    Calibration(method="isotonic", raw=(0.0, 0.1, 0.11, 0.7, 1.0), calibrated=(0.0, 0.3, 0.31, 0.6, 1.0)),
]


def drawn(seed: int, rows: int = ROWS) -> tuple[Floats, NDArray[np.int64]]:
    """Probabilities that are true, and outcomes drawn by them."""
    random = np.random.default_rng(seed)
    true = random.beta(1, 3, rows)
    return true, (random.random(rows) < true).astype(np.int64)


def overconfident(true: Floats) -> Floats:
    """What a model says that takes its evidence twice."""
    return true**2 / (true**2 + (1 - true) ** 2)


def stepped(true: Floats) -> Floats:
    """What a model says that is wrong in a way no logistic can mend."""
    return np.where(true < 0.3, true / 10, 0.5 + true / 2)


def chosen(raw: Floats, labels: NDArray[np.int64], strategy: str = "stratified", **fields: Any) -> Any:
    return choose(CandidateSpec(algorithm="lightgbm", **fields), labels, raw, strategy=strategy, seed=7)


def error(labels: NDArray[np.int64], scores: Floats) -> dict[str, float]:
    return binary_metrics(labels, scores, threshold=0.5)


@pytest.mark.parametrize(("distorted", "method"), [(overconfident, "platt"), (stepped, "isotonic")])
@pytest.mark.parametrize("strategy", ["stratified", "temporal"])
def test_a_miscalibrated_model_becomes_true_on_rows_it_has_not_seen(
    distorted: Callable[[Floats], Floats], method: str, strategy: str
) -> None:
    true, labels = drawn(1)
    found = chosen(distorted(true), labels, strategy)
    assert found.calibration.method == method
    unseen, outcomes = drawn(2)
    before, after = distorted(unseen), calibrated(found.calibration, distorted(unseen))
    assert error(outcomes, after)["calibration_error"] < error(outcomes, before)["calibration_error"] / 3
    assert error(outcomes, after)["brier"] < error(outcomes, before)["brier"]
    assert error(outcomes, after)["roc_auc"] == pytest.approx(error(outcomes, before)["roc_auc"], abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_a_calibrated_model_is_left_as_it_is(seed: int) -> None:
    true, labels = drawn(seed)
    found = chosen(true, labels)
    assert found.calibration is None
    assert found.history["calibration"].startswith("none; cross-validated log loss on 4,000 validation rows: none 0.4")
    assert found.history["log_loss_before_calibration"] == found.history["log_loss_after_calibration"]


def test_a_shift_of_the_base_rate_is_followed_only_where_the_unseen_rows_are_of_the_same_time() -> None:
    """Measured on flights: what a month gains by it, the next one loses."""
    true, labels = drawn(3, 20_000)
    shifted = calibrated(Calibration(method="platt", slope=1, intercept=-0.35), true)
    gained = chosen(shifted, labels, "random")
    losses = gained.calibration.evidence
    share = 1 - losses["platt"] / losses["none"]
    assert MIN_GAIN_SHARE < share < MIN_GAIN_SHARE_LATER
    assert gained.history["log_loss_after_calibration"] < gained.history["log_loss_before_calibration"]
    assert chosen(shifted, labels, "temporal").calibration is None
    assert chosen(shifted, labels, "temporal", calibrate="platt").calibration == gained.calibration


def test_a_few_extreme_rows_decide_nothing() -> None:
    """They make the log loss of all rows; the Brier score says that nothing else is wrong."""
    true, labels = drawn(4)
    raw = true.copy()
    raw[np.flatnonzero(labels == 1)[:3]] = 0.0
    assert chosen(raw, labels).calibration is None


@pytest.mark.parametrize("count", [0, 60, 199])
def test_too_few_rows_are_left_alone_with_the_reason_in_words(count: int) -> None:
    true, labels = drawn(5, max(count, 1))
    found = chosen(overconfident(true)[:count], labels[:count])
    assert found.calibration is None
    assert f"none: {count} validation rows" in found.history["calibration"]
    assert "at least 200 and 20 are needed" in found.history["calibration"]


def test_too_few_of_a_class_are_left_alone_and_a_named_method_is_refused() -> None:
    random = np.random.default_rng(6)
    labels = np.zeros(1_000, dtype=np.int64)
    labels[:4] = 1
    raw = random.random(1_000)
    assert "4 of the rarer class" in chosen(raw, labels).history["calibration"]
    with pytest.raises(HeadraceError, match="can't be calibrated by isotonic") as caught:
        chosen(raw, labels, calibrate="isotonic")
    assert caught.value.found == "1000 validation rows, 4 of the rarer class"


def test_a_model_that_ranks_the_wrong_way_round_is_not_turned() -> None:
    true, labels = drawn(8)
    assert fit_platt(labels, 1 - true) is None
    with pytest.raises(HeadraceError, match="can't be calibrated by platt"):
        chosen(1 - true, labels, calibrate="platt")
    found = fit_isotonic(labels, 1 - true)
    assert (np.diff(calibrated(found, np.linspace(0, 1, 1_000))) >= 0).all()


def test_none_is_none_and_other_tasks_have_no_method() -> None:
    true, labels = drawn(1)
    assert chosen(overconfident(true), labels, calibrate="none").calibration is None
    require_binary(CandidateSpec(algorithm="lightgbm"), "regression")
    with pytest.raises(HeadraceError, match="calibrate: platt is for probabilities of two classes"):
        require_binary(CandidateSpec(algorithm="lightgbm", calibrate="platt"), "multiclass")


@pytest.mark.parametrize("fit", [fit_platt, fit_isotonic])
@pytest.mark.parametrize("distorted", [overconfident, stepped, np.round, np.zeros_like, np.ones_like])
def test_whatever_was_fitted_never_falls_and_stays_within_0_and_1(
    fit: Callable[..., Calibration | None], distorted: Callable[[Floats], Floats]
) -> None:
    true, labels = drawn(9)
    found = fit(labels, distorted(true))
    assert found is not None
    given = np.concatenate([np.linspace(0, 1, 20_001), [5e-324, 1e-300, 1e-9, 1 - 1e-12, 1.0000001, -1e-7]])
    scores = calibrated(found, np.sort(given))
    assert (np.diff(scores) >= 0).all()
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert np.isnan(calibrated(found, np.array([np.nan]))).all()


def test_the_isotonic_line_has_few_ties_and_says_neither_0_nor_1() -> None:
    true, labels = drawn(10)
    raw = stepped(true)
    found = fit_isotonic(labels, raw)
    scores = calibrated(found, raw)
    assert len(np.unique(scores)) > 0.99 * len(np.unique(raw))
    assert 0 < min(found.calibrated[1:-1]) < max(found.calibrated[1:-1]) < 1
    assert 5 < len(found.raw) < 200


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=["platt", "flat platt", "isotonic"])
def test_a_row_has_the_same_bits_alone_and_among_others(calibration: Calibration) -> None:
    """Of every length: numpy computes exponentials many at a time, and what is left over by itself."""
    random = np.random.default_rng(12)
    raw = np.concatenate([random.random(3_000), random.random(500) ** 9, [0.0, 1.0, 1e-12, 1.0000001]])
    together = calibrated(calibration, raw)
    for length in (1, 2, 3, 5, 7, 8, 9, 15, 17, 33):
        for start in range(0, len(raw) - length, 7):
            assert calibrated(calibration, raw[start : start + length]).tobytes() == (
                together[start : start + length].tobytes()
            )


@pytest.mark.parametrize("calibration", CALIBRATIONS[1:], ids=["platt", "isotonic"])
def test_a_predictor_calibrates_frames_and_requests_alike(
    calibration: Calibration, fit: Callable[..., Fitted], manifest_of: Callable[..., ModelManifest], orders: Any,
    rows: TrainingSet,
) -> None:  # fmt: skip
    content = fit("lightgbm", rows).content
    plain = Predictor(manifest_of(content), content).scores(orders)
    predictor = Predictor(manifest_of(content, calibration=calibration), content)
    together = predictor.scores(orders)
    assert together.tobytes() == calibrated(calibration, plain).tobytes()
    assert (together != plain).mean() > 0.9
    alone = [predictor.scores_of_rows([row])[0] for row in orders.to_dicts()[:60]]
    assert np.array(alone).tobytes() == together[:60].tobytes()
    assert predictor.scores(orders.clear()).shape == (0,)


def test_a_trained_candidate_keeps_its_calibration_and_who_asked(
    toy: ProductSpec, split: SplitManifest, rows: TrainingSet, tmp_path: Any
) -> None:
    """The same bytes twice; the calibration is part of what the model is, who asked for it is not."""

    def trained(by: str, name: str = "lightgbm", **fields: Any) -> Any:
        return train(
            algorithm(name), CandidateSpec(algorithm=name, **fields), spec=toy, split=split, rows=rows, threads=1,
            folder=tmp_path / by / str(len(fields)), progress=lambda _: None, provenance=Provenance(asked_by=by),
        )  # fmt: skip

    quick: dict[str, Any] = {"params": {"max_rounds": 10, "min_data_in_leaf": 5}}
    ours = trained("us", calibrate="platt", **quick)
    theirs = trained("them", calibrate="platt", **quick)
    assert ours.manifest.model_id == theirs.manifest.model_id
    assert (ours.manifest.provenance.asked_by, theirs.manifest.provenance.asked_by) == ("us", "them")
    assert ours.manifest.calibration == theirs.manifest.calibration
    assert ours.manifest.calibration.method == "platt"
    assert set(ours.manifest.calibration.evidence) == {"none", "platt", "isotonic"}
    assert ours.history["calibration"].startswith("platt; cross-validated log loss on 200 validation rows")
    plain = trained("us", calibrate="none", params={"max_rounds": 10, "min_data_in_leaf": 5}, class_weight="none")
    assert plain.manifest.model_id != ours.manifest.model_id
    raw = load_predictor(plain.folder).scores_of_matrix(rows.validation)
    expected = calibrated(ours.manifest.calibration, raw)
    assert load_predictor(ours.folder).scores_of_matrix(rows.validation).tobytes() == expected.tobytes()
    baseline = trained("us", "baseline")
    assert (baseline.manifest.calibration, "calibration" in baseline.history) == (None, False)
