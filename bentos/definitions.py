"""The bento asset: what was promoted, built, booted, asked and live."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.definitions import HomeParam, batch_of, key_of, shown_errors, stage_asset
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
            released = release(home, spec, batch_of(context))
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
