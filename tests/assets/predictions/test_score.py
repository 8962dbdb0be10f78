"""A batch is scored once, by the model that was live when it came."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from assets.candidates.predictor import Predictor
from assets.candidates.registry import algorithm
from assets.candidates.training_set import TrainingSet
from assets.lake import Lake
from assets.predictions.checks import improper_rows, results
from assets.predictions.score import read_scores, save_scores, scored_frame
from assets.records import ModelManifest
from assets.spec import ProductSpec
from assets.tasks import Task, scores_of

MOMENT = datetime(2024, 4, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def predictor(rows: TrainingSet, manifest_of: Callable[..., ModelManifest]) -> Predictor:
    item = algorithm("logistic_regression").fit(rows, {}, 1, 1, lambda _: None)
    return Predictor(manifest_of(item.content, model_file=item.file_name, decision_threshold=0.4), item.content)


@pytest.fixture
def inputs(orders: pl.DataFrame) -> pl.DataFrame:
    """A batch's inputs, without labels, in no order."""
    return orders.drop("label").head(50).reverse()


def save(lake: Lake, spec: ProductSpec, batch_id: str, scores: pl.DataFrame) -> int:
    return lake.transact(lambda con: save_scores(con, spec, batch_id, scores))


def test_scores_say_row_probability_class_model_and_moment(
    toy: ProductSpec, predictor: Predictor, inputs: pl.DataFrame
) -> None:
    scores = scored_frame(toy, inputs, predictor, batch_id="2024-04", scored_at=MOMENT)
    assert scores.columns == [
        "order_id", "batch_id", "probability", "is_positive", "model_id", "model_as_of", "scored_at",
    ]  # fmt: skip
    assert scores["order_id"].equals(inputs["order_id"])
    assert scores["probability"].to_numpy().tobytes() == predictor.scores(inputs).tobytes()
    assert scores["is_positive"].equals((scores["probability"] >= 0.4).alias("is_positive"))
    assert scores["is_positive"].n_unique() == 2
    assert scores["model_id"].unique().to_list() == [predictor.manifest.model_id]


def test_a_batch_is_scored_once_and_the_first_scores_stay(
    lake: Lake, spec_of: Callable[..., ProductSpec], predictor: Predictor, inputs: pl.DataFrame
) -> None:
    """A later champion must not rewrite what was said before the labels were known."""
    spec = spec_of({"product": "scored_once"})
    first = scored_frame(spec, inputs, predictor, batch_id="2024-04", scored_at=MOMENT)
    later = first.with_columns(probability=pl.lit(0.99), model_id=pl.lit("a later champion"))
    assert [save(lake, spec, "2024-04", scores) for scores in (first, first, later)] == [50, 0, 0]
    found = read_scores(lake, spec, "2024-04")
    assert found["model_id"].unique().to_list() == [predictor.manifest.model_id]
    assert found["order_id"].to_list() == sorted(inputs["order_id"].to_list())
    expected = first.sort("order_id")["probability"].to_numpy()
    assert found["probability"].to_numpy().tobytes() == expected.tobytes()


def test_batches_are_scored_apart(
    lake: Lake, spec_of: Callable[..., ProductSpec], predictor: Predictor, inputs: pl.DataFrame
) -> None:
    spec = spec_of({"product": "scored_apart"})
    assert read_scores(lake, spec, "2024-04") is None
    for batch_id, rows in (("2024-04", 10), ("2024-05", 20)):
        scores = scored_frame(spec, inputs.head(rows), predictor, batch_id=batch_id, scored_at=MOMENT)
        assert save(lake, spec, batch_id, scores) == rows
    assert read_scores(lake, spec, "2024-04").height == 10
    assert read_scores(lake, spec, "2024-05").height == 20
    assert read_scores(lake, spec, "2024-06") is None


