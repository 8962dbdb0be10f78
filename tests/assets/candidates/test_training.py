"""A candidate is prepared, fitted, saved by content and proved; adding an algorithm is adding a module."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import recall_score

from assets.candidates import algorithms
from assets.candidates.gates import improper_rows, refit_hashes
from assets.candidates.predictor import load_predictor
from assets.candidates.registry import Algorithm, Fitted, algorithm, merged, names, names_for
from assets.candidates.training import Trained, train
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError
from assets.records import SplitManifest
from assets.spec import CandidateSpec, ProductSpec
from assets.tasks import PRIMARIES, TASKS, Task

RowsOf = Callable[[Task], TrainingSet]
Train = Callable[..., Trained]
BASELINE = """
from assets.candidates.graph import Graph
from assets.candidates.registry import Algorithm, Fitted, merged
import numpy as np

def fit(rows, params, seed, threads, progress):
    used = merged({"share": 0.5}, params, name="coin")
    graph = Graph(len(rows.columns))
    return Fitted("model.onnx", graph.bytes_of(graph.same_for_all(np.array([used["share"]]))), used)

ALGORITHM = Algorithm("The same share for all", frozenset({"binary"}), frozenset({"onnx"}), fit, {"share": 0.5})
"""


@pytest.fixture
def trained(toy: ProductSpec, split: SplitManifest, tmp_path: Path) -> Train:
    """A candidate trained on rows, below the test's folder."""

    def one(name: str, rows: TrainingSet, said: list[str] | None = None, **options: Any) -> Trained:
        gates = toy.gates.model_copy(update={"primary": PRIMARIES[rows.task][0]})
        spec = toy.model_copy(update={"task": rows.task, "gates": gates})
        if rows.task == "clustering":
            spec = spec.model_copy(update={"label": None})
        candidate = CandidateSpec.model_validate({"algorithm": name, **options})
        return train(
            algorithm(name), candidate, spec=spec, split=split, rows=rows, folder=tmp_path, threads=1,
            progress=(said if said is not None else []).append,
        )  # fmt: skip

    return one


# --- the registry ---------------------------------------------------------------------------------------------------


def test_every_task_has_its_baselines_and_its_learners() -> None:
    for task in TASKS:
        own = [algorithm(name, task=task) for name in names_for(task)]
        assert all(isinstance(item, Algorithm) for item in own)
        assert sum(not item.is_baseline for item in own) >= 2
        assert "baseline" in names_for(task)
    assert [name for name in names_for("forecast") if algorithm(name).is_baseline] == [
        "baseline",
        "last_value",
        "seasonal_naive",
    ]
    assert len([name for name in names_for("binary") if not algorithm(name).is_baseline]) >= 5


def test_every_searched_and_quick_parameter_is_one_of_the_algorithm() -> None:
    for name in names():
        found = algorithm(name)
        assert set(found.space) | set(found.quick) <= set(found.defaults), name


def test_an_unknown_algorithm_is_named_with_those_there_are() -> None:
    with pytest.raises(HeadraceError, match="unknown algorithm") as caught:
        algorithm("lightgmb", product="toy")
    assert (caught.value.product, caught.value.found) == ("toy", "lightgmb")
    assert caught.value.expected == ", ".join(names())


def test_an_algorithm_for_other_tasks_is_refused_with_those_that_can() -> None:
    with pytest.raises(HeadraceError, match="lightgbm can't do clustering") as caught:
        algorithm("lightgbm", task="clustering")
    assert caught.value.fix == "choose one of baseline, gaussian_mixture, kmeans"


def test_the_defaults_are_in_the_space_so_that_a_search_tries_them_first() -> None:
    for name in names():
        found = algorithm(name)
        for parameter, (low, high) in found.space.items():
            assert low <= found.defaults[parameter] <= high, (name, parameter)


def test_given_parameters_are_laid_over_the_defaults() -> None:
    assert merged({"a": 1, "b": 2}, {"b": 3}, name="x") == {"a": 1, "b": 3}
    share = merged({"share": 0.5}, {"share": 1}, name="x")["share"]
    assert (share, type(share)) == (1.0, float)


@pytest.mark.parametrize(("name", "value"), [("trees", "many"), ("trees", 1.5), ("share", True), ("on", 1)])
def test_a_parameter_of_another_kind_is_named(name: str, value: Any) -> None:
    with pytest.raises(HeadraceError, match=f"{name} has a value of another kind") as caught:
        merged({"trees": 10, "share": 0.5, "on": False}, {name: value}, name="x")
    assert repr(value) in caught.value.found


def test_adding_an_algorithm_is_adding_a_module(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rows_of: RowsOf, trained: Train
) -> None:
    copy = tmp_path / "algorithms"
    shutil.copytree(next(iter(algorithms.__path__)), copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "coin.py").write_text(BASELINE)
    monkeypatch.setattr(algorithms, "__path__", [str(copy)])
    try:
        assert "coin" in names_for("binary")
        assert set(names()) > {"lightgbm", "baseline"}
        found = trained("coin", rows_of("binary"), params={"share": 0.25})
        assert set(load_predictor(found.folder).scores_of_matrix(rows_of("binary").validation)) == {0.25}
    finally:
        sys.modules.pop("assets.candidates.algorithms.coin", None)


