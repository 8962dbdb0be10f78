"""Kills days at named points and at random moments, has each taken up once more, and adds up what came of it."""

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from assets.settings import CHECKOUT
from tests.faults.deliveries import chance
from tests.faults.oracle import Findings, differences
from tests.faults.scenarios import PRODUCT
from tests.faults.zygote import STEP

T = TypeVar("T")
R = TypeVar("R")

KILLED = -9
ATTEMPTS = 6
PROGRESS_SECONDS = 30.0


@dataclass(frozen=True)
class Undisturbed:
    """A day that nothing happened to.

    Args:
        findings: what it left.
        seconds: that each step took; before the first of them stands how long it took to begin.
        passed: how often each step passed each kill point.
        saved: a folder with a copy of the home before each step.
    """

    findings: Findings
    seconds: tuple[float, ...]
    passed: tuple[Counter[str], ...]
    saved: Path

    def before(self, step: int) -> str:
        """The home before a step, as `Zygote.answer` takes it; the first step may begin without a lake."""
        home = self.saved / str(step)
        return str(home) if (home / "lakes").exists() else "empty"


@dataclass(frozen=True)
class Trial:
    """A day that is killed in one step: when it passes a point so many times, or (without one) after a share of it."""

    scenario: str
    seed: int
    step: int
    point: str = ""
    times: int = 1
    share: float = 0.0

    def __str__(self) -> str:
        """How it is named where something is wrong with it."""
        moment = f"{self.point}:{self.times}" if self.point else f"share {self.share:.3f}"
        return f"{self.scenario}, seed {self.seed}, step {self.step}, {moment}"


@dataclass(frozen=True)
class Outcome:
    """What came of a trial."""

    trial: Trial
    lost: int = 0
    doubled: int = 0
    orphaned: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()

    @property
    def is_bad(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.lost or self.doubled or self.orphaned or self.wrong)

    def __str__(self) -> str:
        """The trial and what is wrong with it."""
        return f"{self.trial}: {'; '.join((*self.wrong, *self.orphaned))}"


class Worker:
    """A zygote and the home that it runs days in."""

    def __init__(self, folder: Path, project: Path) -> None:
        folder.mkdir()
        self.cpu_seconds = 0.0
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote", str(folder), str(project)],
            cwd=CHECKOUT,
            env=inherited,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        scenario: str,
        seed: int,
        *,
        home: str | None = None,
        save: str = "",
        kill: str = "",
        after: float | None = None,
    ) -> dict[str, Any]:
        """One process that takes the steps of a day; see `Zygote.answer`."""
        asked = {"scenario": scenario, "seed": seed, "home": home, "save": save, "kill": kill, "after": after}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the warm process ended"
        answer: dict[str, Any] = json.loads(line)
        self.cpu_seconds += answer["cpu_seconds"]
        return answer

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()


class Harness:
    """Several workers side by side, and the undisturbed days that trials are compared with."""

    def __init__(self, folder: Path, workers: Sequence[Worker]) -> None:
        self.folder = folder
        self.workers = workers
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in workers:
            self._free.put(worker)
        self._executor = ThreadPoolExecutor(len(workers))
        self.days: dict[tuple[str, int], Undisturbed] = {}

    @property
    def cpu_seconds(self) -> float:
        """What all runs have cost so far."""
        return sum(worker.cpu_seconds for worker in self.workers)

    def _each(self, work: Callable[[Worker, T], R], items: Iterable[T]) -> list[R]:
        """Do something with each item, on whichever worker is free."""

        def on_a_worker(item: T) -> R:
            worker = self._free.get()
            try:
                return work(worker, item)
            finally:
                self._free.put(worker)

        return list(self._executor.map(on_a_worker, items))

    def live(self, days: Iterable[tuple[str, int]]) -> None:
        """Live days (scenario and seed) undisturbed, for later comparison."""
        wanted = [key for key in days if key not in self.days]

        def undisturbed(worker: Worker, key: tuple[str, int]) -> Undisturbed:
            saved = self.folder / "-".join(map(str, key))
            answer = worker.run(*key, home="empty" if key[0] == "create" else "", save=str(saved))
            assert answer["code"] == 0, f"{key} fails undisturbed:\n{answer['log']}"
            findings = Findings.model_validate(answer["findings"])
            assert not findings.wrong, f"{key} undisturbed: {findings.wrong}"
            return Undisturbed(findings, tuple(answer["seconds"]), _by_step(answer["trace"]), saved)

        self.days.update(zip(wanted, self._each(undisturbed, wanted), strict=True))

    def passings(self) -> dict[str, list[tuple[str, int, int, int]]]:
        """Of each kill point that any day has passed: scenario, seed, step, and how often the step passes it."""
        found: dict[str, list[tuple[str, int, int, int]]] = defaultdict(list)
        for (scenario, seed), day in sorted(self.days.items()):
            for step, passed in enumerate(day.passed):
                for point, times in passed.items():
                    found[point].append((scenario, seed, step, times))
        return dict(sorted(found.items()))

    def point_trials(self, points: Iterable[str], seeds: Iterable[int]) -> list[Trial]:
        """One trial for each point and seed: the seed chooses among the days, steps and times that pass it."""
        trials = []
        passings = self.passings()
        for seed, point in product(seeds, points):
            random = chance(f"{point} {seed}")
            of_seed = [place for place in passings[point] if place[1] == seed]
            scenario, lived, step, times = random.choice(of_seed or passings[point])
            trials.append(Trial(scenario, lived, step, point, random.randint(1, times)))
        return trials

    def random_trials(self, number: int, seed: int) -> list[Trial]:
        """Trials that are killed at moments that a seed chooses, more of them in steps that take longer."""
        random = chance(f"moments {seed}")
        steps = [(*key, step) for key, day in sorted(self.days.items()) for step in range(len(day.passed))]
        weights = [self.days[scenario, lived].seconds[step + 1] for scenario, lived, step in steps]
        return [Trial(*place, share=random.random()) for place in random.choices(steps, weights, k=number)]

    def outcomes(self, trials: Sequence[Trial]) -> list[Outcome]:
        """What comes of trials; how many are done is printed now and then, and at once what something is wrong with."""
        progress = _Progress(len(trials))

        def outcome(worker: Worker, trial: Trial) -> Outcome:
            found = _outcome(worker, trial, self.days[trial.scenario, trial.seed])
            progress.note(found)
            return found

        return self._each(outcome, trials)


