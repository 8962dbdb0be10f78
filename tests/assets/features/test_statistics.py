"""Statistics of columns are effect sizes: they say how far, not how many rows."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from assets.features.statistics import null_shares, population_stability_index, single_feature_aucs, stability

psi = population_stability_index


def normal(rows: int, shift: float = 0.0, seed: int = 1) -> pl.Series:
    return pl.Series(np.random.default_rng(seed).normal(shift, 1, rows))


NUMBERS = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=50).map(
    lambda values: pl.Series(values, dtype=pl.Float64)
)
COUNTS = st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=50).map(
    lambda values: pl.Series(values, dtype=pl.Int64)
)
TEXTS = st.lists(st.none() | st.sampled_from("abcd"), min_size=1, max_size=50).map(
    lambda values: pl.Series(values, dtype=pl.String)
)


@given(st.one_of(NUMBERS, COUNTS, TEXTS))
def test_a_column_is_stable_against_itself_in_any_order(column: pl.Series) -> None:
    assert psi(column, column) == 0
    assert psi(column, column.reverse()) == 0


@given(st.one_of(st.tuples(NUMBERS, NUMBERS), st.tuples(COUNTS, COUNTS), st.tuples(TEXTS, TEXTS)))
def test_the_index_is_never_negative_and_always_finite(pair: tuple[pl.Series, pl.Series]) -> None:
    value = psi(*pair)
    assert np.isfinite(value)
    assert value >= 0


def test_the_index_grows_with_the_shift() -> None:
    values = [psi(normal(20_000), normal(20_000, shift, seed=2)) for shift in (0.0, 0.1, 0.3, 0.6, 1.0, 2.0)]
    assert values == sorted(values)
    assert values[0] < 0.01
    assert values[-1] > 1


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_the_index_does_not_grow_with_the_number_of_rows(shift: float) -> None:
    """A significance test would: with enough rows everything drifts."""
    few, many = (psi(normal(rows), normal(rows, shift, seed=2)) for rows in (3_000, 300_000))
    assert few == pytest.approx(many, rel=0.25, abs=0.01)


def test_the_index_of_a_known_case_is_the_one_by_hand() -> None:
    reference, current = pl.Series(["a"] * 50 + ["b"] * 50), pl.Series(["a"] * 80 + ["b"] * 20)
    assert psi(reference, current) == pytest.approx(0.3 * np.log(0.8 / 0.5) - 0.3 * np.log(0.2 / 0.5))


@pytest.mark.parametrize("kind", [pl.Float64, pl.String, pl.Int64])
def test_more_nulls_are_a_shift(kind: pl.DataType) -> None:
    full = pl.Series([1, 2, 3, 4] * 25).cast(kind)
    half = pl.Series([1, 2, 3, 4, None, None, None, None] * 12).cast(kind)
    assert psi(full, half) > 0.5
    assert psi(half, half) == 0


def test_nan_counts_as_missing() -> None:
    assert psi(pl.Series([1.0, 2.0, None]), pl.Series([1.0, 2.0, float("nan")])) == 0


def test_a_value_that_is_new_or_gone_is_a_shift() -> None:
    old, new = pl.Series(["a", "b"] * 50), pl.Series(["a", "c"] * 50)
    assert psi(old, new) > 1
    assert psi(old, pl.Series(["a"] * 100)) > 1


@pytest.mark.parametrize("other", [4.0, 6.0, 5.0000001])
def test_a_constant_column_that_moves_is_a_shift(other: float) -> None:
    """Regression: a constant that grew stayed in the last bin, which had no upper end."""
    assert psi(pl.Series([5.0] * 100), pl.Series([other] * 100)) > 1


@pytest.mark.parametrize("often", [0, 1])
def test_a_column_of_mostly_one_value_is_more_than_one_bin(often: int) -> None:
    """Regression: with 95 zeros and 5 ones every decile was 0, so both values fell in one bin and nothing drifted."""
    seldom = 1 - often
    assert psi(pl.Series([often] * 95 + [seldom] * 5), pl.Series([often] * 50 + [seldom] * 50)) > 0.2


def test_without_rows_nothing_is_said() -> None:
    empty = pl.Series([], dtype=pl.Float64)
    assert psi(empty, normal(10)) == psi(normal(10), empty) == 0
    assert null_shares(pl.DataFrame({"a": []})) == {"a": 0.0}


def test_stability_is_said_of_every_column() -> None:
    reference = pl.DataFrame({"a": normal(1_000), "b": ["x", "y"] * 500})
    current = reference.with_columns(a=pl.col("a") + 3)
    found = stability(reference, current)
    assert list(found) == ["a", "b"]
    assert found["a"] > 1
    assert found["b"] == 0


def test_shares_of_nulls_are_counted() -> None:
    frame = pl.DataFrame({"a": [1, None, None, 4], "b": ["x", None, "", "y"], "c": [1.0, float("nan"), 2.0, 3.0]})
    assert null_shares(frame) == {"a": 0.5, "b": 0.25, "c": 0.0}


def test_a_planted_leak_is_found_whichever_way_it_points() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 2_000)
    matrix = np.column_stack([random.normal(size=2_000), labels + 0.01 * random.normal(size=2_000), -1.0 * labels])
    aucs = single_feature_aucs(matrix, ["noise", "leak", "leak_backwards"], labels)
    assert aucs["noise"] < 0.55
    assert aucs["leak"] == aucs["leak_backwards"] == 1


def test_missing_values_that_say_the_outcome_are_a_leak() -> None:
    labels = np.array([0, 1] * 500)
    matrix = np.where(labels == 1, np.nan, np.random.default_rng(4).normal(size=1_000))[:, None]
    assert single_feature_aucs(matrix, ["filled_afterwards"], labels) == {"filled_afterwards": 1.0}


def test_a_constant_predicts_nothing() -> None:
    labels = np.array([0, 1, 1, 0, 1])
    matrix = np.column_stack([np.full(5, 7.0), np.full(5, np.nan)])
    assert single_feature_aucs(matrix, ["seven", "nothing"], labels) == {"seven": 0.5, "nothing": 0.5}


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], []])
def test_with_one_class_every_column_is_chance(labels: list[int]) -> None:
    assert single_feature_aucs(np.zeros((len(labels), 1)), ["a"], np.array(labels, dtype=int)) == {"a": 0.5}


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=60))
def test_the_area_is_that_of_scikit_learn_with_ties(pairs: list[tuple[int, bool]]) -> None:
    values, labels = np.array([v for v, _ in pairs], dtype=float), np.array([int(b) for _, b in pairs])
    found = single_feature_aucs(values[:, None], ["a"], labels)["a"]
    if 0 < labels.sum() < len(labels):
        area = roc_auc_score(labels, values)
        assert found == pytest.approx(max(area, 1 - area))
    else:
        assert found == 0.5
