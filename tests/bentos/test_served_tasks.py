"""Real bentos of the other tasks: trained by the algorithms there are, built, booted and asked, to the last bit."""

import dataclasses
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets.candidates.predictor import load_predictor
from assets.candidates.registry import algorithm
from assets.candidates.training_set import TrainingSet
from assets.features.feature_set import fit_schema
from assets.features.row import RowEncoder
from assets.model_store import save_model, sha256_of
from assets.records import ModelManifest
from assets.settings import Settings
from assets.spec import ProductSpec
from assets.tasks import classes_of, encode_labels
from bentos.build import build_bento
from bentos.release import askable
from bentos.schemas import json_row, wire_types
from bentos.smoke import Server, ask_bento, running
from tests.words import words_of

pytestmark = pytest.mark.journey

ROWS = 400
FEATURES: dict[str, Any] = {
    "inputs": {
        "note": {"type": "text", "description": "What the sender wrote"},
        "fragile": {"type": "boolean"},
        "depot": {"type": "category"},
        "weight_kg": {"type": "number", "required": True},
        "handed_in_at": {"type": "timestamp", "required": True},
    },
    # divided by a number: Polars gives a row alone other bits than a column, unless the encoder sees to it
    "row": {
        "third_kg": {"sql": "weight_kg / 3"},
        "hour": {"sql": "CAST(EXTRACT(HOUR FROM handed_in_at) AS INT) / 7"},
    },
    "fitted": {
        "words": {"kind": "text", "of": "note", "terms": 8},
        "depot_share": {"kind": "frequency", "of": "depot", "keep": True},
        "depot_is": {"kind": "one_hot", "of": "depot", "keep": True},
        "weight_filled": {"kind": "impute", "of": "weight_kg"},
        "hour_scaled": {"kind": "scale", "of": "hour"},
    },
}


