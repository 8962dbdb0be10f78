"""A predictor scores frames, matrices and request rows alike, and opens nothing that isn't what its manifest says."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from assets.candidates.predictor import Predictor, as_float32, file_names, score_function
from assets.candidates.registry import Fitted
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError
from assets.features.row import RowEncoder
from assets.records import FeatureSchema, ModelManifest

NAMES = ["baseline", "lightgbm", "logistic_regression"]


@pytest.fixture(scope="module")
def predictors(
    fit: Callable[..., Fitted], predictor_of: Callable[[Fitted, TrainingSet], Predictor], rows: TrainingSet
) -> dict[str, Predictor]:
    return {name: predictor_of(fit(name, rows), rows) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_frames_matrices_and_request_rows_score_the_same_bits(
    name: str, predictors: dict[str, Predictor], orders: pl.DataFrame, schema: FeatureSchema
) -> None:
    predictor = predictors[name]
    together = predictor.scores(orders)
    assert predictor.scores_of_matrix(RowEncoder(schema).matrix(orders)).tobytes() == together.tobytes()
    requests = orders.to_dicts()
    assert predictor.scores_of_rows(requests).tobytes() == together.tobytes()
    alone = [predictor.scores_of_rows([row])[0] for row in requests[:100]]
    assert np.array(alone).tobytes() == together[:100].tobytes()
    assert predictor.scores(pl.concat([orders] * 20))[: orders.height].tobytes() == together.tobytes()
    assert predictor.scores(orders.clear()).shape == (0,)


def test_a_file_trained_on_columns_in_another_order_is_refused(
    fit: Callable[..., Fitted], manifest_of: Callable[..., ModelManifest], rows: TrainingSet
) -> None:
    """Regression: sorted columns in the manifest scored every row with the wrong numbers, silently."""
    shuffled = rows.schema.model_copy(update={"columns": tuple(sorted(rows.schema.columns))})
    content = fit("lightgbm", rows).content
    with pytest.raises(HeadraceError, match="trained on other columns than its manifest says"):
        Predictor(manifest_of(content, features=shuffled), content)


def test_an_onnx_file_of_another_width_is_refused(fit: Callable[..., Fitted], rows: TrainingSet) -> None:
    item = fit("logistic_regression", rows)
    with pytest.raises(HeadraceError, match="trained on other columns") as caught:
        score_function(item.file_name, item.content, task="binary", columns=rows.columns[:-1], threads=1)
    assert (caught.value.expected, caught.value.found) == ("4 columns", "5 columns")


def test_fitted_features_that_are_not_the_trained_ones_are_refused(
    fit: Callable[..., Fitted], manifest_of: Callable[..., ModelManifest], rows: TrainingSet
) -> None:
    """Another list of categories is other codes: every score would be of another row."""
    content = fit("lightgbm", rows).content
    trained = manifest_of(content)
    changed = trained.model_copy(
        update={"features": rows.schema.model_copy(update={"categories": {"kind": ("books", "coats")}})}
    )
    Predictor(trained, content)
    with pytest.raises(HeadraceError, match="features in the manifest are not the ones") as caught:
        Predictor(changed, content)
    assert trained.fitted_features_id in caught.value.expected


def test_a_file_of_an_unknown_kind_is_not_opened(manifest_of: Callable[..., ModelManifest]) -> None:
    with pytest.raises(HeadraceError, match="unknown kind of model file"):
        Predictor(manifest_of(b"x", model_file="model.pickle"), b"x")


def test_numbers_beyond_float32_become_its_ends_and_gaps_stay() -> None:
    found = as_float32(np.array([[1e300, -1e300, np.nan, 1.5, np.inf]]))
    ends = np.finfo(np.float32)
    assert found.dtype == np.float32
    assert found[0, [0, 1, 3, 4]].tolist() == [float(ends.max), float(ends.min), 1.5, float(ends.max)]
    assert np.isnan(found[0, 2])


def test_names_that_a_file_cannot_hold_are_named_by_hash_and_differ() -> None:
    names = file_names(["size", "größe", "a b", "a,b", "é"])
    assert names[0] == "size"
    assert len(set(names)) == 5
    assert all(name.isascii() and name.replace("_", "").isalnum() for name in names)
