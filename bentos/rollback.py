"""Undo in seconds: serve again what was live before, or take a model away. Nothing is built, so nothing can differ."""

import duckdb

from assets import blessings, ledger
from assets.errors import HeadraceError
from assets.home import Home
from assets.live import drop_live, flip_live, read_live
from assets.promotion.withdrawn import withdrawn_models
from assets.records import Blessing, Decision, LivePointer
from assets.spec import ProductSpec
from bentos.build import seal_hash
from bentos.release import record_live


def rollback(home: Home, spec: ProductSpec, to: str = "", *, reason: str, asked_by: str) -> Decision:
    """Flip the live pointer back to what was live before, or to a named model that was ever live.

    The decision is written first and the pointer flipped last, by one rename: killed in between, the pointer stays and
    the same command goes on.

    Args:
        home: the installation.
        spec: the product.
        to: a model id, or the unique start of one; the one that was live before when left out.
        reason: why, in words; may be empty.
        asked_by: who.

    Raises:
        HeadraceError: nothing is live, no such model was live, a person blocked it, or its bento is damaged.
    """
    lake = home.lake(spec.product)
    with lake.write_lock():  # held by a release while it flips: what is live is asked under it, not before
        live = read_live(home.settings.home, spec.product)
        if live is None:
            raise HeadraceError(
                "nothing is live, so there is nothing to roll back",
                product=spec.product,
                where=str(home.settings.home / "live"),
                fix=f"headrace run {spec.product}",
            )
        record_live(home, spec, live)
        with lake.connect() as con:
            target = _target(con, spec, live, to)
            require_servable(home, con, spec, target)
        decision = _back(spec, target, live, reason=reason, asked_by=asked_by)
        flipped = target.model_copy(update={"decision_id": decision.decision_id})
        lake.transact(lambda con: _append(con, decision, flipped))
        flip_live(home.settings.home, flipped)
    return decision


def block(home: Home, spec: ProductSpec, model_id: str, *, reason: str, asked_by: str) -> LivePointer | None:
    """A person's word that a model is never served; if it is live, what was live before goes live again.

    Killed before the pointer is flipped, the same command goes on; serving refuses the blocked model in between.

    Returns:
        what is live now; None when nothing is.

    Raises:
        HeadraceError: there is no reason.
    """
    word = blessings.override(spec, "block", model_id, reason=reason, asked_by=asked_by)
    lake, root = home.lake(spec.product), home.settings.home
    with lake.write_lock():  # a model that goes live meanwhile is either seen here, or its release sees this word
        live = read_live(root, spec.product)
        if live is not None:
            record_live(home, spec, live)
        with lake.connect() as con:
            manifest = ledger.model(con, model_id)
            is_live = live is not None and live.model_id == model_id
            target = _fallback(home, con, spec, model_id) if is_live else None
        blocked = Decision(
            product=spec.product,
            as_of=manifest.as_of if manifest else "",
            verdict="BLOCKED_BY_PERSON",
            model_id=model_id,
            champion_id=live.model_id if live else None,
            split_id=manifest.split_id if manifest else "",
            reason=word.reason,
            rule="a person's word stands above the gates",
            asked_by=asked_by,
            at=word.at,
        )
        flipped: LivePointer | None = None
        back: Decision | None = None
        if target is not None and live is not None:
            back = _back(spec, target, live, reason=f"{model_id} was blocked: {word.reason}", asked_by=asked_by)
            flipped = target.model_copy(update={"decision_id": back.decision_id})

        def record(con: duckdb.DuckDBPyConnection) -> None:
            ledger.append_once(con, "overrides", word.override_id, blocked.as_of, word)
            ledger.append_once(con, "decisions", blocked.decision_id, blocked.as_of, blocked)
            if back is not None and flipped is not None:
                _append(con, back, flipped)

        lake.transact(record)
        if flipped is not None:
            flip_live(root, flipped)
        elif is_live:  # nothing was live before that may be served
            drop_live(root, spec.product)
    return read_live(root, spec.product)


def _back(spec: ProductSpec, target: LivePointer, live: LivePointer, *, reason: str, asked_by: str) -> Decision:
    return Decision(
        product=spec.product,
        as_of=target.as_of,
        verdict="ROLLED_BACK",
        model_id=target.model_id,
        champion_id=live.model_id,
        split_id="",
        reason=reason.strip() or f"back to {target.model_id} from {live.model_id}",
        rule="a person's word; the bento of then is served, nothing is built",
        asked_by=asked_by,
        at=ledger.now(),
    )


