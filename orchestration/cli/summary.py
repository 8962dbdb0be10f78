"""The summary of a product on the console: batches, champion, metrics beside the baseline's, gates, alerts, links."""

from typing import Any

from rich.markup import escape

from assets.home import Home
from assets.spec import ProductSpec
from orchestration.cli.console import out, table
from orchestration.status import product_status

METRICS = ("roc_auc", "average_precision", "log_loss", "brier", "f1")


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
    table(
        "Gates",
        ("gate", "verdict", "observed", "threshold", "of"),
        [
            (g["name"], g["verdict"], g["observed"], str(g["threshold"]), f"{g['model_id']} as of {g['as_of']}")
            for g in status["gates"]
        ],
    )
    alerts = [(item["kind"], item["batch_id"], item["message"]) for item in status["alerts"]]
    table("Alerts", ("kind", "batch", "message"), alerts) if alerts else out.print("[bold]Alerts[/] none\n")
    for batch in status["refused_files"]:
        out.print(f"[yellow]refused[/] {escape(batch['file_name'])}: {escape(batch['reason'])}\n")
    if status["reports"]:
        out.print("[bold]Reports[/] (HTML; `headrace ui` serves them, too)")
        for path in status["reports"]:
            out.print(f"  {path}", soft_wrap=True)
        out.print()
    out.print("[bold]Next[/]")
    for command, what in (
        ("headrace ui", "assets, checks and these runs in the browser"),
        (f"headrace serve {spec.product}", "the champion over HTTP"),
        (f"headrace status {spec.product}", "this summary again (--json for programs)"),
    ):
        out.print(f"  {command:<28} [dim]{what}[/]")


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
    rows = [(name, champion["metrics"][name], champion["baseline_metrics"].get(name)) for name in METRICS]
    table("On its own test batch", ("metric", "champion", "baseline"), rows)


def _print_decisions(status: dict[str, Any]) -> None:
    rows = [(item["as_of"], item["verdict"], item["model_id"], item["reason"]) for item in status["decisions"]]
    if rows:
        table("Decisions", ("as of", "verdict", "challenger", "reason"), rows)


def _print_performance(status: dict[str, Any]) -> None:
    drift = {item["batch_id"]: item for item in status["drift"]}
    rows = [
        (
            item["batch_id"],
            item["model_id"],
            item["metrics"]["roc_auc"],
            item["baseline_metrics"]["roc_auc"],
            item["metrics"]["brier"],
            item["baseline_metrics"]["brier"],
            item["verdict"],
            drift.get(item["batch_id"], {}).get("verdict", ""),
        )
        for item in status["performance"]
        if "roc_auc" in item["metrics"]
    ]
    if rows:
        table(
            "Champion on each later batch, scored before its labels",
            ("batch", "scored by", "ROC AUC", "baseline", "Brier", "baseline", "performance", "drift"),
            rows,
        )
