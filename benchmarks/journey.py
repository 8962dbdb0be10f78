"""What the platform costs beside a bare script that does the same data and model work, from one run.

Both read the same twelve months of flights and go through the demo's cycle: January to September train the first
champion; October, November and December are each scored, learned from and judged. One side is `headrace demo` in a
fresh home, the other `bare.py`. Measured is CPU time (user and system, of a process and everything it started) and
wall time. Figures of unequal work would be worthless, so both sides' ROC AUC of every month must agree; if they
don't, the exit code is 1.

Where the platform's time goes is read from the Dagster event log of its home: when each step began and ended. While
it runs, the CPU time of its process tree is noted five times a second, which turns those moments into CPU seconds.
"""

import argparse
import ctypes
import json
import os
import platform as machine
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import dagster as dg
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from assets.candidates.algorithms import lightgbm, logistic_regression
from assets.candidates.registry import merged
from assets.settings import CHECKOUT, Settings
from assets.spec import ProductSpec, load_specs
from orchestration.demos import FLIGHTS_MONTHS, write_flights

GOAL = 1.25
# Ranking by the same features and parameters; beyond this the two sides did not do the same work.
TOLERANCE = 0.005
PRODUCT, FIRST_MONTHS = "flights", 9
_SAMPLE_SECONDS = 0.2
_GRACE_SECONDS = 20.0
# Threads that spin while they wait burn what a busy machine gives to others: on two cores with a load of 5 the same
# LightGBM fit took 45 instead of 7 CPU seconds, the logistic regression 11 instead of 3. So neither side may.
_QUIET_THREADS = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
_PR_SET_CHILD_SUBREAPER = 36
_DISAGREE, _BROKEN, _INTERRUPTED = 1, 2, 130

DATA, GATES, TRAINING, EVIDENTLY, BENTO, DBT, START, DAGSTER = (
    "data work",
    "checks of tables, decision",
    "training",
    "evaluation, drift: Evidently, plots",
    "bento build and boot",
    "dbt beside its models' SQL",
    "process start: imports, first dbt parse",
    "Dagster between steps",
)
# step without its product -> group; the dbt step is shared out between its models' seconds and the rest
_GROUPS = {
    "raw": DATA, "raw weather": DATA, "raw planes": DATA, "dbt": DBT, "split": DATA, "predictions": DATA,
    "cleaned checks": GATES, "features checks": GATES, "promotion": GATES, "candidates": TRAINING,
    "evaluation": EVIDENTLY, "monitoring drift": EVIDENTLY, "monitoring performance": EVIDENTLY, "bento": BENTO,
}  # fmt: skip
# what the bare script calls the same work
_BARE_PHASES = {DATA: "data", TRAINING: "training", EVIDENTLY: "judging", START: "start"}


class BrokenError(Exception):
    """One of the two sides did not run to its end."""


@dataclass(frozen=True)
class Spent:
    """CPU and wall seconds."""

    cpu: float = 0.0
    wall: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.cpu + other.cpu, self.wall + other.wall)

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.cpu - other.cpu, self.wall - other.wall)

    def times(self, share: float) -> "Spent":
        """A share of it."""
        return Spent(self.cpu * share, self.wall * share)


@dataclass(frozen=True)
class Step:
    """One step of one Dagster run; `models` is what dbt's models took of it."""

    run: str
    name: str
    spent: Spent
    models: Spent = Spent()


@dataclass(frozen=True)
class Month:
    """ROC AUC of one month on both sides: the challenger's, and the champion's that scored it before."""

    as_of: str
    platform: float
    bare: float
    platform_champion: float | None
    bare_champion: float | None
    verdict: str
    bare_promoted: bool

    @property
    def gap(self) -> float:
        """The larger difference of the two pairs."""
        pairs = [(self.platform, self.bare), (self.platform_champion, self.bare_champion)]
        return max(abs(ours - theirs) for ours, theirs in pairs if ours is not None and theirs is not None)

    @property
    def is_equal_work(self) -> bool:
        """Whether both sides found the same, and decided the same."""
        has_champions = (self.platform_champion is None) == (self.bare_champion is None)
        same_decision = self.verdict.startswith("PROMOTED_") == self.bare_promoted
        return self.gap <= TOLERANCE and has_champions and same_decision


