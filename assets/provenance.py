"""Where something came from: the commit, what differs from it, the pinned requirements, and who or what asked.

What differs from the commit is kept as a patch, named by its hash, so that a model of uncommitted code can be trained
again from exactly that code.
"""

import getpass
import hashlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from assets.files import write_file_atomically
from assets.records import Provenance
from assets.settings import CHECKOUT, Settings

# what decides about a model's bytes; data and reports of a user beside them are no code
CODE = ("assets", "bentos", "dbt_project", "orchestration", "sensors", "pyproject.toml", "requirements.lock")
_SECONDS = 60


def provenance_of(settings: Settings, asked_by: str) -> Provenance:
    """The code and requirements of this checkout, with who asked; the patch of uncommitted code is kept in the home."""
    commit, patch = read_code(CHECKOUT)
    changes = hashlib.sha256(patch).hexdigest() if patch else ""
    if changes:
        path = patch_path(settings, changes)
        if not path.exists():
            write_file_atomically(path, patch)
    return Provenance(
        code_commit=commit, code_changes=changes, requirements=requirements_hash(CHECKOUT), asked_by=asked_by
    )


def patch_path(settings: Settings, changes: str) -> Path:
    """Where the patch of uncommitted code with this hash is kept."""
    return settings.home / "code" / f"{changes}.patch"


@lru_cache(maxsize=1)
def read_code(checkout: Path) -> tuple[str, bytes]:
    """The commit of a checkout and a binary patch of what differs from it, new files too; empty outside of git.

    Read once per process: a running process has the code that it has loaded.
    """
    commit = _git(checkout, "rev-parse", "HEAD").decode().strip()
    if not commit:
        return "", b""
    present = [name for name in CODE if (checkout / name).exists()]
    if not _git(checkout, "status", "--porcelain", "--", *present):
        return commit, b""
    with tempfile.TemporaryDirectory() as folder:  # an index of our own: the user's stays as it is
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        _git(checkout, "read-tree", "HEAD", extra=index)
        _git(checkout, "add", "--all", "--", *present, extra=index)
        # whatever the user's settings: a patch that `git apply` takes anywhere
        plain = ("-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false")
        options = ("--no-ext-diff", "--no-textconv", "--no-color", "--cached", "--binary")
        return commit, _git(checkout, *plain, "diff", *options, "HEAD", extra=index)


@lru_cache(maxsize=1)
def requirements_hash(checkout: Path) -> str:
    """SHA-256 of the pinned requirements, empty where there are none."""
    try:
        return hashlib.sha256((checkout / "requirements.lock").read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def person() -> str:
    """Who is at this terminal, as `user@host`."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container without a name for its user
        return f"uid {os.getuid()}@{socket.gethostname()}"


def asked_by(tags: Mapping[str, str]) -> str:
    """Who or what asked for a run, from its tags: a sensor, a schedule, automation, a backfill, a person."""
    cause = tags.get("headrace/cause", "")
    said = f" ({cause})" if cause else ""
    for tag, what in (("dagster/sensor_name", "sensor"), ("dagster/schedule_name", "schedule")):
        if tag in tags:
            return f"{what} {tags[tag]}{said}"
    if tags.get("dagster/from_automation_condition") or tags.get("dagster/auto_materialize"):
        return f"automation{said}"
    if "dagster/backfill" in tags:
        return f"backfill {tags['dagster/backfill']}{said}"
    return f"{person()}: {cause}" if cause else f"{tags.get('user') or person()}: Dagster"


def _git(checkout: Path, *command: str, extra: Mapping[str, str] | None = None) -> bytes:
    """What git prints; empty when it is not there or says no (a checkout without its repository still works)."""
    try:
        return subprocess.run(
            ["git", "-C", str(checkout), *command],  # noqa: S607 - the user's git
            capture_output=True,
            check=True,
            timeout=_SECONDS,
            env={**os.environ, **(extra or {})},
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return b""
