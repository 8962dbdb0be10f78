"""What the UI shows of a trained candidate."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from assets.candidates.definitions import _metadata
from assets.candidates.registry import algorithm
from assets.candidates.training import train
from assets.candidates.training_set import TrainingSet
from assets.records import SplitManifest, Training
from assets.spec import CandidateSpec, ProductSpec
from assets.tasks import Task


def test_a_search_is_shown_as_a_table_and_plots(
    toy: ProductSpec, split: SplitManifest, rows_of: Callable[[Task], TrainingSet], tmp_path: Path
) -> None:
    candidate = CandidateSpec.model_validate(
        {"algorithm": "lightgbm", "params": {"max_rounds": 30}, "search": {"trials": 3}}
    )
    trained = train(
        algorithm("lightgbm"), candidate, spec=toy, split=split, rows=rows_of("binary"), folder=tmp_path, threads=1,
        progress=lambda _: None,
    )  # fmt: skip
    training = Training(
        model_id=trained.manifest.model_id, algorithm="lightgbm", as_of="2024-03",
        seconds={"read": 1.0, **trained.seconds}, trials=trained.trials, history=dict(trained.history),
    )  # fmt: skip
    assert Training.model_validate_json(training.to_json()) == training
    shown = _metadata(toy, trained, training)
    dg.MaterializeResult(metadata=shown)  # every value is one that the UI can show
    trials = shown["search_trials"].records
    assert [record.data["trial"] for record in trials] == [1, 2, 3]
    assert shown["best_value"] == max(trial["roc_auc"] for trial in trained.history["trials"])
    assert shown["training_seconds"] == pytest.approx(1 + sum(trained.seconds.values()))
    assert all("data:image/png" in shown[name].value for name in ("search", "learning_curve", "importance"))