@pytest.fixture(scope="module")
def parcels() -> pl.DataFrame:
    """Parcels with every type of input, missing values, another script, and what a client could not send."""
    random = np.random.default_rng(11)
    words = ["ring", "twice", "please", "Zürich", "zurich", "день", "7"]
    notes = [" ".join(random.choice(words, random.integers(1, 6))) for _ in range(ROWS)]
    start = datetime(2024, 1, 1)  # noqa: DTZ001  # a local time, as the wire has it
    weight = random.gamma(2.0, 3.0, ROWS)
    return pl.DataFrame(
        {
            "parcel_id": range(ROWS),
            "note": [None if place % 13 == 0 else "x" * 6_000 if place == 5 else n for place, n in enumerate(notes)],
            "fragile": [None if place % 9 == 0 else bool(place % 2) for place in range(ROWS)],
            "depot": [["north", "south", "Ost-West", None, "new"][place % 5] for place in range(ROWS)],
            "weight_kg": [float("nan") if place == 3 else float(value) for place, value in enumerate(weight)],
            "handed_in_at": [start + timedelta(minutes=517 * place) for place in range(ROWS)],
            "speed": pl.Series(["fast", "slow", "Å, never"])[(np.arange(ROWS) // 2 + (weight > 5)) % 3],
            "days": weight / 3 + random.normal(0, 0.3, ROWS),
        }
    )


def trained(folder: Path, spec: ProductSpec, rows: pl.DataFrame, name: str, params: dict[str, Any]) -> Path:
    """The folder of a model of an algorithm."""
    schema = fit_schema(spec, rows)
    label = rows[spec.label.column] if spec.label else pl.Series([0] * rows.height)
    classes = classes_of(spec.task, label)
    matrix, labels = RowEncoder(schema).matrix(rows), encode_labels(spec.task, label, classes)
    training = TrainingSet(schema, matrix, labels, matrix[:100], labels[:100], task=spec.task, classes=classes)
    found = algorithm(name, task=spec.task)
    fitted = found.fit(training, {**found.defaults, **params}, 1, 1, lambda _: None)
    manifest = ModelManifest(
        product=spec.product, algorithm=name, task=spec.task, as_of="2024-03", split_id="s",
        training_row_set_hash="t", data_snapshot=1, training_rows=rows.height, spec_hash=spec.spec_hash,
        feature_set_id="f", fitted_features_id=schema.fitted_id, features=schema, classes=classes,
        label=spec.label.column if spec.label else "", positive_meaning=spec.label.description if spec.label else "",
        decision_threshold=0.5, params=fitted.params, seed=1, versions={},
        files={fitted.file_name: sha256_of(fitted.content)}, model_file=fitted.file_name,
    )  # fmt: skip
    return save_model(folder / spec.product, manifest, {fitted.file_name: fitted.content})


@dataclasses.dataclass(frozen=True)
class Case:
    """A task, who trains it, and what an answer looks like."""

    task: str
    algorithm: str
    params: dict[str, Any]
    label: str | None
    file: str
    shape: tuple[int, ...]
    answer: set[str]


CASES = [
    Case("multiclass", "lightgbm", {"max_rounds": 20, "min_data_in_leaf": 5}, "speed", "model.txt", (3,),
         {"speed", "probabilities"}),
    Case("regression", "linear_regression", {}, "days", "model.onnx", (), {"days"}),
    Case("clustering", "kmeans", {}, None, "model.onnx", (-1,), {"cluster", "scores"}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.task)
def test_a_bento_of_every_task_boots_and_answers_as_offline(
    case: Case, spec_of: Any, parcels: pl.DataFrame, tmp_path: Path
) -> None:
    label = {"column": case.label, "description": "how it goes"} if case.label else ...
    spec = spec_of(
        {
            "task": case.task, "features": FEATURES, "label": label, "time": ..., "split": {"strategy": "random"},
            "gates": {"smoke_rows": ROWS}, "candidates": [{"algorithm": "baseline"}, {"algorithm": case.algorithm}],
        }
    )  # fmt: skip
    model = trained(tmp_path / "models", spec, parcels, case.algorithm, case.params)
    assert (model / case.file).is_file()
    predictor = load_predictor(model, threads=2)
    chosen = askable(predictor.encoder, parcels, spec, as_of="2024-03")
    assert chosen.height == ROWS - 2, "an overlong note and a weight that is no number can't be sent"
    offline = predictor.scores(chosen)
    assert offline.ndim == 1 + len(case.shape)
    assert len(np.unique(offline.round(6), axis=0)) > 1
    settings = Settings(home=tmp_path)
    example = chosen.drop_nulls().row(0, named=True)
    tag = build_bento(settings, model, example, product=spec.product, as_of="2024-03", words=words_of(model))
    rows = [json_row(row, spec.features.inputs) for row in chosen.to_dicts()]
    types = wire_types(predictor.manifest, {})
    with running(settings, tag, startup_timeout_s=60) as server:
        together = server.post({"rows": rows})[1]["predictions"]
        alone = [server.post({"rows": [row]})[1]["predictions"][0] for row in rows[:60]]
        check_answers(server, case, json_row(example, spec.features.inputs))
    assert np.array(types.scores_of(together)).tobytes() == offline.tobytes()
    assert np.array(types.scores_of(alone)).tobytes() == offline[:60].tobytes()
    if case.task == "clustering":
        one_wrong = offline.copy()
        one_wrong[7, 1] = np.nextafter(one_wrong[7, 1], 1)
        report = ask_bento(settings, tag, chosen.to_dicts(), one_wrong, latency_requests=5)
        assert (report.rows, report.mismatches, report.bad_request_status) == (chosen.height, 1, 400)


def check_answers(server: Server, case: Case, row: dict[str, Any]) -> None:
    """The answer has the task's fields and no threshold, and wrong types are refused by name."""
    status, answer = server.post({"rows": [row, {**row, "note": "день", "fragile": None}]})
    assert status == 200
    assert set(answer) == {"product", "model_id", "as_of", "predictions"}
    assert [set(item) for item in answer["predictions"]] == [case.answer] * 2
    for change in ({"fragile": "yes"}, {"fragile": 1}, {"note": "x" * 5_001}):
        status, refusal = server.post({"rows": [{**row, **change}]})
        assert (status, refusal["fields"][0]["field"]) == (400, f"rows.0.{next(iter(change))}")
    status, answer = server.post({"rows": [row], "reasons": 2})
    if case.file == "model.txt":
        # words, shares and flags of the depot count to what was sent
        assert {item["feature"] for item in answer["predictions"][0]["reasons"]} <= {*row, "third_kg", "hour"}
    else:
        assert (status, answer["fields"][0]["field"]) == (400, "reasons")
        assert "only LightGBM models do" in answer["fields"][0]["message"]
