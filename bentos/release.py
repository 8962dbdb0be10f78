"""Release a promoted model: verify its words at this door, build, boot, ask, and only then flip the live pointer."""

from dataclasses import dataclass

import duckdb
import polars as pl

from assets import blessings, ledger
from assets.candidates.predictor import load_predictor
from assets.errors import HeadraceError
from assets.features.current import current_feature_set_id
from assets.features.read import batch_inputs
from assets.features.row import RowEncoder
from assets.home import Home
from assets.live import flip_live, read_live
from assets.promotion.promote import require_words, same_as_in_ledger
from assets.promotion.withdrawn import withdrawn_models
from assets.records import Blessing, Decision, Gate, LivePointer, Override, Provenance, SplitManifest
from assets.spec import ProductSpec
from bentos.build import build_bento, seal_hash
from bentos.door import packed_words
from bentos.schemas import MAX_LENGTHS
from bentos.smoke import SmokeReport, ask_bento


@dataclass(frozen=True)
class Release:
    """What became of a batch's decision: the pointer now, the gates of a new bento, and what happened in words.

    `models` names whose bento was built and asked.
    """

    live: LivePointer | None
    gates: tuple[Gate, ...]
    outcome: str
    models: tuple[str, ...] = ()


def release(home: Home, spec: ProductSpec, as_of: str, *, provenance: Provenance) -> Release:
    """Serve what was promoted as of a batch; without a promotion the live pointer stays.

    Kill it anywhere and run it again: the build is content-addressed, the pointer is flipped by one rename, and the
    ledger's LIVE row is appended once after it.

    Raises:
        HeadraceError: a blessing is missing or stale, the bento doesn't start, or a damaged model file.
    """
    live = read_live(home.settings.home, spec.product)
    with home.lake(spec.product).connect() as con:
        decision, why_not = _promotion(con, as_of, live)
    if decision is None:
        return Release(live, (), why_not)
    return release_decision(home, spec, decision, provenance=provenance)


def release_decision(home: Home, spec: ProductSpec, decision: Decision, *, provenance: Provenance) -> Release:
    """Serve the model of one promotion, by the gates or by a person (whose word stands for all but infrastructure).

    Raises:
        HeadraceError: see `release`.
    """
    lake = home.lake(spec.product)
    live = read_live(home.settings.home, spec.product)
    if live is not None:
        record_live(home, spec, live)
        if live.decision_id == decision.decision_id:
            return Release(live, (), f"{live.model_id} is live already")
        if decision.champion_id != live.model_id:
            return Release(live, (), f"{live.model_id} went live since that decision; it stays")
    with lake.connect() as con:
        split = ledger.split_by_id(con, decision.split_id)
        words, overrides = _words(home, con, spec, split, decision)
    report, tag, rows = _build_and_ask(home, spec, split, decision, packed_words(words, overrides))
    found = gates(spec, report)
    blessing = blessings.bless_model("infrastructure", spec, split, decision.model_id, found, provenance=provenance)
    lake.transact(lambda con: _record_blessing(con, blessing, decision.champion_id))
    if blessing.verdict == "NOT_BLESSED":
        return Release(live, found, f"{tag} was refused: {'; '.join(blessing.reasons)}", (decision.model_id,))
    pointer = LivePointer(
        product=spec.product,
        as_of=decision.as_of,
        model_id=decision.model_id,
        bento=tag,
        decision_id=decision.decision_id,
        offline_parity=f"{rows - report.mismatches} of {rows} rows",
        latency_p50_ms=report.latency_p50_ms,
        latency_p99_ms=report.latency_p99_ms,
        blessings=tuple(item.blessing_id for item in (*words, blessing)),
        seal=seal_hash(home.settings, tag),
    )
    with lake.write_lock():  # a person may have flipped it while the bento was built
        now = read_live(home.settings.home, spec.product)
        with lake.connect() as con:
            taken_away = withdrawn_models(con).get(decision.model_id)
        if now != live or taken_away:
            said = taken_away or "what is live was changed meanwhile"
            return Release(now, found, f"{tag} isn't live: {said}", (decision.model_id,))
        flip_live(home.settings.home, pointer)
        record_live(home, spec, pointer)
    return Release(pointer, found, f"{tag} is live", (decision.model_id,))


def _words(
    home: Home, con: duckdb.DuckDBPyConnection, spec: ProductSpec, split: SplitManifest, decision: Decision
) -> tuple[tuple[Blessing, ...], list[Override]]:
    """What speaks for the model, verified again at this door."""
    where = f"bento of {decision.model_id} as of {decision.as_of}"
    same_as_in_ledger(home, con, spec, decision.model_id)
    said = blessings.overrides(con, "accept").get(decision.as_of)
    accepted = [said] if said else []
    if decision.verdict == "PROMOTED_BY_PERSON":
        word = blessings.overrides(con, "promote").get(decision.model_id)
        if word is None:
            raise HeadraceError(
                "refused: nobody promotes this model any more",
                product=spec.product,
                where=where,
                expected="a person's promotion that is the newest word about it",
                found="none",
                fix=f"headrace promote {spec.product} {decision.model_id} --reason ...",
            )
        return tuple(ledger.blessings_of(con, decision.model_id)), [*accepted, word]
    feature_set_id = current_feature_set_id(home.lake(spec.product), spec)
    found = require_words(con, spec, split, decision.model_id, feature_set_id=feature_set_id, where=where)
    return found, accepted


