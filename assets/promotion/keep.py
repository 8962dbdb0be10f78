"""Which models are kept: all are tagged, and the files of losers are deleted by policy; their manifests stay."""

import shutil
from collections.abc import Iterable
from typing import Any

from assets import blessings, ledger
from assets.evaluation.judge import is_baseline
from assets.home import Home
from assets.live import read_live
from assets.promotion.withdrawn import withdrawn
from assets.records import Decision, ModelManifest
from assets.spec import ProductSpec

# what is never deleted: it may be served again, or a person has spoken of it
_KEPT = frozenset({"live", "former champion", "withdrawn", "promoted", "promoted by a person"})


def tagged_models(home: Home, spec: ProductSpec) -> list[dict[str, Any]]:
    """Every model that was ever trained, oldest batch first: its tag, and whether its files are there.

    The tags: live, former champion, withdrawn (blocked or rolled back), promoted or promoted by a person (not live
    yet), refused, loser (blessed, but the champion was kept), candidate (never the best of its batch).
    """
    live = read_live(home.settings.home, spec.product)
    with home.lake(spec.product).connect() as con:
        manifests = [item for _, item in ledger.records(con, "models", ModelManifest)]
        decisions = [item for _, item in ledger.decisions(con)]
        promoted = blessings.overrides(con, "promote")
    tags = _tags(decisions, set(promoted), live.model_id if live else "")
    folder = home.models(spec.product)
    return [
        {
            "model": item.model_id,
            "tag": tags.get(item.model_id, "candidate"),
            "as_of": item.as_of,
            "split_id": item.split_id,
            "algorithm": item.algorithm,
            "files": (folder / item.model_id).is_dir(),
        }
        for item in sorted(manifests, key=lambda item: (item.as_of, item.algorithm, item.model_id))
    ]


def clean(home: Home, spec: ProductSpec) -> list[str]:
    """Delete the files of losers as of batches before the newest ones that the spec keeps; says of which models.

    What was live, what a person spoke of, and the baselines that monitoring holds them against are never deleted. What
    a deleted model was stays known: its manifest, split and data, from which `headrace replay` trains it again.
    """
    with home.lake(spec.product).connect() as con:
        batches = ledger.loaded_batch_ids(con, spec.product)
    recent = set(batches[-spec.retention.loser_batches :])
    models = tagged_models(home, spec)
    shown = {item["split_id"] for item in models if item["tag"] in _KEPT}
    gone = [
        item["model"]
        for item in models
        if item["files"]
        and item["tag"] not in _KEPT
        and item["as_of"] not in recent
        and not (is_baseline(item["algorithm"]) and item["split_id"] in shown)
    ]
    folder = home.models(spec.product)
    for model_id in gone:
        trash = folder / f".{model_id}.gone"  # a half-deleted folder must not look like a damaged model
        shutil.rmtree(trash, ignore_errors=True)
        (folder / model_id).replace(trash)
    for trash in folder.glob(".*.gone"):
        shutil.rmtree(trash, ignore_errors=True)
    return gone


def _tags(decisions: Iterable[Decision], promoted: set[str], live_id: str) -> dict[str, str]:
    """Model id -> tag; the strongest one counts."""
    known = list(decisions)
    tags: dict[str, str] = {}
    for item in known:
        was = "refused" if item.verdict.startswith("REFUSED_") else "promoted" if item.is_promotion else "loser"
        tags[item.model_id] = was
    tags |= dict.fromkeys(promoted, "promoted by a person")
    tags |= {item.model_id: "former champion" for item in known if item.verdict == "LIVE"}
    tags |= dict.fromkeys(withdrawn(known), "withdrawn")
    return tags | ({live_id: "live"} if live_id else {})
