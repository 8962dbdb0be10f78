"""The card of a model, as HTML and Markdown: what it is for, how good it is, who decided, and what is not known.

After Mitchell et al. 2019, "Model Cards for Model Reporting". Everything on it is from the ledger and the live pointer
(`card_facts`); the sections are in `card_sections`, the two forms in `document`. Costs a few queries and no picture
library, so a decision can write it each time.
"""

from pathlib import Path

from assets.card.document import Badge, Block, Document, Facts, Mono, Paragraph, figure, interval
from assets.card.facts import CardFacts, read_facts
from assets.card.sections import metric_name, override_notes, sections, when
from assets.files import write_file_atomically
from assets.home import Home
from assets.live import read_live
from assets.spec import ProductSpec

_STANDINGS: dict[str, Badge] = {
    "PROMOTED": Badge("promoted, not live yet", "plain"),
    "KEPT": Badge("not promoted", "plain"),
    "REFUSED": Badge("refused", "bad"),
    "BLOCKED": Badge("blocked by a person", "bad"),
    "ROLLED": Badge("rolled back", "warn"),
}


def write_card(home: Home, spec: ProductSpec, model_id: str) -> tuple[Path, Path]:
    """Write a model's card below the reports folder; the same ledger gives the same bytes.

    Args:
        home: whose ledger and reports folder.
        spec: the product as it is today.
        model_id: a model of the ledger, promoted or not.

    Returns:
        the HTML file and the Markdown file, both of the model's own batch.

    Raises:
        HeadraceError: the ledger has no such model.
    """
    with home.lake(spec.product).connect() as con:
        con.execute("begin")  # one snapshot for all queries, and a third less to do than one each
        facts = read_facts(con, spec, model_id, read_live(home.settings.home, spec.product))
        con.execute("commit")
    document = card(facts)
    page, text = card_paths(home, facts)
    write_file_atomically(page, document.html().encode())
    write_file_atomically(text, document.markdown().encode())
    return page, text


def card_paths(home: Home, facts: CardFacts) -> tuple[Path, Path]:
    """Where a model's card is, as HTML and as Markdown."""
    page, text = (
        home.report(facts.spec.product, facts.manifest.as_of, f"model-card-{facts.model_id}.{form}")
        for form in ("html", "md")
    )
    return page, text


def card(facts: CardFacts) -> Document:
    """The whole card."""
    return Document(
        title=facts.spec.title,
        subtitle=f"Model card of {facts.model_id}, product {facts.spec.product}, as of {facts.manifest.as_of}",
        badges=[standing(facts), *_warnings(facts)],
        top=_top(facts),
        sections=sections(facts),
    )


def standing(facts: CardFacts) -> Badge:
    """What the model is now, in a word: whether it is served, was taken away, was served, or what was decided."""
    newest = facts.newest_decision
    if facts.is_live:
        return Badge("live", "good")
    if facts.withdrawn:
        return _STANDINGS["BLOCKED" if facts.withdrawn.startswith("blocked") else "ROLLED"]
    if any(item.verdict == "LIVE" for _, item in facts.own_decisions):
        return Badge("was live", "plain")
    if newest is None:
        return Badge("nothing decided", "plain")
    return _STANDINGS[newest[1].verdict.split("_", 1)[0]]


def _warnings(facts: CardFacts) -> list[Badge]:
    """What has to be seen beside the standing."""
    found = []
    if any(item.action == "promote" for _, item in facts.model_overrides):
        found.append(Badge("promoted by a person", "warn"))
    if facts.drift and facts.drift[-1].verdict == "DRIFTED":
        found.append(Badge(f"drifted on {facts.drift[-1].batch_id}", "warn"))
    if facts.performance and facts.performance[-1].verdict == "DEGRADED":
        found.append(Badge(f"degraded on {facts.performance[-1].batch_id}", "bad"))
    return found


def _top(facts: CardFacts) -> list[Block]:
    """What a reader in a hurry needs: persons' words, the metric that decides, who answers for it."""
    own, baseline, champion = facts.own, facts.baseline, facts.champion
    name = metric_name(facts.primary)
    rows: list[tuple[str, str | Mono]] = [("Model", Mono(facts.model_id))]
    if own and facts.primary in own.test:
        ends = interval(*own.intervals[facts.primary]) if facts.primary in own.intervals else ""
        beside = [f"best baseline {figure(baseline.test[facts.primary])}"] if baseline else []
        beside += [f"champion {figure(champion.test.get(facts.primary))}"] if champion else []
        value = figure(own.test[facts.primary]) + (f" ({ends})" if ends else "")
        rows.append((f"{name} on unseen rows", ", ".join([value, *beside])))
    newest = facts.newest_decision
    if newest:
        rows.append(("Decided", f"{when(newest[0])}: {newest[1].reason}"))
    written = max((at for at, _ in (*facts.decisions, *facts.overrides)), default=None)
    rows += [("Owner", facts.spec.owner), ("State", f"as of {when(written)}" if written else "before any decision")]
    notes = override_notes(facts)
    if facts.withdrawn:
        notes.insert(0, Paragraph(f"Taken away: {facts.withdrawn}", "bad"))
    if facts.is_spec_changed:
        notes.append(Paragraph("The product's spec has changed since this model was trained.", "warn"))
    return [*notes, Facts(rows)]
