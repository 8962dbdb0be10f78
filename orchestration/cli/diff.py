"""`headrace diff`: what differs between two models, section by section."""

import json
from dataclasses import asdict
from typing import Any, get_args

from rich.markup import escape

from assets.candidates.diff import ModelDiff, Section, diff_models
from assets.candidates.lookup import find_model
from assets.settings import Settings
from orchestration.cli.console import out, table


def diff(settings: Settings, first: str, second: str, *, as_json: bool = False) -> None:
    """Print what differs between two models.

    Args:
        settings: where the home is.
        first: its id, the beginning of one, or a product for its live model.
        second: the same.
        as_json: print JSON and nothing else.

    Raises:
        HeadraceError: there is no such model, or they are of different products.
    """
    found = diff_models(settings, find_model(settings, first), find_model(settings, second))
    if as_json:
        print(json.dumps(_json(found), indent=2, default=str))
    else:
        _show(found)


def _json(found: ModelDiff) -> dict[str, Any]:
    sections = {
        name: [{key: value for key, value in asdict(row).items() if key != "section"} for row in found.of(name)]
        for name in get_args(Section)
    }
    return {
        "product": found.product,
        "first": found.first,
        "second": found.second,
        **sections,
        "notes": list(found.notes),
    }


def _show(found: ModelDiff) -> None:
    same = []
    for name in get_args(Section):
        rows = found.of(name)
        if rows:
            table(name, ("", found.first, found.second), [(row.what, row.first, row.second) for row in rows])
        elif name != "metrics":  # a note says why there are none
            same.append(name)
    for note in found.notes:
        out.print(f"[dim]note[/] {escape(note)}", soft_wrap=True)
    if same:
        out.print(f"the same in both: {', '.join(same)}")
