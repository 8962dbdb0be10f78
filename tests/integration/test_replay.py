"""Replay and diff on real models of the toy shop: trained, recorded, trained again in a process of its own."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assets import ledger
from assets.candidates.diff import diff_models
from assets.candidates.lookup import RecordedModel, find_model
from assets.candidates.recorded_code import is_today
from assets.candidates.registry import algorithm
from assets.candidates.replay import Replay, environment_for, replay_model
from assets.candidates.retrain import retrain
from assets.candidates.training import train
from assets.candidates.training_set import load_training_set
from assets.errors import HeadraceError
from assets.features.current import current_feature_set_id
from assets.home import Home
from assets.live import flip_live
from assets.model_store import sha256_of
from assets.provenance import patch_path, provenance_of, read_code
from assets.records import EvaluationReport, LivePointer, ModelManifest, Provenance, SplitManifest
from assets.settings import CHECKOUT, Settings
from assets.spec import ProductSpec, parse_spec
from assets.splits.service import make_split
from orchestration.cli.diff import diff
from orchestration.cli.replay import replay

pytestmark = pytest.mark.journey
# a search and a calibration: what is found on validation rows has to be found again
SEARCH = "    search: {trials: 2, space: {learning_rate: [0.05, 0.3]}}\n    calibrate: platt\n"


def trained(
    settings: Settings, spec: ProductSpec, as_of: str, made_by: Provenance, **changes: Any
) -> tuple[ModelManifest, SplitManifest]:
    """LightGBM as of a batch, in ledger and store as the stages would put it there."""
    home = Home(settings)
    lake = home.lake(spec.product)
    with lake.connect() as con:
        split = make_split(con, spec, as_of, current_feature_set_id(lake, spec))
    candidate = next(item for item in spec.candidates if item.algorithm == "lightgbm").model_copy(update=changes)
    manifest = train(
        algorithm("lightgbm"), candidate, spec=spec, split=split, rows=load_training_set(lake, spec, split),
        folder=home.models(spec.product), threads=settings.threads, progress=lambda _: None, provenance=made_by,
    ).manifest  # fmt: skip
    ledger.append_to_lake(lake, "splits", [(split.split_id, as_of, split)])
    ledger.append_to_lake(lake, "models", [(manifest.model_id, as_of, manifest)])
    return manifest, split


@pytest.fixture(scope="module")
def settings(
    loaded_settings: Callable[[str], Settings], shop: ProductSpec, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """A home with two batches whose candidate lightgbm has a search and is calibrated."""
    home = loaded_settings("replay")
    products = tmp_path_factory.mktemp("searched")
    text = (home.products / f"{shop.product}.yaml").read_text(encoding="utf-8")
    found = text.replace("  - algorithm: lightgbm\n", f"  - algorithm: lightgbm\n{SEARCH}")
    assert found != text
    (products / f"{shop.product}.yaml").write_text(found, encoding="utf-8")
    return home.model_copy(update={"products": products})


@pytest.fixture(scope="module")
def spec(settings: Settings) -> ProductSpec:
    return parse_spec((settings.products / "shop.yaml").read_text(encoding="utf-8"), origin="shop.yaml")


@pytest.fixture(scope="module")
def made_by(settings: Settings) -> Provenance:
    return provenance_of(settings, "test")


@pytest.fixture(scope="module")
def model(settings: Settings, spec: ProductSpec, made_by: Provenance) -> RecordedModel:
    """The model as of the second batch."""
    manifest, _ = trained(settings, spec, "02", made_by)
    return find_model(settings, manifest.model_id)


def recorded_otherwise(model: RecordedModel, split: dict[str, Any] | None = None, **changes: Any) -> RecordedModel:
    """The model as if its manifest or split had been recorded so."""
    manifest = model.manifest.model_copy(update=changes)
    fields = json.loads(model.split_json) | (split or {})
    return replace(
        model, manifest=manifest, manifest_json=manifest.to_json(), split=SplitManifest.model_validate(fields),
        split_json=json.dumps(fields),
    )  # fmt: skip


def replayed(settings: Settings, model: RecordedModel) -> Replay:
    return replay_model(settings, model, search=False, progress=lambda _: None)


def counts(model: RecordedModel) -> list[int]:
    """Rows of the ledger that a training would add to."""
    with model.lake.connect() as con:
        tables = [ledger.record_table(name) for name in ("splits", "models", "trainings", "evaluations")]
        return [con.execute(f"select count(*) from {name}").fetchall()[0][0] for name in tables]


def test_a_model_with_a_search_is_trained_again_to_the_same_bytes_and_nothing_is_written(
    settings: Settings, model: RecordedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recorded parameters stand for the search, the id is the same one, and ledger and store stay as they are."""
    before, stored = counts(model), sorted(settings.models.rglob("*"))
    assert replay(settings, model.model_id[:16], as_json=True) is True
    found = json.loads(capsys.readouterr().out)
    lines = {line["what"]: line["replayed"] for line in found["lines"]}
    assert found["identical"] is True
    assert lines["model"] == model.model_id
    assert lines["calibration"] == "platt"
    assert lines["model.txt"] == model.manifest.files["model.txt"][:16]
    assert lines["training rows"] == model.split.parts["train"].row_set_hash
    assert "the search found" in " ".join(found["notes"])
    assert (counts(model), sorted(settings.models.rglob("*"))) == (before, stored)