@dataclass(frozen=True)
class Result:
    """Everything that one run found."""

    platform: Spent
    bare: Spent
    bare_phases: Mapping[str, Spent]
    months: Sequence[Month]
    steps: Sequence[Step]
    start: Spent
    max_psi_gap: float
    context: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_equal_work(self) -> bool:
        """Whether the ratio means anything."""
        return all(month.is_equal_work for month in self.months)

    def groups(self) -> dict[str, Spent]:
        """The platform's time by kind of work; what neither start nor a step accounts for is Dagster's own."""
        found = {**dict.fromkeys((DATA, TRAINING, EVIDENTLY, GATES, DBT, BENTO), Spent()), START: self.start}
        for step in self.steps:
            found[_group(step.name)] += step.spent - step.models
            found[DATA] += step.models
        return {**found, DAGSTER: self.platform - sum(found.values(), Spent())}

    def bare_groups(self) -> dict[str, Spent]:
        """The bare script's time by the same names; its start is what its phases don't account for."""
        found = {group: self.bare_phases.get(phase, Spent()) for group, phase in _BARE_PHASES.items() if group != START}
        return {**found, START: self.bare - sum(found.values(), Spent())}


# ---------------------------------------------------------------------------------------------------- measuring


class Sampler:
    """Notes the CPU time of everything below this process while something runs."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def between(self, start: float, end: float) -> float:
        """CPU seconds between two moments of the clock."""
        moments, spent = np.array(self._samples).T
        # a process that ends is missing for a moment, until its parent has taken over its time
        first, last = np.interp([start, end], moments, np.maximum.accumulate(spent))
        return float(last - first)

    def _watch(self) -> None:
        this = psutil.Process()
        while not self._done.wait(_SAMPLE_SECONDS):
            # parents come before their children, so that nobody who ends in between is counted twice
            family = this.children(recursive=True)
            self._samples.append((time.time(), sum(_cpu_of(process) for process in family)))


def _cpu_of(process: Any) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def run_measured(command: Sequence[str], environment: Mapping[str, str], log: Path) -> tuple[Spent, bytes]:
    """Run a command; what it and all its descendants spent, and its output.

    Raises:
        BrokenError: it failed; the message has the end of its log.
    """
    output = log.with_suffix(".out")
    started = time.perf_counter()
    with output.open("wb") as out, log.open("wb") as err, _ended_if_interrupted() as children:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=dict(environment), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            start_new_session=True,
        )  # fmt: skip
        children.append(process)
        # wait4 is RUSAGE_CHILDREN of this child alone, with all that it has waited for
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    cpu = usage.ru_utime + usage.ru_stime + _reap_orphans()
    if process.returncode:
        lines = (log.read_text(errors="replace") + output.read_text(errors="replace")).splitlines()[-25:]
        raise BrokenError(f"{' '.join(command)} ended with exit code {process.returncode}:\n" + "\n".join(lines))
    return Spent(cpu, wall), output.read_bytes()


def adopt_orphans() -> None:
    """Make this process the parent of descendants that lose theirs, or their CPU time would be lost (Linux only)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _reap_orphans() -> float:
    """End and collect what the measured command left behind; the CPU seconds it spent."""
    spent, deadline = 0.0, time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid:
            spent += usage.ru_utime + usage.ru_stime
        else:
            for orphan in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    orphan.kill()
            time.sleep(0.05)
    return spent


