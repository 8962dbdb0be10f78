"""`headrace replay`: train a recorded model again and say whether the bytes are the same."""

import json
import time
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from assets.candidates.lookup import find_model
from assets.candidates.replay import Replay, replay_model
from assets.settings import Settings
from orchestration.cli.console import err, out, table

_WIDTH = 100


def replay(settings: Settings, model: str, *, product: str = "", as_json: bool = False, search: bool = False) -> bool:
    """Train a model again and print what was compared.

    Args:
        settings: where the home is.
        model: its id, the beginning of one, or a product for its live model.
        product: look in this product only.
        as_json: print JSON and nothing else.
        search: make the search of its parameters again, where it had one.

    Returns:
        whether everything is identical: the exit code is 0 only then.

    Raises:
        HeadraceError: there is no such model, or it can't be trained again; says why.
    """
    started = time.perf_counter()
    found = find_model(settings, model, product=product)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err if as_json else out, transient=True) as bar:
        task = bar.add_task(f"replay {found.model_id}", total=None)

        def show(text: str) -> None:
            bar.update(task, description=escape(f"replay {found.model_id} · {text}"[:_WIDTH]))

        made = replay_model(settings, found, search=search, progress=show)
    seconds = time.perf_counter() - started
    if as_json:
        print(json.dumps(_json(made, seconds), indent=2))
    else:
        _show(made, seconds)
    return made.is_identical


def _json(made: Replay, seconds: float) -> dict[str, Any]:
    return {
        **asdict(made),
        "identical": made.is_identical,
        "differing": list(made.differing),
        "seconds": {**made.seconds, "all": seconds},
    }


def _show(made: Replay, seconds: float) -> None:
    title = f"{made.model_id}, {made.product} as of {made.as_of}, trained again by {made.code}"
    rows = [(line.what, "same" if line.is_same else "DIFFERS", line.recorded, line.replayed) for line in made.lines]
    out.print(f"[bold]{escape(title)}[/]", soft_wrap=True)
    table("", ("", "", "recorded", "replayed"), rows)
    for note in made.notes:
        out.print(f"[dim]note[/] {escape(note)}", soft_wrap=True)
    timed = f"in {seconds:.0f} s (read {made.seconds['read']:.1f}, train {made.seconds['train']:.1f})"
    if made.is_identical:
        out.print(f"[green]identical[/]: the same rows gave the same bytes, {timed}", soft_wrap=True)
    else:
        out.print(f"[red]not identical[/]: {escape(', '.join(made.differing))} differ, {timed}", soft_wrap=True)