def test_a_record_that_is_not_true_is_named_with_the_first_line_that_differs(
    settings: Settings, spec: ProductSpec, model: RecordedModel
) -> None:
    """Another seed, other parameters and another file: the replay names them, and where the two files part."""
    params = {**model.manifest.params, "num_leaves": 5}
    other = recorded_otherwise(model, seed=spec.seed + 1, params=params, files={"model.txt": sha256_of(b"another")})
    found = replayed(settings, other)
    assert not found.is_identical
    assert set(found.differing) == {"model.txt", "seed", "model", "calibration"}
    assert any("first difference in model.txt, line" in note for note in found.notes)


def test_a_changed_row_is_named(settings: Settings, model: RecordedModel) -> None:
    """One amount of one training row was changed: its rows are not those that were recorded."""
    with model.lake.connect() as con:
        order = con.execute("select min(order_id) from lake.features.shop where batch_id = '01'").fetchall()[0][0]
    model.lake.transact(
        lambda con: con.execute("update lake.features.shop set amount = amount + 30 where order_id = ?", [order])
    )
    found = replayed(settings, recorded_otherwise(model, {"data_snapshot": model.lake.snapshot()}))
    assert "training rows" in found.differing
    assert "validation rows" not in found.differing


def test_rows_that_are_gone_and_a_model_that_names_no_code_are_said_in_words(
    settings: Settings, model: RecordedModel
) -> None:
    """What the process that trains refuses reaches the person as it is."""
    with pytest.raises(HeadraceError, match="can't be read any more"):
        replayed(settings, recorded_otherwise(model, {"data_snapshot": 99_999}))
    nameless = recorded_otherwise(model, provenance=Provenance(), spec_hash="0" * 64)
    with pytest.raises(HeadraceError, match="doesn't say by which code"):
        replayed(settings, nameless)


