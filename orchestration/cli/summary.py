"""The summary of a product on the console: batches, champion, metrics beside the baseline's, gates, alerts, links."""

import itertools
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from assets.evaluation.metrics import SHOWN
from assets.home import Home
from assets.spec import ProductSpec
from orchestration.cli.console import out, table
from orchestration.status import product_status

# what stands beside the primary metric over batches: two fit a terminal
_BESIDE: dict[str, tuple[str, ...]] = {
    "binary": ("brier",), "multiclass": ("accuracy",), "regression": ("mae",), "forecast": ("r2",), "clustering": (),
}  # fmt: skip
# classes of the table on the console; the UI shows them all
_CLASSES = 10
# columns of the screen, and of them those of a text in a table of gates
_WIDTH, _CELL = 100, 28
_KINDS = ("data", "training", "quality", "infrastructure")
_VERDICTS = ("FAILED", "WARNED", "PASSED")


def print_summary(home: Home, spec: ProductSpec) -> None:
    """Everything worth knowing at the end, and what to type next."""
    status = product_status(home, spec)
    out.rule(f"{spec.product}: {escape(spec.title)}", align="left")
    out.print(
        f"{status['batches']} batches, {status['rows_in']:,} rows in = {status['rows_loaded']:,} loaded "
        f"+ {status['rows_quarantined']:,} quarantined\n"
    )
    _print_champion(status)
    _print_decisions(status)
    _print_performance(status)
    _print_gates(status)
    alerts = [(item["kind"], item["batch_id"], item["message"]) for item in status["alerts"]]
    table("Alerts", ("kind", "batch", "message"), alerts) if alerts else out.print("[bold]Alerts[/] none\n")
    _print_deliveries(status)
    for batch, reason in status["held_batches"].items():
        out.print(
            f"[yellow]held back[/] batch {escape(batch)}: {escape(reason)}; to take it as it is: "
            f"headrace accept {status['product']} {escape(batch)} --reason ...\n"
        )
    if status["reports"]:
        out.print("[bold]Reports[/] (HTML; `headrace ui` serves them, too)")
        for path in status["reports"]:
            out.print(f"  {path}", soft_wrap=True)
        out.print()
    out.print("[bold]Next[/]")
    us = "headrace" if shutil.which("headrace") else ".venv/bin/headrace"
    for command, what in (
        ("ui", "assets, checks and these runs in the browser"),
        (f"serve {spec.product}", "the champion over HTTP"),
        (f"status {spec.product}", "this summary again (--json for programs)"),
    ):
        out.print(f"  {us} {command:<15} [dim]{what}[/]")


def _print_deliveries(status: dict[str, Any]) -> None:
    """Files that are not loaded, and batches whose content has changed since they were built."""
    for batch in status["refused_files"]:
        out.print(f"[yellow]refused[/] {escape(batch['file_name'])}: {escape(batch['reason'])}\n")
    for batch in status["skipped_files"]:
        out.print(f"[dim]skipped[/] {escape(batch['file_name'])}: {escape(batch['reason'])}\n")
    if status["stale_batches"]:
        out.print(
            f"[yellow]stale[/] {escape(', '.join(status['stale_batches']))}: corrected or replayed since they were "
            f"built; headrace run {status['product']}\n"
        )
    if status["rows_quarantined"] or status["refused_files"]:
        out.print(f"[dim]what is in quarantine and why: headrace quarantine {status['product']}[/]\n")


def _print_champion(status: dict[str, Any]) -> None:
    champion, live = status["champion"], status["live"]
    if champion is None:
        out.print("[bold]Champion[/] none yet\n")
        return
    out.print(
        f"[bold]Champion[/] {champion['model_id']} ({champion['algorithm']}), tested on {champion['as_of']}, "
        f"live as {live['bento']}: {live['offline_parity']} equal to the offline score to the bit, "
        f"p50 {live['latency_p50_ms']:.1f} ms, p99 {live['latency_p99_ms']:.1f} ms\n"
    )
    rows = [
        (name, champion["metrics"][name], champion["baseline_metrics"].get(name))
        for name in _shown(status)
        if name in champion["metrics"]
    ]
    table("On its own test rows", ("metric", "champion", champion["baseline"] or "baseline"), rows)
    if status["task"] == "multiclass":
        ranked = sorted(champion["classes"].items(), key=lambda item: -item[1]["rows"])[:_CLASSES]
        rows = [
            (name, *(item[key] for key in ("precision", "recall", "f1")), int(item["rows"])) for name, item in ranked
        ]
        table("Its classes there", ("class", "precision", "recall", "F1", "rows"), rows)


