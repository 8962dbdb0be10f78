"""A warm process that forks one for each run of a day: all is imported and dbt's project parsed, nothing opened.

A fork before DuckDB has opened anything is safe, and it saves the seconds that importing and parsing cost. Asked and
answered by JSON lines; started by `harness.py`.
"""

import ctypes
import importlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import psutil

from assets import kill_points
from assets.raw.reader import worker
from assets.settings import Settings, prepare_process

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CHILDREN_END_SECONDS = 10.0
RUN_SECONDS = 900.0
LASTING = ("commit", "drop")
STEP = "step"
IN_MEMORY = "create or replace table memory."
STATE_CHANGES = ("create", "alter", "delete", "insert", "update", "drop", "commit")


def _connect_trusting(connect: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Open DuckDB without verifying the extensions' signatures: 0.7 CPU seconds of each engine, a third of a trial."""
    config = {**options.pop("config", {}), "allow_unsigned_extensions": "true"}
    return connect(*arguments, config=config, **options)


def _copy(source: str, target: str) -> None:
    """Copy a file of a home; its extensions, 70 MB that nobody changes, have another name only."""
    (os.link if source.endswith(".duckdb_extension") else shutil.copy2)(source, target)


class Trace:
    """Which kill points a run passes, written before the process can die there."""

    def __init__(self) -> None:
        self.file = -1
        self.kill_point = kill_points.kill_point

    def __call__(self, name: str) -> None:
        """Note the place, then die there if asked to."""
        if self.file >= 0:
            os.write(self.file, f"{name}\n".encode())
        self.kill_point(name)


class DbtStatements:
    """Kill points before and after each statement of dbt that changes state, told by dbt's own events."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.place = ""

    def __call__(self, message: Any) -> None:
        """Note a statement as it is about to be sent, and when it is done."""
        if message.info.name == "SQLQuery":
            sql = message.data.sql.rpartition("*/")[2].strip()
            node = message.data.node_info.node_name or "run"
            verb = sql.partition(" ")[0].lower().rstrip(";")
            is_kept = verb in STATE_CHANGES and not sql.startswith(IN_MEMORY)
            self.place = f"dbt.{node}.{verb}" if is_kept else ""
            if self.place:
                self.trace(f"{self.place}.before")
        elif message.info.name == "SQLQueryStatus" and self.place:
            if self.place.endswith(LASTING):  # after any other statement is before the next one
                self.trace(f"{self.place}.after")
            self.place = ""


class ForkedReader:
    """The process that reads files, forked from this warm one: the worker's own code, without a second of imports.

    It stands in for `subprocess.Popen` and must be made before anything of DuckDB is opened.
    """

    def __init__(self) -> None:
        requests, self.stdin = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
        self.stdout, answers = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
        self.pid = os.fork()
        self.returncode: int | None = None
        if self.pid == 0:
            os.dup2(requests.fileno(), 0)
            os.dup2(answers.fileno(), 1)
            os.closerange(3, 64)
            sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115 - the pipes, for as long as it lives
            os._exit(worker.main())
        requests.close()
        answers.close()

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def kill(self) -> None:
        """End it."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Its exit code, when it has ended."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


class Zygote:
    """Prepares a home and runs days in it, each in a process of its own."""

    def __init__(self, folder: Path, project: Path) -> None:
        self.folder = folder
        self.settings = Settings(home=folder / "home", products=folder / "products", dbt_project=project, threads=1)
        self.template = folder / "template"
        self.trace = Trace()
        self.own: list[psutil.Process] = []

    def warm(self) -> None:
        """Import everything, have dbt parse its project, and make the home that each trial begins with."""
        kill_points.kill_point = self.trace
        duckdb.connect = partial(_connect_trusting, duckdb.connect)
        prepare_process()
        import dbt.cli.main

        import assets.cleaned.dbt
        import assets.maintenance.maintain
        import tests.faults.oracle  # noqa: F401 - for the forked ones
        from assets.home import Home

        runner = dbt.cli.main.dbtRunner
        statements = DbtStatements(self.trace)
        dbt.cli.main.dbtRunner = partial(runner, callbacks=[statements])  # type: ignore[misc, assignment]
        assets.maintenance.maintain._INLINED_ROWS = 3  # noqa: SLF001 - a day has too few rows for a hundred
        assets.cleaned.dbt._parsed(self.settings)  # noqa: SLF001 - the one thing of dbt that can be done beforehand
        pid = self._fork(lambda: Home(self.settings).lake("parcels"))
        assert os.waitpid(pid, 0)[1] == 0, (self.folder / "log").read_text()
        shutil.move(self.settings.home, self.template)
        self.own = psutil.Process().children()  # Python's own tracker of semaphores
        asked = {"scenario": "create", "seed": 0, "home": "", "save": "", "kill": "", "after": None}
        first = self.answer(asked)
        assert first["code"] == 0, first["log"]
        for name in first["modules"]:
            with suppress(ImportError):
                importlib.import_module(name)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run a day, from its beginning or from where it was killed.

        Args:
            request: `scenario`, `seed`; `home`: one that is copied first, `empty` for one without a lake, or null to
                go on in the one of the last run; `save`: a folder for copies of the home before each step, or empty;
                `kill`: a kill point, or empty; `after`: seconds after which it is killed, or null.

        Returns:
            `code` of the exit; `cpu_seconds`; `trace` of steps and kill points; of a day that ended `seconds` of each
            step and `findings`; `left`: processes that did not end with it; `log`: its output if it failed.
        """
        for name in ("trace", "day.json", "log"):
            (self.folder / name).unlink(missing_ok=True)
        if request["home"] is not None:
            shutil.rmtree(self.settings.home, ignore_errors=True)
            ignored = shutil.ignore_patterns("lakes") if request["home"] == "empty" else None
            saved = Path(request["home"]) if request["home"] not in ("", "empty") else self.template
            shutil.copytree(saved, self.settings.home, ignore=ignored, copy_function=_copy)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        pid = self._fork(lambda: self._live(request))
        handle = os.pidfd_open(pid)
        ended, _, _ = select.select([handle], [], [], request["after"] if request["after"] is not None else RUN_SECONDS)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(handle)
        left = self._reap()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        day, log, trace = self.folder / "day.json", self.folder / "log", self.folder / "trace"
        return {
            "code": code,
            "left": left,
            "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "trace": trace.read_text().splitlines() if trace.exists() else [],
            **(json.loads(day.read_text()) if code == 0 else {"seconds": [], "findings": None}),
            "log": log.read_text() if code not in (0, -signal.SIGKILL) else "",
        }

    def _fork(self, work: Callable[[], object]) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            output = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - a forked process must not go on as its parent
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)

    def _live(self, request: dict[str, Any]) -> None:
        from assets.raw.reader import client
        from tests.faults.oracle import examine
        from tests.faults.scenarios import day_of, maintain_later

        readers = [ForkedReader()]

        def popen(*given: Any, **named: Any) -> Any:
            return readers.pop() if readers else subprocess.Popen(*given, **named)

        client.subprocess = SimpleNamespace(PIPE=subprocess.PIPE, Popen=popen)  # type: ignore[attr-defined, assignment]
        self.trace.file = os.open(self.folder / "trace", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.environ["HEADRACE_KILL_POINT"] = request["kill"]
        day = day_of(self.settings, request["scenario"], request["seed"])
        started = [time.monotonic()]

        def before_step(number: int) -> None:
            os.write(self.trace.file, f"{STEP} {number}\n".encode())
            started.append(time.monotonic())
            if request["save"]:
                shutil.copytree(self.settings.home, Path(request["save"]) / str(number), copy_function=_copy)
                started[-1] = time.monotonic()

        day.run(before_step)
        seconds = [later - earlier for earlier, later in pairwise(started)]
        os.environ["HEADRACE_KILL_POINT"] = ""
        findings = examine(day)
        if findings.orphaned:  # what a killed process has left and nobody names is for the next maintenance
            maintain_later(day, day.steps[-1])
            findings = examine(day)
        ended = {"seconds": seconds, "findings": findings.model_dump(), "modules": sorted(sys.modules)}
        (self.folder / "day.json").write_text(json.dumps(ended))

    def _reap(self) -> list[str]:
        """Wait for what the run has started: it must end by itself when the run is killed."""
        children = [child for child in psutil.Process().children(recursive=True) if child not in self.own]
        _, alive = psutil.wait_procs(children, timeout=CHILDREN_END_SECONDS)
        left = [f"{child.pid} {child.name()}" for child in alive]
        for child in alive:
            child.kill()
        psutil.wait_procs(alive, timeout=CHILDREN_END_SECONDS)
        return left


def main() -> None:
    """Serve requests on standard input until it ends."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed is no answer
    zygote = Zygote(Path(sys.argv[1]), Path(sys.argv[2]))
    zygote.warm()
    for line in sys.stdin:
        print(json.dumps(zygote.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
