"""Exact contributions add up to the raw score, and the reasons of a row are named as people know them."""

import json
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest

from assets.candidates.explain import by_feature, can_explain, feature_places, reasons_of
from assets.candidates.predictor import Predictor
from assets.candidates.registry import Fitted, algorithm
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError
from assets.features.feature_set import fit_schema
from assets.features.row import RowEncoder
from assets.records import Calibration, ModelManifest
from assets.spec import ProductSpec
from assets.tasks import Task

FITTED = {
    "kind_is": {"kind": "one_hot", "of": "kind", "keep": True},
    "kind_share": {"kind": "frequency", "of": "kind"},
    "size_filled": {"kind": "impute", "of": "size"},
    "hour_scaled": {"kind": "scale", "of": "hour", "keep": True},
}
FEATURES = ["pieces", "hour", "size_of_all", "kind", "size"]
QUICK = {"max_rounds": 20, "min_data_in_leaf": 5, "num_leaves": 7, "feature_fraction": 1.0}


@pytest.fixture(scope="module")
def explained(
    spec_of: Callable[..., ProductSpec], orders: pl.DataFrame, manifest_of: Callable[..., ModelManifest]
) -> dict[str, tuple[Predictor, lightgbm.Booster]]:
    """A LightGBM model of each task on the toy's orders, with fitted features, and LightGBM's own view of it."""
    spec = spec_of({"features.fitted": FITTED})
    schema = fit_schema(spec, orders.head(400))
    matrix = RowEncoder(schema).matrix(orders)
    size = orders["size"].fill_null(10).to_numpy()
    outcomes: dict[Task, tuple[Any, tuple[str, ...]]] = {
        "binary": (orders["label"].to_numpy(), ("false", "true")),
        "multiclass": (np.digitize(size, [8, 12]), ("small", "middle", "large")),
        "regression": (size * 2.0, ()),
    }
    found = {}
    for task, (labels, classes) in outcomes.items():
        rows = TrainingSet(schema, matrix[:400], labels[:400], matrix[400:], labels[400:], task=task, classes=classes)
        item = algorithm("lightgbm").fit(rows, QUICK, 1, 1, lambda _: None)
        manifest = manifest_of(item.content, features=schema, task=task, classes=classes)
        found[task] = Predictor(manifest, item.content), lightgbm.Booster(model_str=item.content.decode())
    return found


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_contributions_add_up_to_the_raw_score(
    task: str, explained: dict[str, tuple[Predictor, lightgbm.Booster]], orders: pl.DataFrame
) -> None:
    predictor, booster = explained[task]
    found = predictor.contributions(orders)
    columns = len(predictor.manifest.features.columns)
    assert found.shape == ((600, 3, columns + 1) if task == "multiclass" else (600, columns + 1))
    raw = booster.predict(predictor.encoder.matrix(orders), raw_score=True)
    assert np.allclose(found.sum(axis=-1), raw, atol=1e-10)
    assert np.allclose(by_feature(predictor.manifest.features, found).sum(axis=-1) + found[..., -1], raw, atol=1e-10)
    if task == "binary":
        assert np.allclose(1 / (1 + np.exp(-found.sum(axis=1))), predictor.scores(orders), atol=1e-12)
    assert (found[..., -1] == found[0, ..., -1]).all(), "the base is that of all rows"
    assert predictor.contributions(orders.clear()).shape == (0, *found.shape[1:])


def test_a_calibration_changes_no_contribution(
    explained: dict[str, tuple[Predictor, lightgbm.Booster]], orders: pl.DataFrame
) -> None:
    predictor, booster = explained["binary"]
    turned = predictor.manifest.model_copy(
        update={"calibration": Calibration(method="platt", slope=0.5, intercept=1.0)}
    )
    other = Predictor(turned, booster.model_to_string().encode())
    assert other.contributions(orders).tobytes() == predictor.contributions(orders).tobytes()
    assert (other.scores(orders) != predictor.scores(orders)).all()


def test_columns_count_to_the_input_or_row_feature_that_they_are_made_of(
    explained: dict[str, tuple[Predictor, lightgbm.Booster]],
) -> None:
    schema = explained["binary"][0].manifest.features
    places = feature_places(schema)
    assert list(places) == FEATURES
    names = {name: {schema.column_names[place] for place in of} for name, of in places.items()}
    assert names["size"] == {"size_filled"}
    assert names["hour"] == {"hour", "hour_scaled"}
    assert names["kind"] >= {"kind_share"}
    assert len(names["kind"]) > 3, "a column for each kind"
    assert sorted(place for of in places.values() for place in of) == list(range(len(schema.columns)))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_reasons_are_the_largest_contributions_with_the_values_of_the_row(
    task: str, explained: dict[str, tuple[Predictor, lightgbm.Booster]], orders: pl.DataFrame
) -> None:
    predictor = explained[task][0]
    scores = predictor.scores(orders)
    found = reasons_of(predictor, orders, scores, 3)
    sums = by_feature(predictor.manifest.features, predictor.contributions(orders))
    if task == "multiclass":
        sums = np.array([of[place] for of, place in zip(sums, scores.argmax(axis=1), strict=True)])
    assert len(found) == 600
    for row, reasons, of_row in zip(orders.to_dicts(), found, sums, strict=True):
        sizes = [abs(reason["contribution"]) for reason in reasons]
        assert sizes == sorted(np.abs(of_row)[of_row != 0], reverse=True)[:3]
        for reason in reasons:
            assert reason["contribution"] == of_row[FEATURES.index(reason["feature"])]
            if reason["feature"] in row:
                assert reason["value"] == row[reason["feature"]]
    named = {reason["feature"] for reasons in found for reason in reasons}
    assert named >= ({"size"} if task == "regression" else {"size", "size_of_all"})
    assert all(len(reasons) <= 5 for reasons in reasons_of(predictor, orders.head(9), scores[:9], 10))
    json.dumps(found, allow_nan=False)


def test_a_row_has_the_same_reasons_alone_and_among_others(
    explained: dict[str, tuple[Predictor, lightgbm.Booster]], orders: pl.DataFrame
) -> None:
    predictor = explained["binary"][0]
    together = reasons_of(predictor, orders, predictor.scores(orders), 4)
    for place in range(40):
        row = orders[place]
        assert reasons_of(predictor, row, predictor.scores(row), 4) == [together[place]]


def test_a_model_that_is_no_lightgbm_file_has_no_contributions(
    fit: Callable[..., Fitted], predictor_of: Callable[..., Predictor], rows: TrainingSet, orders: pl.DataFrame
) -> None:
    predictor = predictor_of(fit("logistic_regression", rows), rows)
    assert not can_explain(predictor.manifest)
    assert predictor.leaves == 0
    with pytest.raises(HeadraceError, match="has no exact contributions") as caught:
        predictor.contributions(orders)
    assert caught.value.expected == "a LightGBM model"
