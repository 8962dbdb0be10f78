"""A completed feature batch is made known once, through whatever channels are set; a broken one is an alert."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets import ledger
from assets.features.notify import notify
from assets.features.read import columns_of
from assets.home import Home
from assets.lake import Lake
from assets.records import Alert, Notification
from assets.settings import Settings
from assets.spec import ProductSpec


@pytest.fixture
def received() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A real HTTP server on the loopback interface and what was posted to it."""
    found: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Silence."""

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", found
    server.shutdown()
    thread.join()
    server.server_close()


def lake_of(tmp_path: Path, spec: ProductSpec, **settings: Any) -> Lake:
    """A lake with two feature batches of three rows each."""
    lake = Home(Settings(home=tmp_path / "home", **settings)).lake(spec.product)
    rows = pl.DataFrame({name: [str(place) for place in range(6)] for name in columns_of(spec)})
    rows = rows.with_columns(batch_id=pl.Series(["b1"] * 3 + ["b2"] * 3))

    def work(con: Any) -> None:
        con.register("given", rows.to_arrow())
        con.execute(f"create table lake.features.{spec.product} as select * from given")
        con.unregister("given")

    lake.transact(work)
    return lake


def recorded(lake: Lake) -> list[Notification]:
    with lake.connect() as con:
        return [item for _, item in ledger.records(con, "notifications", Notification)]


def test_each_batch_is_made_known_once(tmp_path: Path, toy: ProductSpec, received: tuple[str, list[Any]]) -> None:
    url, posted = received
    lake = lake_of(tmp_path, toy, notify_webhook=url)
    assert len(notify(lake, toy, ["b1", "b2"])) == 2
    assert notify(lake, toy, ["b1", "b2"]) == []
    assert [(item["batch_id"], item["rows"]) for item in posted] == [("b1", 3), ("b2", 3)]
    assert {item.channels for item in recorded(lake)} == {("webhook",)}
    assert [item["notification_id"] for item in posted] == [item.notification_id for item in recorded(lake)]


def test_other_content_of_a_batch_is_news_and_an_empty_batch_is_none(tmp_path: Path, toy: ProductSpec) -> None:
    lake = lake_of(tmp_path, toy)
    notify(lake, toy, ["b1"])
    lake.transact(
        lambda con: con.execute(f"update lake.features.{toy.product} set kind = 'other' where batch_id = 'b1'")
    )
    assert len(notify(lake, toy, ["b1"])) == 1
    assert notify(lake, toy, ["b9"]) == []


def test_a_command_gets_it_on_its_standard_input_without_a_shell(tmp_path: Path, toy: ProductSpec) -> None:
    target = tmp_path / "it's here; rm.json"
    code = f"import sys, pathlib; pathlib.Path({str(target)!r}).write_text(sys.stdin.read())"
    script = tmp_path / "tell.py"
    script.write_text(code)
    lake = lake_of(tmp_path, toy, notify_command=f"{sys.executable} {script}")
    (sent,) = notify(lake, toy, ["b1"])
    assert sent.channels == ("command",)
    assert json.loads(target.read_text())["batch_id"] == "b1"


def test_an_e_mail_is_sent(tmp_path: Path, toy: ProductSpec) -> None:
    smtpd = pytest.importorskip("smtpd", reason="Python 3.12 has no SMTP server in its library")
    import asyncore

    mails: list[str] = []

    class Server(smtpd.SMTPServer):  # type: ignore[misc, name-defined]
        def process_message(self, _peer: Any, _sender: str, receivers: list[str], data: bytes, **_: Any) -> None:
            mails.append(f"{receivers[0]}\n{data.decode()}")

    server = Server(("127.0.0.1", 0), None)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            asyncore.loop(timeout=0.05, count=1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        port = server.socket.getsockname()[1]
        lake = lake_of(
            tmp_path, toy, notify_email="ops@example.org", notify_smtp_host="127.0.0.1", notify_smtp_port=port
        )
        (sent,) = notify(lake, toy, ["b1"])
    finally:
        stop.set()
        thread.join()
        server.close()
    assert sent.channels == ("email",)
    assert mails[0].startswith("ops@example.org\n")
    assert "toy: features of b1 are complete" in mails[0]


@pytest.mark.parametrize(
    ("name", "target"),
    [("webhook", "http://127.0.0.1:9/"), ("webhook", "file:///etc/passwd"), ("command", "no-such-command")],
)
def test_a_channel_that_fails_is_an_alert_and_nothing_is_lost(
    tmp_path: Path, toy: ProductSpec, name: str, target: str
) -> None:
    lake = lake_of(tmp_path, toy, **{f"notify_{name}": target})
    (sent,) = notify(lake, toy, ["b1"])
    assert sent.channels == ()
    with lake.connect() as con:
        ((_, alert),) = ledger.records(con, "alerts", Alert)
    assert (alert.kind, alert.batch_id, alert.cause) == ("notification", "b1", name)
    assert f"HEADRACE_NOTIFY_{name.upper()}" in alert.message