def _shown(status: dict[str, Any]) -> list[str]:
    """The task's metrics, the one that decides first."""
    return list(dict.fromkeys((status["primary"], *SHOWN[status["task"]])))


def _print_decisions(status: dict[str, Any]) -> None:
    if status["decisions"]:
        print_decisions("Decisions", [(item["as_of"], item) for item in status["decisions"]])


def print_periods(title: str, periods: Sequence[dict[str, Any]]) -> None:
    """What was live from when until when, why and at whose word below it."""
    out.print(f"[bold]{escape(title)}[/]" + ("" if periods else " nothing yet"))
    for item in periods:
        span = " to ".join(item[name][:19].replace("T", " ") for name in ("from", "until"))
        out.print(f"{escape(span)}  {item['model']} as of {escape(item['as_of'])}", soft_wrap=True)
        by = f" (by {item['by']})" if item["by"] else ""
        out.print(f"    [dim]{escape(item['why'] + by)}[/]")
    out.print()


def print_decisions(title: str, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Each decision on a line with its interval; below it its reason, the rule unless it is the last one's, and who."""
    out.print(f"[bold]{escape(title)}[/]")
    last = ""
    for head, item in rows:
        first = "  ".join((head, item["verdict"], item["model_id"]))
        interval = _interval(item["comparison"])
        fits = len(first) + 2 + len(interval) <= _WIDTH
        out.print(escape(f"{first}  {interval}".rstrip() if fits else first), soft_wrap=True)
        rule = item["rule"] if item["rule"] != last else ""
        below = (
            "" if fits else interval,
            item["reason"],
            f"rule: {rule}" if rule else "",
            f"asked by {item['asked_by']}" if item["asked_by"] else "",
        )
        for text in filter(None, below):
            out.print(f"[dim]{escape(_indented(text))}[/]", soft_wrap=True)
        last = item["rule"] or last
    out.print()


def _interval(comparison: dict[str, Any] | None) -> str:
    """The improvement and where it may lie: `+0.0024 [+0.0003, +0.0045]`."""
    if not comparison:
        return ""
    gain, low, high = (f"{comparison[name]:+,.4f}" for name in ("improvement", "low", "high"))
    return f"{gain} [{low}, {high}]"


def _indented(text: str) -> str:
    return textwrap.fill(
        " ".join(text.split()), _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
    )


def _print_gates(status: dict[str, Any]) -> None:
    """A table for each blessing in the order of the journey: what failed first, then what warned."""
    gates = sorted(status["gates"], key=lambda gate: (_KINDS.index(gate["kind"]), _VERDICTS.index(gate["verdict"])))
    for kind, group in itertools.groupby(gates, key=lambda gate: gate["kind"]):
        found = list(group)
        counts = [(sum(gate["verdict"] == verdict for gate in found), verdict.lower()) for verdict in _VERDICTS]
        counted = ", ".join(f"{count} {verdict}" for count, verdict in counts if count)
        about = found[0]["as_of"] if kind == "data" else f"{found[0]['model_id']} as of {found[0]['as_of']}"
        rows = [
            (gate["name"], gate["verdict"].lower(), _cut(gate["observed"]), _cut(gate["threshold"])) for gate in found
        ]
        # a table's own title is no wider than the table
        out.print(f"[bold]Gates: {kind} of {escape(about)}[/]: {counted}", soft_wrap=True)
        table("", ("gate", "verdict", "observed", "threshold"), rows)


def _cut(value: float | str) -> float | str:
    """Texts as far as a column has room for them; the UI shows the rest."""
    return textwrap.shorten(value, _CELL, placeholder=" …") if isinstance(value, str) else value


def _print_performance(status: dict[str, Any]) -> None:
    drift = {item["batch_id"]: item["verdict"] for item in status["drift"]}
    names = list(dict.fromkeys((status["primary"], *_BESIDE[status["task"]])))
    rows = [
        (
            item["batch_id"],
            item["model_id"],
            *(item[whose].get(name) for name in names for whose in ("metrics", "baseline_metrics")),
            f"{item['verdict']}, {drift.get(item['batch_id'], 'drift not measured')}".lower(),
        )
        for item in status["performance"]
        if names[0] in item["metrics"]
    ]
    if rows:
        heads = [head for name in names for head in (name, "base")]
        when = "" if status["task"] == "clustering" else ", scored before its labels"
        table(f"The champion of then on each later batch{when}", ("batch", "scored by", *heads, "verdict"), rows)
