"""Balancing touches training rows alone, and gives the same rows every time."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from assets.candidates.resampling import balanced, class_weights
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError
from assets.spec import CandidateSpec
from assets.tasks import Task

RowsOf = Callable[[Task], TrainingSet]


def candidate(resample: str = "none", class_weight: str = "none") -> CandidateSpec:
    return CandidateSpec.model_validate({"algorithm": "lightgbm", "resample": resample, "class_weight": class_weight})


def rare(rows: TrainingSet, count: int) -> TrainingSet:
    """The rows with so many of the last class."""
    last = rows.train_labels == rows.train_labels.max()
    kept = np.sort(np.concatenate([np.flatnonzero(~last), np.flatnonzero(last)[:count]]))
    return replace(rows, train=rows.train[kept], train_labels=rows.train_labels[kept])


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("how", ["over", "under", "smote"])
def test_classes_are_equal_afterwards_and_validation_is_untouched(how: str, task: Task, rows_of: RowsOf) -> None:
    rows = rare(rows_of(task), 30)
    found = balanced(rows, candidate(how), seed=3)
    counts, before = np.bincount(found.train_labels), np.bincount(rows.train_labels)
    assert set(counts) == {before.min() if how == "under" else before.max()}
    assert len(found.train) == len(found.train_labels)
    assert found.validation is rows.validation
    assert found.validation_labels is rows.validation_labels


@pytest.mark.parametrize("how", ["over", "under", "smote"])
def test_the_same_seed_gives_the_same_rows_and_another_others(how: str, rows_of: RowsOf) -> None:
    rows = rare(rows_of("binary"), 30)
    first, second, other = (balanced(rows, candidate(how), seed=seed).train for seed in (3, 3, 4))
    assert first.tobytes() == second.tobytes()
    assert first.tobytes() != other.tobytes()


@pytest.mark.parametrize("how", ["over", "under"])
def test_resampled_rows_are_training_rows_in_their_order(how: str, rows_of: RowsOf) -> None:
    rows = rare(rows_of("binary"), 30)
    numbered = replace(rows, train=np.column_stack([np.arange(len(rows.train)), rows.train[:, 1:]]))
    places = balanced(numbered, candidate(how), seed=3).train[:, 0].astype(int)
    assert (np.diff(places) >= 0).all()
    assert balanced(numbered, candidate(how), seed=3).train_labels.tolist() == rows.train_labels[places].tolist()


def test_smote_keeps_the_rows_and_adds_some_between_those_of_the_rare_class(rows_of: RowsOf) -> None:
    rows = rare(rows_of("binary"), 30)
    found = balanced(rows, candidate("smote"), seed=3)
    made = found.train[len(rows.train) :]
    assert found.train[: len(rows.train)].tobytes() == rows.train.tobytes()  # gaps and all
    assert not np.isnan(made).any()
    own = rows.train[rows.train_labels == 1]
    medians = np.nanmedian(rows.train, axis=0)
    low, high = (np.nan_to_num(edge(own, axis=0)) for edge in (np.nanmin, np.nanmax))
    assert (made >= np.minimum(low, medians) - 1e-9).all()
    assert (made <= np.maximum(high, medians) + 1e-9).all()
    assert set(np.unique(made[:, 6:])) <= set(range(5))  # a category is one of those there are, not between two


def test_smote_takes_numbers_alone_categories_alone_and_an_empty_column(rows_of: RowsOf) -> None:
    rows = rare(rows_of("binary"), 30)
    for kept in (slice(0, 6), slice(6, 8)):
        schema = rows.schema.model_copy(update={"columns": rows.schema.columns[kept]})
        part = replace(rows, train=rows.train[:, kept], schema=schema)
        assert len(np.unique(np.bincount(balanced(part, candidate("smote"), seed=3).train_labels))) == 1
    empty = rows.train.copy()
    empty[:, 2] = np.nan
    assert np.isnan(balanced(replace(rows, train=empty), candidate("smote"), seed=3).train[:, 2]).all()


def test_smote_looks_for_as_many_neighbours_as_there_are_and_refuses_a_class_of_one(rows_of: RowsOf) -> None:
    assert balanced(rare(rows_of("binary"), 2), candidate("smote"), seed=3).train_labels.mean() == 0.5
    with pytest.raises(HeadraceError, match="a class has one row only"):
        balanced(rare(rows_of("binary"), 1), candidate("smote"), seed=3)


def test_balanced_weights_make_classes_weigh_the_same(rows_of: RowsOf) -> None:
    rows = rare(rows_of("multiclass"), 20)
    found = balanced(rows, candidate(class_weight="balanced"), seed=3)
    assert found.train is rows.train
    sums = np.bincount(found.train_labels, weights=found.weights)
    assert sums == pytest.approx([len(rows.train) / 3] * 3)
    assert class_weights(np.array([0, 0, 0, 1])).tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])


def test_a_candidate_that_asks_for_nothing_gets_the_same_rows(rows_of: RowsOf) -> None:
    rows = rows_of("binary")
    assert balanced(rows, candidate(), seed=3) is rows
