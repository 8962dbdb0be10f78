"""Each algorithm gives the same bytes twice, and its file scores what was trained, row by row or all at once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from assets.candidates.predictor import Predictor, load_predictor, score_function
from assets.candidates.registry import Algorithm, Fitted, algorithm, merged, names
from assets.candidates.training import Trained, train
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError
from assets.features.row import RowEncoder
from assets.records import FeatureSchema, ModelManifest, SplitManifest
from assets.spec import CandidateSpec, ProductSpec

ALGORITHMS = names()
LEARNERS = [name for name in ALGORITHMS if name != "baseline"]
SMALL: dict[str, dict[str, Any]] = {"lightgbm": {"max_rounds": 20, "min_data_in_leaf": 5, "num_leaves": 7}}


def fit(name: str, rows: TrainingSet, *, seed: int = 1) -> Fitted:
    # one thread: on a busy machine LightGBM's threads wait for each other with all their might
    return algorithm(name).fit(rows, SMALL.get(name, {}), seed, 1, lambda _: None)


@pytest.fixture(scope="module")
def fitted(rows: TrainingSet) -> dict[str, Fitted]:
    return {name: fit(name, rows) for name in ALGORITHMS}


@pytest.fixture(scope="module")
def predictors(fitted: dict[str, Fitted], manifest_of: Callable[..., ModelManifest]) -> dict[str, Predictor]:
    return {
        name: Predictor(manifest_of(item.content, model_file=item.file_name), item.content, threads=1)
        for name, item in fitted.items()
    }


# --- the registry ---------------------------------------------------------------------------------------------------


def test_every_module_among_the_algorithms_is_one() -> None:
    assert {"baseline", "lightgbm", "logistic_regression"} <= set(ALGORITHMS)
    assert all(isinstance(algorithm(name, task="binary"), Algorithm) for name in ALGORITHMS)


def test_an_unknown_algorithm_is_named_with_those_there_are() -> None:
    with pytest.raises(HeadraceError, match="unknown algorithm") as caught:
        algorithm("lightgmb", product="toy")
    assert (caught.value.product, caught.value.found) == ("toy", "lightgmb")
    assert caught.value.expected == ", ".join(ALGORITHMS)


def test_an_algorithm_for_other_tasks_is_refused() -> None:
    with pytest.raises(HeadraceError, match="lightgbm can't do ranking"):
        algorithm("lightgbm", task="ranking")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_unknown_parameter_is_named(name: str, rows: TrainingSet) -> None:
    with pytest.raises(HeadraceError, match="unknown parameter num_leafs") as caught:
        algorithm(name).fit(rows, {"num_leafs": 7}, 1, 2, lambda _: None)
    assert name in caught.value.where


def test_given_parameters_are_laid_over_the_defaults() -> None:
    assert merged({"a": 1, "b": 2}, {"b": 3}, name="x") == {"a": 1, "b": 3}


# --- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALGORITHMS)
def test_two_fits_of_the_same_rows_are_the_same_bytes(name: str, fitted: dict[str, Fitted], rows: TrainingSet) -> None:
    assert fit(name, rows).content == fitted[name].content


@pytest.mark.parametrize("name", LEARNERS)
def test_other_rows_are_another_model(name: str, fitted: dict[str, Fitted], rows: TrainingSet) -> None:
    other = replace(rows, train_labels=np.roll(rows.train_labels, 1))
    assert fit(name, other).content != fitted[name].content


def test_the_seed_is_part_of_a_boosted_model(fitted: dict[str, Fitted], rows: TrainingSet) -> None:
    assert fit("lightgbm", rows, seed=2).content != fitted["lightgbm"].content


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_learns_the_rule(name: str, predictors: dict[str, Predictor], rows: TrainingSet) -> None:
    scores = predictors[name].probabilities_of_matrix(rows.validation)
    assert roc_auc_score(rows.validation_labels, scores) > 0.85


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("case", ["all null", "constant", "no category known", "only numbers", "only categories"])
def test_odd_columns_stop_no_algorithm(
    name: str, case: str, rows: TrainingSet, manifest_of: Callable[..., ModelManifest]
) -> None:
    """Regression: logistic regression dropped a column without any value, and then its graph could not be made."""
    odd = odd_rows(rows, case)
    item = fit(name, odd)
    manifest = manifest_of(item.content, model_file=item.file_name, features=odd.schema)
    scores = score_function(manifest, item.content, threads=1)(odd.validation)
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def odd_rows(rows: TrainingSet, case: str) -> TrainingSet:
    """The toy's rows with an odd column, or some columns only."""
    train, validation, schema = rows.train.copy(), rows.validation.copy(), rows.schema
    if case in ("all null", "constant"):
        train[:, 1] = np.nan if case == "all null" else 7.0
    elif case == "no category known":
        train[:, 0] = validation[:, 0] = np.nan
        schema = schema.model_copy(update={"categories": {"kind": ()}})
    elif case == "only numbers":
        train, validation = train[:, 1:], validation[:, 1:]
        schema = schema.model_copy(update={"columns": schema.columns[1:], "categories": {}})
    else:
        train, validation = train[:, :1], validation[:, :1]
        schema = schema.model_copy(update={"columns": schema.columns[:1]})
    return replace(rows, schema=schema, train=train, validation=validation)


