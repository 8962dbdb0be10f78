"""The promotion asset: the written decision, the model's card, and the cleaning of losers."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.card.card import write_card
from assets.definitions import HomeParam, batch_of, key_of, provenance, records_table, shown_errors, stage_asset
from assets.home import Home
from assets.promotion import checks
from assets.promotion.decision_plot import decision_plot
from assets.promotion.keep import clean, tagged_models
from assets.promotion.promote import promote
from assets.records import Decision
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
            decision, words = promote(home, spec, batch_of(context), asked_by=provenance(context, home).asked_by)
            metadata = _metadata(home, spec, decision)
            clean(home, spec)
        context.log.info("%s: %s", decision.verdict, decision.reason)
        yield dg.MaterializeResult(key_of(spec, checks.STAGE), metadata=metadata)
        yield from checks.results(spec, words)

    return [promotion]


def _metadata(home: Home, spec: ProductSpec, decision: Decision) -> dict[str, Any]:
    """The decision in words, its evidence as a plot, and links to the card."""
    page, _ = write_card(home, spec, decision.model_id)
    compared = decision.comparison
    evidence: dict[str, Any] = dict(decision.evidence)
    if compared is not None:
        evidence |= {
            "interval": f"{compared.improvement:+.4f} [{compared.low:+.4f}, {compared.high:+.4f}]",
            "method": compared.method,
            "plot": dg.MetadataValue.md(
                decision_plot(
                    compared,
                    decision.rule,
                    margin=spec.gates.comparison.margin,
                    min_improvement=spec.gates.min_improvement,
                )
            ),
        }
    return {
        "verdict": decision.verdict,
        "reason": decision.reason,
        "rule": decision.rule,
        "challenger": decision.model_id,
        "champion": decision.champion_id or "none",
        "asked_by": decision.asked_by,
        "decision_id": decision.decision_id,
        "model_card": dg.MetadataValue.url(home.report_url(page)),
        "models": records_table(tagged_models(home, spec)[-20:]),
        **evidence,
    }
