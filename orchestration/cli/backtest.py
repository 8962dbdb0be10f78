"""`headrace backtest`: the same journey as of one batch after another, and the metric over time."""

import re
from html import escape
from typing import Any

from assets import plots
from assets.errors import HeadraceError
from assets.evaluation.backtest import backtest_rows, backtest_series
from assets.evaluation.metrics import SHOWN
from assets.files import write_file_atomically
from assets.home import Home
from assets.spec import ProductSpec
from orchestration.cli.console import out, show_error, table
from orchestration.cli.runs import Runner

_METRICS_SHOWN = 2


def run_backtest(runner: Runner, batches: list[str], first: str, last: str) -> list[str]:
    """Take each batch of a span all the way, oldest first; a refusal is a verdict and the next one goes on.

    Returns:
        the batches that were refused or stopped.
    """
    runner.load([batch for batch in batches if batch <= last], cause="backtest")
    refused = []
    for batch in batches:
        if not first <= batch <= last:
            continue
        try:
            runner.go_all_the_way(batch, cause="backtest")
        except HeadraceError as error:
            refused.append(batch)
            show_error(error)
    return refused


def show_backtest(home: Home, spec: ProductSpec, *, quiet: bool) -> list[dict[str, Any]]:
    """Print the table of all tests so far and write its page with the plot; returns the rows."""
    with home.lake(spec.product).connect() as con:
        rows = backtest_rows(con, spec)
    if not rows:
        return rows
    path = home.report(spec.product, "backtest.html")
    write_file_atomically(path, page(spec, rows).encode())
    if not quiet:
        columns = _columns(spec, rows)
        title = f"{spec.product}: tested on data after the training"
        table(title, [heading for _, heading in columns], [[row[name] for name, _ in columns] for row in rows])
        out.print(f"plot: {path}", soft_wrap=True)
    return rows


def _columns(spec: ProductSpec, rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What is shown of the rows, each with its heading: the metrics of the best candidate, then the baseline's."""
    metrics = [name for name in dict.fromkeys((spec.gates.primary, *SHOWN[spec.task])) if name in rows[0]]
    metrics = metrics[:_METRICS_SHOWN]
    shown = [("as_of", "as of"), ("rows", "rows"), ("algorithm", "best"), *((name, name) for name in metrics)]
    return [*shown, ("baseline", "baseline"), *((f"baseline_{name}", name) for name in metrics)]


def page(spec: ProductSpec, rows: list[dict[str, Any]]) -> str:
    """The table and the plot as one HTML page without anything from elsewhere."""
    picture = plots.over_batches(
        [row["as_of"] for row in rows], backtest_series(spec, rows), f"{spec.gates.primary} over batches"
    )
    png = re.search(r"data:image/png;base64,[A-Za-z0-9+/=]+", picture)
    image = f'<img alt="{escape(spec.gates.primary)} over batches" src="{png[0]}">' if png else ""
    columns = _columns(spec, rows)
    head = "".join(f"<th>{escape(heading)}</th>" for _, heading in columns)
    body = "".join("<tr>" + "".join(f"<td>{_cell(row[name])}</td>" for name, _ in columns) + "</tr>" for row in rows)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(spec.product)}: backtest</title>'
        "<style>body{font-family:sans-serif;margin:2rem}td,th{padding:.2rem .8rem;text-align:left}</style>"
        f"<h1>{escape(spec.title)}</h1><p>Each point was tested on data after its training.</p>{image}"
        f"<table><tr>{head}</tr>{body}</table></html>"
    )


def _cell(value: Any) -> str:
    return escape(f"{value:.4f}" if isinstance(value, float) else str(value))