# --- what the file says ---------------------------------------------------------------------------------------------


def test_the_boosted_file_holds_the_best_round_not_the_last(
    rows: TrainingSet, manifest_of: Callable[..., ModelManifest]
) -> None:
    """Its log loss on the validation rows is the lowest that training saw before it stopped early."""
    params = {**SMALL["lightgbm"], "max_rounds": 200, "early_stopping_rounds": 5, "learning_rate": 0.5}
    item = algorithm("lightgbm").fit(rows, params, 1, 1, lambda _: None)
    losses = item.history["validation_log_loss"]
    best = int(np.argmin(losses)) + 1
    assert best == item.history["rounds"] < len(losses) < 200
    scores = Predictor(manifest_of(item.content), item.content).probabilities_of_matrix(rows.validation)
    assert log_loss(rows.validation_labels, scores) == pytest.approx(min(losses), rel=1e-9)


def test_the_boosted_file_scores_what_lightgbm_itself_does(
    fitted: dict[str, Fitted], predictors: dict[str, Predictor], rows: TrainingSet
) -> None:
    booster = lightgbm.Booster(model_str=fitted["lightgbm"].content.decode())
    scores = predictors["lightgbm"].probabilities_of_matrix(rows.validation)
    assert scores.tobytes() == booster.predict(rows.validation, num_threads=1).tobytes()


def test_the_linear_file_scores_what_scikit_learn_does_on_a_matrix_made_by_hand(
    predictors: dict[str, Predictor], rows: TrainingSet
) -> None:
    """Medians, scales and the columns of unknown categories are all inside the file."""
    places = [place for place in range(rows.train.shape[1]) if place not in rows.categorical]

    def by_hand(matrix: np.ndarray) -> np.ndarray:
        numbers, reference = matrix[:, places], rows.train[:, places]
        medians = np.nanmedian(reference, axis=0)
        reference = np.where(np.isnan(reference), medians, reference)
        numbers = np.where(np.isnan(numbers), medians, numbers)
        codes = np.nan_to_num(matrix[:, 0], nan=-1.0)
        kinds = np.column_stack([codes == code for code in (-1.0, 0.0, 1.0, 2.0)])
        return np.hstack([(numbers - reference.mean(axis=0)) / reference.std(axis=0), kinds])

    model = LogisticRegression(C=1.0, solver="newton-cholesky").fit(by_hand(rows.train), rows.train_labels)
    expected = model.predict_proba(by_hand(rows.validation))[:, 1]
    scores = predictors["logistic_regression"].probabilities_of_matrix(rows.validation)
    assert np.abs(scores - expected).max() < 1e-4


def test_the_baseline_says_the_positive_share_of_any_row(predictors: dict[str, Predictor], rows: TrainingSet) -> None:
    share = rows.train_labels.mean()
    odd = np.array([[np.nan] * 5, [np.inf] * 5, [-1e30] * 5, [0.0] * 5])
    for matrix in (rows.validation, odd, odd[:1]):
        scores = predictors["baseline"].probabilities_of_matrix(matrix)
        assert scores.shape == (len(matrix),)
        assert np.unique(scores).tolist() == [np.float64(np.float32(share))]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_row_scores_the_same_bits_alone_and_in_any_batch(
    name: str, predictors: dict[str, Predictor], orders: pl.DataFrame
) -> None:
    """Regression: onnxruntime scores a lone row with another kernel, up to 2e-6 away from the same row in a batch."""
    predictor = predictors[name]
    together = predictor.probabilities(orders)
    rows = orders.to_dicts()
    alone = [predictor.probabilities_of_rows([row])[0] for row in rows[:100]]
    assert np.array(alone).tobytes() == together[:100].tobytes()
    for size in (2, 3, 7, 16, 33, 250):
        parts = [predictor.probabilities(orders.slice(start, size)) for start in range(0, orders.height, size)]
        assert np.concatenate(parts).tobytes() == together.tobytes(), size
    assert predictor.probabilities(pl.concat([orders] * 20))[: orders.height].tobytes() == together.tobytes()


