"""How the command speaks: progress, one line per step, tables, and errors without a stack trace."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from assets.errors import HeadraceError

_UNBOUNDED = 10_000  # wider than any table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def show_error(error: HeadraceError) -> None:
    """An error for the person who can mend it."""
    err.print(f"[bold red]error[/] {escape(str(error))}")


class RunStory(AbstractContextManager["RunStory"]):
    """Tells a Dagster run while it happens: a bar for what is left, a line for each step that ended."""

    def __init__(self, title: str, total_steps: int) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=out,
            transient=True,
        )
        self._task = self._progress.add_task(title, total=total_steps)
        self._title = title
        self._sentences: dict[str, str] = {}
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def hear(self, entry: Any) -> None:
        """Take one entry of Dagster's event log."""
        if not entry.is_dagster_event:
            if entry.step_key and entry.level <= 20 and entry.user_message:  # noqa: PLR2004 - INFO and below
                self._describe(entry.step_key, entry.user_message)
            return
        event = entry.dagster_event
        kind, data, step = event.event_type_value, event.event_specific_data, event.step_key or ""
        if kind == "STEP_START":
            self._describe(step, "")
        elif kind == "ASSET_MATERIALIZATION":
            materialization = data.materialization
            values = {name: value.value for name, value in materialization.metadata.items()}
            said = sentence(list(materialization.asset_key.path)[1:], values)
            if said:
                self._sentences[step] = said
        elif kind == "ASSET_CHECK_EVALUATION" and not data.passed:
            self._check(data)
        elif kind in ("STEP_SUCCESS", "STEP_FAILURE"):
            self._ended(step, data, is_success=kind == "STEP_SUCCESS")

    def _describe(self, step: str, detail: str) -> None:
        text = f"{self._title} · {step_title(step)}" + (f" · {detail}" if detail else "")
        self._progress.update(self._task, description=escape(text[:110]))

    def _check(self, data: Any) -> None:
        values = {name: value.value for name, value in data.metadata.items()}
        mark = "[yellow]![/]" if data.severity.value == "WARN" else "[red]✗[/]"
        said = f"observed {_short(values.get('observed'))}, threshold {_short(values.get('threshold'))}"
        name = f"{'.'.join(list(data.asset_key.path)[1:])}.{data.check_name}"
        detail = f" ({data.description})" if data.description else ""
        self._progress.console.print(f"    {mark} {escape(f'{name}: {said}{detail}')}", soft_wrap=True)
        if data.severity.value != "WARN":
            self.failures.append(f"{name}: {said}{detail}")

    def _ended(self, step: str, data: Any, *, is_success: bool) -> None:
        self._progress.advance(self._task)
        if is_success:
            seconds = data.duration_ms / 1000
            said = self._sentences.get(step, "checked")
            self._progress.console.print(
                f"  [green]✓[/] {step_title(step):<30} {escape(said)} [dim]{seconds:.1f} s[/]", soft_wrap=True
            )
            return
        reason = failure_text(data)
        if "blocking asset check" in reason:  # the check has said why
            reason = "stopped by the check above"
        elif reason:
            self.failures.append(reason)
        self._progress.console.print(f"  [red]✗[/] {step_title(step):<30} {escape(reason)}", soft_wrap=True)


def failure_text(data: Any) -> str:
    """What a failed step says to a person: the message of our error, or the innermost one."""
    if data.user_failure_data and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return str(error.message).strip() if error else "failed"


def step_title(step: str) -> str:
    """A step's key without its product: `flights__candidates__baseline` -> `candidates baseline`."""
    _, _, rest = step.partition("__")
    return rest.replace("__", " ").replace("_", " ")


def sentence(path: Sequence[str], values: Mapping[str, Any]) -> str:
    """What a materialisation means, in a few words."""
    stage = path[0]
    tellers: dict[str, Callable[[], str]] = {
        "raw": lambda: (
            f"{values['rows_loaded']:,} rows loaded, {values['rows_quarantined']:,} quarantined"
            if "rows_loaded" in values  # the asset of what waits in quarantine says so by its name
            else ""
        ),
        "features": lambda: f"{values['dagster/row_count']:,} rows of features" if len(path) == 1 else "",
        "split": lambda: f"{values['training_rows']:,} rows train, {values['test_rows']:,} test",
        "candidates": lambda: f"{values['model_id']} on {values['training_rows']:,} rows",
        "evaluation": lambda: (
            f"best {values['best']}: {_told_metrics(values)} on the unseen batch; "
            f"{values['blessing'].lower().replace('_', ' ')}"
        ),
        "promotion": lambda: f"{values['verdict']}: {values['reason']}",
        "bento": lambda: (
            str(values["outcome"])
            + (
                f", {values['offline_parity']} equal to the bit, p99 {values['latency_p99_ms']:.1f} ms"
                if "offline_parity" in values and values["outcome"].endswith("is live")
                else ""
            )
        ),
        "predictions": lambda: (
            f"{values['rows_scored']:,} rows scored by {values['model_id']} before any label was read"
            if values["rows_scored"]
            else str(values["model_id"])
        ),
        "monitoring": lambda: _monitoring(path[-1], values),
    }
    return tellers[stage]() if stage in tellers else ""


# those of the test rows that one line has room for, as far as the task has them
_TOLD = {
    "roc_auc": "ROC AUC",
    "brier": "Brier",
    "f1_macro": "macro F1",
    "mape": "MAPE",
    "r2": "R²",
    "silhouette": "silhouette",
}


def _told_metrics(values: Mapping[str, Any]) -> str:
    found = [f"{text} {values[f'test_{name}']:.4f}" for name, text in _TOLD.items() if f"test_{name}" in values]
    return ", ".join(found[:2])


def _monitoring(name: str, values: Mapping[str, Any]) -> str:
    if "model_id" not in values:
        return str(values["verdict"])
    if name == "drift":
        return (
            f"{values['verdict'].lower()}: {values['share_drifted']:.0%} of the columns moved, "
            f"PSI of the scores {values['prediction_psi']:.2f}"
        )
    known = f"labels known for {values['rows_labelled']:,} of {values['rows_scored']:,}"
    told = [
        f"{text} {values[name]:.4f} (baseline {values[f'baseline_{name}']:.4f})"
        for name, text in _TOLD.items()
        if name in values and f"baseline_{name}" in values
    ]
    if not told:
        return f"{known}: nothing to measure yet"
    return f"{known}: {', '.join(told[:2])}; {values['verdict'].lower()}"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; numbers to the right."""
    shown = Table(
        title=title, title_justify="left", title_style="bold", header_style="dim", box=None, padding=(0, 2, 0, 0)
    )
    for place, name in enumerate(columns):
        is_number = bool(rows) and all(isinstance(row[place], int | float) for row in rows)
        # the last column is the one with sentences; the others are names and stay on one line
        is_last = place == len(columns) - 1
        shown.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=not is_last)
    for row in rows:
        shown.add_row(*(escape(_short(value)) for value in row))
    if out.measure(shown, options=out.options.update_width(_UNBOUNDED)).maximum > out.width:
        shown.padding = (0, 1, 0, 0)
    out.print(shown)
    out.print()


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 100 else f"{value:,.0f}"  # noqa: PLR2004 - shares and metrics
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return re.sub(r"\s+", " ", str("" if value is None else value))