# --- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names_for("binary"))
def test_a_candidate_is_saved_by_content_and_scores_after_loading(
    name: str, rows: TrainingSet, orders: pl.DataFrame, trained: Train, small: dict[str, Any], tmp_path: Path
) -> None:
    first, second = (trained(name, rows, params=small.get(name, {})) for _ in range(2))
    assert first.folder == second.folder == tmp_path / first.manifest.model_id
    assert [path.name for path in tmp_path.iterdir()] == [first.manifest.model_id]
    predictor = load_predictor(first.folder, threads=1)
    assert predictor.manifest == first.manifest
    expected = predictor.scores_of_matrix(predictor.encoder.matrix(orders))
    assert predictor.scores(orders).tobytes() == expected.tobytes()
    assert set(first.seconds) == {"search", "fit"}
    assert first.trials == 0


def test_the_manifest_says_on_what_a_candidate_was_trained(
    toy: ProductSpec, split: SplitManifest, rows: TrainingSet, trained: Train
) -> None:
    manifest = trained("logistic_regression", rows, params={"l2": 2.0}, class_weight="balanced").manifest
    assert (manifest.split_id, manifest.as_of) == (split.split_id, "2024-03")
    assert manifest.training_row_set_hash == split.parts["train"].row_set_hash
    assert manifest.feature_set_id == split.feature_set_id
    assert manifest.spec_hash == toy.spec_hash
    assert manifest.fitted_features_id == rows.schema.fitted_id
    assert (manifest.task, manifest.classes) == ("binary", ("false", "true"))
    assert (manifest.label, manifest.positive_meaning) == ("is_returned", "is sent back")
    assert manifest.training_rows == 400
    assert manifest.params == {"l2": 2.0, "max_iterations": 50, "tolerance": 1e-4}
    assert (manifest.config["algorithm"], manifest.config["class_weight"]) == ("logistic_regression", "balanced")
    assert {"python", "lightgbm", "onnxruntime", "scikit-learn", "imbalanced-learn", "optuna"} <= set(manifest.versions)


def test_a_clustering_has_no_label_and_a_multiclass_its_classes(rows_of: RowsOf, trained: Train) -> None:
    manifest = trained("kmeans", rows_of("clustering"), params={"clusters": 3}).manifest
    assert (manifest.label, manifest.positive_meaning, manifest.classes) == ("", "", ())
    assert trained("decision_tree", rows_of("multiclass")).manifest.classes == ("high", "low", "middle")


def test_a_searched_candidate_uses_what_was_found_and_keeps_its_history(
    rows_of: RowsOf, trained: Train, tmp_path: Path
) -> None:
    said: list[str] = []
    options = {"search": {"trials": 4, "space": {"max_depth": [1, 4]}}, "params": {"min_samples_leaf": 5}}
    found = trained("decision_tree", rows_of("regression"), said, **options)
    assert found.trials == len(found.history["trials"]) == 4
    assert found.seconds["search"] > 0
    assert found.manifest.params["min_samples_leaf"] == 5
    best = max(found.history["trials"], key=lambda trial: trial["r2"])
    assert found.manifest.params["max_depth"] == best["max_depth"]
    assert [line for line in said if "trial 4 of 4" in line]
    assert min(path.name for path in tmp_path.iterdir()) == ".searches"
    again = trained("decision_tree", rows_of("regression"), **options)
    assert again.manifest.model_id == found.manifest.model_id


def test_validation_rows_of_classes_that_training_has_not_seen_are_left_out(rows_of: RowsOf, trained: Train) -> None:
    rows = rows_of("multiclass")
    labels = rows.validation_labels.copy()
    labels[:50] = -1
    params = {"max_rounds": 5, "min_data_in_leaf": 5}
    seen = trained("lightgbm", replace(rows, validation_labels=labels), params=params)
    known = replace(rows, validation=rows.validation[50:], validation_labels=labels[50:])
    assert seen.manifest.files == trained("lightgbm", known, params=params).manifest.files


def test_training_rows_of_one_class_are_refused(rows_of: RowsOf, trained: Train) -> None:
    rows = rows_of("binary")
    with pytest.raises(HeadraceError, match="all training rows have the same outcome"):
        trained("logistic_regression", replace(rows, train_labels=np.zeros_like(rows.train_labels)))