@pytest.mark.parametrize("name", LEARNERS)
def test_a_wide_model_scores_the_same_bits_for_every_batch_size_and_thread_count(
    name: str, manifest_of: Callable[..., ModelManifest]
) -> None:
    """Matrix kernels differ with the shape, so five columns prove little: here are 160 after one-hot encoding."""
    random = np.random.default_rng(5)
    numbers, kinds = random.normal(size=(1_500, 20)) * random.gamma(1, 50, 20), random.integers(0, 70, (1_500, 2))
    matrix = np.hstack([numbers, kinds.astype(float)])
    matrix[random.random(matrix.shape) < 0.05] = np.nan
    labels = (random.normal(size=1_500) + np.nan_to_num(numbers[:, 0]) / numbers[:, 0].std() > 0.3).astype(int)
    columns = [(f"n{place}", "number") for place in range(20)] + [("c0", "category"), ("c1", "category")]
    known = tuple(f"{code:02}" for code in range(70))
    schema = FeatureSchema(
        inputs=dict(columns), required=(), descriptions={}, row={}, columns=tuple(columns),
        categories={"c0": known, "c1": known},
    )  # fmt: skip
    item = fit(name, TrainingSet(schema, matrix[:1_000], labels[:1_000], matrix[1_000:], labels[1_000:]))
    manifest = manifest_of(item.content, model_file=item.file_name, features=schema)
    one, two = (score_function(manifest, item.content, threads=threads) for threads in (1, 2))
    together = one(matrix)
    assert len(np.unique(together)) > 500
    assert two(matrix).tobytes() == together.tobytes()
    for size in (1, 2, 5, 17, 64, 499):
        parts = [two(matrix[start : start + size]) for start in range(0, 300, size)]
        assert np.concatenate(parts)[:300].tobytes() == together[:300].tobytes(), size


@pytest.mark.parametrize("name", ALGORITHMS)
def test_no_rows_have_no_scores(name: str, predictors: dict[str, Predictor], orders: pl.DataFrame) -> None:
    assert predictors[name].probabilities(orders.clear()).shape == (0,)


def test_a_file_trained_on_columns_in_another_order_is_refused(
    fitted: dict[str, Fitted], manifest_of: Callable[..., ModelManifest], schema: FeatureSchema
) -> None:
    """Regression: sorted columns in the manifest scored every row with the wrong numbers, silently."""
    shuffled = schema.model_copy(update={"columns": tuple(sorted(schema.columns))})
    content = fitted["lightgbm"].content
    with pytest.raises(HeadraceError, match="trained on other columns than its manifest says"):
        Predictor(manifest_of(content, features=shuffled), content)


def test_a_file_of_an_unknown_kind_is_not_opened(manifest_of: Callable[..., ModelManifest]) -> None:
    with pytest.raises(HeadraceError, match="unknown kind of model file"):
        Predictor(manifest_of(b"x", model_file="model.pickle"), b"x")


# --- saved ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_candidate_is_saved_by_content_and_scores_after_loading(
    name: str, toy: ProductSpec, split: SplitManifest, rows: TrainingSet, orders: pl.DataFrame, tmp_path: Path
) -> None:
    candidate = CandidateSpec(algorithm=name, params=SMALL.get(name, {}))

    def trained() -> Trained:
        return train(
            algorithm(name), candidate, spec=toy, split=split, rows=rows, folder=tmp_path, threads=1,
            progress=lambda _: None,
        )  # fmt: skip

    first, second = trained(), trained()
    assert first.folder == second.folder == tmp_path / first.manifest.model_id
    assert [path.name for path in tmp_path.iterdir()] == [first.manifest.model_id]
    predictor = load_predictor(first.folder, threads=1)
    assert predictor.manifest == first.manifest
    expected = predictor.probabilities_of_matrix(RowEncoder(rows.schema).matrix(orders))
    assert predictor.probabilities(orders).tobytes() == expected.tobytes()


def test_the_manifest_says_on_what_a_candidate_was_trained(
    toy: ProductSpec, split: SplitManifest, rows: TrainingSet, tmp_path: Path
) -> None:
    manifest = train(
        algorithm("baseline"), CandidateSpec(algorithm="baseline"), spec=toy, split=split, rows=rows, folder=tmp_path,
        threads=1, progress=lambda _: None,
    ).manifest  # fmt: skip
    assert (manifest.split_id, manifest.as_of) == (split.split_id, "2024-03")
    assert manifest.training_row_set_hash == split.parts["train"].row_set_hash
    assert (manifest.spec_hash, manifest.feature_set_id) == (toy.spec_hash, split.feature_set_id)
    assert manifest.training_rows == 400
    assert {"python", "lightgbm", "onnxruntime"} <= manifest.versions.keys()
