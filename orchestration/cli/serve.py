"""`headrace serve`: the live bento over HTTP, verified at this door; another one as soon as the pointer is flipped."""

import signal
import subprocess
import time
from types import FrameType

from assets.errors import HeadraceError
from assets.home import Home
from assets.live import read_live
from assets.records import LivePointer
from assets.settings import Settings
from assets.spec import ProductSpec
from bentos.rollback import require_servable
from bentos.smoke import serve_command, serve_environment, stop
from orchestration.cli.console import out, show_error

_POLL_SECONDS = 0.5


class _StopError(Exception):
    """Somebody asked this process to end."""


def serve(settings: Settings, spec: ProductSpec, port: int) -> int:
    """Serve until interrupted; after a promotion or a rollback the new bento takes the old one's place.

    Returns:
        the exit code.

    Raises:
        HeadraceError: nothing is live, or it may not be served.
    """
    signal.signal(signal.SIGTERM, _stop)
    live = _verified(settings, spec)
    try:
        while True:
            out.print(f"{live.bento} on http://127.0.0.1:{port} (API page /docs, health /healthz, metrics /metrics)")
            process = subprocess.Popen(serve_command(settings, live.bento, port), env=serve_environment(settings, port))
            try:
                found = _until_flipped(settings, spec, live, process)
            finally:
                stop(process)
            if found is None:
                return process.returncode or 1
            live = found
    except (KeyboardInterrupt, _StopError):
        return 0


def _until_flipped(
    settings: Settings, spec: ProductSpec, live: LivePointer, process: "subprocess.Popen[bytes]"
) -> LivePointer | None:
    """Wait for another live bento that may be served; None when the server has ended by itself.

    One that may not be served is said and not taken: what was verified before goes on.

    Raises:
        HeadraceError: nothing is live any more.
    """
    refused = live
    while process.poll() is None:
        time.sleep(_POLL_SECONDS)
        found = read_live(settings.home, spec.product)
        if found is not None and (found.bento == live.bento or found == refused):
            continue
        try:
            return _verified(settings, spec)
        except HeadraceError as error:
            if found is None:
                raise
            refused = found
            show_error(error)
    return None


def _verified(settings: Settings, spec: ProductSpec) -> LivePointer:
    """What is live, if it may be served.

    Raises:
        HeadraceError: nothing is, or it may not.
    """
    live = read_live(settings.home, spec.product)
    if live is None:
        raise HeadraceError(
            "nothing is live yet",
            product=spec.product,
            where=str(settings.home / "live"),
            fix=f"headrace run {spec.product} (or headrace demo)",
        )
    home = Home(settings)
    with home.lake(spec.product).connect() as con:
        require_servable(home, con, spec, live)
    return live


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _StopError
