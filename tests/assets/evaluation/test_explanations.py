"""The global pictures are of a bounded seeded sample, and the same bytes each time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets.candidates.predictor import Predictor
from assets.candidates.registry import algorithm
from assets.candidates.training_set import TrainingSet
from assets.evaluation import explanations as module
from assets.evaluation.explanations import explanations
from assets.records import ModelManifest


@pytest.fixture(scope="module")
def predictor_of(rows: TrainingSet, manifest_of: Callable[..., ModelManifest]) -> Callable[..., Predictor]:
    """A quick model of a task on the toy's orders."""

    def one(name: str, task: Any = "binary") -> Predictor:
        classes = ("a", "b", "c") if task == "multiclass" else ("false", "true")
        labels = (np.nan_to_num(rows.train[:, 1]) > 8).astype(int) + rows.train_labels
        given = TrainingSet(
            rows.schema, rows.train, rows.train_labels if task == "binary" else labels, rows.validation[:0],
            rows.validation_labels[:0], task=task, classes=classes,
        )  # fmt: skip
        params = {"max_rounds": 10, "min_data_in_leaf": 5} if name == "lightgbm" else {}
        item = algorithm(name).fit(given, params, 1, 1, lambda _: None)
        manifest = manifest_of(item.content, model_file=item.file_name, task=task, classes=classes)
        return Predictor(manifest, item.content)

    return one


@pytest.mark.parametrize(
    ("task", "names"),
    [("binary", {"shap", "shap_rows"}), ("regression", {"shap", "shap_rows"}), ("multiclass", {"shap"})],
)
def test_a_lightgbm_model_is_drawn_the_same_each_time(
    task: str, names: set[str], predictor_of: Callable[..., Predictor], orders: pl.DataFrame
) -> None:
    """Also with a column without any value, as it happens in a month."""
    test = orders.with_columns(pl.lit(None, dtype=pl.Int64).alias("pieces"))
    model = predictor_of("lightgbm", task)
    drawn = explanations(model, test, 7)
    assert set(drawn) == names
    assert all(picture.startswith("![SHAP") and "data:image/png;base64," in picture for picture in drawn.values())
    assert explanations(model, test, 7) == drawn


def test_only_so_many_rows_are_explained_as_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, predictor_of: Callable[..., Predictor], orders: pl.DataFrame
) -> None:
    model = predictor_of("lightgbm")
    assert 20 < model.leaves <= 310
    asked: list[pl.DataFrame] = []
    contributions = model.contributions
    monkeypatch.setattr(model, "contributions", lambda frame: asked.append(frame) or contributions(frame))
    monkeypatch.setattr(module, "_LEAF_ROWS", 120 * model.leaves)
    explanations(model, orders, 7)
    explanations(model, orders, 8)
    explanations(model, orders.head(50), 7)
    monkeypatch.setattr(module, "_LEAF_ROWS", 1)
    explanations(model, orders, 7)
    assert [frame.height for frame in asked] == [120, 120, 50, 100]
    assert not asked[0].equals(asked[1])
    assert asked[0]["order_id"].is_sorted()


def test_other_models_and_no_rows_have_no_pictures(
    predictor_of: Callable[..., Predictor], orders: pl.DataFrame
) -> None:
    assert explanations(predictor_of("logistic_regression"), orders, 7) == {}
    assert explanations(predictor_of("lightgbm"), orders.clear(), 7) == {}
