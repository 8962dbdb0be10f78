"""Local files beside a lake that nothing needs: copies that a killed process had staged, kept bytes nobody asks for."""

import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from assets import ledger
from assets.kill_points import kill_point
from assets.lake import Lake


def stale_copies(lake: Lake, before: datetime) -> list[Path]:
    """Staged copies that are older than any reading of a file may take; what DuckDB spills is its own business."""
    moment = before - timedelta(seconds=lake.settings.read_timeout_seconds)
    return [path for path in _older(lake.staging, moment) if not path.name.startswith("spill-")]


def stale_quarantine(lake: Lake, before: datetime) -> list[Path]:
    """Kept bytes of contents that the ledger doesn't name: their load was killed before it was written down."""
    with lake.connect() as con:
        named = {item.sha256 for item in ledger.deliveries(con)}
    folder = lake.settings.quarantine / lake.product
    return [path for path in _older(folder, before) if path.name not in named]


def remove(paths: Iterable[Path]) -> None:
    """Delete files and folders, if they are still there."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        kill_point("maintenance.leftover.after")


def _older(folder: Path, before: datetime) -> list[Path]:
    """What lies in a folder and was last changed before a moment, sorted; none where there is no folder."""
    found = []
    for path in sorted(folder.glob("*")):
        try:
            if path.lstat().st_mtime < before.timestamp():
                found.append(path)
        except FileNotFoundError:  # its owner was faster
            continue
    return found
