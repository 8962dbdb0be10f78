"""Ask a bento before it goes live: start it as it will be served, compare its answers with the offline scores, time it.

What is measured is judged elsewhere; this module only starts, asks, reports, and stops what it started, whatever
happens in between.
"""

import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

import numpy as np
import psutil
from pydantic import Field

from assets.errors import HeadraceError
from assets.model_store import read_model
from assets.records import Record
from assets.settings import Settings
from assets.tasks import Scores
from bentos.build import bento_path, model_id_of
from bentos.schemas import WireTypes, json_row, wire_types

LOOPBACK = "127.0.0.1"
_ROWS_PER_REQUEST = 1_000
_WARM_UP_REQUESTS = 10
_POLL_SECONDS = 0.05
_REQUEST_TIMEOUT_SECONDS = 30.0
_STOP_SECONDS = 10.0
# how long the end of a killed process is awaited: the system needs no second, a machine with much to do some
_END_SECONDS = 30.0
_LOG_BYTES = 4_000
_SEARCHED_BYTES = 100_000
_OK = 200
# what BentoML logs when a worker could not be made; its supervisor tries again and again and never ends
_GIVEN_UP = b"Initializing service error"


class SmokeReport(Record):
    """What a bento answered, next to what the model said offline."""

    tag: str
    model_id: str = Field(description="the model that answered")
    rows: int
    mismatches: int = Field(description="rows with an answer that differs from the offline score in any bit")
    max_abs_difference: float
    latency_p50_ms: float = Field(description="of requests with one row")
    latency_p99_ms: float
    startup_seconds: float
    bad_request_status: int = Field(description="HTTP status of a request with an unknown field")


def ask_bento(
    settings: Settings,
    tag: str,
    rows: Sequence[Mapping[str, Any]],
    offline: Scores,
    *,
    startup_timeout_s: float = 60.0,
    latency_requests: int = 100,
) -> SmokeReport:
    """Serve a bento on a free port of this machine, ask it for rows all together and one by one, and stop it.

    Args:
        settings: say where bentos are kept.
        tag: a built bento.
        rows: feature rows, input -> value; other columns are left out.
        offline: scores of these rows, scored without the service, in the shape of the model's task.
        startup_timeout_s: seconds until it must be ready.
        latency_requests: how many requests with one row are timed; each answer is compared as well.

    Raises:
        HeadraceError: the bento doesn't start, ends, or answers with another model or an error.
    """
    expected = model_id_of(tag)
    manifest, _ = read_model(bento_path(settings, tag) / "src" / "model" / expected)
    sent = [json_row(row, manifest.features.inputs) for row in rows]
    types = wire_types(manifest, {})
    if not sent or len(sent) != len(offline):
        raise HeadraceError(
            "a bento is asked for at least one row, each with its offline score", where=tag,
            found=f"{len(sent)} rows, {len(offline)} scores", fix="score exactly the rows that are sent",
        )  # fmt: skip
    with running(settings, tag, startup_timeout_s=startup_timeout_s) as server:
        together = _in_parts(server, tag, types, sent)
        places, alone, latencies_ms = _one_by_one(server, tag, types, sent, latency_requests)
        bad_status, _ = server.post({"rows": [{**sent[0], "no_such_input": 1}]})
    if together.model_ids != {expected}:
        raise HeadraceError(
            "another model answered than the one that was packed", where=tag, expected=expected,
            found=", ".join(sorted(together.model_ids)), fix="build the bento again",
        )  # fmt: skip
    asked = np.concatenate([np.arange(len(sent)), places])
    answered = np.concatenate([together.scores, alone])
    if answered.shape != offline[asked].shape:
        raise HeadraceError(
            "the bento answers with scores of another shape than the model's", where=tag,
            expected=str(offline.shape[1:]), found=str(answered.shape[1:]), fix="build the bento again",
        )  # fmt: skip
    # the largest of a row; answers hold no NaN (JSON has none), and one offline is a difference
    differences = np.abs(answered - offline[asked]).reshape(len(asked), -1).max(axis=1)
    return SmokeReport(
        tag=tag,
        model_id=expected,
        rows=len(sent),
        mismatches=len(np.unique(asked[differences != 0])),
        max_abs_difference=float(differences.max()),
        latency_p50_ms=float(np.percentile(latencies_ms, 50)),
        latency_p99_ms=float(np.percentile(latencies_ms, 99)),
        startup_seconds=server.startup_seconds,
        bad_request_status=bad_status,
    )


def serve_command(settings: Settings, tag: str, port: int, host: str = LOOPBACK) -> list[str]:
    """The arguments that serve a bento, by its folder: the tag would mean what `BENTOML_HOME` of the process says."""
    folder = str(bento_path(settings, tag))
    return [sys.executable, "-m", "bentoml", "serve", folder, "--host", host, "--port", str(port)]


def serve_environment(settings: Settings, port: int) -> dict[str, str]:
    """The environment of a served bento.

    BentoML empties the metrics folder of its home when it starts, so each server has a home of its own, named by its
    port; otherwise a second one would wipe the metrics of the first.
    """
    return {**settings.environment(), "BENTOML_HOME": str(settings.bentos / "served" / str(port))}


