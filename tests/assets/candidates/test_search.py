"""A search finds what is best on validation rows, the same every time, and goes on where it was killed."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.candidates.predictor import score_function
from assets.candidates.registry import Algorithm, Fitted, algorithm
from assets.candidates.search import Search, Searched, judged_by
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError
from assets.evaluation.metrics import task_metrics
from assets.spec import CandidateSpec, ProductSpec
from assets.tasks import Task

RowsOf = Callable[[Task], TrainingSet]
SpecOf = Callable[..., ProductSpec]
KILLED = """
import json, os, signal, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from assets.candidates.registry import algorithm
from assets.candidates.search import Search
from assets.candidates.training_set import TrainingSet
from assets.records import FeatureSchema
from assets.spec import CandidateSpec, ProductSpec

folder, at = Path(sys.argv[1]), int(sys.argv[2])
arrays = np.load(folder / "rows.npz")
given = json.loads((folder / "given.json").read_text())
rows = TrainingSet(FeatureSchema.model_validate(given["schema"]), **arrays)
found, fits = algorithm("decision_tree"), []

def fit(*args):
    fits.append(1)
    if len(fits) == at:
        os.kill(os.getpid(), signal.SIGKILL)  # in the middle of a trial
    return found.fit(*args)

candidate, spec = CandidateSpec.model_validate(given["candidate"]), ProductSpec.model_validate(given["spec"])
search = Search(replace(found, fit=fit), candidate, candidate.search, spec, 1, print)
search.run(rows, folder / "searches", identity=["x"])
"""


def candidate_of(name: str = "decision_tree", **changes: Any) -> CandidateSpec:
    search = {"trials": 14, **changes.pop("search", {})}
    return CandidateSpec.model_validate({"algorithm": name, "search": search, **changes})


def searched(
    rows: TrainingSet, folder: Path, spec: ProductSpec, candidate: CandidateSpec | None = None, **changes: Any
) -> tuple[Searched, list[str]]:
    said: list[str] = []
    candidate = candidate or candidate_of()
    assert candidate.search is not None
    found = changes.pop("algorithm", algorithm(candidate.algorithm))
    search = Search(found, candidate, candidate.search, spec, 1, said.append)
    return search.run(rows, folder, identity=changes.pop("identity", ["x"])), said


def counting(found: Algorithm, fits: list[TrainingSet]) -> Algorithm:
    def fit(rows: TrainingSet, *args: Any) -> Fitted:
        fits.append(rows)
        return found.fit(rows, *args)

    return replace(found, fit=fit)


def without_time(trials: Any) -> list[dict[str, Any]]:
    return [{name: value for name, value in trial.items() if name != "seconds"} for trial in trials]


def test_a_search_is_the_same_every_time_and_its_best_is_best(
    tmp_path: Path, rows_of: RowsOf, toy: ProductSpec
) -> None:
    rows = rows_of("binary")
    first, said = searched(rows, tmp_path / "a", toy)
    second, _ = searched(rows, tmp_path / "b", toy)
    assert without_time(first.trials) == without_time(second.trials)
    values = [trial["roc_auc"] for trial in first.trials]
    best = first.trials[int(np.argmax(values))]
    assert first.params == {name: best[name] for name in ("max_depth", "min_samples_leaf")}
    assert [trial["best"] for trial in first.trials] == np.maximum.accumulate(values).tolist()
    assert (first.trials[0]["max_depth"], first.trials[0]["min_samples_leaf"]) == (8, 20)  # the defaults are tried
    assert len({(trial["max_depth"], trial["min_samples_leaf"]) for trial in first.trials}) > 5
    assert len(said) == 14
    assert said[6].startswith(f"decision_tree: trial 7 of 14, best roc_auc {max(values[:7]):.4f}, about ")


def test_a_search_that_was_killed_goes_on_as_if_nothing_had_been(
    tmp_path: Path, rows_of: RowsOf, toy: ProductSpec
) -> None:
    rows, candidate = rows_of("binary"), candidate_of()
    undisturbed, _ = searched(rows, tmp_path / "undisturbed", toy)
    arrays = {name: getattr(rows, name) for name in ("train", "train_labels", "validation", "validation_labels")}
    np.savez(tmp_path / "rows.npz", **arrays)
    given = {
        "schema": rows.schema.model_dump(mode="json"),
        "candidate": candidate.model_dump(mode="json"),
        "spec": toy.model_dump(mode="json"),
    }
    (tmp_path / "given.json").write_text(json.dumps(given))
    command = [sys.executable, "-u", "-c", KILLED, str(tmp_path), "13"]
    killed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert killed.stdout.count("trial") == 12
    journal = next((tmp_path / "searches").glob("*.jsonl"))
    with journal.open("ab") as file:
        file.write(b'{"op_code":5,"wor')  # and half a line, as a kill while writing leaves it
    (tmp_path / "searches" / f"{journal.name}.lock").symlink_to(journal)
    fits: list[TrainingSet] = []
    resumed, _ = searched(rows, tmp_path / "searches", toy, algorithm=counting(algorithm("decision_tree"), fits))
    assert len(fits) == 2
    assert without_time(resumed.trials) == without_time(undisturbed.trials)
    assert resumed.params == undisturbed.params


def test_finished_trials_are_not_repeated_and_a_larger_budget_goes_on(
    tmp_path: Path, rows_of: RowsOf, toy: ProductSpec
) -> None:
    rows, fits = rows_of("binary"), []
    found = counting(algorithm("decision_tree"), fits)
    first, _ = searched(rows, tmp_path, toy, candidate_of(search={"trials": 3}), algorithm=found)
    again, _ = searched(rows, tmp_path, toy, candidate_of(search={"trials": 3}), algorithm=found)
    assert again == first
    assert len(fits) == 3
    more, _ = searched(rows, tmp_path, toy, candidate_of(search={"trials": 5}), algorithm=found)
    assert more.trials[:3] == first.trials
    assert len(fits) == 5
    searched(rows, tmp_path, toy, candidate_of(search={"trials": 1}), algorithm=found, identity=["other rows"])
    assert len(fits) == 6


def test_no_further_trial_starts_when_the_seconds_are_spent(tmp_path: Path, rows_of: RowsOf, toy: ProductSpec) -> None:
    candidate = candidate_of(search={"trials": 500, "max_seconds": 0.05})
    found, said = searched(rows_of("binary"), tmp_path, toy, candidate)
    assert 1 <= len(found.trials) < 100
    assert said[-1] == f"stopped after {len(found.trials)} trials: 0.05 s are spent"


def test_only_training_and_validation_rows_are_seen_and_given_parameters_are_fixed(
    tmp_path: Path, rows_of: RowsOf, toy: ProductSpec
) -> None:
    rows, fits = rows_of("binary"), []
    candidate = candidate_of(
        params={"max_depth": 3}, search={"trials": 4, "space": {"min_samples_leaf": [5, 9], "max_depth": [1, 2]}}
    )
    found, _ = searched(rows, tmp_path, toy, candidate, algorithm=counting(algorithm("decision_tree"), fits))
    assert all(seen.train is rows.train and seen.validation is rows.validation for seen in fits)
    assert all(set(trial) == {"trial", "roc_auc", "best", "seconds", "min_samples_leaf"} for trial in found.trials)
    assert all(5 <= trial["min_samples_leaf"] <= 9 for trial in found.trials)


def test_a_metric_where_less_is_better_is_minimised(tmp_path: Path, rows_of: RowsOf, spec_of: SpecOf) -> None:
    spec = spec_of({"gates.primary": "log_loss"})
    found, _ = searched(rows_of("binary"), tmp_path, spec)
    assert found.trials[-1]["best"] == min(trial["log_loss"] for trial in found.trials)


def test_folds_are_judged_by_models_of_the_folds_before_them(tmp_path: Path, rows_of: RowsOf, toy: ProductSpec) -> None:
    rows = rows_of("binary")
    folds = np.repeat([0, 1, 2], 140)
    numbered = replace(rows, train=np.column_stack([np.arange(420), rows.train[:, 1:]]), folds=folds)
    fits: list[TrainingSet] = []
    candidate = candidate_of(search={"trials": 1}, resample="over")
    searched(numbered, tmp_path, toy, candidate, algorithm=counting(algorithm("decision_tree"), fits))
    assert len(fits) == 3
    assert fits[2].validation is rows.validation
    for fold, seen in enumerate(fits[:2], start=1):
        assert set(np.bincount(seen.train_labels)) == {np.bincount(seen.train_labels)[0]}  # resampled inside
        assert seen.train[:, 0].max() < 140 * fold
        assert seen.validation[:, 0].tolist() == list(range(140 * fold, 140 * fold + 140))


def test_a_fold_without_a_class_is_searched_all_the_same(tmp_path: Path, rows_of: RowsOf, toy: ProductSpec) -> None:
    rows = rows_of("multiclass")
    order = np.argsort(rows.train_labels, kind="stable")
    late = replace(
        rows, train=rows.train[order], train_labels=rows.train_labels[order], folds=np.repeat([0, 1, 2], 140)
    )
    assert [len(np.unique(part.train_labels)) for part in judged_by(late)] == [2, 3, 3]
    early = replace(late, folds=np.repeat([0, 1, 2], [20, 200, 200]))
    assert [len(np.unique(part.train_labels)) for part in judged_by(early)] == [2, 3]  # that of one class is left out
    gates = toy.gates.model_copy(update={"primary": "f1_macro"})
    spec = toy.model_copy(update={"task": "multiclass", "gates": gates})
    found, _ = searched(late, tmp_path, spec, candidate_of("random_forest", params={"trees": 5}, search={"trials": 2}))
    assert all(0 < trial["f1_macro"] < 1 for trial in found.trials)


@pytest.mark.parametrize(
    ("space", "message"),
    [({"depth": [1, 2]}, "unknown parameter depth"), ({"max_depth": [5, 2]}, "a range of the space is empty")],
)
def test_a_wrong_space_is_named(
    space: dict[str, Any], message: str, tmp_path: Path, rows_of: RowsOf, toy: ProductSpec
) -> None:
    with pytest.raises(HeadraceError, match=message) as caught:
        searched(rows_of("binary"), tmp_path, toy, candidate_of(search={"space": space}))
    assert caught.value.where == "candidates: decision_tree: search"


def test_a_search_of_nothing_or_on_nothing_is_refused(tmp_path: Path, rows_of: RowsOf, toy: ProductSpec) -> None:
    rows = rows_of("binary")
    with pytest.raises(HeadraceError, match="nothing is left to search"):
        searched(rows, tmp_path, toy, candidate_of("baseline"))
    with pytest.raises(HeadraceError, match="judged on validation rows, and there are none"):
        searched(replace(rows, validation=rows.validation[:0]), tmp_path, toy)


def test_choices_ranges_and_orders_of_magnitude(tmp_path: Path, rows_of: RowsOf, toy: ProductSpec) -> None:
    space = {"objective": ["auto", "binary"], "lambda_l2": [0.001, 1000.0], "num_leaves": [3, 9], "bagging_freq": [1]}
    candidate = candidate_of(
        "lightgbm", params={"max_rounds": 3, "min_data_in_leaf": 5}, search={"trials": 12, "space": space}
    )
    found, _ = searched(rows_of("binary"), tmp_path, toy, candidate)
    penalties = [trial["lambda_l2"] for trial in found.trials[1:]]
    assert sum(value < 1 for value in penalties) >= 3  # of a linear scale one in a thousand would be
    assert all(type(trial["num_leaves"]) is int for trial in found.trials)
    assert {trial["objective"] for trial in found.trials} == {"auto", "binary"}
    assert {trial["bagging_freq"] for trial in found.trials} == {1}


def test_whole_numbers_bound_a_parameter_that_is_no_whole_number(
    tmp_path: Path, rows_of: RowsOf, toy: ProductSpec
) -> None:
    """Regression: [0, 1] of a share was the choice between 0 and 1, and its default 0.8 a stack trace."""
    space = {"feature_fraction": [0, 1], "learning_rate": [0, 1], "num_leaves": [3, 40]}
    candidate = candidate_of("lightgbm", params={"max_rounds": 3}, search={"trials": 6, "space": space})
    found, _ = searched(rows_of("binary"), tmp_path, toy, candidate)
    assert (found.trials[0]["feature_fraction"], found.trials[0]["learning_rate"]) == (0.8, 0.05)
    for name in ("feature_fraction", "learning_rate"):
        assert len({trial[name] for trial in found.trials}) == 6
        assert all(0 < trial[name] < 1 for trial in found.trials)
    assert all(type(trial["num_leaves"]) is int for trial in found.trials)


@pytest.mark.parametrize(
    ("space", "is_tried"),
    [
        ({"max_depth": [2, 9]}, True),
        ({"max_depth": [2, 7]}, False),
        ({"max_depth": [7, 8, 9]}, True),
        ({"max_depth": [5, 7, 9]}, False),
        ({"max_features": [0, 1]}, True),
        ({"max_features": [0.2, 0.9]}, False),
    ],
)
def test_the_defaults_are_tried_first_where_the_space_holds_them(
    space: dict[str, Any], is_tried: bool, tmp_path: Path, rows_of: RowsOf, toy: ProductSpec
) -> None:
    found, _ = searched(rows_of("binary"), tmp_path, toy, candidate_of(search={"trials": 1, "space": space}))
    defaults = algorithm("decision_tree").defaults
    assert all((found.trials[0][name] == defaults[name]) is is_tried for name in space)


def test_a_clustering_is_searched_by_the_metric_that_judges_it(
    tmp_path: Path, rows_of: RowsOf, toy: ProductSpec
) -> None:
    """Regression: the search took codes of categories for numbers, and another sample than the evaluation."""
    rows = rows_of("clustering")
    gates = toy.gates.model_copy(update={"primary": "silhouette"})
    spec = toy.model_copy(update={"task": "clustering", "label": None, "gates": gates})
    candidate = candidate_of("kmeans", search={"trials": 1, "space": {"clusters": [4, 4]}})
    found, _ = searched(rows, tmp_path, spec, candidate)
    fitted = algorithm("kmeans").fit(rows, dict(found.params), spec.seed, 1, lambda _: None)
    score = score_function(fitted.file_name, fitted.content, task=rows.task, columns=rows.columns, threads=1)
    scores = score(rows.validation)
    judged = {"matrix": rows.validation, "categorical": rows.categorical, "seed": spec.seed}
    expected = task_metrics("clustering", rows.validation_labels, scores, **judged)["silhouette"]
    without = task_metrics("clustering", rows.validation_labels, scores, matrix=rows.validation)["silhouette"]
    assert found.trials[0]["silhouette"] == expected != without


def test_smote_is_searched_on_the_folds_that_have_two_rows_of_each_class(
    tmp_path: Path, rows_of: RowsOf, toy: ProductSpec
) -> None:
    """Regression: an early fold with one row of a class stopped the whole search."""
    rows = rows_of("binary")
    order = np.argsort(rows.train_labels, kind="stable")
    labels = rows.train_labels[order]
    negatives = int((labels == 0).sum())
    folds = np.digitize(np.arange(len(labels)), [negatives + 1, negatives + 40])  # the first has one positive row
    late = replace(rows, train=rows.train[order], train_labels=labels, folds=folds)
    assert [len(part.train_labels) for part in judged_by(late)] == [negatives + 1, negatives + 40, len(labels)]
    assert [len(part.train_labels) for part in judged_by(late, smote=True)] == [negatives + 40, len(labels)]
    found, _ = searched(late, tmp_path, toy, candidate_of(search={"trials": 2}, resample="smote"))
    assert len(found.trials) == 2
    lone = replace(rows, train=late.train[: negatives + 1], train_labels=labels[: negatives + 1])
    with pytest.raises(HeadraceError, match="a class has one row only"):
        searched(lone, tmp_path, toy, candidate_of(search={"trials": 2}, resample="smote"), identity=["lone"])
