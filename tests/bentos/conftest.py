"""A tiny real model for the tests of this folder: parcels that arrive late."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest

from assets.features.row import RowEncoder
from assets.model_store import save_model, sha256_of
from assets.records import Calibration, FeatureSchema, ModelManifest

ROWS = 400


@pytest.fixture(scope="session")
def parcels() -> pl.DataFrame:
    """Parcels with missing values, a category that training never saw, and a column that is no input."""
    random = np.random.default_rng(7)
    stops = random.integers(1, 40, ROWS).tolist()
    start = datetime(2024, 1, 1)  # noqa: DTZ001  # a local time, as the wire has it
    weight = random.gamma(2.0, 3.0, ROWS)
    return pl.DataFrame(
        {
            "parcel_id": range(ROWS),
            "depot": [["north", "south", "east", None, "new"][place % 5] for place in range(ROWS)],
            "weight_kg": [None if place % 11 == 0 else float(value) for place, value in enumerate(weight)],
            "stops": [value if place % 7 else None for place, value in enumerate(stops)],
            "handed_in_at": [start + timedelta(minutes=517 * place) for place in range(ROWS)],
            "copy": random.normal(size=ROWS),
        },
        schema_overrides={"handed_in_at": pl.Datetime("us")},
    )


@pytest.fixture(scope="session")
def features() -> FeatureSchema:
    return FeatureSchema(
        inputs={
            "depot": "category", "weight_kg": "number", "stops": "integer", "handed_in_at": "timestamp",
            "copy": "number",
        },
        required=("handed_in_at", "copy"),
        descriptions={"weight_kg": "Weight, kilograms"},
        row={
            "hour": "CAST(EXTRACT(HOUR FROM handed_in_at) AS INT)",
            "whole_kilograms": "CAST(weight_kg AS INT)",
        },
        columns=(
            ("depot", "category"), ("weight_kg", "number"), ("stops", "number"), ("copy", "number"),
            ("hour", "number"), ("whole_kilograms", "number"),
        ),
        categories={"depot": ("east", "north", "south")},
    )  # fmt: skip


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, parcels: pl.DataFrame, features: FeatureSchema) -> Path:
    """The folder of a LightGBM model of the parcels, calibrated."""
    matrix = RowEncoder(features).matrix(parcels)
    labels = (np.nan_to_num(matrix[:, 1]) + matrix[:, 3] + matrix[:, 4] / 6 > 8).astype(int)
    content = (
        lightgbm.train(
            {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5},
            lightgbm.Dataset(matrix, labels, feature_name=features.column_names, categorical_feature=[0]),
            num_boost_round=30,
        )
        .model_to_string()
        .encode()
    )
    manifest = manifest_of(features, content, calibration=Calibration(method="platt", slope=0.7, intercept=0.2))
    return save_model(tmp_path_factory.mktemp("models") / "parcels", manifest, {"model.txt": content})


def manifest_of(features: FeatureSchema, content: bytes = b"", **changes: Any) -> ModelManifest:
    """The manifest of a model file."""
    fields: dict[str, Any] = {
        "product": "parcels", "algorithm": "lightgbm", "task": "binary", "as_of": "2024-03", "split_id": "s",
        "training_row_set_hash": "t", "data_snapshot": 1, "training_rows": ROWS, "spec_hash": "p",
        "feature_set_id": "f", "fitted_features_id": features.fitted_id, "features": features,
        "label": "is_late", "positive_meaning": "arrives a day late",
        "decision_threshold": 0.4, "params": {}, "seed": 1, "versions": {},
        "files": {"model.txt": sha256_of(content)}, "model_file": "model.txt",
    }  # fmt: skip
    return ModelManifest(**{**fields, **changes})


@pytest.fixture(scope="session")
def manifest(features: FeatureSchema) -> ModelManifest:
    return manifest_of(features)


@pytest.fixture(scope="session")
def example(parcels: pl.DataFrame) -> dict[str, Any]:
    """A row without a missing value."""
    return parcels.drop_nulls().row(0, named=True)