@contextmanager
def _ended_if_interrupted() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Processes in the list, and what they started, have ended when the block is left by an exception."""
    children: list[subprocess.Popen[bytes]] = []
    try:
        yield children
    except BaseException:
        for child in children:
            # as Ctrl-C would: it stops the server that it may have started
            child.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                child.wait(_GRACE_SECONDS)
        _reap_orphans()
        raise


# ----------------------------------------------------------------------------------------------------- both sides


def clean_environment(folder: Path) -> dict[str, str]:
    """The environment of both sides: home and temporary files in this folder, no thread that waits by spinning."""
    kept = {
        name: value
        for name, value in os.environ.items()
        # without bytecode Dagster's import takes three times as long
        if not name.startswith(("HEADRACE_", "DAGSTER_", "BENTOML_")) and name != "PYTHONDONTWRITEBYTECODE"
    }
    return {**kept, **_QUIET_THREADS, "HEADRACE_HOME": str(folder / "home"), "TMPDIR": str(folder)}


def bare_plan(spec: ProductSpec, settings: Settings, deliveries: Path, work: Path) -> dict[str, Any]:
    """What the bare script is told: the numbers of the product's spec. What a feature is, it knows itself."""
    params = {item.algorithm: item.params for item in spec.candidates}
    first, later = FLIGHTS_MONTHS[:FIRST_MONTHS], FLIGHTS_MONTHS[FIRST_MONTHS:]
    return {
        "deliveries": str(deliveries),
        "work": str(work),
        "cycles": [list(first), *([month] for month in later)],
        "threads": settings.threads,
        "seed": spec.seed,
        "validation_share": spec.split.validation_share,
        "label_delay_minutes": spec.wants_label.delay_minutes,
        "threshold": spec.decision_threshold,
        "min_improvement": spec.gates.min_improvement,
        "lightgbm": merged(lightgbm.DEFAULTS, params["lightgbm"], name="lightgbm"),
        "logistic_regression": merged(
            logistic_regression.DEFAULTS, params["logistic_regression"], name="logistic_regression"
        ),
    }


def compare(folder: Path, say: Callable[[str], Any]) -> Result:
    """Run both sides in a folder and hold them against each other.

    Raises:
        BrokenError: a side failed, or the platform has no figures of a month.
    """
    settings, home = Settings(), folder / "home"
    spec, environment = load_specs(settings.products)[PRODUCT], clean_environment(folder)
    deliveries = home / "deliveries" / PRODUCT
    say("writing the deliveries")
    write_flights(deliveries, lambda _done, _all: None)

    say("the bare script")
    plan = folder / "plan.json"
    plan.write_text(json.dumps(bare_plan(spec, settings, deliveries, folder / "bare")))
    script = Path(__file__).with_name("bare.py")
    bare, answer = run_measured([sys.executable, str(script), str(plan)], environment, folder / "bare.log")
    found = json.loads(answer)

    say("headrace demo")
    headrace, began = [sys.executable, "-m", "orchestration.cli.main"], time.time()
    with Sampler() as sampler:
        platform, _ = run_measured([*headrace, "demo"], environment, folder / "demo.log")
    _, status = run_measured([*headrace, "status", PRODUCT, "--json"], environment, folder / "status.log")
    figures = json.loads(status)
    steps, first = read_steps(home / "dagster", sampler)
    return Result(
        platform=platform,
        bare=bare,
        bare_phases={name: Spent(*spent) for name, spent in found["phases"].items()},
        months=agreement(figures, found["months"]),
        steps=steps,
        start=Spent(sampler.between(began, first), first - began),
        max_psi_gap=psi_gap(figures, found["months"]),
        context={
            "threads": settings.threads, "cores": os.cpu_count(), "load": os.getloadavg()[0],
            "python": machine.python_version(), "machine": machine.machine(),
        },
    )  # fmt: skip


def agreement(status: Mapping[str, Any], months: Sequence[Mapping[str, Any]]) -> list[Month]:
    """Both sides' ROC AUC of each month.

    Raises:
        BrokenError: the platform decided about no LightGBM model as of a month.
    """
    decisions = {item["as_of"]: item for item in status["decisions"]}
    performance = {item["batch_id"]: item["metrics"]["roc_auc"] for item in status["performance"]}
    found = []
    for theirs in months:
        as_of = theirs["as_of"]
        ours = decisions.get(as_of, {"model_id": "nothing", "evidence": {}})
        if not ours["model_id"].startswith("lightgbm-") or "challenger_roc_auc" not in ours["evidence"]:
            raise BrokenError(
                f"as of {as_of} the platform decided about {ours['model_id']}, not about a LightGBM model"
            )
        found.append(
            Month(
                as_of=as_of,
                platform=ours["evidence"]["challenger_roc_auc"],
                bare=theirs["metrics"]["lightgbm"]["test"]["roc_auc"],
                platform_champion=performance.get(as_of),
                bare_champion=theirs["champion"]["roc_auc"] if "champion" in theirs else None,
                verdict=ours["verdict"],
                bare_promoted=theirs["promoted"] and theirs["best"] == "lightgbm",
            )
        )
    return found