@pytest.mark.parametrize(
    "how", [{"class_weight": "balanced"}, {"resample": "over"}, {"resample": "under"}, {"resample": "smote"}]
)
@pytest.mark.parametrize("name", ["logistic_regression", "lightgbm", "random_forest"])
def test_balanced_classes_raise_the_recall_of_the_rare_one(
    how: dict[str, str], name: str, rows_of: RowsOf, trained: Train, small: dict[str, Any]
) -> None:
    rows = rows_of("binary")
    rare = np.flatnonzero(rows.train_labels == 1)[45:]
    unequal = replace(rows, train=np.delete(rows.train, rare, axis=0), train_labels=np.delete(rows.train_labels, rare))

    def recall(**options: Any) -> float:
        found = trained(name, unequal, params=small.get(name, {}), **options)
        assert found.manifest.training_rows == len(unequal.train_labels)
        scores = load_predictor(found.folder).scores_of_matrix(rows.validation)
        return float(recall_score(rows.validation_labels, scores >= 0.5))

    assert recall(**how) > recall() + 0.05


def test_weights_are_refused_where_nothing_weighs(rows_of: RowsOf, trained: Train) -> None:
    with pytest.raises(HeadraceError, match="takes no class weights"):
        trained("k_nearest", rows_of("binary"), class_weight="balanced")


@pytest.mark.parametrize("column", ["n99", "c0"])
def test_a_monotone_column_that_is_no_number_of_the_model_is_named(
    column: str, rows_of: RowsOf, trained: Train
) -> None:
    with pytest.raises(HeadraceError, match=f"monotone: {column} is no number that the model sees") as caught:
        trained("lightgbm", rows_of("binary"), monotone={column: 1})
    assert caught.value.expected == "n0, n1, n2, n3, n4, n5"


@pytest.mark.parametrize(("name", "task"), [("logistic_regression", "binary"), ("lightgbm", "multiclass")])
def test_monotone_is_refused_where_it_cannot_be_held(name: str, task: Task, rows_of: RowsOf, trained: Train) -> None:
    with pytest.raises(HeadraceError, match=f"can't hold monotone for {task}"):
        trained(name, rows_of(task), monotone={"n0": 1})


@pytest.mark.parametrize(
    ("name", "params"), [("random_forest", {"max_features": 7.5}), ("lightgbm", {"num_leaves": -3})]
)
def test_an_impossible_parameter_is_told_without_a_stack_trace(
    name: str, params: dict[str, Any], rows_of: RowsOf, trained: Train
) -> None:
    with pytest.raises(HeadraceError, match="the algorithm refused its parameters") as caught:
        trained(name, rows_of("binary"), params=params)
    assert next(iter(params)) in caught.value.found


# --- checks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "task"), [(name, task) for task in TASKS for name in names_for(task)])
def test_two_quick_fits_are_equal(name: str, task: Task, rows_of: RowsOf, small: dict[str, Any]) -> None:
    candidate = CandidateSpec(algorithm=name, params=small.get(name, {}))
    params = {**algorithm(name).defaults, **candidate.params}
    first, second = refit_hashes(candidate, algorithm(name), params, rows_of(task), 1, 1)
    assert first == second


def test_a_fit_that_differs_is_caught_and_the_proof_is_cheap(rows_of: RowsOf) -> None:
    rows, calls = rows_of("binary"), []
    many = replace(rows, train=np.tile(rows.train, (30, 1)), train_labels=np.sort(np.tile(rows.train_labels, 30)))
    found = algorithm("random_forest")

    def moody(seen: TrainingSet, params: dict[str, Any], seed: int, *rest: Any) -> Fitted:
        calls.append((seen, params))
        return found.fit(seen, params, seed + len(calls), *rest)

    candidate = CandidateSpec.model_validate({"algorithm": "random_forest", "resample": "over"})
    first, second = refit_hashes(candidate, replace(found, fit=moody), found.defaults, many, 1, 1)
    assert first != second
    assert [params["trees"] for _, params in calls] == [5, 5]
    assert all(len(seen.train) <= 2 * 4_000 and set(seen.train_labels) == {0, 1} for seen, _ in calls)


def test_improper_scores_are_counted_by_task() -> None:
    assert improper_rows("binary", np.array([0.0, 1.0, 1.1, -0.1, np.nan])) == 3
    assert improper_rows("multiclass", np.array([[0.5, 0.5], [0.5, 0.2], [np.inf, 0.0]]), ("a", "b")) == 2
    assert improper_rows("regression", np.array([-7.0, 1e9, np.inf])) == 1
    assert improper_rows("clustering", np.array([[-7.0, 2.0], [np.nan, 0.0]])) == 1


def test_a_probability_for_each_class_is_demanded() -> None:
    """Regression: one column of ones for two classes counted as proper, as it adds up to one."""
    assert improper_rows("multiclass", np.ones((5, 1)), ("a", "b")) == 5
    assert improper_rows("multiclass", np.full((5, 2), 0.5), ("a", "b")) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["linear_regression", "decision_tree"])
def test_labels_that_are_no_numbers_are_no_stack_trace(
    name: str, value: float, rows_of: RowsOf, trained: Train
) -> None:
    """Regression: what scikit-learn says of them is a ValueError, which was shown with its stack."""
    rows = rows_of("regression")
    labels = rows.train_labels.copy()
    labels[3] = value
    with pytest.raises(HeadraceError) as caught:
        trained(name, replace(rows, train_labels=labels))
    assert caught.value.where == f"candidates: {name}"
    assert caught.value.found
    assert caught.value.fix
