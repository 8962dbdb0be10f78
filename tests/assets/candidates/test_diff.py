"""What differs between two recorded models, on records alone; real models are in tests/integration/test_replay.py."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assets import ledger
from assets.candidates.diff import ModelDiff, changed_files, diff_models
from assets.candidates.lookup import RecordedModel
from assets.home import Home
from assets.lake import Lake
from assets.model_store import sha256_of
from assets.provenance import patch_path
from assets.records import (
    Calibration,
    Comparison,
    EvaluationReport,
    FeatureSchema,
    ModelManifest,
    Provenance,
    SplitManifest,
)
from assets.spec import ProductSpec


@pytest.fixture
def recorded(
    toy: ProductSpec, lake: Lake, split: SplitManifest, manifest_of: Callable[..., ModelManifest]
) -> Callable[..., RecordedModel]:
    """A model as the ledger would give it."""

    def make(**changes: Any) -> RecordedModel:
        manifest = manifest_of(b"trees", **changes)
        return RecordedModel(toy, lake, manifest.model_id, manifest, split, manifest.to_json(), split.to_json())

    return make


@pytest.fixture
def compared(session_home: Home) -> Callable[..., ModelDiff]:
    return lambda first, second: diff_models(session_home.settings, first, second)


def rows(found: ModelDiff, section: Any) -> dict[str, tuple[Any, Any]]:
    """What differs in a section."""
    return {row.what: (row.first, row.second) for row in found.of(section)}


def test_a_model_beside_itself_differs_in_nothing(
    recorded: Callable[..., RecordedModel], compared: Callable[..., ModelDiff]
) -> None:
    """Only what couldn't be looked up is said: this lake has no feature table, and nobody judged the model."""
    found = compared(recorded(), recorded())
    assert found.rows == ()
    assert [note.split(":")[0] for note in found.notes] == ["batches", "metrics"]


def test_features_that_were_added_changed_or_learned_are_named(
    recorded: Callable[..., RecordedModel], compared: Callable[..., ModelDiff], schema: FeatureSchema
) -> None:
    """A column more, another expression, another type, and a kind that only one of them has seen."""
    changed = schema.model_copy(
        update={
            "inputs": {**schema.inputs, "size": "integer"},
            "row": {**schema.row, "size_of_all": "size + pieces"},
            "columns": (*schema.columns, ("weight", "number")),
            "categories": {"kind": (*schema.categories["kind"], "hats")},
        }
    )
    found = rows(compared(recorded(), recorded(features=changed)), "features")
    assert found.pop("fitted") == (schema.fitted_id, changed.fitted_id)
    assert found == {
        "input: size": ("number", "integer"),
        "expression: size_of_all": ("size * pieces", "size + pieces"),
        "column: weight": ("", "number"),
        "known values of kind, only here": ("", "hats"),
    }


def test_parameters_calibration_versions_and_spec_are_rows_only_where_they_differ(
    recorded: Callable[..., RecordedModel], compared: Callable[..., ModelDiff]
) -> None:
    """Side by side; what one of them doesn't have is empty."""
    other = recorded(
        algorithm="logistic_regression",
        params={"l2": 2.0},
        config={"class_weight": "balanced"},
        calibration=Calibration(method="platt", slope=1.2, intercept=0.1),
        versions={"python": "3.12"},
        spec_hash="spec-2",
    )
    found = compared(recorded(), other)
    assert rows(found, "parameters") == {
        "algorithm": ("lightgbm", "logistic_regression"),
        "class_weight": ("", "balanced"),
        "num_leaves": (7, ""),
        "l2": ("", 2.0),
    }
    assert rows(found, "calibration")["method"] == ("none", "platt")
    assert rows(found, "calibration")["slope"] == ("", 1.2)
    assert rows(found, "versions") == {"python": ("3.11", "3.12")}
    assert rows(found, "spec") == {"hash": ("spec-1", "spec-2")}


def test_metrics_on_common_rows_come_with_their_intervals_and_the_comparison(
    recorded: Callable[..., RecordedModel], compared: Callable[..., ModelDiff], lake: Lake,
    evaluation_of: Callable[..., EvaluationReport],
) -> None:  # fmt: skip
    """Both were judged on one split: the numbers compare, and what evaluation said of the pair is told."""
    first, second = recorded(seed=11), recorded(seed=12)
    said = Comparison(
        challenger_id=second.model_id, champion_id=first.model_id, split_id="common", metric="roc_auc", challenger=0.8,
        champion=0.7, improvement=0.1, low=0.05, high=0.15, method="DELONG", rows=900,
    )  # fmt: skip
    judged = [
        evaluation_of(first.model_id, 0.7, role="champion", split_id="common"),
        evaluation_of(second.model_id, 0.8, split_id="common", intervals={"roc_auc": (0.78, 0.82)}),
    ]
    ledger.append_to_lake(lake, "evaluations", [(f"diff {place}", "d", item) for place, item in enumerate(judged)])
    ledger.append_to_lake(lake, "comparisons", [(said.comparison_id, "d", said)])
    found = compared(first, second)
    assert rows(found, "metrics")["roc_auc"] == (0.7, 0.8)
    assert rows(found, "metrics")["roc_auc, 95% interval"] == ("", "0.7800 to 0.8200")
    assert any("both on the same test rows" in note for note in found.notes)
    assert any("+0.1000 in roc_auc" in note and "900 rows" in note for note in found.notes)


def test_changed_files_are_those_between_the_commits_and_those_of_the_patches(home: Home, tmp_path: Path) -> None:
    """A file that both have changed alike and not committed is the same; docs are no code."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "docs").mkdir()

    def git(*command: str) -> str:
        who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        full = ["git", "-C", str(tmp_path), *who, *command]
        return subprocess.run(full, check=True, capture_output=True, text=True).stdout

    def commit(**files: str) -> str:
        for name, text in files.items():
            (tmp_path / name.replace("__", "/")).write_text(text, encoding="utf-8")
        git("add", "--all")
        git("commit", "--quiet", "-m", "one more")
        return git("rev-parse", "HEAD").strip()

    def dirty(at: str, *names: str) -> Provenance:
        patch = b"".join(f"diff --git a/{name} b/{name}\n+more\n".encode() for name in names)
        path = patch_path(home.settings, sha256_of(patch))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(patch)
        return Provenance(code_commit=at, code_changes=sha256_of(patch))

    git("init", "--quiet")
    old = commit(assets__a="1\n", assets__gone="1\n", docs__page="1\n")
    (tmp_path / "assets" / "gone").unlink()
    new = commit(assets__a="2\n", assets__new="1\n", docs__page="2\n")
    first, second = dirty(old, "assets/both", "assets/one"), dirty(new, "assets/both")
    assert changed_files(home.settings, first, second, tmp_path) == [
        ("assets/a", "changed"),
        ("assets/gone", "removed"),
        ("assets/new", "added"),
        ("assets/one", "changed"),
    ]


def test_commits_that_git_does_not_know_are_a_note(
    recorded: Callable[..., RecordedModel], compared: Callable[..., ModelDiff]
) -> None:
    """The commits are named all the same."""
    first, second = (recorded(provenance=Provenance(code_commit=letter * 40)) for letter in "ab")
    found = compared(first, second)
    assert rows(found, "code")["code"] == ("commit aaaaaaaaaaaa", "commit bbbbbbbbbbbb")
    assert any("git doesn't know both commits" in note for note in found.notes)
