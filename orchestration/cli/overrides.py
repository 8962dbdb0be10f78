"""What a person decides above the gates: promote, block, roll back, accept a batch; each with who and why."""

from pathlib import Path

import duckdb

from assets import blessings, ledger
from assets.candidates.lookup import find_model
from assets.card.card import write_card
from assets.errors import HeadraceError
from assets.home import Home
from assets.live import read_live
from assets.promotion.promote import same_as_in_ledger
from assets.provenance import person, provenance_of
from assets.records import Decision
from assets.settings import Settings
from assets.spec import ProductSpec
from bentos.release import record_live, release_decision
from bentos.rollback import block as block_model
from bentos.rollback import rollback as roll_back
from orchestration.cli.console import out


def promote(settings: Settings, spec: ProductSpec, model: str, reason: str) -> None:
    """Promote a model by a person's word; the bento still has to boot and answer as offline.

    Raises:
        HeadraceError: no such model, no reason, it is live already, or its bento was refused.
    """
    home = Home(settings)
    manifest = find_model(settings, model, product=spec.product).manifest
    who = f"{person()}: headrace promote"
    live = read_live(settings.home, spec.product)
    if live is not None and live.model_id == manifest.model_id:
        raise HeadraceError(
            "this model is live already", product=spec.product, where=live.model_id, fix="nothing to do"
        )
    with home.lake(spec.product).connect() as con:
        same_as_in_ledger(home, con, spec, manifest.model_id)
    if live is not None:
        record_live(home, spec, live)
    word = blessings.override(spec, "promote", manifest.model_id, reason=reason, asked_by=who)
    decision = Decision(
        product=spec.product,
        as_of=manifest.as_of,
        verdict="PROMOTED_BY_PERSON",
        model_id=manifest.model_id,
        champion_id=live.model_id if live else None,
        split_id=manifest.split_id,
        reason=word.reason,
        rule="a person's word stands above the gates; infrastructure is verified all the same",
        asked_by=who,
        at=word.at,
    )

    def record(con: duckdb.DuckDBPyConnection) -> None:
        ledger.append_once(con, "overrides", word.override_id, manifest.as_of, word)
        ledger.append_once(con, "decisions", decision.decision_id, decision.as_of, decision)

    home.lake(spec.product).transact(record)
    with out.status(f"building and asking the bento of {manifest.model_id}"):
        released = release_decision(home, spec, decision, provenance=provenance_of(settings, who))
    page = _write_cards(home, spec, manifest.model_id, decision.champion_id)
    if released.live is None or released.live.model_id != manifest.model_id:
        raise HeadraceError(
            "it didn't go live, so what was live stays",
            product=spec.product,
            where=manifest.model_id,
            found=released.outcome,
            fix="a person's word doesn't make a bento boot: mend what was found, then promote it again",
        )
    _say(f"{released.outcome}, by {who}", page)


def block(settings: Settings, spec: ProductSpec, model: str, reason: str) -> None:
    """Take a model away for good; if it is live, what was live before goes live again.

    Raises:
        HeadraceError: no such model, or no reason.
    """
    home = Home(settings)
    manifest = find_model(settings, model, product=spec.product).manifest
    live = block_model(home, spec, manifest.model_id, reason=reason, asked_by=f"{person()}: headrace block")
    page = _write_cards(home, spec, manifest.model_id, live.model_id if live else None)
    _say(f"{manifest.model_id} is blocked; live is {live.model_id if live else 'nothing'}", page)


def rollback(settings: Settings, spec: ProductSpec, to: str, reason: str) -> None:
    """Serve again what was live before, or a model that ever was.

    Raises:
        HeadraceError: there is nothing to go back to, or it may not be served.
    """
    home = Home(settings)
    decision = roll_back(home, spec, to, reason=reason, asked_by=f"{person()}: headrace rollback")
    _write_cards(home, spec, decision.model_id, decision.champion_id)
    out.print(
        f"{decision.model_id} is live again, {decision.champion_id} was taken back; "
        f"the way forward: headrace rollback {spec.product} --to {decision.champion_id}",
        soft_wrap=True,
    )


def accept(settings: Settings, spec: ProductSpec, batch: str, reason: str) -> None:
    """Take a batch as it is that data validation holds back; the next run builds it.

    Raises:
        HeadraceError: the batch isn't held, or there is no reason.
    """
    lake = Home(settings).lake(spec.product)
    word = blessings.accept_batch(lake, spec, batch, reason=reason, asked_by=f"{person()}: headrace accept")
    out.print(
        f"batch {word.subject} is accepted; next: headrace run {spec.product} --as-of {word.subject}", soft_wrap=True
    )


def _write_cards(home: Home, spec: ProductSpec, model_id: str, other: str | None) -> Path:
    """Write the cards of which what is live has changed; returns the first one's page."""
    if other is not None and other != model_id:
        write_card(home, spec, other)
    return write_card(home, spec, model_id)[0]


def _say(what: str, page: Path) -> None:
    out.print(f"{what}\nmodel card: {page}", markup=False, soft_wrap=True)