def psi_gap(status: Mapping[str, Any], months: Sequence[Mapping[str, Any]]) -> float:
    """The largest difference between both sides' PSI of any column or the scores in any month.

    Raises:
        BrokenError: the sides measured other columns or months.
    """
    ours = {
        (item["batch_id"], name): value
        for item in status["drift"]
        for name, value in {**item["column_psi"], "(scores)": item["prediction_psi"]}.items()
    }
    theirs = {
        (item["as_of"], name): value
        for item in months
        if "drift" in item
        for name, value in {**item["drift"], "(scores)": item["score_drift"]}.items()
    }
    if set(ours) != set(theirs):
        raise BrokenError(f"drift was measured of different columns: {sorted(set(ours) ^ set(theirs))[:5]}")
    return max((abs(ours[item] - theirs[item]) for item in ours), default=0.0)


def read_steps(dagster_home: Path, sampler: Sampler) -> tuple[list[Step], float]:
    """Every step of every run of a home in the order they ran, and when the first one began."""
    found, starts = [], []
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        for record in sorted(instance.get_run_records(), key=lambda item: item.start_time or 0.0):
            run, tags = record.dagster_run, record.dagster_run.tags
            as_of = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_end", "")
            label = f"{run.job_name.removeprefix(PRODUCT + '_')} {as_of}"
            models = _model_seconds(instance, run.run_id)
            for stats in sorted(instance.get_run_step_stats(run.run_id), key=lambda item: item.start_time or 0.0):
                start, end = stats.start_time or 0.0, stats.end_time or 0.0
                spent = Spent(sampler.between(start, end), end - start)
                share = min(models.get(stats.step_key, 0.0) / max(spent.wall, 1e-9), 1.0)
                name = stats.step_key.removeprefix(f"{PRODUCT}__").replace("__", " ").replace("_", " ")
                found.append(Step(label, name, spent, spent.times(share)))
                starts.append(start)
    return found, min(starts)


def _model_seconds(instance: Any, run_id: str) -> dict[str, float]:
    """Step -> seconds that dbt says its models took (metadata `seconds` of its materialisations)."""
    # a run over several partitions tells each materialisation once per partition
    seconds: dict[tuple[str, str], float] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        event = entry.dagster_event
        materialization = event.event_specific_data.materialization
        if "seconds" in materialization.metadata:
            asset = materialization.asset_key.to_user_string()
            seconds[event.step_key, asset] = float(materialization.metadata["seconds"].value)
    found: dict[str, float] = {}
    for (step, _), value in seconds.items():
        found[step] = found.get(step, 0.0) + value
    return found


def _group(step: str) -> str:
    return _GROUPS.get(step) or _GROUPS.get(step.split(" ", maxsplit=1)[0], GATES)


# -------------------------------------------------------------------------------------------------------- telling


def as_json(result: Result) -> dict[str, Any]:
    """The result as plain JSON values."""
    groups, bare = result.groups(), result.bare_groups()
    return {
        "rival": "benchmarks/bare.py",
        "goal": GOAL,
        "ratio": {"cpu": result.platform.cpu / result.bare.cpu, "wall": result.platform.wall / result.bare.wall},
        "platform_seconds": asdict(result.platform),
        "bare_seconds": asdict(result.bare),
        "is_equal_work": result.is_equal_work,
        "tolerance": TOLERANCE,
        "months": [
            {**asdict(month), "gap": month.gap, "is_equal_work": month.is_equal_work} for month in result.months
        ],
        "max_psi_gap": result.max_psi_gap,
        "groups": [
            {"group": name, "platform": asdict(spent), "bare": asdict(bare.get(name, Spent()))}
            for name, spent in groups.items()
        ],
        "steps": [asdict(step) for step in result.steps],
        "context": dict(result.context),
    }


