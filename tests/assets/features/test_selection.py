"""Each strategy chooses what it says, on training rows, and leaves the schema that it was given as it was."""

from typing import Any

import numpy as np
import pytest

from assets.errors import HeadraceError
from assets.features.selection import select_features
from assets.records import FeatureSchema, FittedTransform
from assets.tasks import Task

ROWS = 1_500
NAMES = ("noise_1", "strong", "colour", "noise_2", "weak", "words__a", "words__b")


@pytest.fixture(scope="module")
def schema() -> FeatureSchema:
    return FeatureSchema(
        inputs=dict.fromkeys(NAMES[:5], "number") | {"colour": "category", "text": "text"}, required=(),
        descriptions={}, row={},
        fitted=(
            FittedTransform(name="words", kind="text", of="text", columns=NAMES[5:], data={"terms": ["a", "b"]}),
        ),
        columns=tuple((name, "category" if name == "colour" else "number") for name in NAMES),
        categories={"colour": ("blue", "green", "red")},
    )  # fmt: skip


@pytest.fixture(scope="module")
def matrix() -> Any:
    """Noise, a strong number, a category whose middle code matters, noise with gaps, a weak number, two words."""
    random = np.random.default_rng(3)
    found = random.normal(size=(ROWS, len(NAMES)))
    found[:, 2] = random.integers(0, 3, ROWS)
    found[:, 5:] = random.integers(0, 2, (ROWS, 2))
    found[::7, 2:4] = np.nan
    return found


def labels_of(task: Task, matrix: Any) -> Any:
    value = 3 * matrix[:, 1] + 2.5 * (matrix[:, 2] == 1) + 0.5 * matrix[:, 4]
    if task == "binary":
        return (value > np.median(value)).astype(int)
    if task == "multiclass":
        return np.digitize(value, np.quantile(value, [0.3, 0.7]))
    return value


def chosen(task: Task, schema: FeatureSchema, matrix: Any, selection: dict[str, Any], seed: int = 1) -> FeatureSchema:
    return select_features(task, schema, matrix, labels_of(task, matrix), selection, seed=seed, threads=1)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "forecast"])
@pytest.mark.parametrize("strategy", ["importance", "mutual_information"])
def test_what_says_something_is_chosen_in_the_order_it_had(
    task: Task, strategy: str, schema: FeatureSchema, matrix: Any
) -> None:
    before = schema.to_json()
    found = chosen(task, schema, matrix, {"strategy": strategy, "top": 2, "names": ()})
    assert found.columns == (("strong", "number"), ("colour", "category"))
    assert found.fitted == ()
    assert found.fitted_id != schema.fitted_id
    assert found == chosen(task, schema, matrix, {"strategy": strategy, "top": 2})
    assert schema.to_json() == before, "a schema never changes"


@pytest.mark.parametrize("strategy", ["importance", "mutual_information"])
def test_more_than_there_is_is_everything(strategy: str, schema: FeatureSchema, matrix: Any) -> None:
    assert chosen("binary", schema, matrix, {"strategy": strategy, "top": 7}) == schema


@pytest.mark.parametrize("strategy", ["importance", "mutual_information"])
@pytest.mark.parametrize("label", [0, 1])
def test_a_constant_label_chooses_something_and_crashes_nothing(
    strategy: str, label: int, schema: FeatureSchema, matrix: Any
) -> None:
    constant = np.full(ROWS, label)
    found = select_features("binary", schema, matrix, constant, {"strategy": strategy, "top": 3}, seed=1, threads=1)
    assert len(found.columns) == 3


@pytest.mark.parametrize("selection", [{}, {"strategy": "all"}, {"strategy": "all", "top": 1, "names": ("strong",)}])
@pytest.mark.parametrize("task", ["binary", "clustering"])
def test_all_is_all(task: Task, selection: dict[str, Any], schema: FeatureSchema, matrix: Any) -> None:
    assert chosen(task, schema, matrix, selection) is schema


@pytest.mark.parametrize("task", ["binary", "regression", "clustering"])
def test_names_are_columns_or_transforms_in_the_schemas_order(task: Task, schema: FeatureSchema, matrix: Any) -> None:
    found = chosen(task, schema, matrix, {"strategy": "names", "names": ["words", "strong"]})
    assert found.column_names == ["strong", "words__a", "words__b"]
    assert found.fitted == schema.fitted
    assert found.categories == {}
    alone = chosen(task, schema, matrix, {"strategy": "names", "names": ["words__b", "colour"]})
    assert alone.column_names == ["colour", "words__b"]
    assert alone.categories == schema.categories


@pytest.mark.parametrize(
    ("task", "selection", "message"),
    [
        ("binary", {"strategy": "names", "names": ["strong", "storng"]}, "storng"),
        ("binary", {"strategy": "names", "names": []}, "no names"),
        ("binary", {"strategy": "best", "top": 3}, "best"),
        ("clustering", {"strategy": "importance", "top": 3}, "a clustering has no label"),
        ("clustering", {"strategy": "mutual_information", "top": 3}, "a clustering has no label"),
    ],
)
def test_what_can_not_be_selected_is_refused(
    task: Task, selection: dict[str, Any], message: str, schema: FeatureSchema, matrix: Any
) -> None:
    with pytest.raises(HeadraceError, match=message):
        chosen(task, schema, matrix, selection)


def test_a_sample_of_many_rows_is_seeded(schema: FeatureSchema) -> None:
    """More rows than are looked at: the same seed looks at the same ones."""
    matrix = np.random.default_rng(9).normal(size=(25_000, len(NAMES)))
    matrix[:, 2] = 0
    labels = (matrix[:, 4] > 0).astype(int)
    selection = {"strategy": "mutual_information", "top": 3}
    found = [select_features("binary", schema, matrix, labels, selection, seed=5, threads=1) for _ in range(2)]
    assert found[0] == found[1]
    assert "weak" in found[0].column_names
