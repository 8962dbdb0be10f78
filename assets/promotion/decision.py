"""Champion or challenger: the decision and the check at the door. Nothing is promoted without a blessing."""

import duckdb

from assets import ledger
from assets.errors import HeadraceError
from assets.records import Blessing, Decision, EvaluationReport, LivePointer, SplitManifest
from assets.spec import ProductSpec
from assets.tasks import DIRECTIONS, improvement


def decide(
    spec: ProductSpec,
    best: EvaluationReport,
    champion: EvaluationReport | None,
    *,
    as_of: str,
    live_id: str | None,
    why_not: str = "",
) -> Decision:
    """Hold the blessed challenger against the champion on the same unseen rows.

    Args:
        spec: says the primary metric and how much better a challenger has to be.
        best: the challenger's evaluation.
        champion: the champion's evaluation on the same split; None when there is no champion, or when the two can't
            be compared.
        as_of: the batch that both were tested on.
        live_id: the champion's model id, None before the first.
        why_not: why the champion can't be compared (`assets.evaluation.comparable`).
    """
    primary = spec.gates.primary
    value = best.test[primary]
    common = {"product": spec.product, "as_of": as_of, "model_id": best.model_id, "split_id": best.split_id}
    if champion is None and live_id is not None:
        return Decision(
            **common,
            verdict="PROMOTED_CHAMPION_NOT_COMPARABLE",
            champion_id=live_id,
            evidence={f"challenger_{primary}": value},
            reason=f"{why_not}; the challenger passed its gates with {primary} {value:.4f} on {as_of}",
        )
    if champion is None:
        return Decision(
            **common,
            verdict="PROMOTED_FIRST_CHAMPION",
            champion_id=None,
            evidence={f"challenger_{primary}": value},
            reason=f"first model to pass its gates: {primary} {value:.4f} on {as_of}",
        )
    held = champion.test[primary]
    evidence = {f"challenger_{primary}": value, f"champion_{primary}": held, "difference": value - held}
    if champion.model_id == best.model_id:
        return Decision(
            **common,
            verdict="KEPT_CHAMPION_SAME_MODEL",
            champion_id=champion.model_id,
            evidence=evidence,
            reason="the challenger is the champion: same data, features and parameters",
        )
    needed = spec.gates.min_improvement
    less = ", less is better" if DIRECTIONS[primary] < 0 else ""
    comparison = f"{primary} {value:.4f} against the champion's {held:.4f} on {as_of} ({value - held:+.4f}{less})"
    if improvement(primary, value, held) > needed:
        return Decision(
            **common,
            verdict="PROMOTED_BETTER_THAN_CHAMPION",
            champion_id=champion.model_id,
            evidence=evidence,
            reason=f"{comparison}, more than {needed:g} better",
        )
    return Decision(
        **common,
        verdict="KEPT_CHAMPION_NOT_BETTER",
        champion_id=champion.model_id,
        evidence=evidence,
        reason=f"{comparison}, not more than {needed:g} better",
    )


def champion_is_newer(best: EvaluationReport, live: LivePointer, *, as_of: str) -> Decision:
    """A model as of an earlier batch never replaces a newer champion, which has learned from more."""
    return Decision(
        product=live.product,
        as_of=as_of,
        verdict="KEPT_CHAMPION_IS_NEWER",
        model_id=best.model_id,
        champion_id=live.model_id,
        split_id=best.split_id,
        reason=f"the champion is as of {live.as_of}, later than {as_of}; this model is a backtest",
    )


def require_blessing(
    con: duckdb.DuckDBPyConnection, spec: ProductSpec, split: SplitManifest, model_id: str, *, feature_set_id: str
) -> Blessing:
    """The quality blessing of exactly this model on exactly this data under exactly this spec.

    Raises:
        HeadraceError: there is none, it says no, or it is about something else; a missing blessing means no.
    """
    about = [item for item in ledger.blessings_of(con, model_id) if item.kind == "quality"]
    where = f"promotion of {model_id} as of {split.as_of}"
    if not about:
        raise HeadraceError(
            "refused: no quality blessing for this model",
            product=spec.product,
            where=where,
            expected="a blessing from evaluation",
            found="none",
            fix=f"materialise evaluation for {split.as_of} first (headrace run {spec.product} --as-of {split.as_of})",
        )
    newest = about[-1]
    wanted = {
        "split": split.split_id,
        "test rows": split.parts["test"].row_set_hash,
        "feature set": feature_set_id,
        "spec": spec.spec_hash,
    }
    found = {
        "split": newest.split_id,
        "test rows": newest.test_row_set_hash,
        "feature set": newest.feature_set_id,
        "spec": newest.spec_hash,
    }
    stale = [name for name, value in wanted.items() if found[name] != value]
    if stale:
        raise HeadraceError(
            f"refused: the quality blessing is stale ({', '.join(stale)} changed since)",
            product=spec.product,
            where=where,
            expected="; ".join(f"{name} {wanted[name][:12]}" for name in stale),
            found="; ".join(f"{name} {found[name][:12]}" for name in stale),
            fix=f"train and evaluate again: headrace run {spec.product} --as-of {split.as_of}",
        )
    if newest.verdict != "BLESSED":
        raise HeadraceError(
            "refused: evaluation did not bless this model",
            product=spec.product,
            where=where,
            expected="BLESSED",
            found="; ".join(newest.reasons),
            fix="look at the failed gates of evaluation; mend data or candidate, or change the gate in the spec",
        )
    return newest