def _build_and_ask(
    home: Home, spec: ProductSpec, split: SplitManifest, decision: Decision, words: bytes
) -> tuple[SmokeReport, str, int]:
    """Build the bento, ask it for the newest batch's rows and compare with the offline scores."""
    folder = home.models(spec.product) / decision.model_id
    predictor = load_predictor(folder, threads=home.settings.threads)
    inputs = batch_inputs(home.lake(spec.product), spec, split.test_batch)
    chosen = askable(predictor.encoder, inputs, spec, as_of=decision.as_of)
    rows = chosen.to_dicts()
    complete = [row for row in rows if all(value is not None for value in row.values())]
    tag = build_bento(
        home.settings, folder, (complete or rows)[0], product=spec.product, as_of=decision.as_of, words=words
    )
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
    return report, tag, report.rows


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
        _gate(
            "boots", passed=refused, observed=report.startup_seconds, threshold="starts, refuses wrong input",
            detail=f"ready after {report.startup_seconds:.1f} s; a wrong request got {report.bad_request_status}",
        ),
        _gate(
            "parity", passed=report.mismatches == 0, observed=float(report.mismatches), threshold=0.0,
            detail=f"of {report.rows} rows with a served score that differs from the offline one in any bit",
        ),
        _gate(
            "latency", passed=report.latency_p99_ms <= limit, observed=report.latency_p99_ms, threshold=limit,
            detail=f"99th percentile of single-row requests, milliseconds; median {report.latency_p50_ms:.1f}",
        ),
    )  # fmt: skip


def _promotion(con: duckdb.DuckDBPyConnection, as_of: str, live: LivePointer | None) -> tuple[Decision | None, str]:
    """The promotion that the newest word as of a batch is, or why there is none.

    What a person has decided since stands: a rerun of an older batch doesn't undo it.
    """
    everything = [item for _, item in ledger.decisions(con)]
    events = ("LIVE", "ROLLED_BACK", "BLOCKED_BY_PERSON")
    about = [(at, item) for at, item in enumerate(everything) if item.as_of == as_of and item.verdict not in events]
    if not about:
        return None, f"nothing was promoted as of {as_of}"
    place, newest = about[-1]
    taken_away = withdrawn_models(con).get(newest.model_id)
    by_person = [
        at
        for at, item in enumerate(everything)
        if live and item.decision_id == live.decision_id and item.verdict in ("PROMOTED_BY_PERSON", "ROLLED_BACK")
    ]
    if newest.verdict == "REFUSED_INFRASTRUCTURE":
        return None, f"the bento of {newest.model_id} was refused: {newest.reason}"
    if not newest.is_promotion:
        return None, f"nothing was promoted as of {as_of}"
    if taken_away:
        return None, f"{newest.model_id} was taken away: {taken_away}"
    if live and newest.decision_id != live.decision_id and by_person and by_person[-1] > place:
        return None, f"{live.model_id} is live by a person's word, given after that decision; it stays"
    return newest, ""


def _record_blessing(con: duckdb.DuckDBPyConnection, blessing: Blessing, champion_id: str | None) -> None:
    blessings.write(con, blessing)
    if blessing.verdict == "NOT_BLESSED":
        decision = Decision.refusing(blessing, champion_id)
        ledger.append_once(con, "decisions", decision.decision_id, decision.as_of, decision)


def record_live(home: Home, spec: ProductSpec, pointer: LivePointer) -> None:
    """Append that a model went live, once; also after a kill between the flip and this."""
    lake = home.lake(spec.product)
    with lake.connect() as con:
        promoted = next((item for _, item in ledger.decisions(con) if item.decision_id == pointer.decision_id), None)
    if promoted is None or promoted.verdict == "ROLLED_BACK":
        return
    went_live = promoted.model_copy(update={"verdict": "LIVE", "reason": f"{pointer.bento} is served"})

    def record(con: duckdb.DuckDBPyConnection) -> None:
        ledger.append_once(con, "decisions", went_live.decision_id, went_live.as_of, went_live)
        ledger.append_once(con, "live", pointer.pointer_id, pointer.as_of, pointer)

    lake.transact(record)


def _gate(name: str, *, passed: bool, observed: float | str, threshold: float | str, detail: str) -> Gate:
    return Gate(
        name=name, verdict="PASSED" if passed else "FAILED", observed=observed, threshold=threshold, detail=detail
    )