class _Progress:
    """Says how many of the trials are done."""

    def __init__(self, trials: int) -> None:
        self.trials = trials
        self.done, self.bad = 0, 0
        self.started = self.said = time.monotonic()
        self._lock = threading.Lock()

    def note(self, outcome: Outcome) -> None:
        """One more is done."""
        with self._lock:
            self.done += 1
            now = time.monotonic()
            if outcome.is_bad:
                self.bad += 1
                print(f"\n{outcome}", flush=True)  # noqa: T201 - `make faults` shows it
            if now - self.said >= PROGRESS_SECONDS:
                self.said = now
                minutes = (now - self.started) / self.done * (self.trials - self.done) / 60
                print(  # noqa: T201 - `make faults` shows it
                    f"{self.done} of {self.trials} kills, {self.bad} days ended wrong, {minutes:.0f} minutes left",
                    flush=True,
                )


def _by_step(trace: Sequence[str]) -> tuple[Counter[str], ...]:
    """How often each step passes each kill point."""
    passed: list[Counter[str]] = []
    for line in trace:
        if line.startswith(STEP):
            passed.append(Counter())
        else:
            passed[-1][line] += 1
    return tuple(passed[:-1])  # behind the last step comes its end


def _outcome(worker: Worker, trial: Trial, day: Undisturbed) -> Outcome:
    """Kill a day, take it up once, and compare."""
    killed = _killed(worker, trial, day)
    if killed is None:
        return Outcome(trial, wrong=("it was not killed: the step does not come there",))
    again = worker.run(trial.scenario, trial.seed)
    if again["code"] != 0:
        return Outcome(trial, wrong=(f"the rerun ended with {again['code']}: {again['log'][-2000:]}",))
    found = differences(Findings.model_validate(again["findings"]), day.findings)
    left = [f"{process} outlived its parent" for process in (*killed["left"], *again["left"])]
    return Outcome(trial, found.lost, found.doubled, tuple(found.orphaned), (*found.wrong, *left))


def _killed(worker: Worker, trial: Trial, day: Undisturbed) -> dict[str, Any] | None:
    """Run a step until it is killed; a random moment at which it is over already is replaced by an earlier one."""
    home, share = day.before(trial.step), trial.share
    if trial.point:
        answer = worker.run(trial.scenario, trial.seed, home=home, kill=f"{trial.point}:{trial.times}")
        was_there = answer["trace"].count(trial.point) == trial.times and answer["trace"][-1] == trial.point
        return answer if answer["code"] == KILLED and was_there else None
    for _ in range(ATTEMPTS):
        # a lower bound, as a process that ends its step begins with the next one
        after = day.seconds[0] + share * day.seconds[trial.step + 1]
        answer = worker.run(trial.scenario, trial.seed, home=home, after=after)
        if answer["code"] == KILLED:
            return answer
        share *= 0.7
    return None


@contextmanager
def harness(folder: Path, workers: int) -> Iterator[Harness]:
    """Warm processes with a dbt project of the parcels alone, below a folder; they end with the block."""
    project = folder / "dbt_project"
    unwanted = shutil.ignore_patterns("models", "tests", "target", "logs")
    shutil.copytree(CHECKOUT / "dbt_project", project, ignore=unwanted)
    shutil.copytree(PRODUCT / "models", project / "models")
    started = [Worker(folder / f"worker{number}", project) for number in range(workers)]
    try:
        yield Harness(folder, started)
    finally:
        for worker in started:
            worker.close()


def summary(points: int, seeds: int, trials: Sequence[Trial], outcomes: Sequence[Outcome]) -> str:
    """What `make faults` prints, and each trial that something is wrong with."""
    lost, doubled = sum(item.lost for item in outcomes), sum(item.doubled for item in outcomes)
    orphaned = sum(len(item.orphaned) for item in outcomes)
    bad = [item for item in outcomes if item.is_bad]
    at_points = sum(bool(trial.point) for trial in trials)
    return "\n".join(
        [
            f"kill points: {points}, seeds: {seeds}",
            f"kills at points: {at_points}, random kills: {len(trials) - at_points}",
            f"lost, doubled, orphaned: {lost}, {doubled}, {orphaned}",
            f"days that ended otherwise than undisturbed ones: {len(bad)}",
            *(f"  {item}" for item in bad),
        ]
    )
