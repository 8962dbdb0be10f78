"""What a product is like right now, read from lake and pointer: for `status`, `history`, the demo and programs."""

from typing import Any

from assets import ledger
from assets.blessings import data_blessing, held_batches
from assets.evaluation.judge import baselines
from assets.features.current import current_feature_set_id
from assets.home import Home
from assets.lake import has_table
from assets.live import read_live
from assets.monitoring.watch import performance_reports
from assets.naming import FEATURES, PREDICTIONS, table
from assets.promotion.withdrawn import withdrawn
from assets.records import Alert, Batch, Blessing, Decision, DriftReport, EvaluationReport, LivePointer
from assets.spec import ProductSpec


def product_status(home: Home, spec: ProductSpec) -> dict[str, Any]:
    """Batches and their rows, champion, gates, alerts and what is live, as plain JSON values."""
    live = read_live(home.settings.home, spec.product)
    with home.lake(spec.product).connect() as con:
        delivered = ledger.batches(con, spec.product)
        evaluations = [item for _, item in ledger.records(con, "evaluations", EvaluationReport)]
        blessings = ledger.all_blessings(con)
        decisions = ledger.decisions(con)
        alerts = ledger.records(con, "alerts", Alert)
        held = held_batches(con)
        performance = performance_reports(con)
        drift = {item.batch_id: item for _, item in ledger.records(con, "drift", DriftReport)}
        built = ledger.built_from(con, f"{FEATURES}.{spec.product}", spec.product)
    own = [batch for batch in delivered if batch.status == "LOADED" and batch.source == spec.product]
    loaded = [batch for batch in delivered if batch.status == "LOADED"]
    about = [(at, item) for at, item in decisions if item.verdict != "LIVE"]
    return {
        "product": spec.product,
        "title": spec.title,
        "task": spec.task,
        "primary": spec.gates.primary,
        "batches": len(loaded),
        "rows_in": sum(batch.rows_in for batch in loaded),
        "rows_loaded": sum(batch.rows_loaded for batch in loaded),
        "rows_quarantined": sum(batch.rows_quarantined for batch in loaded),
        "corrected_batches": {batch.batch_id: batch.version for batch in own if batch.version > 1},
        "stale_batches": [
            batch.batch_id for batch in own if built.get(batch.batch_id, batch.content_id) != batch.content_id
        ],
        "skipped_files": [_batch(batch) for batch in delivered if batch.status == "DUPLICATE"],
        "refused_files": [_batch(batch) for batch in delivered if batch.status == "REFUSED"],
        "champion": _champion(spec, live, evaluations),
        "gates": _gates(blessings, live),
        "alerts": [{"at": at.isoformat(), **item.model_dump(mode="json")} for at, item in alerts],
        "live": live.model_dump(mode="json") if live else None,
        "decisions": [{**item.model_dump(mode="json"), "at": at.isoformat(timespec="seconds")} for at, item in about],
        "held_batches": held,
        "performance": [item.model_dump(mode="json") for item in performance],
        "drift": [drift[batch_id].model_dump(mode="json") for batch_id in sorted(drift)],
        "batch_details": [_batch(batch) for batch in loaded],
        "reports": sorted(str(path) for path in (home.settings.reports / spec.product).glob("*/*.html")),
    }


def product_history(home: Home, spec: ProductSpec) -> list[dict[str, Any]]:
    """Every decision with its moment, oldest first: which model was live when, and why."""
    with home.lake(spec.product).connect() as con:
        return [
            {**item.model_dump(mode="json"), "at": at.isoformat(timespec="seconds")}
            for at, item in ledger.decisions(con)
        ]


def live_periods(home: Home, spec: ProductSpec) -> list[dict[str, Any]]:
    """Which model was live from when until when, why, and at whose word; oldest first, the last one until now."""
    with home.lake(spec.product).connect() as con:
        flips = ledger.records(con, "live", LivePointer)
        decided = {item.decision_id: item for _, item in ledger.decisions(con)}
    live = read_live(home.settings.home, spec.product)
    ends = [at.isoformat() for at, _ in flips[1:]]
    if flips:
        ends.append("now" if live and live.decision_id == flips[-1][1].decision_id else "taken away")
    return [
        {
            "from": at.isoformat(),
            "until": end,
            "model": pointer.model_id,
            "as_of": pointer.as_of,
            "bento": pointer.bento,
            "verdict": decision.verdict if decision else "",
            "why": decision.reason if decision else "",
            "by": decision.asked_by if decision else "",
        }
        for (at, pointer), end in zip(flips, ends, strict=True)
        for decision in [decided.get(pointer.decision_id)]
    ]


