"""Records and rows of the toy product, without a run behind them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets.candidates.training_set import TrainingSet
from assets.features.feature_set import fit_schema
from assets.features.row import RowEncoder
from assets.model_store import sha256_of
from assets.records import EvaluationReport, FeatureSchema, ModelManifest, SplitManifest, SplitPart
from assets.spec import ProductSpec

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def orders() -> pl.DataFrame:
    """Inputs and label of 600 orders: large ones of one kind are sent back; values, kinds and pieces are missing."""
    random = np.random.default_rng(7)
    rows = 600
    size, pieces = random.normal(10, 4, rows), random.integers(1, 9, rows)
    kinds = random.choice(["shoes", "books", "coats"], rows, p=[0.5, 0.3, 0.2])
    kinds[[100, 300, 500]] = "rare"
    noise = random.normal(0, 2, rows)
    return pl.DataFrame(
        {
            "order_id": range(rows),
            "kind": [None if place % 17 == 0 else str(kind) for place, kind in enumerate(kinds)],
            "size": [None if place % 11 == 0 else float(value) for place, value in enumerate(size)],
            "pieces": [None if place % 7 == 0 else int(value) for place, value in enumerate(pieces)],
            "ordered_local_at": [START.replace(tzinfo=None) + timedelta(minutes=97 * place) for place in range(rows)],
            "label": ((size + noise + 4 * (kinds == "shoes")) > 13).astype(int),
        },
        schema_overrides={"ordered_local_at": pl.Datetime("us")},
    )


@pytest.fixture(scope="session")
def schema(toy: ProductSpec, orders: pl.DataFrame) -> FeatureSchema:
    """The toy's features fitted on its training rows."""
    return fit_schema(toy, orders.head(400))


@pytest.fixture(scope="session")
def rows(schema: FeatureSchema, orders: pl.DataFrame) -> TrainingSet:
    """400 training and 200 validation rows."""
    matrix, labels = RowEncoder(schema).matrix(orders), orders["label"].to_numpy()
    return TrainingSet(schema, matrix[:400], labels[:400], matrix[400:], labels[400:])


@pytest.fixture(scope="session")
def split() -> SplitManifest:
    """A split as of the third month."""
    bounds = [START + timedelta(days=days) for days in (0, 40, 60, 90)]
    parts = {
        name: SplitPart(
            rows=100,
            unlabelled=3,
            outcomes={"false": 0.6, "true": 0.4},
            event_from=start,
            event_until=end,
            row_set_hash=f"100-{name}",
        )
        for name, start, end in zip(("train", "validation", "test"), bounds[:-1], bounds[1:], strict=True)
    }
    return SplitManifest(
        product="toy", as_of="2024-03", strategy="temporal", known_until=bounds[2], test_batch="2024-03",
        parts=parts, feature_set_id="features-1", data_snapshot=7,
    )  # fmt: skip


@pytest.fixture(scope="session")
def manifest_of(schema: FeatureSchema) -> Callable[..., ModelManifest]:
    """The manifest of a model file."""

    def make(content: bytes = b"", **changes: Any) -> ModelManifest:
        fields: dict[str, Any] = {
            "product": "toy", "algorithm": "lightgbm", "task": "binary", "as_of": "2024-03", "split_id": "split-1",
            "training_row_set_hash": "100-train", "data_snapshot": 7, "training_rows": 100, "spec_hash": "spec-1",
            "feature_set_id": "features-1", "label": "is_returned", "classes": ("false", "true"), "config": {},
            "positive_meaning": "is sent back", "decision_threshold": 0.5, "params": {"num_leaves": 7}, "seed": 1,
            "versions": {"python": "3.11"}, "files": {"model.txt": sha256_of(content)}, "model_file": "model.txt",
        }  # fmt: skip
        features = changes.get("features", schema)
        return ModelManifest(**{**fields, "features": features, "fitted_features_id": features.fitted_id, **changes})

    return make


@pytest.fixture(scope="session")
def evaluation_of() -> Callable[..., EvaluationReport]:
    """The evaluation of a model with a value of the primary metric."""

    def make(model_id: str, value: float, *, role: str = "candidate", **changes: Any) -> EvaluationReport:
        metrics = {"roc_auc": value, "average_precision": value / 2}
        fields = {"model_id": model_id, "algorithm": "lightgbm", "role": role, "split_id": "split-1"}
        return EvaluationReport.model_validate({**fields, "validation": metrics, "test": metrics, **changes})

    return make
