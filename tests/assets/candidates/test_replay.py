"""What a replay compares, and in which environment it runs; the real thing is in tests/integration/test_replay.py."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assets.candidates.replay import compare, differences, environment_for
from assets.model_store import sha256_of
from assets.records import Calibration, ModelManifest, SplitManifest
from assets.settings import CHECKOUT, Settings


def compared(
    recorded: ModelManifest, replayed: ModelManifest, split: SplitManifest, **hashes: str
) -> dict[str, tuple[str, str]]:
    """What differs, with both values."""
    found = {name: part.row_set_hash for name, part in split.parts.items()} | hashes
    outcome = {
        "model_id": replayed.model_id, "manifest": replayed.model_dump(mode="json"), "row_set_hashes": found,
    }  # fmt: skip
    lines = compare(recorded.model_id, json.loads(recorded.to_json()), split.model_dump(mode="json"), outcome)
    return {line.what: (line.recorded, line.replayed) for line in lines if not line.is_same}


def test_the_same_model_from_elsewhere_is_identical(
    manifest_of: Callable[..., ModelManifest], split: SplitManifest
) -> None:
    """The snapshot's number and who asked are not what a model is."""
    again = manifest_of(b"trees", data_snapshot=9)
    assert not compared(manifest_of(b"trees"), again, split)


def test_each_thing_that_differs_is_named(manifest_of: Callable[..., ModelManifest], split: SplitManifest) -> None:
    """Rows, parameters, calibration, versions, files and the id, each with what was recorded and what came out."""
    recorded = manifest_of(b"trees")
    changes: dict[str, Any] = {
        "params": {"num_leaves": 9}, "versions": {"python": "3.12"},
        "calibration": Calibration(method="platt", slope=1.5), "training_rows": 101,
    }  # fmt: skip
    found = compared(recorded, manifest_of(b"others", **changes), split, train="101-other")
    assert found["training rows"] == ("100-train", "101-other")
    assert found["parameters"] == ("num_leaves 7", "num_leaves 9")
    assert found["versions"] == ("python 3.11", "python 3.12")
    assert found["model.txt"] == (sha256_of(b"trees")[:16], sha256_of(b"others")[:16])
    assert found["calibration"][0] == "calibration null"
    assert found["training_rows"] == ("100", "101")
    assert len(found) == 7, "and the id"


def test_differences_name_the_path() -> None:
    """Nested values are looked into, lists are taken whole, and what is on one side only is None on the other."""
    first, second = {"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"b": 1, "c": [2]}, "e": 3}
    assert list(differences(first, second)) == [(("a", "c"), [1], [2]), (("d",), 2, None), (("e",), None, 3)]
    assert list(differences(1, 2)) == [((), 1, 2)]


def test_the_code_of_then_looks_for_its_own_products_in_this_home(tmp_path: Path) -> None:
    """Products inside the checkout are those of then; others, and the home, are where they are."""
    given = environment_for(Settings(home=tmp_path / "home", threads=1), Path("/then"))
    assert given["HEADRACE_PRODUCTS"] == "/then/orchestration/products"
    assert given["HEADRACE_DBT_PROJECT"] == "/then/dbt_project"
    assert given["HEADRACE_HOME"] == str(tmp_path / "home")
    assert (given["HEADRACE_THREADS"], given["PYTHONPATH"]) == ("1", "/then")
    inside = environment_for(Settings(home=CHECKOUT / ".headrace", products=tmp_path), Path("/then"))
    assert inside["HEADRACE_HOME"] == str(CHECKOUT / ".headrace")
    assert inside["HEADRACE_PRODUCTS"] == str(tmp_path)
