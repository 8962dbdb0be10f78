"""Every algorithm on every task: same bytes twice, and its file says what was fitted, row by row or all at once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lightgbm
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from assets.candidates.predictor import Score
from assets.candidates.preprocessing import MAX_CATEGORIES, fit_preprocessing
from assets.candidates.registry import Fitted, algorithm, names, names_for
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError
from assets.evaluation.metrics import task_metrics
from assets.records import FeatureSchema
from assets.tasks import CLASSIFICATION, NUMERIC, PRIMARIES, TASKS, Task, improvement

PAIRS = [(name, task) for task in TASKS for name in names_for(task)]
LEARNERS = [(name, task) for name, task in PAIRS if not algorithm(name).is_baseline]
Fit = Callable[..., Fitted]
RowsOf = Callable[[Task], TrainingSet]


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_two_fits_of_the_same_rows_are_the_same_bytes(
    name: str, task: Task, fit: Fit, fitted_of: Callable[[str, Task], Fitted], rows_of: RowsOf
) -> None:
    assert fit(name, rows_of(task)).content == fitted_of(name, task).content


@pytest.mark.parametrize(("name", "task"), LEARNERS)
def test_other_rows_are_another_model(
    name: str, task: Task, fit: Fit, fitted_of: Callable[[str, Task], Fitted], rows_of: RowsOf
) -> None:
    rows = rows_of(task)
    other = replace(rows, train=rows.train[:-30], train_labels=rows.train_labels[:-30])
    assert fit(name, other).content != fitted_of(name, task).content


@pytest.mark.parametrize("name", ["lightgbm", "random_forest", "extra_trees"])
def test_the_seed_is_part_of_a_random_model(name: str, fit: Fit, rows_of: RowsOf) -> None:
    assert fit(name, rows_of("binary"), seed=2).content != fit(name, rows_of("binary"), seed=1).content


@pytest.mark.parametrize(("name", "task"), LEARNERS)
def test_a_learner_beats_the_baseline(
    name: str, task: Task, fitted_of: Callable[[str, Task], Fitted], rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    rows = rows_of(task)

    def reached(algorithm_name: str) -> float:
        scores = score_of(fitted_of(algorithm_name, task), rows)(rows.validation)
        metrics = task_metrics(
            task, rows.validation_labels, scores, threshold=0.5, classes=rows.classes, matrix=rows.validation
        )
        return metrics[PRIMARIES[task][0]]

    assert improvement(PRIMARIES[task][0], reached(name), reached("baseline")) > 0.01


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_a_row_scores_the_same_bits_alone_and_in_any_batch(
    name: str, task: Task, fitted_of: Callable[[str, Task], Fitted], rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    """Regression: onnxruntime scores a lone row with another kernel, and sums trees by the number of threads."""
    rows = rows_of(task)
    score, with_two = (score_of(fitted_of(name, task), rows, threads=threads) for threads in (1, 2))
    matrix = np.vstack([rows.validation, rows.train])
    together = score(matrix)
    for size in (1, 2, 3, 7, 33, 250):
        parts = [with_two(matrix[start : start + size]) for start in range(0, 250, size)]
        assert np.concatenate(parts)[:250].tobytes() == together[:250].tobytes(), size
    assert with_two(np.vstack([matrix] * 9))[: len(matrix)].tobytes() == together.tobytes()


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_scores_have_the_shape_of_the_task(
    name: str, task: Task, fitted_of: Callable[[str, Task], Fitted], rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    rows = rows_of(task)
    score = score_of(fitted_of(name, task), rows)
    scores = score(rows.validation)
    assert scores.dtype == np.float64
    assert score(rows.validation[:0]).shape == (0, *scores.shape[1:])
    if task in CLASSIFICATION:
        assert scores.shape == ((180,) if task == "binary" else (180, 3))
        assert ((scores >= 0) & (scores <= 1)).all()
        assert task == "binary" or np.abs(scores.sum(axis=1) - 1).max() < 1e-5
    elif task in NUMERIC:
        assert scores.shape == (180,)
    else:
        assert scores.shape[0] == 180
        assert scores.shape[1] >= 2


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_gaps_unknown_categories_and_numbers_beyond_float32_have_finite_scores(
    name: str, task: Task, fitted_of: Callable[[str, Task], Fitted], rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    rows = rows_of(task)
    odd = np.vstack([rows.validation[:1]] * 7)
    odd[0], odd[1], odd[2], odd[3] = np.nan, 1e300, -1e300, 1e-300
    odd[4, -2:], odd[5, 0], odd[6, 3] = 99, 1e300, -1e38
    scores = score_of(fitted_of(name, task), rows)(odd)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("case", ["all null", "constant", "no category known", "only numbers", "only categories"])
@pytest.mark.parametrize(("name", "task"), [pair for pair in PAIRS if pair[1] in ("binary", "clustering")])
def test_odd_columns_stop_no_algorithm(
    case: str, name: str, task: Task, fit: Fit, rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    """Regression: logistic regression dropped a column without any value, and then its graph could not be made."""
    odd = odd_rows(rows_of(task), case)
    assert np.isfinite(score_of(fit(name, odd), odd)(odd.validation)).all()


def odd_rows(rows: TrainingSet, case: str) -> TrainingSet:
    """Rows with an odd column, or some columns only."""
    train, validation, schema = rows.train.copy(), rows.validation.copy(), rows.schema
    if case in ("all null", "constant"):
        train[:, 1] = np.nan if case == "all null" else 1e9 / 3
    elif case == "no category known":
        train[:, -2] = validation[:, -2] = np.nan
        schema = schema.model_copy(update={"categories": {**schema.categories, "c0": ()}})
    else:
        kept = slice(0, 6) if case == "only numbers" else slice(6, 8)
        train, validation = train[:, kept], validation[:, kept]
        schema = schema.model_copy(update={"columns": schema.columns[kept]})
    return replace(rows, schema=schema, train=train, validation=validation)


# --- what the file says is what the library says --------------------------------------------------------------------

FOREST = {"n_estimators": 8, "min_samples_leaf": 5, "random_state": 1}
ESTIMATORS: dict[str, Callable[[bool], Any]] = {
    "logistic_regression": lambda _: LogisticRegression(C=1.0, solver="newton-cholesky", max_iter=50),
    "linear_regression": lambda _: Ridge(alpha=1.0, solver="cholesky"),
    "naive_bayes": lambda _: GaussianNB(var_smoothing=0.01),
    "k_nearest": lambda classes: (KNeighborsClassifier if classes else KNeighborsRegressor)(25),
    "decision_tree": lambda classes: (DecisionTreeClassifier if classes else DecisionTreeRegressor)(
        max_depth=8, min_samples_leaf=20, random_state=1
    ),
    "random_forest": lambda classes: (RandomForestClassifier if classes else RandomForestRegressor)(
        max_features=0.3, max_samples=420, **FOREST
    ),
    "extra_trees": lambda classes: (ExtraTreesClassifier if classes else ExtraTreesRegressor)(
        max_features=0.5, **FOREST
    ),
    "kmeans": lambda _: KMeans(3, n_init=4, random_state=1),
    "gaussian_mixture": lambda _: GaussianMixture(3, covariance_type="diag", reg_covar=0.05, random_state=1),
}


def said_by(model: Any, task: Task, matrix: NDArray[Any]) -> NDArray[np.float64]:
    if isinstance(model, KMeans):
        return -model.transform(matrix)
    if task in NUMERIC:
        return np.asarray(model.predict(matrix))
    found = model.predict_proba(matrix)
    return found[:, 1] if task == "binary" else found


@pytest.mark.parametrize(("name", "task"), [pair for pair in LEARNERS if pair[0] != "lightgbm"])
def test_the_file_scores_what_scikit_learn_does(
    name: str, task: Task, fit: Fit, rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    rows = rows_of(task)
    trees = name in ("decision_tree", "random_forest", "extra_trees")
    ready = fit_preprocessing(rows, scale=not trees)
    train, validation = ready.transform(rows.train), ready.transform(rows.validation)
    model = ESTIMATORS[name](task in CLASSIFICATION)
    model.fit(train if trees else train.astype(np.float64), rows.train_labels)
    expected = said_by(model, task, validation if trees else validation.astype(np.float64))
    item = fit(name, rows, **({"clusters": 3} if task == "clustering" else {}))
    scores = score_of(item, rows)(rows.validation)
    assert scores.shape == expected.shape
    assert np.abs(scores - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_boosted_file_scores_what_lightgbm_itself_does(
    task: Task, fitted_of: Callable[[str, Task], Fitted], rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    rows, item = rows_of(task), fitted_of("lightgbm", task)
    booster = lightgbm.Booster(model_str=item.content.decode())
    assert score_of(item, rows)(rows.validation).tobytes() == booster.predict(rows.validation, num_threads=1).tobytes()


def test_the_linear_file_scores_what_scikit_learn_does_on_a_matrix_made_by_hand(
    rows_of: RowsOf, fitted_of: Callable[[str, Task], Fitted], score_of: Callable[..., Score]
) -> None:
    """Medians, scales and the columns of unknown categories are all inside the file."""
    rows = rows_of("binary")

    def by_hand(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        numbers, reference = matrix[:, :6], rows.train[:, :6]
        medians = np.nanmedian(reference, axis=0)
        reference = np.where(np.isnan(reference), medians, reference)
        numbers = np.where(np.isnan(numbers), medians, numbers)
        codes = np.nan_to_num(matrix[:, 6:], nan=-1.0)
        kinds = [codes[:, column] == code for column in (0, 1) for code in range(-1, 5)]
        return np.column_stack([(numbers - reference.mean(axis=0)) / reference.std(axis=0), *kinds])

    model = LogisticRegression(C=1.0, solver="newton-cholesky").fit(by_hand(rows.train), rows.train_labels)
    expected = model.predict_proba(by_hand(rows.validation))[:, 1]
    scores = score_of(fitted_of("logistic_regression", "binary"), rows)(rows.validation)
    assert np.abs(scores - expected).max() < 1e-5


def test_a_file_sees_to_the_bit_what_the_estimator_saw(rows_of: RowsOf) -> None:
    import onnxruntime

    rows = rows_of("binary")
    odd = rows.validation.copy()
    odd[0], odd[1], odd[2] = 1e300, np.nan, 77
    for scale in (True, False):
        ready = fit_preprocessing(rows, scale=scale)
        graph, value = ready.graph()
        session = onnxruntime.InferenceSession(graph.bytes_of(value), providers=["CPUExecutionProvider"])
        fed = np.clip(odd, -3.4028235e38, 3.4028235e38).astype(np.float32)
        assert session.run(None, {"X": fed})[0].tobytes() == ready.transform(odd).tobytes()
        assert ready.transform(odd).shape == (180, ready.width)


def test_only_frequent_categories_get_a_column(rows_of: RowsOf) -> None:
    rows = rows_of("binary")
    train = rows.train.copy()
    train[:, 6] = np.concatenate([np.arange(300) % 150, np.arange(120) % 40])
    ready = fit_preprocessing(replace(rows, train=train), scale=True)
    kept = ready.categories[0][1]
    assert len(kept) == MAX_CATEGORIES
    assert set(range(40)) <= set(kept.tolist())
    probe = rows.validation[:3].copy()
    probe[:, 6] = [149, np.nan, 500]
    assert ready.transform(probe)[:, 6].tolist() == [1, 1, 1]


# --- what each does of its own --------------------------------------------------------------------------------------


def test_the_boosted_file_holds_the_best_round_not_the_last(
    fit: Fit, rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    """Its log loss on the validation rows is the lowest that training saw before it stopped early."""
    rows = rows_of("binary")
    item = fit("lightgbm", rows, max_rounds=200, early_stopping_rounds=5, learning_rate=0.5)
    losses = item.history["validation_loss"]
    best = int(np.argmin(losses)) + 1
    assert best == item.history["rounds"] < len(losses) < 200
    assert log_loss(rows.validation_labels, score_of(item, rows)(rows.validation)) == pytest.approx(min(losses))


def test_without_validation_rows_boosting_goes_to_the_end(fit: Fit, rows_of: RowsOf) -> None:
    rows = rows_of("binary")
    alone = replace(rows, validation=rows.validation[:0], validation_labels=rows.validation_labels[:0])
    assert fit("lightgbm", alone).history["rounds"] == 20


def test_boosting_takes_another_objective_of_its_task_only(fit: Fit, rows_of: RowsOf) -> None:
    rows = rows_of("forecast")
    assert fit("lightgbm", rows, objective="regression_l1").content != fit("lightgbm", rows).content
    with pytest.raises(HeadraceError, match="objective multiclass is not for forecast") as caught:
        fit("lightgbm", rows, objective="multiclass")
    assert "regression_l1" in caught.value.expected


def test_column_names_that_lightgbm_refuses_are_taken(
    fit: Fit, rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    rows = rows_of("binary")
    columns = ((' {"größe": [1]}', "number"), ("kind=a,b", "number"), *rows.schema.columns[2:])
    named = replace(rows, schema=rows.schema.model_copy(update={"columns": columns}))
    item = fit("lightgbm", named)
    assert next(iter(item.history["importance"])) == ' {"größe": [1]}'
    assert np.isfinite(score_of(item, named)(named.validation)).all()


def test_few_rows_still_part(rows_of: RowsOf, score_of: Callable[..., Score]) -> None:
    """Regression: 50 rows in a leaf leave nothing to learn of 105."""
    rows = rows_of("binary")
    tiny = replace(rows, train=rows.train[:105], train_labels=rows.train_labels[:105])
    item = algorithm("lightgbm").fit(tiny, {}, 1, 1, lambda _: None)
    assert item.params["min_data_in_leaf"] == 5
    assert len(np.unique(score_of(item, tiny)(tiny.validation))) > 50


@pytest.mark.parametrize(("task", "answer"), [("binary", 1), ("multiclass", 3), ("regression", 1), ("forecast", 1)])
def test_the_baseline_answers_the_same_for_any_row(
    task: Task, answer: int, fitted_of: Callable[[str, Task], Fitted], rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    rows = rows_of(task)
    odd = np.array([[np.nan] * 8, [np.inf] * 8, [-1e30] * 8, [0.0] * 8])
    for matrix in (rows.validation, odd, odd[:1]):
        scores = score_of(fitted_of("baseline", task), rows)(matrix).reshape(len(matrix), -1)
        assert scores.shape == (len(matrix), answer)
        assert len(np.unique(scores, axis=0)) == 1
    expected = (
        np.bincount(rows.train_labels) / len(rows.train_labels) if task == "multiclass" else rows.train_labels.mean()
    )
    assert scores[0] == pytest.approx(expected, rel=1e-6)


def test_a_naive_forecast_answers_its_column_and_the_mean_in_gaps(
    fitted_of: Callable[[str, Task], Fitted], rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    rows = rows_of("forecast")
    for name, place in (("last_value", 0), ("seasonal_naive", 1)):
        scores = score_of(fitted_of(name, "forecast"), rows)(rows.validation)
        column = rows.validation[:, place]
        assert np.isnan(column).any()
        assert scores == pytest.approx(np.where(np.isnan(column), rows.train_labels.mean(), column), rel=1e-6)


@pytest.mark.parametrize("column", ["", "c0", "n99"])
def test_a_naive_forecast_without_its_column_is_refused(column: str, fit: Fit, rows_of: RowsOf) -> None:
    with pytest.raises(HeadraceError, match=r"params\.column names none that the model sees") as caught:
        fit("seasonal_naive", rows_of("forecast"), column=column)
    assert "n0, n1" in caught.value.expected


def test_the_number_of_clusters_is_found(
    fitted_of: Callable[[str, Task], Fitted], rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    rows = rows_of("clustering")
    item = fitted_of("kmeans", "clustering")
    assert item.history["clusters"] == 3
    assert sorted(item.history["silhouette_by_clusters"]) == ["2", "3", "4", "5"]
    groups = np.argmax(np.nan_to_num(rows.validation[:, :3] / [1, 5, 0.01]), axis=1)
    found = score_of(item, rows)(rows.validation).argmax(axis=1)
    pairs = np.unique(np.column_stack([groups, found]), axis=0, return_counts=True)[1]
    assert np.sort(pairs)[-3:].sum() > 0.9 * 180


def test_fewer_different_rows_than_clusters_are_as_many_clusters(
    fit: Fit, rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    rows = rows_of("clustering")
    same = replace(rows, train=np.repeat(rows.train[:2], 50, axis=0), validation=rows.train[:2])
    item = fit("kmeans", same)
    assert score_of(item, same)(same.validation).argmax(axis=1).tolist() in ([0, 1], [1, 0])


def test_a_forest_of_many_rows_stays_small(rows_of: RowsOf, fit: Fit) -> None:
    rows = rows_of("regression")
    many = replace(rows, train=np.tile(rows.train, (24, 1)), train_labels=np.tile(rows.train_labels, 24))
    item = fit("extra_trees", many, trees=40, min_samples_leaf=1)
    assert item.params["min_samples_leaf"] == 3  # 40 trees of 10,080 rows are 403,200 leaves, twice the bound
    assert item.history["leaves"] < 200_000


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("name", [name for name in names() if algorithm(name).supports_monotone])
def test_a_monotone_score_never_turns(
    name: str, task: Task, sign: int, fit: Fit, rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    rows = replace(rows_of(task), monotone={"n1": sign, "n4": sign})
    leaf = {"lightgbm": "min_data_in_leaf"}.get(name, "min_samples_leaf")
    score = score_of(fit(name, rows, **{leaf: 5}), rows)
    free = score_of(fit(name, replace(rows, monotone={}), **{leaf: 5}), rows)

    def steps(of: Score) -> NDArray[np.float64]:
        grid = np.repeat(rows.validation[:40], 30, axis=0)
        grid[:, 1] = np.tile(np.linspace(-15, 15, 30), 40)
        return sign * np.diff(of(grid).reshape(40, 30), axis=1)

    assert steps(score).min() >= -1e-6 * np.abs(rows.train_labels).max()
    assert steps(free).min() < -1e-3


@pytest.mark.parametrize("name", [name for name in names_for("binary") if algorithm(name).supports_weights])
def test_weights_move_the_scores(name: str, fit: Fit, rows_of: RowsOf, score_of: Callable[..., Score]) -> None:
    rows = rows_of("binary")
    heavy = replace(rows, weights=np.where(rows.train_labels == 1, 5.0, 1.0))
    means = [score_of(fit(name, item), item)(item.validation).mean() for item in (rows, heavy)]
    assert means[1] > means[0] + 0.05


@pytest.mark.parametrize("name", names())
def test_an_unknown_parameter_is_named(name: str, rows_of: RowsOf) -> None:
    task = min(algorithm(name).tasks)
    with pytest.raises(HeadraceError, match="unknown parameter num_leafs") as caught:
        algorithm(name).fit(rows_of(task), {"num_leafs": 7}, 1, 2, lambda _: None)  # type: ignore[arg-type]
    assert name in caught.value.where


@pytest.mark.parametrize("name", ["logistic_regression", "naive_bayes", "random_forest", "lightgbm", "k_nearest"])
def test_a_wide_model_scores_the_same_bits_for_every_batch_size_and_thread_count(
    name: str, fit: Fit, score_of: Callable[..., Score]
) -> None:
    """Matrix kernels differ with the shape, so few columns prove little: here are 160 after one-hot encoding."""
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
    rows = TrainingSet(schema, matrix[:1_000], labels[:1_000], matrix[1_000:], labels[1_000:])
    item = fit(name, rows)
    one, two = (score_of(item, rows, threads=threads) for threads in (1, 2))
    together = one(matrix)
    assert len(np.unique(together)) > 20
    assert two(matrix).tobytes() == together.tobytes()
    for size in (1, 2, 5, 17, 64, 499):
        parts = [two(matrix[start : start + size]) for start in range(0, 300, size)]
        assert np.concatenate(parts)[:300].tobytes() == together[:300].tobytes(), size


def test_no_penalty_and_a_most_of_one_cluster_are_taken(fit: Fit, rows_of: RowsOf) -> None:
    assert fit("logistic_regression", rows_of("binary"), l2=0).params["l2"] == 0.0
    assert fit("kmeans", rows_of("clustering"), max_clusters=1).history["clusters"] == 2
    assert fit("gaussian_mixture", rows_of("clustering"), max_clusters=1).history["clusters"] == 2


def two_classes(rows: TrainingSet) -> TrainingSet:
    """Multiclass rows that have two classes only."""
    return replace(
        rows,
        classes=rows.classes[:2],
        train_labels=rows.train_labels.clip(max=1),
        validation_labels=rows.validation_labels.clip(max=1),
    )


@pytest.mark.parametrize("name", [name for name in names_for("multiclass") if not algorithm(name).is_baseline])
def test_two_classes_of_a_multiclass_have_a_probability_each(
    name: str, fit: Fit, rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    """Regression: scikit-learn's logistic regression keeps one column of two; its softmax was 1.0 for every row."""
    rows = two_classes(rows_of("multiclass"))
    scores = score_of(fit(name, rows), rows)(rows.validation)
    assert scores.shape == (len(rows.validation), 2)
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert task_metrics("multiclass", rows.validation_labels, scores, classes=rows.classes)["roc_auc"] > 0.7


def test_two_classes_of_a_logistic_regression_are_scored_as_if_binary(
    fit: Fit, rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    rows = two_classes(rows_of("multiclass"))
    binary = replace(rows, task="binary")
    scores = score_of(fit("logistic_regression", rows), rows)(rows.validation)
    alone = score_of(fit("logistic_regression", binary), binary)(rows.validation)
    assert scores[:, 1] == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("clusters", [0, 12])
def test_a_mixture_of_more_bells_than_rows_has_as_many_as_rows(
    clusters: int, count: int, fit: Fit, rows_of: RowsOf, score_of: Callable[..., Score]
) -> None:
    """Regression: no number of bells was left to choose from, which was a stack trace."""
    rows = rows_of("clustering")
    few = replace(rows, train=rows.train[:count], train_labels=rows.train_labels[:count])
    found = fit("gaussian_mixture", few, clusters=clusters)
    assert found.history["clusters"] == count if clusters else found.history["clusters"] <= count
    assert np.isfinite(score_of(found, few)(rows.validation)).all()