def is_complete(home: Home, spec: ProductSpec, batch_id: str) -> bool:
    """Whether a batch went all the way with today's spec: judged, decided, live if promoted, watched if scored."""
    lake = home.lake(spec.product)
    feature_set_id = current_feature_set_id(lake, spec)
    live = read_live(home.settings.home, spec.product)
    with lake.connect() as con:
        everything = [item for _, item in ledger.decisions(con)]
        decisions = [item for item in everything if item.as_of == batch_id]
        judged = [item for item in ledger.all_blessings(con) if item.as_of == batch_id and item.kind == "quality"]
        scored = has_table(con, PREDICTIONS, spec.product) and _has_batch(con, PREDICTIONS, spec.product, batch_id)
        watched = {item.batch_id for item in performance_reports(con)}
        if scored and live:
            watched &= {item.batch_id for _, item in ledger.records(con, "drift", DriftReport)}
    if not decisions or not judged or (scored and batch_id not in watched):
        return False
    if all((item.spec_hash, item.feature_set_id) != (spec.spec_hash, feature_set_id) for item in judged):
        return False
    return _is_settled(decisions, live, set(withdrawn(everything)))


def is_loaded(home: Home, spec: ProductSpec, batch_id: str) -> bool:
    """Whether a batch is in raw, was validated under today's rules, and has become features unless it is held back.

    Features of what the batch held before a correction, or before rows of its quarantine were replayed, are stale. Of a
    batch whose file repeats another's content there is nothing to load.
    """
    with home.lake(spec.product).connect() as con:
        built = ledger.built_from(con, f"{FEATURES}.{spec.product}", spec.product)
        if batch_id in ledger.skipped_batch_ids(con, spec.product):
            return batch_id not in built
        loaded = {item.batch_id: item for item in ledger.batches(con, spec.product) if item.status == "LOADED"}
        if batch_id not in loaded or data_blessing(con, spec, batch_id) is None:
            return False
        if batch_id in held_batches(con):
            return True
        if built:
            return built.get(batch_id) == loaded[batch_id].content_id
        # a table that is built whole each time
        return has_table(con, FEATURES, spec.product) and _has_batch(con, FEATURES, spec.product, batch_id)


def _is_settled(decisions: list[Decision], live: LivePointer | None, taken_away: set[str]) -> bool:
    """Whether nothing is left to do: the newest word of the gates is no promotion, or its model did go live.

    A promotion that a person has undone since is none.
    """
    newest = [item for item in decisions if item.verdict not in ("LIVE", "ROLLED_BACK", "BLOCKED_BY_PERSON")][-1:]
    if not newest or not newest[0].is_promotion:
        # kept against a champion that is no more: then this batch has to be decided again
        return bool(newest) and (live is not None or not newest[0].verdict.startswith("KEPT_"))
    return newest[0].model_id in taken_away or (
        any(item.verdict == "LIVE" and item.model_id == newest[0].model_id for item in decisions) and live is not None
    )


def _has_batch(con: Any, schema: str, name: str, batch_id: str) -> bool:
    found = con.execute(f"select 1 from {table(schema, name)} where batch_id = ? limit 1", [batch_id]).fetchone()
    return found is not None


def _batch(batch: Batch) -> dict[str, Any]:
    return batch.model_dump(mode="json", exclude={"source"})


def _champion(
    spec: ProductSpec, live: LivePointer | None, evaluations: list[EvaluationReport]
) -> dict[str, Any] | None:
    """The champion's evaluation on its own test rows, beside the best of its baselines."""
    if live is None:
        return None
    own = next((item for item in evaluations if item.model_id == live.model_id and item.role == "candidate"), None)
    if own is None:  # a person promoted what no evaluation has judged
        nothing: dict[str, Any] = {"metrics": {}, "classes": {}, "baseline": None, "baseline_metrics": {}}
        algorithm = live.model_id.rpartition("-")[0].replace("-", "_")
        return {"model_id": live.model_id, "algorithm": algorithm, "as_of": live.as_of, **nothing}
    baseline = next(
        iter(baselines((item for item in evaluations if item.split_id == own.split_id), spec.gates.primary)), None
    )
    return {
        "model_id": live.model_id,
        "algorithm": own.algorithm,
        "as_of": live.as_of,
        "metrics": own.test,
        "classes": own.classes,
        "baseline": baseline.algorithm if baseline else None,
        "baseline_metrics": baseline.test if baseline else {},
    }


def _gates(blessings: list[Blessing], live: LivePointer | None) -> list[dict[str, Any]]:
    """What was said of the newest challenger and its data, and the infrastructure verdict of what is live."""
    quality = [item for item in blessings if item.kind == "quality"][-1:]
    about = {(item.model_id, item.as_of) for item in quality}
    newest: dict[str, Blessing] = {}
    for item in blessings:
        if (
            (item.kind == "data" and any(item.as_of == as_of for _, as_of in about))
            or (item.kind in ("training", "quality") and (item.model_id, item.as_of) in about)
            or (item.kind == "infrastructure" and live and item.model_id == live.model_id)
        ):
            newest[item.kind] = item
    return [
        {**gate.model_dump(mode="json"), "kind": kind, "model_id": newest[kind].model_id, "as_of": newest[kind].as_of}
        for kind in ("data", "training", "quality", "infrastructure")
        if kind in newest
        for gate in newest[kind].gates
    ]
