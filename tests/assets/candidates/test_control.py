"""The control scores at chance whatever is honest, however strong a feature is, and knows what chance gives."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from assets.candidates.control import association, control_score, few_of
from assets.candidates.predictor import score_function
from assets.candidates.registry import algorithm
from assets.candidates.training_set import TrainingSet
from assets.spec import CandidateSpec
from assets.tasks import Task

RowsOf = Callable[[Task], TrainingSet]


@pytest.mark.parametrize(
    ("name", "task"),
    [("logistic_regression", "binary"), ("k_nearest", "binary"), ("linear_regression", "regression")],
)
def test_a_random_direction_in_one_strong_feature_is_no_leak(name: str, task: Task, rows_of: RowsOf) -> None:
    """Regression: one fit on shuffled labels scores far above or below chance by luck, as often as not."""
    rows = rows_of(task)
    random = np.random.default_rng(1)
    strong = [np.where(labels > np.median(labels), 3.0, 0.0) if task == "regression" else 3.0 * labels
              for labels in (rows.train_labels, rows.validation_labels)]  # fmt: skip
    matrices = []
    for values in strong:
        matrix = np.zeros((len(values), rows.train.shape[1]))
        matrix[:, 0] = values + random.normal(size=len(values))
        matrices.append(matrix)
    alone = replace(rows, train=matrices[0], validation=matrices[1])
    candidate, found = CandidateSpec(algorithm=name), algorithm(name)
    both, single = [], []
    for seed in range(6):
        value, chance, error = control_score(candidate, found, found.defaults, alone, seed)
        both.append((value - chance) / error)
        shuffled = replace(alone, train_labels=np.random.default_rng(seed).permutation(alone.train_labels))
        fitted = found.fit(shuffled, {}, seed, 1, lambda _: None)
        score = score_function(fitted.file_name, fitted.content, task=task, columns=rows.columns, threads=1)
        value, chance, error = association(task, rows.validation_labels, score(alone.validation))
        single.append((value - chance) / error)
    assert max(both) < 2
    assert max(single) > 3


def test_association_and_its_error_are_those_of_the_books() -> None:
    random = np.random.default_rng(2)
    labels, scores = random.integers(0, 2, 400), random.random(400)
    value, chance, error = association("binary", labels, scores)
    assert value == pytest.approx(roc_auc_score(labels, scores))
    shuffles = [roc_auc_score(random.permutation(labels), scores) for _ in range(120)]
    assert (chance, error) == (0.5, pytest.approx(np.std(shuffles), rel=0.2))
    numbers = random.exponential(size=400)
    value, chance, error = association("regression", numbers, scores)
    assert value == pytest.approx(spearmanr(numbers, scores).statistic)
    shuffles = [spearmanr(random.permutation(numbers), scores).statistic for _ in range(120)]
    assert (chance, error) == (0.0, pytest.approx(np.std(shuffles), rel=0.2))


def test_the_error_of_several_classes_is_never_too_small() -> None:
    random = np.random.default_rng(2)
    labels, scores = random.integers(0, 3, 300), random.random((300, 3))
    shuffles = [association("multiclass", random.permutation(labels), scores)[0] for _ in range(40)]
    assert association("multiclass", labels, scores)[2] >= np.std(shuffles)


def test_what_cannot_be_ordered_is_at_chance() -> None:
    assert association("binary", np.ones(5, dtype=int), np.linspace(0, 1, 5))[0] == 0.5
    assert association("regression", np.arange(5.0), np.zeros(5))[0] == 0.0
    unseen = np.full(4, -1)
    assert association("multiclass", unseen, np.full((4, 2), 0.5))[0] == 0.5


def test_few_rows_keep_two_of_every_class(rows_of: RowsOf) -> None:
    rows = rows_of("multiclass")
    rare = rows.train_labels.copy()
    rare[rare == 2] = 0
    rare[[7, 11, 13]] = 2
    few = few_of(replace(rows, train_labels=rare), 20)
    assert 20 <= len(few.train_labels) <= 26
    assert (np.bincount(few.train_labels, minlength=3) >= 2).all()
    assert len(few.validation) == len(few.validation_labels) <= 26
