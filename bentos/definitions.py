"""The bento asset: what was promoted, built, booted, asked and live."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.card.card import write_card
from assets.definitions import HomeParam, batch_of, key_of, provenance, shown_errors, stage_asset
from assets.live import read_live
from assets.spec import ProductSpec
from bentos import checks
from bentos.release import Release, release


def build(spec: ProductSpec) -> list[dg.AssetsDefinition]:
    """The bento of a product."""

    @stage_asset(
        spec,
        checks.STAGE,
        description="The promoted model as a bento, proven in its own process, and the live pointer.",
        kinds={"bentoml"},
        deps=[key_of(spec, "promotion")],
        checks=checks.specs(spec),
        one_run_per_batch=True,
    )
    def bento(context: dg.AssetExecutionContext, home: HomeParam) -> Iterator[Any]:
        with shown_errors():
            before = read_live(home.settings.home, spec.product)
            released = release(home, spec, batch_of(context), provenance=provenance(context, home))
            # what their cards say of being live has changed, or is said of a refusal
            for model_id in (*released.models, *([before.model_id] if before and released.models else [])):
                write_card(home, spec, model_id)
        context.log.info(released.outcome)
        yield dg.MaterializeResult(key_of(spec, checks.STAGE), metadata=_metadata(released))
        yield from checks.results(spec, released.gates, released.outcome)

    return [bento]


def _metadata(released: Release) -> dict[str, Any]:
    live = released.live
    if live is None:
        return {"outcome": released.outcome}
    return {
        "outcome": released.outcome,
        "live_bento": live.bento,
        "live_model": live.model_id,
        "live_as_of": live.as_of,
        "offline_parity": live.offline_parity,
        "latency_p50_ms": live.latency_p50_ms,
        "latency_p99_ms": live.latency_p99_ms,
    }
