"""Losers are kept, tagged, and cleaned by policy; what may be served again is not."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from assets import ledger
from assets.home import Home
from assets.live import flip_live
from assets.model_store import save_model, sha256_of
from assets.promotion.keep import clean, tagged_models
from assets.records import Batch, Decision, LivePointer, ModelManifest
from assets.spec import ProductSpec

BATCHES = ["2024-01", "2024-02", "2024-03"]
VERDICTS = {  # of the LightGBM of each batch, and of what is live at the end
    "2024-01": ["PROMOTED_FIRST_CHAMPION", "LIVE"],
    "2024-02": ["KEPT_CHAMPION_TIE"],
    "2024-03": ["PROMOTED_BETTER_THAN_CHAMPION", "LIVE"],
}


@pytest.fixture
def kept(home: Home, manifest_of: Callable[..., ModelManifest]) -> tuple[Home, dict[str, str]]:
    """Three batches with a baseline, a loser and a LightGBM each; returns the ids by batch and algorithm."""
    lake, ids = home.lake("toy"), {}
    for batch in BATCHES:
        row = Batch(
            source="toy", batch_id=batch, file_name=batch, sha256=batch, size_bytes=1, status="LOADED",
            loaded_at=datetime(2024, 1, 1, tzinfo=UTC),
        )  # fmt: skip
        lake.transact(lambda con, row=row: ledger.append_batch(con, row))  # type: ignore[misc]
        for algorithm in ("baseline", "logistic_regression", "lightgbm"):
            content = f"{batch} {algorithm}".encode()
            changes: dict[str, Any] = {"as_of": batch, "algorithm": algorithm, "split_id": batch}
            manifest = manifest_of(content, **changes, files={"model.txt": sha256_of(content)})
            save_model(home.models("toy"), manifest, {"model.txt": content})
            ledger.append_to_lake(lake, "models", [(manifest.model_id, batch, manifest)])
            ids[f"{batch} {algorithm}"] = manifest.model_id
        for verdict in VERDICTS[batch]:
            decision = Decision.model_validate(
                {
                    "product": "toy", "as_of": batch, "verdict": verdict, "model_id": ids[f"{batch} lightgbm"],
                    "champion_id": None, "split_id": batch, "reason": "because",
                }
            )  # fmt: skip
            ledger.append_to_lake(lake, "decisions", [(decision.decision_id, batch, decision)])
    live = LivePointer(
        product="toy", as_of="2024-03", model_id=ids["2024-03 lightgbm"], bento="toy:x", decision_id="d",
        offline_parity="", latency_p50_ms=1, latency_p99_ms=2,
    )  # fmt: skip
    flip_live(home.settings.home, live)
    return home, ids


def test_every_model_has_a_tag_and_old_losers_lose_their_files(
    kept: tuple[Home, dict[str, str]], spec_of: Callable[..., ProductSpec]
) -> None:
    """Of old batches champions and the baselines beside them stay, for rollback and monitoring; the newest stays."""
    home, ids = kept
    spec = spec_of({"retention": {"loser_batches": 1}})
    names = {model_id: name for name, model_id in ids.items()}
    tags = {names[item["model"]]: item["tag"] for item in tagged_models(home, spec)}
    assert tags["2024-01 lightgbm"] == "former champion"
    assert tags["2024-02 lightgbm"] == "loser"
    assert tags["2024-03 lightgbm"] == "live"
    assert tags["2024-03 logistic_regression"] == "candidate"

    gone = {names[model_id] for model_id in clean(home, spec)}
    old_losers = {"2024-02 baseline", "2024-02 lightgbm"}
    assert gone == {"2024-01 logistic_regression", "2024-02 logistic_regression", *old_losers}
    left = {names[item["model"]] for item in tagged_models(home, spec) if item["files"]}
    assert left == set(names.values()) - gone
    assert clean(home, spec) == [], "a second time there is nothing to do"
    assert [path.name for path in home.models("toy").iterdir() if path.name.startswith(".")] == []


def test_by_default_two_years_of_months_are_kept(kept: tuple[Home, dict[str, str]], toy: ProductSpec) -> None:
    assert clean(kept[0], toy) == []