def test_a_batch_without_rows_has_no_scores(
    lake: Lake, spec_of: Callable[..., ProductSpec], predictor: Predictor, inputs: pl.DataFrame
) -> None:
    spec = spec_of({"product": "scored_nothing"})
    empty = scored_frame(spec, inputs.clear(), predictor, batch_id="2024-04", scored_at=MOMENT)
    assert save(lake, spec, "2024-04", empty) == 0
    assert read_scores(lake, spec, "2024-04") is None


# --- the tasks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scorer:
    """A model with given scores."""

    manifest: ModelManifest
    given: np.ndarray

    def scores(self, frame: pl.DataFrame) -> np.ndarray:
        """As many as there are rows."""
        return self.given[: frame.height]


SCORES = {
    "multiclass": np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]]),
    "regression": np.array([1.5, -2.0, 3.25]),
    "forecast": np.array([10.0, 11.0, 12.0]),
    "clustering": np.array([[-1.0, -2.0], [-5.0, -0.5], [-3.0, -1.0]]),
}
KEPT = {
    "multiclass": {"predicted": ["a", "c", "b"], "probability": [0.7, 0.6, 0.5]},
    "regression": {"predicted": [1.5, -2.0, 3.25]},
    "forecast": {"predicted": [10.0, 11.0, 12.0]},
    "clustering": {"cluster": [0, 1, 1]},
}


@pytest.mark.parametrize("task", SCORES)
def test_what_is_kept_of_each_task_can_be_read_back_as_scores(
    lake: Lake, toy: ProductSpec, orders: pl.DataFrame,
    manifest_of: Callable[..., ModelManifest], task: Task,
) -> None:  # fmt: skip
    spec = toy.model_copy(update={"task": task, "product": f"scored_{task}"})
    model = Scorer(manifest_of(task=task, classes=("a", "b", "c")), SCORES[task])
    save(lake, spec, "2024-04", scored_frame(spec, orders.head(3), model, batch_id="2024-04", scored_at=MOMENT))
    found = read_scores(lake, spec, "2024-04")
    for name, values in KEPT[task].items():
        assert found[name].to_list() == values
    assert (scores_of(task, found) == SCORES[task]).all()
    verdicts = {item.check_name: item.passed for item in results(spec, found, 3)}
    assert len(verdicts) == 3
    assert all(verdicts.values())
    assert not {item.check_name: item.passed for item in results(spec, found, 4)}["counts"]


@pytest.mark.parametrize(
    ("task", "scores", "improper"),
    [
        ("binary", [0.0, 1.0, 0.5], 0),
        ("binary", [-0.1, 1.1, np.nan], 3),
        ("multiclass", [[0.5, 0.5], [0.5, 0.6], [1.5, -0.5]], 2),
        ("regression", [1e12, -1e12, 0.0], 0),
        ("forecast", [np.nan, np.inf, 0.0], 2),
        ("clustering", [[-1.0, -2.0], [np.nan, 0.0]], 1),
    ],
)
def test_scores_out_of_their_range_are_counted_by_row(task: Task, scores: list[object], improper: int) -> None:
    assert improper_rows(task, np.array(scores, dtype=float)) == improper


@pytest.mark.parametrize(("task", "name"), [("multiclass", "several_classes"), ("forecast", "not_constant"),
                                            ("clustering", "several_clusters")])  # fmt: skip
def test_the_same_answer_for_all_rows_warns(
    toy: ProductSpec, orders: pl.DataFrame, manifest_of: Callable[..., ModelManifest], task: Task, name: str
) -> None:
    spec = toy.model_copy(update={"task": task})
    model = Scorer(manifest_of(task=task, classes=("a", "b", "c")), np.repeat(SCORES[task][:1], 3, axis=0))
    frame = scored_frame(spec, orders.head(3), model, batch_id="2024-04", scored_at=MOMENT)
    found = {item.check_name: item for item in results(spec, frame, 3)}
    assert not found[name].passed
    assert found[name].severity.value == "WARN"
    assert found["range"].passed
