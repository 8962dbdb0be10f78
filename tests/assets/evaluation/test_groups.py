"""What is compared between groups, in each task, and which groups are large enough."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets.evaluation.groups import Group, fairness_noise, groups_of, measure_name, nested
from assets.spec import ProductSpec

ROWS = 120
KIND = np.array(["shoes", "books", None])[np.arange(ROWS) % 3]
FRAME = pl.DataFrame({"kind": [None if name is None else str(name) for name in KIND]})
LABELS = (np.arange(ROWS) % 2).astype(int)


@pytest.fixture(scope="module")
def spec_for(spec_of: Callable[..., ProductSpec]) -> Callable[..., ProductSpec]:
    """The toy with a rule of fairness."""

    def make(task: str, measure: str, min_rows: int = 10) -> ProductSpec:
        return spec_of(
            {"task": task, "gates": {"fairness": {"by": ["kind"], "measure": measure, "min_rows": min_rows}}}
        )

    return make


def found(spec: ProductSpec, labels: Any, scores: Any, classes: tuple[str, ...] = ()) -> dict[str, dict[str, float]]:
    return nested(groups_of(spec, FRAME, labels, scores, classes))


def test_of_the_positives_of_each_group_so_many_are_found(spec_for: Callable[..., ProductSpec]) -> None:
    """Shoes are found, books never, and those without a kind are a group of their own."""
    scores = np.where(KIND == "shoes", 0.9, 0.1)
    spec = spec_for("binary", "true_positive_rate", 20)
    assert found(spec, LABELS, scores) == {"kind": {"(missing)": 0, "books": 0, "shoes": 1}}
    assert [group.rows for group in groups_of(spec, FRAME, LABELS, scores)] == [20, 20, 20]
    assert measure_name(spec) == "true positive rate"


def test_a_group_is_large_enough_by_the_rows_that_the_measure_is_of(spec_for: Callable[..., ProductSpec]) -> None:
    """Of 40 rows of books 20 are positive: enough for a share of the rows, too few for one of the positives."""
    labels = np.where(KIND == "shoes", 1, LABELS)
    groups = groups_of(spec_for("binary", "true_positive_rate", 21), FRAME, labels, np.full(ROWS, 0.9))
    assert [(group.name, group.rows, group.value) for group in groups] == [
        ("(missing)", 20, None), ("books", 20, None), ("shoes", 40, 1.0),
    ]  # fmt: skip
    assert len(found(spec_for("binary", "positive_rate", 21), labels, np.full(ROWS, 0.9))["kind"]) == 3


def test_the_share_that_is_predicted_positive_needs_no_outcome(spec_for: Callable[..., ProductSpec]) -> None:
    scores = np.where((KIND == "books") & (LABELS == 1), 0.9, 0.1)
    assert found(spec_for("binary", "positive_rate"), LABELS * 0, scores)["kind"] == {
        "(missing)": 0, "books": 0.5, "shoes": 0,
    }  # fmt: skip


def test_several_classes_have_a_rate_each_and_their_mean_is_compared(spec_for: Callable[..., ProductSpec]) -> None:
    """Of books the first class is never found."""
    labels = np.arange(ROWS) % 4 // 2
    scores = np.eye(2)[np.where(KIND == "books", 1, labels)]
    spec = spec_for("multiclass", "true_positive_rate")
    assert found(spec, labels, scores, ("ale", "stout"))["kind"] == {"(missing)": 1, "books": 0.5, "shoes": 1}
    assert measure_name(spec) == "mean true positive rate of the classes"


@pytest.mark.parametrize("measure", ["metric", "positive_rate", "true_positive_rate"])
def test_numbers_have_no_positives_so_their_metric_is_compared(
    spec_for: Callable[..., ProductSpec], measure: str
) -> None:
    actual = np.arange(ROWS) * 1.0
    spec = spec_for("regression", measure)
    values = found(spec, actual, np.where(KIND == "books", 60.0, actual))["kind"]
    assert values["shoes"] == 1
    assert values["books"] < 0.1
    assert measure_name(spec) == "r2"


def test_a_metric_that_the_rows_of_a_group_do_not_define_is_none(spec_for: Callable[..., ProductSpec]) -> None:
    labels = np.where(KIND == "shoes", 1, LABELS)
    values = found(spec_for("binary", "metric"), labels, LABELS / 2 + 0.1)
    assert set(values["kind"]) == {"(missing)", "books"}


def test_groups_that_differ_by_chance_are_allowed_to(spec_of: Callable[..., ProductSpec]) -> None:
    """Regression: five equally treated groups of a hundred positives each failed two times of three."""
    spec = spec_of({"gates.fairness": {"by": ["kind"], "min_rows": 50}})
    random, failed = np.random.default_rng(8), 0
    for _ in range(200):
        shares = random.binomial(100, 0.7, 5) / 100
        groups = [Group("kind", str(place), 100, float(share)) for place, share in enumerate(shares)]
        failed += bool(shares.max() - shares.min() > 0.1 + fairness_noise(spec, groups))
    assert failed <= 5
    assert fairness_noise(spec, groups[:1]) == 0
