"""The promotion asset: the written decision."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.definitions import HomeParam, batch_of, key_of, shown_errors, stage_asset
from assets.promotion import checks
from assets.promotion.promote import promote
from assets.spec import ProductSpec


def build(spec: ProductSpec) -> list[dg.AssetsDefinition]:
    """The promotion of a product; it waits for predictions, so the champion scores the batch before it may change."""

    @stage_asset(
        spec,
        checks.STAGE,
        description="Champion or challenger: the written decision, with its reason and evidence.",
        kinds={"duckdb"},
        deps=[key_of(spec, "evaluation"), key_of(spec, "predictions")],
        checks=checks.specs(spec),
        one_run_per_batch=True,
    )
    def promotion(context: dg.AssetExecutionContext, home: HomeParam) -> Iterator[Any]:
        with shown_errors():
            decision, blessing = promote(home, spec, batch_of(context))
        context.log.info("%s: %s", decision.verdict, decision.reason)
        yield dg.MaterializeResult(
            key_of(spec, checks.STAGE),
            metadata={
                "verdict": decision.verdict,
                "reason": decision.reason,
                "challenger": decision.model_id,
                "champion": decision.champion_id or "none",
                "decision_id": decision.decision_id,
                **decision.evidence,
            },
        )
        yield from checks.results(spec, blessing)

    return [promotion]
