"""Make a completed feature batch known, once: a row in the ledger, and a webhook, an e-mail or a command if set.

A channel that fails is an alert, never a failed run. The row is written after the channels were asked, so a process
that is killed in between asks them again, with the same `notification_id`.
"""

import json
import shlex
import smtplib
import subprocess
import urllib.request
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from functools import partial

import duckdb

from assets import ledger
from assets.features.read import columns_of, listed
from assets.lake import Lake
from assets.naming import FEATURES, table
from assets.records import Alert, Notification
from assets.settings import Settings
from assets.spec import ProductSpec

_TIMEOUT_SECONDS = 10


def notify(lake: Lake, spec: ProductSpec, batches: Sequence[str]) -> list[Notification]:
    """Make each of these batches known unless its content was; returns the new notifications."""
    with lake.connect() as con:
        known = {item.notification_id for _, item in ledger.records(con, "notifications", Notification)}
        found = [_completed(con, spec, batch) for batch in batches]
    sent = []
    for notification in found:
        if notification.rows and notification.notification_id not in known:
            channels, alerts = _deliver(lake.settings, notification)
            notification = notification.model_copy(update={"channels": channels})  # noqa: PLW2901 - the same one, sent
            lake.transact(partial(_record, notification=notification, alerts=alerts))
            sent.append(notification)
    return sent


def _record(con: duckdb.DuckDBPyConnection, *, notification: Notification, alerts: list[Alert]) -> None:
    ledger.append_once(con, "notifications", notification.notification_id, notification.batch_id, notification)
    ledger.append_alerts(con, alerts)


def _completed(con: duckdb.DuckDBPyConnection, spec: ProductSpec, batch_id: str) -> Notification:
    row = con.execute(
        f"select count(*), printf('%016x', bit_xor(hash(hash({listed(columns_of(spec))})))) "
        f"from {table(FEATURES, spec.product)} where batch_id = ?",
        [batch_id],
    ).fetchone() or (0, "")
    return Notification(
        product=spec.product, batch_id=batch_id, event="features", rows=row[0], row_set_hash=row[1] or ""
    )


def _deliver(settings: Settings, notification: Notification) -> tuple[tuple[str, ...], list[Alert]]:
    """Ask every channel that is set; the names of those that took it, and an alert for each that didn't."""
    channels: dict[str, tuple[str, Callable[[Settings, str, Notification], None]]] = {
        "webhook": (settings.notify_webhook, _post),
        "command": (settings.notify_command, _run),
        "email": (settings.notify_email, _mail),
    }
    taken, alerts = [], []
    for name, (target, send) in channels.items():
        if not target:
            continue
        try:
            send(settings, target, notification)
            taken.append(name)
        except (OSError, ValueError, subprocess.SubprocessError, smtplib.SMTPException) as error:
            message = f"the {name} of a completed feature batch failed: {error}; check HEADRACE_NOTIFY_{name.upper()}"
            alerts.append(
                Alert(
                    product=notification.product,
                    kind="notification",
                    batch_id=notification.batch_id,
                    cause=name,
                    message=message,
                )
            )
    return tuple(taken), alerts


def _text(notification: Notification) -> str:
    content = notification.model_dump(mode="json", exclude={"channels"})
    return json.dumps({**content, "notification_id": notification.notification_id})


def _post(_settings: Settings, url: str, notification: Notification) -> None:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"a webhook is an http or https address, found {url!r}")
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, _text(notification).encode(), headers)  # noqa: S310 - http(s), see above
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310 - as above
        pass


def _run(_settings: Settings, command: str, notification: Notification) -> None:
    """Run a command without a shell; the notification is its standard input, as JSON."""
    subprocess.run(
        shlex.split(command),
        input=_text(notification),
        text=True,
        capture_output=True,
        timeout=_TIMEOUT_SECONDS,
        check=True,
    )


def _mail(settings: Settings, receiver: str, notification: Notification) -> None:
    message = EmailMessage()
    message["Subject"] = f"{notification.product}: features of {notification.batch_id} are complete"
    message["From"], message["To"] = settings.notify_email_from, receiver
    message.set_content(f"{notification.rows:,} rows.\n\n{_text(notification)}\n")
    with smtplib.SMTP(settings.notify_smtp_host, settings.notify_smtp_port, timeout=_TIMEOUT_SECONDS) as server:
        server.send_message(message)