def tell(result: Result, out: Console) -> None:
    """Print the tables."""
    out.print(_months_table(result))
    out.print(_groups_table(result))
    out.print(_steps_table(result))
    cpu, wall = result.platform.cpu / result.bare.cpu, result.platform.wall / result.bare.wall
    out.print(
        f"[bold]platform / bare: {cpu:.2f} in CPU time, {wall:.2f} in wall time[/]; goal {GOAL:.2f} in CPU time"
        f"\n[dim]{result.context['cores']} cores, {result.context['threads']} threads each side, load average "
        f"{result.context['load']:.1f} at the end; largest difference of a PSI {result.max_psi_gap:.1e}[/]"
    )
    if not result.is_equal_work:
        out.print(f"[bold red]not the same work[/]: a ROC AUC differs by more than {TOLERANCE}, or a decision does")


def _months_table(result: Result) -> Table:
    shown = _table(
        "Equal work: ROC AUC on the unseen month", "as of", "platform", "bare", "gap", "champion", "bare's", ""
    )
    for month in result.months:
        champions = [
            "-" if value is None else f"{value:.6f}" for value in (month.platform_champion, month.bare_champion)
        ]
        verdict = "same" if month.is_equal_work else "[red]DIFFERENT[/]"
        shown.add_row(
            month.as_of, f"{month.platform:.6f}", f"{month.bare:.6f}", f"{month.gap:.0e}", *champions, verdict
        )
    return shown


def _groups_table(result: Result) -> Table:
    shown = _table("Where the time goes, seconds", "", "CPU", "bare", "more", "of all", "wall", "bare")
    bare = result.bare_groups()
    extra = result.platform.cpu - result.bare.cpu
    rows = [(name, spent, bare.get(name, Spent())) for name, spent in result.groups().items()]
    for name, ours, theirs in [*rows, ("all", result.platform, result.bare)]:
        more = ours.cpu - theirs.cpu
        shown.add_row(
            name, f"{ours.cpu:.1f}", f"{theirs.cpu:.1f}", f"{more:+.1f}", f"{more / extra:.0%}", f"{ours.wall:.1f}",
            f"{theirs.wall:.1f}", style="bold" if name == "all" else None,
        )  # fmt: skip
    return shown


def _steps_table(result: Result) -> Table:
    runs = list(dict.fromkeys(step.run for step in result.steps))
    shown = _table("The platform's steps, CPU seconds by run", "step", *runs, "CPU", "wall")
    for name in dict.fromkeys(step.name for step in result.steps):
        by_run = {step.run: step.spent for step in result.steps if step.name == name}
        total = sum(by_run.values(), Spent())
        cells = [f"{by_run[run].cpu:.1f}" if run in by_run else "" for run in runs]
        shown.add_row(name, *cells, f"{total.cpu:.1f}", f"{total.wall:.1f}")
    return shown


def _table(title: str, first: str, *numbers: str) -> Table:
    shown = Table(
        title=title, title_justify="left", title_style="bold", header_style="dim", box=None, padding=(0, 2, 0, 0)
    )
    shown.add_column(first)
    for name in numbers:
        shown.add_column(name, justify="right")
    return shown


def _say_nothing(_text: str) -> None:
    """What --json says while it works."""


def main() -> int:
    """Run, tell, and say by the exit code whether both sides did the same work."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    wanted = parser.parse_args()
    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    # SIGTERM cleans up as Ctrl-C does; and Polars has put a handler in SIGINT's place that lets a wait go on
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    adopt_orphans()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder,
            nullcontext() if wanted.json else err.status("starting") as status,
        ):
            result = compare(Path(folder), status.update if status else _say_nothing)
    except BrokenError as error:
        err.print(f"[bold red]broken[/] {error}", markup=True)
        return _BROKEN
    except KeyboardInterrupt:
        err.print("interrupted; nothing is left behind")
        return _INTERRUPTED
    if wanted.json:
        print(json.dumps(as_json(result), indent=2))
    else:
        tell(result, out)
    return 0 if result.is_equal_work else _DISAGREE


if __name__ == "__main__":
    sys.exit(main())
