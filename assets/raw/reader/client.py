"""Ask the reading process for a file, and survive whatever the file does to it.

One process is kept for many files and replaced when it dies. Its memory and time are watched here, because a parser
that went wrong can't be trusted to do so itself. What is read and how is in `worker.py`.
"""

import atexit
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from assets.errors import HeadraceError
from assets.raw.reader.protocol import ReadReport, ReadRequest, Refusal, RefusedFileError
from assets.settings import CHECKOUT, Settings

_LOOK_SECONDS = 0.2
# the reader gets no credentials: only what a Python process needs to start
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


def read_file(settings: Settings, request: ReadRequest) -> ReadReport:
    """Read a staged file in another process.

    Args:
        settings: how much memory and time the process may take.
        request: the file, its contract, and the folder that the rows are written to.

    Raises:
        RefusedFileError: the file can't be loaded, or the process crashed, ran out of memory or time; it says which.
        HeadraceError: nothing is wrong with the file, but it can't be read now (a full disk).
    """
    try:
        with _LOCK:
            answer = _ask(request, settings)
    finally:
        shutil.rmtree(Path(request.folder) / "scratch", ignore_errors=True)
    if "report" in answer:
        return ReadReport.model_validate(answer["report"])
    if "refusal" in answer:
        refusal = Refusal.model_validate(answer["refusal"])
        raise RefusedFileError(**refusal.model_dump())
    raise HeadraceError(
        "the file could not be read now", where=request.file_name, found=str(answer["failure"]),
        fix="free space on the disk of the home; the file is read again by the next run",
    )  # fmt: skip


class _GoneError(Exception):
    """The reading process ended before it took a request: nothing is said of the file."""


class _Reader:
    """A reading process of this one."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "assets.raw.reader.worker"],
            cwd=CHECKOUT,
            env={**environment, "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin, "a pipe, as asked for"  # noqa: S101
        assert self._process.stdout, "a pipe, as asked for"  # noqa: S101
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._begun = False

    @property
    def is_alive(self) -> bool:
        """Whether it is this process's (not of one that it was forked from) and has not ended."""
        return self.owner == os.getpid() and self._process.poll() is None

    def ask(self, request: ReadRequest, settings: Settings) -> dict[str, object]:
        """Have one file read; the process is ended when it takes too much.

        Raises:
            _GoneError: it had died before it was asked.
            RefusedFileError: it crashed, or took too much memory or time.
        """
        self._begun = False
        try:
            self._stdin.write(request.model_dump_json().encode() + b"\n")
            self._stdin.flush()
            lines = self._lines(settings)
            self._begun = bool(next(lines, b""))
            line = next(lines, b"")
        except BrokenPipeError:
            line = b""
        except BaseException:  # also when the run is interrupted: nobody waits for the answer any more
            self.end()
            raise
        if not line:
            code = self.end()
            raise _died(code) if self._begun else _GoneError
        answer: dict[str, object] = json.loads(line)
        return answer

    def _lines(self, settings: Settings) -> Iterator[bytes]:
        """What it says, line by line, watching it meanwhile."""
        started, said = time.monotonic(), b""
        watched, out = psutil.Process(self._process.pid), self._stdout.fileno()
        while True:
            if select.select([out], [], [], _LOOK_SECONDS)[0]:
                piece = os.read(out, 1 << 16)
                if not piece:
                    return
                *whole, said = (said + piece).split(b"\n")
                yield from whole
                continue
            if time.monotonic() - started > settings.read_timeout_seconds:
                raise RefusedFileError(
                    "reading it took too long",
                    expected=f"an end within {settings.read_timeout_seconds:g} s (HEADRACE_READ_TIMEOUT_SECONDS)",
                    fix="deliver it in smaller parts, or raise the limit",
                )
            if _resident(watched) > settings.read_memory_megabytes << 20:
                raise RefusedFileError(
                    "reading it takes more memory than allowed",
                    expected=f"{settings.read_memory_megabytes:,} MB (HEADRACE_READ_MEMORY_MEGABYTES)",
                    fix="deliver it in smaller parts, or raise the limit",
                )

    def end(self) -> int:
        """Kill the process if it still runs.

        Returns:
            its exit code; minus the signal that ended it.
        """
        self._process.kill()
        code = self._process.wait()
        with contextlib.suppress(BrokenPipeError):  # what was not taken any more
            self._stdin.close()
        self._stdout.close()
        return code


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it just died; the pipe says so
        return 0


def _died(code: int) -> RefusedFileError:
    how = f"exit code {code}"
    if code < 0:
        how = signal.Signals(-code).name
    return RefusedFileError(
        "the process that read it died",
        found=how,
        fix="look at the file: a damaged or hostile one can crash a parser; save it anew and deliver it again",
    )


_LOCK = threading.Lock()
_KEPT: list[_Reader] = []


def _ask(request: ReadRequest, settings: Settings) -> dict[str, object]:
    """Ask the kept process; when it turns out to have died since the last file, ask a new one."""
    try:
        return _reader().ask(request, settings)
    except _GoneError:
        pass
    try:
        return _reader().ask(request, settings)
    except _GoneError:
        raise HeadraceError(
            "the process that reads files does not start",
            where=request.file_name,
            fix="see its messages in the log of this run; the file is read again by the next run",
        ) from None


def _reader() -> _Reader:
    if not _KEPT or not _KEPT[0].is_alive:
        _KEPT[:] = [_Reader()]
    return _KEPT[0]


@atexit.register
def _end() -> None:
    if _KEPT and _KEPT[0].is_alive:
        _KEPT[0].end()
