"""`headrace quarantine` and `headrace replay-quarantine`: what waits and why, and load what passes after a fix."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from assets.errors import HeadraceError
from assets.home import Home
from assets.raw import quarantine
from assets.raw.definitions import quarantine_event
from assets.raw.quarantine import Waiting, visible
from assets.raw.replay import Replayed, forget_loaded, replay, to_replay
from assets.records import Batch
from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli.console import err, out, table
from orchestration.instance import open_instance

_FIX = "; fix: "  # how an error on one line says what to do
_TEXT = 160  # characters of a row's text on the console; JSON and exports have all


def show_quarantine(
    settings: Settings,
    spec: ProductSpec,
    *,
    batch: str = "",
    rows: int = 20,
    export: Path | None = None,
    as_json: bool = False,
) -> None:
    """Say what waits: by batch and reason; of one batch row by row; or all of it, to a file.

    Args:
        settings: where the home is.
        spec: the product.
        batch: show the rows of this batch.
        rows: at most so many of them.
        export: write rows and refused files there instead, as .csv or .parquet.
        as_json: print JSON and nothing else.

    Raises:
        HeadraceError: nothing of the batch waits, or the file can't be written.
    """
    lake = Home(settings).lake(spec.product)
    if export:
        found = quarantine.export(lake, spec, export)
        said = {"file": str(export), "rows": found.total_rows, "files": len(found.files)}
        text = f"wrote {_counted(found.total_rows, 'row')} and {_counted(len(found.files), 'refused file')} to {export}"
        print(json.dumps(said, indent=2)) if as_json else out.print(text, markup=False, soft_wrap=True)
        return
    with lake.connect() as con:
        found = quarantine.waiting(con, spec)
        if batch:
            found = _of_batch(spec, found, batch)
            single = quarantine.rows_of(con, spec, found, limit=rows)
    lines = [*_row_lines(spec, found), *(_file_line(item) for item in found.files)]
    if as_json:
        print(json.dumps({"waiting": lines, **({"rows": single} if batch else {})}, indent=2, default=str))
    elif batch:
        _show_batch(spec, found, single)
    else:
        _show_all(spec, found, lines)


def replay_quarantine(settings: Settings, spec: ProductSpec, *, batch: str = "", as_json: bool = False) -> None:
    """Read what waits again as the spec is today, load what passes, and say what still waits and why.

    Args:
        settings: where the home is.
        spec: the product.
        batch: only this batch.
        as_json: print JSON and nothing else.

    Raises:
        HeadraceError: nothing of the batch waits.
    """
    home = Home(settings)
    lake = home.lake(spec.product)
    if batch:
        with lake.connect() as con:
            _of_batch(spec, quarantine.waiting(con, spec), batch)
    deliveries = to_replay(lake, spec, batch)
    done = _told(home, spec, deliveries, quiet=as_json)
    forget_loaded(lake)
    if done:
        open_instance(settings).report_runless_asset_event(quarantine_event(lake, spec))
    if as_json:
        print(json.dumps({"product": spec.product, "replayed": [asdict(item) for item in done]}, indent=2))
        return
    for item in done:
        _show_replayed(item)
    out.print(_sum_up(done), soft_wrap=True)
    if any(item.rows_loaded for item in done):
        out.print(f"These batches have other rows now: headrace run {spec.product}", markup=False)


def _of_batch(spec: ProductSpec, found: Waiting, batch: str) -> Waiting:
    """What waits of one batch.

    Raises:
        HeadraceError: nothing does.
    """
    mine = found.of_batch(batch)
    if not mine.rows and not mine.files:
        there = sorted({item.batch_id for item in found.rows} | {item.batch_id for item in found.files})
        raise HeadraceError(
            "nothing of this batch is in quarantine",
            product=spec.product,
            where="--batch",
            expected=", ".join(there) or "nothing waits at all",
            found=batch,
            fix=f"headrace quarantine {spec.product} lists what waits",
        )
    return mine


def _row_lines(spec: ProductSpec, found: Waiting) -> list[dict[str, Any]]:
    return [
        {
            "batch": item.batch_id,
            "source": item.source,
            "kind": "rows",
            "file": item.file_name,
            "count": item.rows,
            "reason": item.reason,
            "what_to_do": f"headrace quarantine {spec.product} --batch {item.batch_id} shows them; mend the spec and "
            f"replay, or have the file delivered corrected",
        }
        for item in found.rows
    ]


def _file_line(item: Batch) -> dict[str, Any]:
    reason, _, fix = item.reason.rpartition(_FIX)
    return {
        "batch": item.batch_id,
        "source": item.source,
        "kind": "file",
        "file": item.file_name,
        "count": 1,
        "reason": reason or item.reason,
        "what_to_do": fix if reason else "have the file delivered again",
    }


def _show_all(spec: ProductSpec, found: Waiting, lines: Sequence[dict[str, Any]]) -> None:
    if not lines:
        out.print(f"Nothing of {spec.product} is in quarantine.", markup=False)
        return
    # in one column, which wraps: names and reasons are longer than a terminal is wide
    rows = [
        (
            item["batch"],
            item["count"],
            f"file {_shown(item['file'])} refused: {_shown(item['reason'])}; fix: {_shown(item['what_to_do'])}"
            if item["kind"] == "file"
            else f"{_shown(item['reason'])}, in {_shown(item['file'])}",
        )
        for item in lines
    ]
    title = (
        f"In quarantine of {spec.product}: {_counted(found.total_rows, 'row')}, {_counted(len(found.files), 'file')}"
    )
    table(title, ("batch", "count", "what waits"), rows)
    if found.rows:
        out.print(f"Row by row: headrace quarantine {spec.product} --batch {found.rows[0].batch_id}", markup=False)
    out.print(f"To load them, {quarantine.how_to_mend(spec)}", markup=False, soft_wrap=True)


def _show_batch(spec: ProductSpec, found: Waiting, rows: Sequence[dict[str, Any]]) -> None:
    for item in found.files:
        out.print(f"[yellow]refused[/] {escape(_shown(item.file_name))}: {escape(_shown(item.reason))}", soft_wrap=True)
    columns = ("row_number", "column", "expected", "found", "raw_text")
    shown = [tuple(_shown(item[name]) if name != "row_number" else item[name] for name in columns) for item in rows]
    if shown:
        files = ", ".join(dict.fromkeys(_shown(item["file_name"]) for item in rows))
        table(f"Rows of {files}", ("row", *columns[1:]), shown)
    more = found.total_rows - len(rows)
    if more:
        out.print(
            f"{_counted(more, 'more row')}: add --rows {found.total_rows}, or --export {spec.product}-quarantine.csv",
            markup=False,
        )


def _told(home: Home, spec: ProductSpec, deliveries: Sequence[Batch], *, quiet: bool) -> list[Replayed]:
    """Replay one after the other, with a bar when they are several."""
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(),
        TimeElapsedColumn(),
    )  # fmt: skip
    done = []
    few = len(deliveries) < 2  # noqa: PLR2004 - a bar of one step tells nothing
    with Progress(*columns, console=err if quiet else out, transient=True, disable=few) as bar:
        task = bar.add_task("", total=len(deliveries))
        for item in deliveries:
            bar.update(task, description=escape(f"read again {_shown(item.file_name, 60)}"))
            done.append(replay(home, spec, item))
            bar.advance(task)
    return done


def _show_replayed(item: Replayed) -> None:
    mark = {"loaded": "[green]✓[/]", "partly": "[yellow]![/]", "waits": "[red]✗[/]", "replaced": "[dim]·[/]"}
    counts = [
        f"{_counted(item.rows_loaded, 'row')} loaded" if item.rows_loaded or item.outcome == "loaded" else "",
        f"{_counted(item.rows_waiting, 'row')} left" if item.rows_waiting else "",
    ]
    said = (", ".join(filter(None, counts)), _shown(item.why))
    out.print(
        f"  {mark[item.outcome]} {escape(item.batch_id)} {escape(_shown(item.file_name))}: "
        f"{escape(': '.join(filter(None, said)))}",
        soft_wrap=True,
    )
    if item.rows_differ:
        out.print(
            f"    [dim]{_counted(item.rows_differ, 'row')} loaded before would be read otherwise now; they stay as "
            "they are until the file is delivered corrected[/]",
            soft_wrap=True,
        )


def _sum_up(done: Sequence[Replayed]) -> str:
    """How much was loaded and how much still waits."""
    if not done:
        return "Nothing waits in quarantine."
    files = [item for item in done if item.kind == "file"]
    loaded, left = (sum(item.outcome in outcomes for item in files) for outcomes in (("loaded", "partly"), ("waits",)))
    return (
        f"Loaded {_counted(sum(item.rows_loaded for item in done), 'row')} "
        f"({_counted(loaded, 'refused file')} among them). Still in quarantine: "
        f"{_counted(sum(item.rows_waiting for item in done), 'row')}, {_counted(left, 'file')}."
    )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _shown(text: str | None, width: int = _TEXT) -> str:
    """A text from a file on one line, as far as there is room; nothing in it is obeyed."""
    plain = visible(text or "", one_line=True)
    return plain if len(plain) <= width else plain[: width - 1] + "…"
