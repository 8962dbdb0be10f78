"""Promotion: verify the words at this door, decide, write the decision once."""

from collections.abc import Sequence

import duckdb

from assets import blessings, ledger
from assets.errors import HeadraceError
from assets.evaluation.comparable import why_not_comparable
from assets.evaluation.judge import baselines
from assets.features.current import current_feature_set_id
from assets.features.read import require_split
from assets.home import Home
from assets.lake import Lake
from assets.live import read_live
from assets.model_store import read_model
from assets.promotion.decision import champion_is_newer, decide
from assets.promotion.withdrawn import withdrawn_models
from assets.records import (
    Blessing,
    BlessingKind,
    Comparison,
    Decision,
    DriftReport,
    EvaluationReport,
    LivePointer,
    ModelManifest,
    SplitManifest,
)
from assets.spec import ProductSpec
from assets.tasks import improvement


def promote(home: Home, spec: ProductSpec, as_of: str, *, asked_by: str) -> tuple[Decision, tuple[Blessing, ...]]:
    """Decide about the best candidate as of a batch.

    Works the same from a job, a sensor, the UI or alone: what it needs is read from the ledger and verified here.

    Raises:
        HeadraceError: nothing was evaluated, or a blessing is missing, stale or a no.
    """
    lake = home.lake(spec.product)
    split = require_split(lake, spec, as_of)
    feature_set_id = current_feature_set_id(lake, spec)
    live = read_live(home.settings.home, spec.product)
    where = f"promotion as of {as_of}"
    with lake.connect() as con:
        evaluations = ledger.evaluations_of(con, split.split_id)
        own = ledger.models_of(con, split.split_id, spec_hash=spec.spec_hash).values()
        ids = {item.model_id for item in own}
        best = next((item for item in reversed(evaluations) if item.is_best and item.model_id in ids), None)
        if best is None:
            raise HeadraceError(
                "refused: nothing was evaluated on this split, so there is no quality blessing",
                product=spec.product,
                where=where,
                expected="an evaluation with its blessing",
                found="none",
                fix=f"materialise evaluation for {as_of} first (headrace run {spec.product} --as-of {as_of})",
            )
        words = require_words(con, spec, split, best.model_id, feature_set_id=feature_set_id, where=where)
        same_as_in_ledger(home, con, spec, best.model_id)
        earlier = [item for _, item in ledger.decisions(con) if item.split_id == split.split_id]
        taken_away = withdrawn_models(con).get(best.model_id)
    repeated = None if taken_away else _already_decided(earlier, best.model_id, live)
    if repeated is not None:
        return repeated, words
    if taken_away:
        decision = _refused(spec, best, live, as_of, taken_away, asked_by)
    elif live is not None and live.as_of > as_of:
        decision = champion_is_newer(best, live, as_of=as_of, asked_by=asked_by)
    else:
        comparison, why_not = _comparison(lake, spec, split, best, live)
        with lake.connect() as con:
            is_stale = why_stale(con, spec, live, as_of)
            backtest = earlier_wins(con, spec, best.algorithm, as_of)
        decision = decide(
            spec,
            best,
            comparison,
            as_of=as_of,
            live_id=live.model_id if live else None,
            why_not=why_not,
            is_stale=is_stale,
            backtest=backtest,
            asked_by=asked_by,
        )
    ledger.append_to_lake(lake, "decisions", [(decision.decision_id, as_of, decision)])
    return decision, words


def require_words(
    con: duckdb.DuckDBPyConnection,
    spec: ProductSpec,
    split: SplitManifest,
    model_id: str,
    *,
    feature_set_id: str,
    where: str,
) -> tuple[Blessing, ...]:
    """The data, training and quality blessings of exactly this model on exactly this data under exactly this spec.

    Raises:
        HeadraceError: one is missing, stale or a no.
    """
    kinds: tuple[BlessingKind, ...] = ("training", "quality")
    about = f"{where}, {model_id}"
    return (
        blessings.require_data(con, spec, split.as_of, where=where),
        *(
            blessings.require_model(con, kind, spec, split, model_id, feature_set_id=feature_set_id, where=about)
            for kind in kinds
        ),
    )


def same_as_in_ledger(home: Home, con: duckdb.DuckDBPyConnection, spec: ProductSpec, model_id: str) -> ModelManifest:
    """The model on disk, compared with what the ledger says it is: a folder that was replaced whole is seen here.

    Who trained it from which snapshot may differ: the same model can have been trained twice.

    Raises:
        HeadraceError: the ledger doesn't know it, a file is damaged, or the manifests differ.
    """
    known = ledger.model(con, model_id)
    found, _ = read_model(home.models(spec.product) / model_id)
    if known is None or known.model_copy(update=_twice(found)) != found:
        raise HeadraceError(
            "refused: the model on disk is not the one in the ledger",
            product=spec.product,
            where=str(home.models(spec.product) / model_id),
            expected="the manifest that was written at its training",
            found="no such model in the ledger" if known is None else "another manifest",
            fix="restore the folder from a backup, or train again",
        )
    return known


