"""The bytes of deliveries that have something in quarantine, so that they can be read again after a fix.

One file per content, named by its SHA-256 and nothing else: a delivered name never becomes a path. What is to be
read again, and when it may be forgotten, is decided elsewhere.
"""

import os
import re
import shutil
from pathlib import Path

from assets.files import flush, own_path
from assets.settings import Settings

_SHA256 = re.compile(r"[0-9a-f]{64}")


def keep(settings: Settings, product: str, path: Path, sha256: str) -> Path:
    """Keep a staged copy's bytes; they appear whole or not at all, and a second call changes nothing.

    Args:
        settings: where the home is.
        product: whose delivery it is.
        path: the staged copy. It may be removed afterwards, but never written to again: where the file system can,
            the kept file is the same one under a second name.
        sha256: of its bytes.

    Returns:
        where they are kept.
    """
    place = _place(settings, product, sha256)
    if place.exists():
        os.utime(place)  # maintenance removes old bytes that the ledger doesn't name, and it may not name these yet
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    flush(path)
    try:
        os.link(path, place)
    except FileExistsError:  # another process was faster
        pass
    except OSError:  # another file system, or one without links
        part = own_path(place.parent, "part")
        shutil.copyfile(path, part)
        flush(part)
        part.replace(place)
    flush(place.parent)
    return place


def kept(settings: Settings, product: str, sha256: str) -> Path | None:
    """Where the bytes of this content are kept; None when they aren't (on another machine, or forgotten)."""
    place = _place(settings, product, sha256)
    return place if place.is_file() else None


def kept_contents(settings: Settings, product: str) -> list[str]:
    """SHA-256 of everything that is kept of a product, sorted."""
    folder = settings.quarantine / product
    return sorted(path.name for path in folder.glob("*") if _SHA256.fullmatch(path.name)) if folder.is_dir() else []


def forget(settings: Settings, product: str, sha256: str) -> None:
    """Remove the kept bytes of a content, if they are there."""
    _place(settings, product, sha256).unlink(missing_ok=True)


def _place(settings: Settings, product: str, sha256: str) -> Path:
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"not a SHA-256 in lower case: {sha256!r}")
    return settings.quarantine / product / sha256
