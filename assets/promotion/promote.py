"""Promotion: verify the blessing at this door, decide, write the decision once."""

from assets import ledger
from assets.errors import HeadraceError
from assets.evaluation.comparable import why_not_comparable
from assets.features.current import current_feature_set_id
from assets.features.read import require_split
from assets.home import Home
from assets.lake import Lake
from assets.live import read_live
from assets.promotion.decision import champion_is_newer, decide, require_blessing
from assets.records import Blessing, Decision, EvaluationReport, LivePointer, SplitManifest
from assets.spec import ProductSpec


def promote(home: Home, spec: ProductSpec, as_of: str) -> tuple[Decision, Blessing]:
    """Decide about the best candidate as of a batch.

    Works the same from a job, a sensor, the UI or alone: what it needs is read from the ledger and verified here.

    Raises:
        HeadraceError: nothing was evaluated, or the blessing is missing, stale or a no.
    """
    lake = home.lake(spec.product)
    split = require_split(lake, spec, as_of)
    feature_set_id = current_feature_set_id(lake, spec)
    live = read_live(home.settings.home, spec.product)
    with lake.connect() as con:
        evaluations = ledger.evaluations_of(con, split.split_id)
        best = next((item for item in reversed(evaluations) if item.is_best), None)
        if best is None:
            raise HeadraceError(
                "refused: nothing was evaluated on this split, so there is no quality blessing",
                product=spec.product,
                where=f"promotion as of {as_of}",
                expected="an evaluation with its blessing",
                found="none",
                fix=f"materialise evaluation for {as_of} first (headrace run {spec.product} --as-of {as_of})",
            )
        blessing = require_blessing(con, spec, split, best.model_id, feature_set_id=feature_set_id)
        earlier = [item for _, item in ledger.decisions(con) if item.split_id == split.split_id]
    repeated = _already_decided(earlier, best.model_id, live)
    if repeated is not None:
        return repeated, blessing
    if live is not None and live.as_of > as_of:
        decision = champion_is_newer(best, live, as_of=as_of)
    else:
        champion, why_not = _champion_evaluation(lake, spec, split, evaluations, live)
        decision = decide(spec, best, champion, as_of=as_of, live_id=live.model_id if live else None, why_not=why_not)
    ledger.append_to_lake(lake, "decisions", [(decision.decision_id, as_of, decision)])
    return decision, blessing


def _champion_evaluation(
    lake: Lake, spec: ProductSpec, split: SplitManifest, evaluations: list[EvaluationReport], live: LivePointer | None
) -> tuple[EvaluationReport | None, str]:
    """The champion's evaluation on this split; else None, and why the champion can't be compared if there is one.

    Raises:
        HeadraceError: it could have been scored but wasn't: another model went live since the evaluation.
    """
    champion = next((item for item in reversed(evaluations) if live and item.model_id == live.model_id), None)
    if live is None or champion is not None:
        return champion, ""
    with lake.connect() as con:
        manifest = ledger.model(con, live.model_id)
        why_not = why_not_comparable(con, spec, split, manifest) if manifest else ""
    if not why_not:
        raise HeadraceError(
            "refused: the champion changed since this evaluation",
            product=spec.product,
            where=f"promotion as of {split.as_of}",
            expected=f"an evaluation of {live.model_id} on the same rows",
            found=", ".join(item.model_id for item in evaluations),
            fix=f"materialise evaluation for {split.as_of} again",
        )
    return None, why_not


def _already_decided(earlier: list[Decision], model_id: str, live: LivePointer | None) -> Decision | None:
    """The decision about this very model on this very split that a rerun must not take again.

    A promotion stands while its model goes or is live; any decision stands once a newer champion is live.
    """
    for decision in reversed(earlier):
        if decision.model_id != model_id or live is None or decision.verdict == "LIVE":
            continue
        if live.as_of > decision.as_of or (decision.is_promotion and live.model_id in (model_id, decision.champion_id)):
            return decision
    return None