def test_a_spec_that_changed_outside_of_the_recorded_code_is_refused(
    settings: Settings, model: RecordedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The products of this home are outside of the checkout, so no commit has their spec of then."""
    text = (settings.products / "shop.yaml").read_text(encoding="utf-8")
    (tmp_path / "shop.yaml").write_text(text.replace("num_leaves: 7", "num_leaves: 9"), encoding="utf-8")
    changed = settings.model_copy(update={"products": tmp_path})
    for name, value in environment_for(changed, CHECKOUT).items():
        monkeypatch.setenv(name, value)
    job = {"manifest": json.loads(model.manifest_json), "split": json.loads(model.split_json), "search": False}
    with pytest.raises(HeadraceError, match="not the one that the model was trained under"):
        retrain(job)


def test_a_model_of_other_uncommitted_code_is_trained_again_by_that_code(
    settings: Settings, model: RecordedModel, made_by: Provenance
) -> None:
    """Commit and kept patch are checked out beside and train the same bytes, though a row has changed since."""
    if not made_by.code_commit:
        pytest.skip("this checkout has no git repository")
    note = (
        b"diff --git a/assets/then.txt b/assets/then.txt\nnew file mode 100644\n--- /dev/null\n+++ b/assets/then.txt\n"
        b"@@ -0,0 +1 @@\n+as it was\n"
    )
    patch = read_code(CHECKOUT)[1] + note
    then = made_by.model_copy(update={"code_changes": sha256_of(patch)})
    path = patch_path(settings, then.code_changes)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(patch)
    assert not is_today(then)
    told: list[str] = []
    found = replay_model(settings, recorded_otherwise(model, provenance=then), search=False, progress=told.append)
    assert found.is_identical
    assert then.code_changes[:12] in found.code
    assert any("training lightgbm on" in line for line in told)
    path.write_bytes(patch + b"\n")
    with pytest.raises(HeadraceError, match="not the one that was kept"):
        replayed(settings, recorded_otherwise(model, provenance=then))


def test_a_model_is_found_by_the_beginning_of_its_id_and_by_being_live(
    settings: Settings, spec: ProductSpec, model: RecordedModel, made_by: Provenance
) -> None:
    """What is ambiguous or unknown is refused with what could be meant."""
    other, _ = trained(settings, spec, "01", made_by, calibrate="none")
    assert find_model(settings, model.model_id[:-2]).model_id == model.model_id
    with pytest.raises(HeadraceError, match="several models begin so"):
        find_model(settings, "lightgbm")
    with pytest.raises(HeadraceError, match=other.model_id):
        find_model(settings, "forest")
    with pytest.raises(HeadraceError, match="nothing is live"):
        find_model(settings, "shop")
    pointer = LivePointer(
        product="shop", as_of="01", model_id=other.model_id, bento="shop:1", decision_id="1", offline_parity="1/1",
        latency_p50_ms=1, latency_p99_ms=1,
    )  # fmt: skip
    flip_live(settings.home, pointer)
    assert find_model(settings, "shop").model_id == other.model_id
    with pytest.raises(HeadraceError, match="no such product"):
        find_model(settings, "shop", product="nobody")


def test_diff_says_what_differs_in_data_parameters_and_metrics(
    settings: Settings, spec: ProductSpec, model: RecordedModel, made_by: Provenance,
    evaluation: Callable[..., EvaluationReport], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Another batch, other parameters and other metrics are rows; what is the same is not."""
    params = {"max_rounds": 30, "num_leaves": 5, "min_data_in_leaf": 10}
    other, split = trained(settings, spec, "01", made_by, params=params, calibrate="none")
    reports = [evaluation(model.model_id, model.split.split_id, 0.9), evaluation(other.model_id, split.split_id, 0.7)]
    ledger.append_to_lake(model.lake, "evaluations", [(str(place), "02", item) for place, item in enumerate(reports)])
    diff(settings, other.model_id, model.model_id, as_json=True)
    found = json.loads(capsys.readouterr().out)
    data = {row["what"]: (row["first"], row["second"]) for row in found["data"]}
    assert data["as of"] == ("01", "02")
    assert data["rows of batch: 02"] == ("", 240)
    assert data["train: rows"] == (split.parts["train"].rows, model.split.parts["train"].rows)
    assert {row["what"]: row["second"] for row in found["parameters"]}["num_leaves"] == 7
    assert {"what": "method", "first": "none", "second": "platt"} in found["calibration"]
    assert {"what": "roc_auc", "first": 0.7, "second": 0.9} in found["metrics"]
    assert "don't compare" in " ".join(found["notes"])
    assert not found["code"]
    assert not found["versions"]
    assert not found["spec"]
    ledger.append_to_lake(
        model.lake, "evaluations", [("common", "02", evaluation(other.model_id, model.split.split_id, 0.8))]
    )
    common = diff_models(settings, find_model(settings, other.model_id), model)
    assert [(row.first, row.second) for row in common.of("metrics") if row.what == "roc_auc"] == [(0.8, 0.9)]
    assert "both on the same test rows" in " ".join(common.notes)
    diff(settings, other.model_id, model.model_id)
    assert "the same in both: features, code, versions, spec" in capsys.readouterr().out


def test_models_of_different_products_are_not_held_against_each_other(settings: Settings, model: RecordedModel) -> None:
    """Their metrics and columns mean other things."""
    other = recorded_otherwise(model, product="loans")
    with pytest.raises(HeadraceError, match="different products"):
        diff_models(settings, model, other)


@pytest.fixture(scope="module")
def evaluation() -> Callable[..., EvaluationReport]:
    """An evaluation of a model on a split."""

    def make(model_id: str, split_id: str, value: float) -> EvaluationReport:
        metrics = {"roc_auc": value, "brier": 1 - value}
        return EvaluationReport(
            model_id=model_id, algorithm="lightgbm", role="candidate", split_id=split_id, validation={}, test=metrics
        )

    return make