def _append(con: duckdb.DuckDBPyConnection, decision: Decision, pointer: LivePointer) -> None:
    ledger.append_once(con, "decisions", decision.decision_id, decision.as_of, decision)
    ledger.append_once(con, "live", pointer.pointer_id, pointer.as_of, pointer)


def require_servable(home: Home, con: duckdb.DuckDBPyConnection, spec: ProductSpec, pointer: LivePointer) -> None:
    """The door of serving: the words about a live model are in the ledger, no person took it away, its bento is whole.

    Raises:
        HeadraceError: a word is missing, the model is blocked, or a file of the bento changed.
    """
    where = f"serving of {pointer.bento}"
    blocked = blessings.overrides(con, "block").get(pointer.model_id)
    if blocked is not None:
        raise HeadraceError(
            "refused: a person blocked this model",
            product=spec.product,
            where=where,
            found=f"{blocked.asked_by}: {blocked.reason}",
            fix=f"headrace rollback {spec.product}, or headrace promote {spec.product} {pointer.model_id} --reason ...",
        )
    words = {item.blessing_id: item for item in ledger.all_blessings(con)}
    found = [words[item] for item in pointer.blessings if item in words]
    _require_infrastructure(spec, found, pointer, where)
    seal = seal_hash(home.settings, pointer.bento)
    if seal != pointer.seal:
        raise HeadraceError(
            "refused: the bento is not the one that went live",
            product=spec.product,
            where=where,
            expected=f"seal {pointer.seal[:16]}…",
            found=f"{seal[:16]}…",
            fix=f"headrace rollback {spec.product}, or delete that bento and run the product again",
        )


def _require_infrastructure(spec: ProductSpec, found: list[Blessing], pointer: LivePointer, where: str) -> None:
    """The bento was asked before it went live, and the ledger has what it answered."""
    if any(
        item.kind == "infrastructure" and item.verdict == "BLESSED" and item.model_id == pointer.model_id
        for item in found
    ):
        return
    raise HeadraceError(
        "refused: no infrastructure blessing for this model",
        product=spec.product,
        where=where,
        expected="the blessing under which it went live",
        found=f"{len(found)} of {len(pointer.blessings)} blessings of the live pointer in the ledger",
        fix=f"run the product again: headrace run {spec.product}",
    )


def _target(con: duckdb.DuckDBPyConnection, spec: ProductSpec, live: LivePointer, to: str) -> LivePointer:
    """The pointer to go back to: of the named model, or of the one that was live before this one."""
    pointers = [item for _, item in ledger.records(con, "live", LivePointer)]
    if to:
        found = [item for item in pointers if item.model_id.startswith(to)]
    else:
        found = _before(con, pointers, live.model_id)[:1]
    names = dict.fromkeys(item.model_id for item in found)
    if len(names) != 1 or live.model_id in names:
        listed = ", ".join(dict.fromkeys(item.model_id for item in pointers if item.model_id != live.model_id))
        raise HeadraceError(
            "that model is live already" if live.model_id in names else "there is no such model to go back to",
            product=spec.product,
            where="rollback",
            expected=f"a model that was live before: {listed or 'none was'}",
            found=to or f"only {live.model_id} was ever live, or what was before was taken away",
            fix=f"headrace history {spec.product} shows what was live; name one with --to",
        )
    return found[-1]


def _before(con: duckdb.DuckDBPyConnection, pointers: list[LivePointer], model_id: str) -> list[LivePointer]:
    """What was live before a model and was not taken away since: the newest pointer of each model, the last first."""
    taken_away = withdrawn_models(con)
    order = dict.fromkeys(item.model_id for item in reversed(pointers))
    latest = {item.model_id: item for item in pointers}
    return [latest[name] for name in order if name != model_id and name not in taken_away]


def _fallback(home: Home, con: duckdb.DuckDBPyConnection, spec: ProductSpec, model_id: str) -> LivePointer | None:
    """The last one before a model that may be served, or None."""
    pointers = [item for _, item in ledger.records(con, "live", LivePointer)]
    for pointer in _before(con, pointers, model_id):
        try:
            require_servable(home, con, spec, pointer)
        except HeadraceError:  # its bento is gone or damaged: the one before it
            continue
        return pointer
    return None
