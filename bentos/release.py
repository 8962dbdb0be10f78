"""Release a promoted model: verify its blessing at this door, build, boot, ask, and only then flip the live pointer."""

from dataclasses import dataclass

import duckdb
import polars as pl

from assets import ledger
from assets.candidates.predictor import load_predictor
from assets.errors import HeadraceError
from assets.features.current import current_feature_set_id
from assets.features.read import batch_inputs, require_split
from assets.features.row import RowEncoder
from assets.home import Home
from assets.live import flip_live, read_live
from assets.promotion.decision import require_blessing
from assets.records import Blessing, Decision, Gate, LivePointer, SplitManifest
from assets.spec import ProductSpec
from bentos.build import build_bento
from bentos.schemas import MAX_LENGTHS
from bentos.smoke import SmokeReport, ask_bento


@dataclass(frozen=True)
class Release:
    """What became of a batch's decision: the pointer now, the gates of a new bento, and what happened in words."""

    live: LivePointer | None
    gates: tuple[Gate, ...]
    outcome: str


def release(home: Home, spec: ProductSpec, as_of: str) -> Release:
    """Serve what was promoted as of a batch; without a promotion the live pointer stays.

    Kill it anywhere and run it again: the build is content-addressed, the pointer is flipped by one rename, and the
    ledger's LIVE row is appended once after it.

    Raises:
        HeadraceError: the blessing is missing or stale, the bento doesn't start, or a damaged model file.
    """
    lake, root = home.lake(spec.product), home.settings.home
    live = read_live(root, spec.product)
    with lake.connect() as con:
        decision = _promotion(con, as_of)
    if decision is None:
        return Release(live, (), f"nothing was promoted as of {as_of}")
    if live is not None and live.decision_id == decision.decision_id:
        _record_live(home, spec, live)
        return Release(live, (), f"{live.model_id} is live already")
    if live is not None and live.model_id != decision.champion_id:
        return Release(live, (), f"{live.model_id} went live since that decision; it stays")
    split = require_split(lake, spec, as_of)
    with lake.connect() as con:
        feature_set_id = current_feature_set_id(lake, spec)
        quality = require_blessing(con, spec, split, decision.model_id, feature_set_id=feature_set_id)
    tag, report_gates, pointer = _build_and_ask(home, spec, split, decision)
    blessing = quality.model_copy(
        update={
            "kind": "infrastructure",
            "gates": report_gates,
            "verdict": "NOT_BLESSED" if any(gate.verdict == "FAILED" for gate in report_gates) else "BLESSED",
        }
    )
    lake.transact(lambda con: _record_blessing(con, blessing, decision.champion_id))
    if blessing.verdict == "NOT_BLESSED":
        return Release(live, report_gates, f"{tag} was refused: {'; '.join(blessing.reasons)}")
    flip_live(root, pointer)
    _record_live(home, spec, pointer)
    return Release(pointer, report_gates, f"{tag} is live")


def _build_and_ask(
    home: Home, spec: ProductSpec, split: SplitManifest, decision: Decision
) -> tuple[str, tuple[Gate, ...], LivePointer]:
    """Build the bento, ask it for the newest batch's rows and compare with the offline scores."""
    folder = home.models(spec.product) / decision.model_id
    predictor = load_predictor(folder, threads=home.settings.threads)
    inputs = batch_inputs(home.lake(spec.product), spec, split.test_batch)
    chosen = askable(predictor.encoder, inputs, spec, as_of=decision.as_of)
    rows = chosen.to_dicts()
    complete = [row for row in rows if all(value is not None for value in row.values())]
    tag = build_bento(home.settings, folder, (complete or rows)[0], product=spec.product, as_of=decision.as_of)
    report = ask_bento(home.settings, tag, rows, predictor.scores(chosen))
    if report.model_id != decision.model_id:
        raise HeadraceError(
            "the bento answers with another model",
            product=spec.product,
            where=tag,
            expected=decision.model_id,
            found=report.model_id,
            fix="delete that bento and materialise this asset again",
        )
    pointer = LivePointer(
        product=spec.product,
        as_of=decision.as_of,
        model_id=decision.model_id,
        bento=tag,
        decision_id=decision.decision_id,
        offline_parity=f"{report.rows - report.mismatches} of {report.rows} rows",
        latency_p50_ms=report.latency_p50_ms,
        latency_p99_ms=report.latency_p99_ms,
    )
    return tag, gates(spec, report), pointer


