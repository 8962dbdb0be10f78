"""`headrace ui`: Dagster's own server and daemon on this home, and a small server for the HTML reports."""

import contextlib
import functools
import http.server
import signal
import subprocess
import sys
import threading
from types import FrameType

import psutil
from filelock import FileLock, Timeout

from assets.cleaned.dbt import ensure_manifest
from assets.errors import HeadraceError
from assets.home import Home
from assets.settings import CHECKOUT, Settings
from assets.spec import load_specs
from orchestration.cli.console import out
from orchestration.instance import end_dead_runs, open_instance

PATIENCE_SECONDS = 10.0


def ui_command(port: int) -> list[str]:
    """`dagster dev` on the loopback interface with our workspace."""
    return [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "--workspace",
        str(CHECKOUT / "workspace.yaml"),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]


def serve_ui(settings: Settings, port: int) -> int:
    """Run until interrupted; returns Dagster's exit code.

    Raises:
        HeadraceError: there is a UI on this home already.
    """
    lock = FileLock(settings.home / "ui.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise HeadraceError(
            "a UI is running on this home",
            where=str(settings.home),
            fix="use that one, or set HEADRACE_HOME to another folder",
        ) from None
    with open_instance(settings) as instance:
        end_dead_runs(instance, is_ui_starting=True)
    home = Home(settings)
    specs = load_specs(settings.products)
    for name in specs:
        home.landing(name)
    stores = sorted({source.location for spec in specs.values() for source in spec.sources.values() if source.location})
    ensure_manifest(settings)
    reports = _serve_reports(settings)
    out.print(f"Dagster UI   http://127.0.0.1:{port}")
    out.print(f"Reports      http://127.0.0.1:{settings.reports_port}" if reports else "Reports      (port is taken)")
    out.print(f"Landing      {settings.landing}/PRODUCT (a file dropped there becomes a run within a minute)")
    for store in stores:
        out.print(f"Landing      {store}", soft_wrap=True)
    # hashing one very large object takes a sensor longer than Dagster's minute
    patience = {"DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "1800"}
    child = subprocess.Popen(
        ui_command(port), cwd=CHECKOUT, env={**patience, **settings.environment(), "PYTHONWARNINGS": "ignore"}
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        return child.wait()
    except KeyboardInterrupt:
        stop_tree(child.pid)
        return 0


def stop_tree(pid: int) -> None:
    """Ask a process and all it started to end, in the way each of them handles (an interrupt); then insist."""
    try:
        root = psutil.Process(pid)
        everyone = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    root.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(everyone, timeout=PATIENCE_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _serve_reports(settings: Settings) -> http.server.ThreadingHTTPServer | None:
    """Serve the reports folder on the loopback interface, read-only; None when the port is taken."""
    settings.reports.mkdir(parents=True, exist_ok=True)
    handler = functools.partial(_QuietHandler, directory=str(settings.reports))
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", settings.reports_port), handler)
    except OSError:
        return None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        """Say nothing per request."""
