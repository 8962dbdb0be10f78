"""`headrace score-card`: the ML Test Score of a product, a table per section, and the cheapest way up."""

import json

from rich.markup import escape

from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli.console import out, table
from orchestration.score.evidence import read_evidence
from orchestration.score.rubric import SECTIONS, Finding
from orchestration.score_card import ScoreCard, judge_all

_STEPS = 3


def score_card(settings: Settings, product_spec: ProductSpec, *, as_json: bool) -> None:
    """Judge the 28 tests on what is recorded now, and print them."""
    card = judge_all(read_evidence(settings, product_spec))
    if as_json:
        print(json.dumps(card.as_json(), indent=2))
    else:
        _show(card, str(settings.products / f"{card.product}.yaml"))


def _show(card: ScoreCard, spec_file: str) -> None:
    out.print(f"[bold]ML Test Score of {escape(card.product)}: {card.score:g}[/]  {card.meaning}")
    out.print("[dim]28 tests (Breck et al. 2017); 1: automated, 0.5: in part or once; the weakest section counts[/]\n")
    for section in SECTIONS:
        rows = [(line.number, f"{line.finding.points:g}", line.name, _told(line.finding)) for line in card.of(section)]
        weakest = ", the weakest" if section in card.weakest else ""
        table(
            f"{section}: {card.points(section):g} of 7{weakest}",
            ("", "points", "test", "by what, or why not yet"),
            rows,
        )
    if card.next_steps:
        out.print(
            f"[bold]Cheapest gains[/] in {' and '.join(card.weakest)} [dim](fields are of {escape(spec_file)})[/]",
            soft_wrap=True,
        )
        for line in card.next_steps[:_STEPS]:
            gain = f"+{1 - line.finding.points:g} {line.name}"
            out.print(f"  {escape(gain)}: {escape(line.finding.fix)}", soft_wrap=True)


def _told(found: Finding) -> str:
    """What satisfies the test, and what is missing."""
    said = "; ".join(found.evidence)
    return f"{said}. Missing: {found.missing}" if said and found.missing else said or found.missing
