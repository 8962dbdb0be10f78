"""What the UI shows of a trained candidate, and the training blessing that is written with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import blessings, ledger
from assets.candidates import checks
from assets.candidates.definitions import _metadata, learning_curve, record
from assets.candidates.registry import algorithm
from assets.candidates.training import train
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError
from assets.lake import Lake
from assets.records import Gate, ModelManifest, Provenance, SplitManifest, Training
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
    blessing = blessings.bless_model("training", toy, split, trained.manifest.model_id, (), provenance=Provenance())
    shown = _metadata(toy, trained, training, blessing)
    dg.MaterializeResult(metadata=shown)  # every value is one that the UI can show
    trials = shown["search_trials"].records
    assert [record.data["trial"] for record in trials] == [1, 2, 3]
    assert shown["best_value"] == max(trial["roc_auc"] for trial in trained.history["trials"])
    assert shown["training_seconds"] == pytest.approx(1 + sum(trained.seconds.values()))
    assert all("data:image/png" in shown[name].value for name in ("search", "importance"))
    assert shown["training_blessing"] == "BLESSED"
    assert "data:image/png" in learning_curve(trained.history)


GATES = (
    Gate(name="trained", verdict="PASSED", observed=400, threshold=20),
    Gate(name="beats_linear", verdict="WARNED", observed=0.7, threshold=0.8, detail="as good"),
)
LEAK = Gate(name="shuffled_control", verdict="FAILED", observed=0.9, threshold=0.6, detail="outcomes leak")


@pytest.mark.parametrize(("failed", "verdict"), [((), "BLESSED"), ((LEAK,), "NOT_BLESSED")])
def test_the_blessing_is_written_with_the_model_or_neither(
    failed: tuple[Gate, ...],
    verdict: str,
    toy: ProductSpec,
    lake: Lake,
    split: SplitManifest,
    manifest_of: Callable[..., ModelManifest],
) -> None:
    manifest = manifest_of(b"blessed", as_of=split.as_of, config={"failed": len(failed)})
    training = Training(model_id=manifest.model_id, algorithm="lightgbm", as_of=split.as_of, seconds={})
    by = Provenance(code_commit="abc", asked_by="a test")
    blessing = blessings.bless_model("training", toy, split, manifest.model_id, (*GATES, *failed), provenance=by)

    def killed(con: Any) -> None:
        record(con, manifest, training, blessing)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lake.transact(killed)
    with lake.connect() as con:
        assert ledger.model(con, manifest.model_id) is None
        assert ledger.blessings_of(con, manifest.model_id) == []
    for _ in range(2):  # a second run of the same writes nothing twice
        lake.transact(lambda con: record(con, manifest, training, blessing))
    asked = {"feature_set_id": split.feature_set_id, "where": "a test"}
    with lake.connect() as con:
        assert ledger.model(con, manifest.model_id) == manifest
        (found,) = ledger.blessings_of(con, manifest.model_id)
        assert (found.kind, found.verdict, found.provenance) == ("training", verdict, by)
        assert found.row_set_hash == split.parts["train"].row_set_hash
        if not failed:
            assert blessings.require_model(con, "training", toy, split, manifest.model_id, **asked) == found
            return
        with pytest.raises(HeadraceError, match="the training gates did not bless this model") as caught:
            blessings.require_model(con, "training", toy, split, manifest.model_id, **asked)
        assert caught.value.found.startswith("shuffled_control: outcomes leak")


def test_each_gate_is_a_check_of_its_group_with_its_picture(toy: ProductSpec) -> None:
    plots = {"beats_linear": "![curve](data:image/png;base64,AA==)"}
    passed, warned, failed = checks.results(toy, "lightgbm", (*GATES, LEAK), plots)
    assert [item.metadata["gate"].value for item in (passed, warned, failed)] == ["training"] * 3
    assert (passed.passed, warned.passed, failed.passed) == (True, False, False)
    assert (warned.severity, failed.severity) == (dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR)
    assert warned.metadata["plot"].value == plots["beats_linear"]
    assert "plot" not in passed.metadata
    assert passed.asset_key == dg.AssetKey(["toy", "candidates", "lightgbm"])


def test_every_gate_of_the_spec_is_declared_as_a_check(spec_of: Callable[..., ProductSpec]) -> None:
    names = ["trained", "finite", "deterministic", "converged", "shuffled_control", "learns", "beats_linear"]
    assert [item.name for item in checks.specs(spec_of(), "lightgbm")] == names
    assert all(item.description for item in checks.specs(spec_of(), "lightgbm"))
    stopping = [item.name for item in checks.specs(spec_of(), "lightgbm") if item.blocking]
    assert stopping == [*names[:3], "shuffled_control"], "the others take one candidate out, not the run"
    blocks = spec_of({"gates.training.identical_severity": "block"})
    assert [item.name for item in checks.specs(blocks, "lightgbm")] == [*names, "identical_rows"]
