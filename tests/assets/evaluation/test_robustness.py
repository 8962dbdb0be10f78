"""Noise that could have come in, what it does to scores, and how far predictions are off on average."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from assets.candidates.predictor import Predictor
from assets.candidates.registry import algorithm
from assets.candidates.training_set import TrainingSet
from assets.evaluation import robustness
from assets.evaluation.robustness import noise_changes, perturbed, prediction_bias
from assets.records import ModelManifest

RANDOM = np.random.default_rng(2)
ROWS = 500
COLUMNS = {
    "flag": RANDOM.integers(0, 2, ROWS), "hour": RANDOM.integers(0, 24, ROWS), "same": np.full(ROWS, 7.0),
    "income": RANDOM.normal(50_000, 20_000, ROWS).round(), "length": RANDOM.normal(9, 30, ROWS).round(2),
    "share": RANDOM.random(ROWS), "gaps": np.where(RANDOM.random(ROWS) < 0.3, np.nan, RANDOM.random(ROWS)),
    "nothing": np.full(ROWS, np.nan), "code": RANDOM.integers(0, 9, ROWS),
}  # fmt: skip
MATRIX = np.column_stack([column.astype(float) for column in COLUMNS.values()])


def moved(noise: float = 0.01, seed: int = 1) -> dict[str, np.ndarray]:
    """How far each column moves; the last one holds codes of a category."""
    after = perturbed(MATRIX, list(range(len(COLUMNS) - 1)), noise=noise, seed=seed)
    return dict(zip(COLUMNS, (after - MATRIX).T, strict=True))


def test_only_what_could_have_come_in_comes_out() -> None:
    changes = moved()
    for untouched in ("flag", "hour", "same", "code"):
        assert (changes[untouched] == 0).all()
    assert (changes["income"] % 1 == 0).all()
    assert np.round(changes["length"], 6) == pytest.approx(np.round(changes["length"], 2), abs=1e-9)
    assert (np.isnan(changes["gaps"]) == np.isnan(COLUMNS["gaps"])).all()
    assert np.isnan(changes["nothing"]).all()


def test_noise_is_a_share_of_each_columns_deviation_and_seeded() -> None:
    changes = moved(noise=0.05)
    for name in ("income", "length", "share", "gaps"):
        deviation = np.nanstd(COLUMNS[name])
        assert np.nanstd(changes[name]) == pytest.approx(0.05 * deviation, rel=0.15)
    assert (moved(seed=1)["share"] == moved(seed=1)["share"]).all()
    assert (moved(seed=1)["share"] != moved(seed=2)["share"]).any()
    assert (moved(noise=0.0)["share"] == 0).all()


def test_a_flag_moves_where_the_noise_is_as_large_as_its_step() -> None:
    assert set(np.unique(moved(noise=1.0)["flag"])) >= {-1.0, 0.0, 1.0}


def test_changes_are_in_deviations_of_the_scores_and_of_a_seeded_sample(
    rows: TrainingSet, orders: pl.DataFrame, manifest_of: Callable[..., ModelManifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = algorithm("logistic_regression").fit(rows, {}, 1, 1, lambda _: None)
    model = Predictor(
        manifest_of(features=rows.schema, model_file=fitted.file_name, algorithm="logistic_regression"), fitted.content
    )
    scores = model.scores(orders)
    few, more = (noise_changes(model, orders, scores, noise=noise, seed=1) for noise in (0.01, 0.05))
    assert few.shape == (orders.height,)
    assert 0 < few.mean() < more.mean() < 0.2
    matrix = perturbed(model.encoder.matrix(orders), [1, 2, 3, 4], noise=0.01, seed=1)
    assert few == pytest.approx(np.abs(model.scores_of_matrix(matrix) - scores) / scores.std())
    monkeypatch.setattr(robustness, "NOISE_ROWS", 50)
    sample = noise_changes(model, orders, scores, noise=0.01, seed=1)
    assert sample.shape == (50,)
    assert (sample == noise_changes(model, orders, scores, noise=0.01, seed=1)).all()


def test_scores_that_do_not_vary_do_not_move(
    rows: TrainingSet, orders: pl.DataFrame, manifest_of: Callable[..., ModelManifest]
) -> None:
    fitted = algorithm("baseline").fit(rows, {}, 1, 1, lambda _: None)
    manifest = manifest_of(features=rows.schema, model_file=fitted.file_name, algorithm="baseline")
    model = Predictor(manifest, fitted.content)
    assert (noise_changes(model, orders, model.scores(orders), noise=0.01, seed=1) == 0).all()


def test_a_bias_is_the_gap_of_means() -> None:
    labels = np.array([0, 0, 0, 1])
    binary = prediction_bias("binary", labels, np.full(4, 0.75))
    assert binary["prediction_bias"] == pytest.approx(0.5)
    assert binary["prediction_bias_noise"] == pytest.approx(2 * np.sqrt(0.75 * 0.25 / 4))
    numbers = prediction_bias("regression", np.array([1.0, 3.0]), np.array([4.0, 6.0]))
    assert numbers == {"prediction_bias": pytest.approx(3.0), "prediction_bias_noise": pytest.approx(0.0)}
    assert prediction_bias("forecast", np.ones(3), np.zeros(3)) == {}


def test_of_several_classes_the_largest_bias_counts_and_a_new_class_is_one() -> None:
    """Half of the rows are of a class that training has not seen, so the others are rarer than predicted."""
    labels, scores = np.array([0, 1, -1, -1]), np.tile([0.3, 0.7], (4, 1))
    assert prediction_bias("multiclass", labels, scores)["prediction_bias"] == pytest.approx(0.7 - 0.25)
