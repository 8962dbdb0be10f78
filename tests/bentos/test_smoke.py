"""Starting and stopping what is asked, with stand-ins for the server: it must end, whatever it and its caller do."""

import sys
from pathlib import Path

import psutil
import pytest

from assets.errors import HeadraceError
from assets.settings import Settings
from bentos import smoke
from bentos.build import bento_path

TAG = "parcels:lightgbm-0123456789ab-89abcdef"

# Answers like a bento, and has a worker in a session of its own, as BentoML's are; it ignores being asked to end.
STUBBORN = """
import http.server, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def do_POST(self):
        self.close_connection = True
http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(home=tmp_path)
    (bento_path(found, TAG) / "src").mkdir(parents=True)
    return found


def stand_in(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Start this script where the bento would be started."""

    def command(_settings: Settings, _tag: str, port: int) -> list[str]:
        return [sys.executable, "-c", script.replace("PORT", str(port))]

    monkeypatch.setattr(smoke, "serve_command", command)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that ended and waits for its parent to notice does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def own_children(before: list[psutil.Process]) -> list[psutil.Process]:
    """What this process has started since; a helper of another test (multiprocessing's tracker) may live on."""
    return [process for process in psutil.Process().children(recursive=True) if process not in before]


def test_nothing_is_left_running(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the caller fails and the server ignores SIGTERM, and although its worker left the process group."""
    stand_in(monkeypatch, STUBBORN)
    monkeypatch.setattr(smoke, "_STOP_SECONDS", 0.2)
    family: list[psutil.Process] = []
    before = psutil.Process().children(recursive=True)

    def fail() -> None:
        with smoke.running(settings, TAG, startup_timeout_s=30):
            family.extend(own_children(before))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert len(family) == 2
    assert not [process for process in family if is_alive(process)]


def test_a_server_that_stops_answering_is_reported(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, STUBBORN)
    monkeypatch.setattr(smoke, "_STOP_SECONDS", 0.2)
    with (
        pytest.raises(HeadraceError, match="stopped answering"),
        smoke.running(settings, TAG, startup_timeout_s=30) as server,
    ):
        server.post({"rows": []})


@pytest.mark.parametrize(
    ("script", "seconds", "message"),
    [
        ("print('the reason'); raise SystemExit(3)", 30.0, "ended with exit code 3"),
        ("import time; print('the reason', flush=True); time.sleep(60)", 1.0, "was not ready in time"),
        (
            "import time; print('Initializing service error: the reason', flush=True); time.sleep(60)",
            30.0,
            "could not load its model",
        ),
    ],
)
def test_a_server_that_does_not_start_is_reported_with_its_log(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, script: str, seconds: float, message: str
) -> None:
    """Regression: BentoML starts a worker that can't load its model again and again and never ends."""
    stand_in(monkeypatch, script)
    before = psutil.Process().children(recursive=True)
    with pytest.raises(HeadraceError, match=message) as caught, smoke.running(settings, TAG, startup_timeout_s=seconds):
        pass
    assert "the reason" in str(caught.value)
    assert not own_children(before)


def test_a_new_bento_does_not_touch_the_metrics_of_a_served_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BentoML empties the metrics folder of its home when it starts."""
    stand_in(monkeypatch, "import os; print(os.environ['BENTOML_HOME']); raise SystemExit(1)")
    with pytest.raises(HeadraceError) as caught, smoke.running(settings, TAG, startup_timeout_s=30):
        pass
    assert str(settings.bentos) not in caught.value.found