class Server:
    """A bento that answers on this machine."""

    def __init__(self, tag: str, port: int, startup_seconds: float) -> None:
        self.tag = tag
        self.port = port
        self.startup_seconds = startup_seconds
        self._connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_REQUEST_TIMEOUT_SECONDS)

    @property
    def url(self) -> str:
        """Its address, without a closing slash."""
        return f"http://{LOOPBACK}:{self.port}"

    def post(self, body: Any) -> tuple[int, Any]:
        """Ask `/predict`: status and decoded answer."""
        self._connection.request("POST", "/predict", json.dumps(body), {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def close(self) -> None:
        """Close the connection; the server goes on."""
        self._connection.close()


@contextmanager
def running(settings: Settings, tag: str, *, startup_timeout_s: float) -> Iterator[Server]:
    """A bento in its own processes, ready to answer; all of them have ended when the block is left.

    Raises:
        HeadraceError: it ended or was not ready in time; the message has the end of its log.
    """
    folder = bento_path(settings, tag)
    port = _free_port()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="headrace-bento-") as home, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            serve_command(settings, tag, port),
            cwd=folder / "src",
            env={**settings.environment(), "BENTOML_HOME": home},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _await_ready(process, tag, port, log, deadline=started + startup_timeout_s)
            server = Server(tag, port, time.perf_counter() - started)
            try:
                yield server
            except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
                raise _failed(tag, f"stopped answering ({type(error).__name__}: {error})", log) from error
            finally:
                server.close()
        finally:
            stop(process)


class _Answers:
    """Scores in the order they were asked for, and the models that gave them."""

    def __init__(self, types: WireTypes) -> None:
        self.model_ids: set[str] = set()
        self._types = types
        self._parts: list[Any] = []

    def add(self, tag: str, status: int, answer: Any) -> None:
        if status != _OK:
            raise HeadraceError(
                "the bento refused real rows", where=tag, expected="HTTP 200", found=f"HTTP {status}: {answer}",
                fix="the rows are the feature table's: compare the field it names with the product's spec",
            )  # fmt: skip
        self.model_ids.add(answer["model_id"])
        self._parts += self._types.scores_of(answer["predictions"])

    @property
    def scores(self) -> Scores:
        return np.array(self._parts, dtype=np.float64)


def _in_parts(server: Server, tag: str, types: WireTypes, rows: Sequence[dict[str, Any]]) -> _Answers:
    answers = _Answers(types)
    for start in range(0, len(rows), _ROWS_PER_REQUEST):
        answers.add(tag, *server.post({"rows": rows[start : start + _ROWS_PER_REQUEST]}))
    return answers


def _one_by_one(
    server: Server, tag: str, types: WireTypes, rows: Sequence[dict[str, Any]], requests: int
) -> tuple[list[int], Scores, list[float]]:
    """Places of the rows asked for, their scores, and milliseconds each took; first some to warm up."""
    places = list(itertools.islice(itertools.cycle(range(len(rows))), max(requests, 1)))
    for place in places[:_WARM_UP_REQUESTS]:
        server.post({"rows": [rows[place]]})
    answers = _Answers(types)
    latencies_ms = []
    for place in places:
        asked = time.perf_counter()
        status, answer = server.post({"rows": [rows[place]]})
        latencies_ms.append((time.perf_counter() - asked) * 1e3)
        answers.add(tag, status, answer)
    return places, answers.scores, latencies_ms


def _await_ready(process: "subprocess.Popen[bytes]", tag: str, port: int, log: IO[bytes], *, deadline: float) -> None:
    while True:
        if process.poll() is not None:
            raise _failed(tag, f"ended with exit code {process.returncode}", log)
        if _is_ready(port):
            return
        if _GIVEN_UP in os.pread(log.fileno(), _SEARCHED_BYTES, 0):
            raise _failed(tag, "could not load its model", log)
        if time.perf_counter() > deadline:
            raise _failed(tag, "was not ready in time", log)
        time.sleep(_POLL_SECONDS)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == _OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _failed(tag: str, what: str, log: IO[bytes]) -> HeadraceError:
    lines = _tail(log).decode(errors="replace").splitlines()
    return HeadraceError(
        f"the bento {what}", where=tag, found="the end of its log:\n    " + "\n    ".join(lines),
        fix="start it by hand with `headrace serve` to see the whole log; delete its folder to have it built again",
    )  # fmt: skip


def _tail(log: IO[bytes]) -> bytes:
    # pread, since the server writes at the offset that a seek here would move
    size = os.fstat(log.fileno()).st_size
    return os.pread(log.fileno(), _LOG_BYTES, max(0, size - _LOG_BYTES))


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End the server and its workers. They are in sessions of their own, so the process group alone misses them."""
    family = _family(process.pid)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    # the parent first, as it starts its workers anew
    members = {member.pid: member for member in [*family, *_family(process.pid)]}.values()
    for member in members:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    _await_end(members)


def _await_end(members: Iterable[psutil.Process]) -> None:
    """Wait for processes that were killed: the signal is sent at once, their end comes when they are next scheduled."""
    deadline = time.perf_counter() + _END_SECONDS
    while any(_is_alive(member) for member in members) and time.perf_counter() < deadline:
        time.sleep(_POLL_SECONDS / 10)


def _is_alive(process: psutil.Process) -> bool:
    """Whether it runs; one that ended and that nobody has asked for its exit code yet does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _family(pid: int) -> list[Any]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
