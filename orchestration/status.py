"""What a product is like right now, read from lake and pointer: for `status`, `history`, the demo and programs."""

from typing import Any

from assets import ledger
from assets.evaluation.judge import baselines
from assets.features.current import current_feature_set_id
from assets.home import Home
from assets.lake import has_table
from assets.live import read_live
from assets.monitoring.watch import performance_reports
from assets.naming import FEATURES, PREDICTIONS, table
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
        performance = performance_reports(con)
        drift = {item.batch_id: item for _, item in ledger.records(con, "drift", DriftReport)}
    loaded = [batch for batch in delivered if batch.status == "LOADED"]
    about = [item for _, item in decisions if item.verdict != "LIVE"]
    return {
        "product": spec.product,
        "title": spec.title,
        "task": spec.task,
        "primary": spec.gates.primary,
        "batches": len(loaded),
        "rows_in": sum(batch.rows_in for batch in loaded),
        "rows_loaded": sum(batch.rows_loaded for batch in loaded),
        "rows_quarantined": sum(batch.rows_quarantined for batch in loaded),
        "refused_files": [_batch(batch) for batch in delivered if batch.status == "REFUSED"],
        "champion": _champion(spec, live, evaluations),
        "gates": _gates(blessings, live),
        "alerts": [{"at": at.isoformat(), **item.model_dump(mode="json")} for at, item in alerts],
        "live": live.model_dump(mode="json") if live else None,
        "decisions": [item.model_dump(mode="json") for item in about],
        "performance": [item.model_dump(mode="json") for item in performance],
        "drift": [drift[batch_id].model_dump(mode="json") for batch_id in sorted(drift)],
        "batch_details": [_batch(batch) for batch in loaded],
        "reports": sorted(str(path) for path in (home.settings.reports / spec.product).glob("*/*.html")),
    }


def product_history(home: Home, spec: ProductSpec) -> list[dict[str, Any]]:
    """Every decision with its moment, oldest first: which model was live when, and why."""
    with home.lake(spec.product).connect() as con:
        return [{"at": at.isoformat(), **item.model_dump(mode="json")} for at, item in ledger.decisions(con)]


def is_complete(home: Home, spec: ProductSpec, batch_id: str) -> bool:
    """Whether a batch went all the way with today's spec: judged, decided, live if promoted, watched if scored."""
    lake = home.lake(spec.product)
    feature_set_id = current_feature_set_id(lake, spec)
    live = read_live(home.settings.home, spec.product)
    with lake.connect() as con:
        decisions = [item for _, item in ledger.decisions(con) if item.as_of == batch_id]
        judged = [item for item in ledger.all_blessings(con) if item.as_of == batch_id and item.kind == "quality"]
        scored = has_table(con, PREDICTIONS, spec.product) and _has_batch(con, PREDICTIONS, spec.product, batch_id)
        watched = {item.batch_id for item in performance_reports(con)}
        if scored and live:
            watched &= {item.batch_id for _, item in ledger.records(con, "drift", DriftReport)}
    if not decisions or not judged or (scored and batch_id not in watched):
        return False
    if (judged[-1].spec_hash, judged[-1].feature_set_id) != (spec.spec_hash, feature_set_id):
        return False
    return _is_settled(decisions, live)


def is_loaded(home: Home, spec: ProductSpec, batch_id: str) -> bool:
    """Whether a batch is in raw and has become features."""
    with home.lake(spec.product).connect() as con:
        in_ledger = batch_id in ledger.loaded_batch_ids(con, spec.product)
        return (
            in_ledger and has_table(con, FEATURES, spec.product) and _has_batch(con, FEATURES, spec.product, batch_id)
        )


def _is_settled(decisions: list[Decision], live: LivePointer | None) -> bool:
    newest = [item for item in decisions if item.verdict != "LIVE"][-1]
    if not newest.is_promotion:
        return True
    return any(item.verdict == "LIVE" and item.model_id == newest.model_id for item in decisions) and live is not None


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
    own = next(item for item in evaluations if item.model_id == live.model_id and item.role == "candidate")
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
    """The newest quality verdict (of the newest challenger) and the infrastructure verdict of what is live."""
    quality = [item for item in blessings if item.kind == "quality"]
    infrastructure = [
        item for item in blessings if item.kind == "infrastructure" and live and item.model_id == live.model_id
    ]
    return [
        {**gate.model_dump(mode="json"), "kind": item.kind, "model_id": item.model_id, "as_of": item.as_of}
        for item in (*quality[-1:], *infrastructure[-1:])
        for gate in item.gates
    ]