def askable(encoder: RowEncoder, inputs: pl.DataFrame, spec: ProductSpec, *, as_of: str) -> pl.DataFrame:
    """A seeded sample of rows that a client could send: inputs in their types, required ones there, no overlong text.

    Raises:
        HeadraceError: no row is like that.
    """
    typed = encoder.typed(inputs)
    kinds, required = encoder.schema.inputs, encoder.schema.required
    short = [pl.col(n).str.len_chars().fill_null(0) <= MAX_LENGTHS[k] for n, k in kinds.items() if k in MAX_LENGTHS]
    fit = typed.filter(pl.lit(value=True), *short, *(pl.col(name).is_not_null() for name in required))
    if fit.is_empty():
        raise HeadraceError(
            "no row of the newest batch is one that a client could send",
            product=spec.product,
            where=as_of,
            expected=f"required inputs ({', '.join(required) or 'none'}) filled, texts within {MAX_LENGTHS} characters",
            found=f"none of {typed.height} rows",
            fix="make inputs that may be missing optional (required: false), or repair the feature table",
        )
    return fit.sample(min(spec.gates.smoke_rows, fit.height), seed=spec.seed, shuffle=False)


def gates(spec: ProductSpec, report: SmokeReport) -> tuple[Gate, ...]:
    """What a booted bento's answers say."""
    refused = 400 <= report.bad_request_status < 500  # noqa: PLR2004 - the range of client errors
    limit = spec.gates.max_latency_p99_ms
    return (
        _gate("boots", passed=refused, observed=report.startup_seconds, threshold="starts, refuses wrong input"),
        _gate("parity", passed=report.mismatches == 0, observed=float(report.mismatches), threshold=0.0),
        _gate("latency", passed=report.latency_p99_ms <= limit, observed=report.latency_p99_ms, threshold=limit),
    )


def _promotion(con: duckdb.DuckDBPyConnection, as_of: str) -> Decision | None:
    """The newest decision as of a batch, if it is a promotion that wasn't refused afterwards."""
    about = [item for _, item in ledger.decisions(con) if item.as_of == as_of and item.verdict != "LIVE"]
    refused = [item.model_id for item in about if item.verdict == "REFUSED_INFRASTRUCTURE"]
    promotions = [item for item in about if item.is_promotion and item.model_id not in refused]
    return promotions[-1] if promotions else None


def _record_blessing(con: duckdb.DuckDBPyConnection, blessing: Blessing, champion_id: str | None) -> None:
    ledger.append_once(con, "blessings", blessing.blessing_id, blessing.as_of, blessing)
    if blessing.verdict == "NOT_BLESSED":
        decision = Decision.refusing(blessing, champion_id)
        ledger.append_once(con, "decisions", decision.decision_id, decision.as_of, decision)


def _record_live(home: Home, spec: ProductSpec, pointer: LivePointer) -> None:
    """Append that a model went live, once; also after a kill between the flip and this."""
    with home.lake(spec.product).connect() as con:
        promoted = next((item for _, item in ledger.decisions(con) if item.decision_id == pointer.decision_id), None)
    if promoted is None:
        return
    went_live = promoted.model_copy(update={"verdict": "LIVE", "reason": f"{pointer.bento} is served"})
    ledger.append_to_lake(home.lake(spec.product), "decisions", [(went_live.decision_id, went_live.as_of, went_live)])


def _gate(name: str, *, passed: bool, observed: float | str, threshold: float | str) -> Gate:
    return Gate(name=name, verdict="PASSED" if passed else "FAILED", observed=observed, threshold=threshold)
