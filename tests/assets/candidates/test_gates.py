"""Each training gate fails for exactly its cause and says so; what is sound passes them all."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.candidates import gates
from assets.candidates.gates import convergence, gates_of, training_gates
from assets.candidates.graph import Graph
from assets.candidates.registry import Algorithm, Fitted, algorithm
from assets.candidates.training import train
from assets.candidates.training_set import TrainingSet
from assets.records import Gate, SplitManifest
from assets.spec import CandidateSpec, ProductSpec
from assets.tasks import PRIMARIES, Task

RowsOf = Callable[[Task], TrainingSet]
Judged = Callable[..., dict[str, Gate]]
MODEL = {"max_rounds": 60, "early_stopping_rounds": 10, "min_data_in_leaf": 5, "num_leaves": 7, "learning_rate": 0.1}


@pytest.fixture
def judged(toy: ProductSpec, split: SplitManifest, tmp_path: Path) -> Judged:
    """The gates, by name, of a candidate that is trained and saved as in a run."""

    def one(name: str, rows: TrainingSet, *, found: Algorithm | None = None, **training: Any) -> dict[str, Gate]:
        options = {key: training.pop(key) for key in ("params", "resample", "monotone") if key in training}
        limits = toy.gates.training.model_copy(update=training)
        changes = {"primary": PRIMARIES[rows.task][0], "training": limits}
        spec = toy.model_copy(update={"task": rows.task, "gates": toy.gates.model_copy(update=changes)})
        if rows.task == "clustering":
            spec = spec.model_copy(update={"label": None})
        candidate = CandidateSpec.model_validate({"algorithm": name, **options})
        used = found or algorithm(name)
        trained = train(
            used, candidate, spec=spec, split=split, rows=rows, folder=tmp_path, threads=1, progress=lambda _: None
        )
        verdicts = training_gates(spec, candidate, used, trained, rows, threads=1)
        assert [gate.name for gate in verdicts] == list(gates_of(spec))
        return {gate.name: gate for gate in verdicts}

    return one


def unlike(found: dict[str, Gate], verdict: str) -> list[str]:
    """Names of the gates with a verdict."""
    return [name for name, gate in found.items() if gate.verdict == verdict]


def with_fit(name: str, fit: Callable[..., Fitted]) -> Algorithm:
    """An algorithm whose fit is another."""
    return replace(algorithm(name), fit=fit)


# --- sound candidates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("lightgbm", "binary"),
        ("logistic_regression", "multiclass"),
        ("random_forest", "regression"),
        ("linear_regression", "regression"),
        ("kmeans", "clustering"),
        ("gaussian_mixture", "clustering"),
        ("baseline", "binary"),
        ("baseline", "clustering"),
    ],
)
def test_a_sound_candidate_fails_no_gate(
    name: str, task: Task, rows_of: RowsOf, small: dict[str, Any], judged: Judged
) -> None:
    found = judged(name, rows_of(task), params=small.get(name, {}))
    assert unlike(found, "FAILED") == []
    assert all(gate.detail for gate in found.values())


def test_a_baseline_is_not_held_against_itself(rows_of: RowsOf, judged: Judged) -> None:
    found = judged("baseline", rows_of("binary"))
    assert {found[name].observed for name in ("shuffled_control", "learns", "beats_linear")} == {"is a baseline"}


def test_the_linear_model_is_not_held_against_itself(rows_of: RowsOf, judged: Judged) -> None:
    assert judged("logistic_regression", rows_of("binary"))["beats_linear"].observed == "is the linear model"
    assert judged("linear_regression", rows_of("regression"))["beats_linear"].observed == "is the linear model"


# --- the model itself -----------------------------------------------------------------------------------------------


def test_too_few_training_rows_fail_trained(rows_of: RowsOf, judged: Judged) -> None:
    rows = rows_of("binary")
    few = replace(rows, train=rows.train[:15], train_labels=np.arange(15) % 2)
    found = judged("baseline", few)
    assert unlike(found, "FAILED") == ["trained"]
    assert (found["trained"].observed, found["trained"].threshold) == (15, 20)


def test_scores_that_are_no_numbers_fail_finite_and_cannot_be_judged(rows_of: RowsOf, judged: Judged) -> None:
    def broken(rows: TrainingSet, params: dict[str, Any], *_rest: Any) -> Fitted:
        graph = Graph(len(rows.columns))
        return Fitted("model.onnx", graph.bytes_of(graph.same_for_all(np.array([np.nan]))), params)

    found = judged("linear_regression", rows_of("regression"), found=with_fit("linear_regression", broken))
    assert unlike(found, "FAILED") == ["finite", "learns"]
    assert found["finite"].observed == 180
    assert found["learns"].detail == "scores are no numbers: nothing to judge"


def test_a_fit_that_is_never_the_same_fails_deterministic_alone(rows_of: RowsOf, judged: Judged) -> None:
    calls, forest = count(), algorithm("random_forest")

    def moody(rows: TrainingSet, params: dict[str, Any], seed: int, *rest: Any) -> Fitted:
        return forest.fit(rows, params, seed + next(calls), *rest)

    found = judged("random_forest", rows_of("binary"), found=with_fit("random_forest", moody), params={"trees": 30})
    assert unlike(found, "FAILED") == ["deterministic"]
    assert found["deterministic"].observed != found["deterministic"].threshold


# --- converged ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("patience", [10, 0])
def test_a_fit_that_diverges_fails_converged_alone(task: Task, patience: int, rows_of: RowsOf, judged: Judged) -> None:
    """With early stopping the first round is kept, without it the last."""
    found = judged("lightgbm", rows_of(task), params={**MODEL, "learning_rate": 2.5, "early_stopping_rounds": patience})
    assert unlike(found, "FAILED") == ["converged"]
    assert found["converged"].detail.startswith("diverged: ")
    assert "lower learning_rate" in found["converged"].detail


def test_boosting_that_is_cut_short_is_warned_of_in_words(rows_of: RowsOf, judged: Judged) -> None:
    found = judged("lightgbm", rows_of("binary"), params={**MODEL, "max_rounds": 10})["converged"]
    assert (found.verdict, found.observed) == ("WARNED", "improving at round 10")
    assert found.detail.startswith("used all 10 rounds; still improving by 0.0")


@pytest.mark.parametrize(
    ("losses", "rounds", "most", "verdict", "observed"),
    [
        ([0.7, 0.5, 0.4, 0.41, 0.42], 3, 100, "PASSED", "stopped early at round 3"),
        ([0.7, 0.5, *[0.4] * 18], 3, 20, "PASSED", "flat after 20 rounds"),
        ([0.7], 1, 1, "PASSED", "flat after 1 rounds"),
        ([0.7, 0.71, 0.72], 1, 100, "WARNED", 0.72),
        ([8.6, 8.6, 8.6], 1, 100, "WARNED", 8.6),
        ([0.7, 0.9, 1.1], 1, 100, "FAILED", 1.1),
        ([-3.0, -2.9, -1.4], 1, 100, "FAILED", -1.4),
        ([0.7, 0.4, 0.5, 5.0], 4, 4, "FAILED", 5.0),
        ([0.7, 0.4, 0.45, 0.5], 4, 4, "WARNED", "rising at round 4"),
        ([0.7, float("nan"), 0.6], 3, 100, "FAILED", "nan"),
        ([0.7, 0.6, float("inf")], 2, 100, "FAILED", "inf"),
    ],
)
def test_a_curve_of_losses_is_read(
    losses: list[float], rounds: int, most: int, verdict: str, observed: float | str
) -> None:
    history = {"validation_loss": losses, "validation_metric": "loss", "rounds": rounds, "max_rounds": most}
    found = convergence(history)
    assert (found.verdict, found.observed) == (verdict, observed)


def test_boosting_without_validation_rows_has_no_curve(rows_of: RowsOf) -> None:
    rows = rows_of("binary")
    blind = replace(rows, validation=rows.validation[:0], validation_labels=rows.validation_labels[:0])
    history = algorithm("lightgbm").fit(blind, {**MODEL, "max_rounds": 5}, 1, 1, lambda _: None).history
    assert convergence(history).observed == "5 rounds"


def test_a_solver_that_was_cut_off_fails_converged_alone(rows_of: RowsOf, judged: Judged) -> None:
    found = judged("logistic_regression", rows_of("binary"), params={"max_iterations": 1})
    assert unlike(found, "FAILED") == ["converged"]
    assert (found["converged"].observed, found["converged"].threshold) == (1, "fewer than 1")


@pytest.mark.parametrize(
    ("name", "task", "observed"),
    [("naive_bayes", "binary", "one step"), ("extra_trees", "binary", "one step"), ("kmeans", "clustering", int)],
)
def test_what_has_no_rounds_was_fitted_in_one_step(
    name: str, task: Task, observed: Any, fitted_of: Callable[[str, Task], Fitted]
) -> None:
    found = convergence(fitted_of(name, task).history)
    assert found.verdict == "PASSED"
    assert found.observed == observed if isinstance(observed, str) else float(found.observed) >= 1


# --- the shuffled control -------------------------------------------------------------------------------------------


def trains_on_validation(name: str) -> Algorithm:
    """A planted leak: the rows that judge are among those that train."""
    honest = algorithm(name)

    def fit(rows: TrainingSet, *rest: Any) -> Fitted:
        both = np.vstack([rows.train, rows.validation]), np.concatenate([rows.train_labels, rows.validation_labels])
        return honest.fit(replace(rows, train=both[0], train_labels=both[1]), *rest)

    return with_fit(name, fit)


def remembers(name: str) -> Algorithm:
    """A planted leak: what was fitted first is given back, whatever the labels are now."""
    honest, kept = algorithm(name), []

    def fit(rows: TrainingSet, *rest: Any) -> Fitted:
        if not kept:
            kept.append(honest.fit(rows, *rest))
        return kept[0]

    return with_fit(name, fit)


@pytest.mark.parametrize(
    ("name", "task", "leak"),
    [
        ("lightgbm", "binary", trains_on_validation),
        ("random_forest", "multiclass", trains_on_validation),
        ("linear_regression", "regression", trains_on_validation),
        ("lightgbm", "regression", remembers),
        ("decision_tree", "binary", remembers),
    ],
)
def test_a_planted_leak_around_the_labels_fails_the_shuffled_control_alone(
    name: str, task: Task, leak: Callable[[str], Algorithm], rows_of: RowsOf, judged: Judged, small: dict[str, Any]
) -> None:
    options = {"params": small.get(name, {})}
    assert judged(name, rows_of(task), **options)["shuffled_control"].verdict == "PASSED"
    found = judged(name, rows_of(task), found=leak(name), **options)
    assert unlike(found, "FAILED") == ["shuffled_control"]
    gate = found["shuffled_control"]
    assert float(gate.observed) > float(gate.threshold)
    assert "Outcomes reach the scores around the training labels" in gate.detail


def test_the_control_can_be_switched_off(rows_of: RowsOf, judged: Judged) -> None:
    found = judged(
        "decision_tree", rows_of("binary"), found=trains_on_validation("decision_tree"), shuffled_control=False
    )
    assert found["shuffled_control"].verdict == "PASSED"
    assert found["shuffled_control"].detail == "off by gates.training.shuffled_control"


def test_a_monotone_column_is_no_leak(rows_of: RowsOf, judged: Judged) -> None:
    """The direction that a person has declared is no knowledge of a label."""
    found = judged("lightgbm", rows_of("binary"), params=MODEL, monotone={"n0": 1})
    assert found["shuffled_control"].verdict == "PASSED"


# --- others ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_candidate_that_learns_nothing_from_noise_is_never_passed(
    task: Task, rows_of: RowsOf, judged: Judged
) -> None:
    rows, random = rows_of(task), np.random.default_rng(3)
    noise = replace(
        rows,
        train_labels=random.permutation(rows.train_labels),
        validation_labels=random.permutation(rows.validation_labels),
    )
    found = judged("decision_tree", noise)["learns"]
    assert found.verdict in {"FAILED", "WARNED"}
    assert ("it has learned nothing" if found.verdict == "FAILED" else "may be luck") in found.detail


def test_a_candidate_that_is_worse_than_the_baseline_fails_learns_alone(rows_of: RowsOf, judged: Judged) -> None:
    """It has learned, and the outcome has turned round since: AUC below that of knowing nothing."""
    rows = rows_of("binary")
    turned = replace(rows, validation_labels=1 - rows.validation_labels)
    found = judged("decision_tree", turned, beats_linear="warn")
    assert unlike(found, "FAILED") == ["learns"]
    assert found["learns"].threshold == 0.5
    assert "the baseline's 0.5: it has learned nothing" in found["learns"].detail


def test_clusters_of_nothing_fail_learns_alone(rows_of: RowsOf, judged: Judged) -> None:
    rows, random = rows_of("clustering"), np.random.default_rng(5)
    nothing = replace(
        rows, train=random.permuted(rows.train, axis=0), validation=random.permuted(rows.validation, axis=0)
    )
    assert float(judged("kmeans", rows)["learns"].observed) > 0.2
    found = judged("kmeans", nothing, params={"clusters": 7})
    assert unlike(found, "FAILED") == ["learns"]
    assert found["shuffled_control"].observed == "no labels"
    assert found["beats_linear"].observed == "no linear model"


@pytest.mark.parametrize(("severity", "verdict"), [("warn", "WARNED"), ("block", "FAILED")])
def test_a_linear_model_that_is_as_good_is_said(severity: str, verdict: str, rows_of: RowsOf, judged: Judged) -> None:
    rows = rows_of("regression")
    straight = replace(
        rows,
        train_labels=np.nan_to_num(rows.train) @ np.arange(1.0, 9.0),
        validation_labels=np.nan_to_num(rows.validation) @ np.arange(1.0, 9.0),
    )
    found = judged("decision_tree", straight, beats_linear=severity)
    assert unlike(found, verdict) == ["beats_linear"]
    assert found["beats_linear"].detail.endswith("the linear model is simpler and as good")


def test_references_are_fitted_once_for_all_candidates_of_a_training_set(
    rows_of: RowsOf, judged: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[str] = []
    honest = gates.fit_candidate

    def counted(found: Algorithm, candidate: CandidateSpec, *rest: Any, **named: Any) -> Fitted:
        if candidate.algorithm in {"baseline", "logistic_regression"}:
            fitted.append(candidate.algorithm)
        return honest(found, candidate, *rest, **named)

    monkeypatch.setattr(gates, "fit_candidate", counted)
    rows = replace(rows_of("binary"))
    for name in ("decision_tree", "naive_bayes"):
        judged(name, rows)
    assert fitted == ["baseline", "logistic_regression"]
    judged("decision_tree", replace(rows))
    assert fitted == ["baseline", "logistic_regression"] * 2
