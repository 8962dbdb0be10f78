"""Why a model says what it says of a row: exact SHAP values of LightGBM models, summed by what people have named.

Values are in the unit of the raw score, see `Predictor.contributions`. A feature is an input or a row feature: columns
that fitted transforms make of it (one-hot, words, frequency, ...) count to it. Serving imports this module.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from assets.records import FeatureSchema, ModelManifest

if TYPE_CHECKING:
    import polars as pl

    from assets.candidates.predictor import Predictor
    from assets.tasks import Scores


def can_explain(manifest: ModelManifest) -> bool:
    """Whether the model's file gives contributions: LightGBM's does."""
    return manifest.model_file.endswith(".txt")


def feature_places(schema: FeatureSchema) -> dict[str, list[int]]:
    """Feature -> the places of its model columns, in the order in which the model sees them first."""
    made_of = {column: item.of for item in schema.fitted for column in item.columns}
    places: dict[str, list[int]] = {}
    for place, column in enumerate(schema.column_names):
        places.setdefault(made_of.get(column, column), []).append(place)
    return places


def by_feature(schema: FeatureSchema, contributions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Contributions summed by feature: shape (..., columns + 1) becomes (..., features), without the base."""
    found = np.empty((*contributions.shape[:-1], len(feature_places(schema))))
    for number, places in enumerate(feature_places(schema).values()):
        # one column after the other: the same sum for a row alone and among others
        found[..., number] = contributions[..., places[0]]
        for place in places[1:]:
            found[..., number] += contributions[..., place]
    return found


def reasons_of(predictor: "Predictor", frame: "pl.DataFrame", scores: "Scores", top: int) -> list[list[dict[str, Any]]]:
    """The features that moved each row's score most, the largest first: `feature`, `value`, `contribution`.

    Args:
        predictor: a LightGBM model.
        frame: rows of inputs.
        scores: of these rows; of multiclass they say which class is explained: the most probable one.
        top: how many features at most; without contribution they are left out.

    Raises:
        HeadraceError: the model has no contributions.
    """
    schema = predictor.manifest.features
    found = by_feature(schema, predictor.contributions(frame))
    if predictor.manifest.task == "multiclass":
        found = found[np.arange(len(found)), scores.argmax(axis=1)]
    names = list(feature_places(schema))
    values = predictor.encoder.values(frame).select(names).rows()
    order = np.argsort(-np.abs(found), axis=1, kind="stable")[:, :top]
    return [
        [_reason(names, row, of_row, place) for place in places if of_row[place]]
        for row, of_row, places in zip(values, found.tolist(), order.tolist(), strict=True)
    ]


def _reason(names: Sequence[str], values: Sequence[Any], contributions: Sequence[float], place: int) -> dict[str, Any]:
    return {"feature": names[place], "value": values[place], "contribution": contributions[place]}