def _twice(found: ModelManifest) -> dict[str, object]:
    return {"data_snapshot": found.data_snapshot, "provenance": found.provenance}


def why_stale(con: duckdb.DuckDBPyConnection, spec: ProductSpec, live: LivePointer | None, as_of: str) -> str:
    """Why the champion counts as stale or drifted, in words; empty when it doesn't."""
    if live is None:
        return ""
    limit = spec.gates.comparison.stale_after_batches
    later = [batch for batch in ledger.loaded_batch_ids(con, spec.product) if live.as_of < batch <= as_of]
    if 0 < limit < len(later):
        return f"the champion is as of {live.as_of}, {len(later)} batches ago"
    drifted = [
        item
        for _, item in ledger.records(con, "drift", DriftReport)
        if item.model_id == live.model_id and item.batch_id <= as_of
    ]
    if drifted and drifted[-1].persisted_batches >= spec.monitoring.persist_batches:
        return f"what the champion sees has drifted for {drifted[-1].persisted_batches} batches"
    return ""


def earlier_wins(con: duckdb.DuckDBPyConnection, spec: ProductSpec, algorithm: str, as_of: str) -> list[bool]:
    """Whether an algorithm beat the best baseline on each of the newest earlier batches that it was tested on.

    Each was trained on what was known then, so this is a backtest; oldest first, at most as many as the spec asks for.
    """
    wanted = spec.gates.comparison.backtest_batches
    if not wanted:
        return []
    primary, found = spec.gates.primary, {}
    splits = {item.split_id: item.as_of for _, item in ledger.records(con, "splits", SplitManifest)}
    by_split: dict[str, list[EvaluationReport]] = {}
    for _, report in ledger.records(con, "evaluations", EvaluationReport):
        by_split.setdefault(report.split_id, []).append(report)
    for split_id, reports in by_split.items():
        own = [item for item in reports if item.algorithm == algorithm and item.role == "candidate"]
        others = baselines(reports, primary)
        batch = splits.get(split_id, as_of)
        if own and others and batch < as_of:
            gain = improvement(primary, own[-1].test[primary], others[0].test[primary])
            found[batch] = gain > 0 and gain >= spec.gates.beats_baseline_by
    return [found[batch] for batch in sorted(found)][-wanted:]


def _comparison(
    lake: Lake, spec: ProductSpec, split: SplitManifest, best: EvaluationReport, live: LivePointer | None
) -> tuple[Comparison | None, str]:
    """Challenger against champion on this split; else None, and why the champion can't be compared if there is one.

    Raises:
        HeadraceError: it could have been compared but wasn't: another model went live since the evaluation.
    """
    if live is None or live.model_id == best.model_id:
        return None, ""
    wanted = (best.model_id, live.model_id, split.split_id)
    with lake.connect() as con:
        found = [
            item
            for _, item in ledger.records(con, "comparisons", Comparison)
            if (item.challenger_id, item.champion_id, item.split_id) == wanted
        ]
        manifest = ledger.model(con, live.model_id)
        why_not = why_not_comparable(con, spec, split, manifest) if manifest else "its manifest isn't in the ledger"
    if found and not why_not:
        return found[-1], ""
    if not why_not:
        raise HeadraceError(
            "refused: the champion changed since this evaluation",
            product=spec.product,
            where=f"promotion as of {split.as_of}",
            expected=f"a comparison of {best.model_id} with {live.model_id} on the same rows",
            found="none",
            fix=f"materialise evaluation for {split.as_of} again",
        )
    return None, why_not


def _refused(
    spec: ProductSpec, best: EvaluationReport, live: LivePointer | None, as_of: str, why: str, asked_by: str
) -> Decision:
    """A model that a person took away comes back by a person only."""
    return Decision(
        product=spec.product,
        as_of=as_of,
        verdict="REFUSED_WITHDRAWN",
        model_id=best.model_id,
        champion_id=live.model_id if live else None,
        split_id=best.split_id,
        reason=f"{why}; to bring it back: headrace promote {spec.product} {best.model_id} --reason ...",
        asked_by=asked_by,
    )


def _already_decided(earlier: Sequence[Decision], model_id: str, live: LivePointer | None) -> Decision | None:
    """The decision about this very model on this very split that a rerun must not take again.

    A promotion stands while its model goes or is live; any decision stands once a newer champion is live.
    """
    for decision in reversed(earlier):
        is_event = decision.verdict in ("LIVE", "ROLLED_BACK", "BLOCKED_BY_PERSON")
        if decision.model_id != model_id or live is None or is_event:
            continue
        if live.as_of > decision.as_of or (decision.is_promotion and live.model_id in (model_id, decision.champion_id)):
            return decision
    return None
