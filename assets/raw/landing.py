"""What lies in a landing folder: which file is which source and batch, and whether it is whole.

Pure but for looking at the folder; nothing is opened as data, moved or deleted.
"""

import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from assets.errors import HeadraceError
from assets.lake import write_file_atomically
from assets.naming import is_batch_id
from assets.spec import ProductSpec

# Names that copying tools give a file while it is being written.
_UNFINISHED = (".part", ".tmp", ".partial", ".crdownload", ".filepart", ".swp")
_LEFT_OVER_SECONDS = 24 * 3600
REFERENCE_BATCH = "reference"


@dataclass(frozen=True)
class LandedFile:
    """One regular file in the landing folder that belongs to a source."""

    path: Path
    source: str
    batch_id: str
    size_bytes: int
    modified_ns: int


def identify(spec: ProductSpec, name: str) -> tuple[str, str] | None:
    """The source and batch id that a file name means, or None.

    A source without batches (a register that is delivered whole) has the batch id ``reference``.
    """
    for source, item in spec.sources.items():
        match = re.fullmatch(item.files, name)
        if match:
            batch_id = match.group("batch") if item.has_batch else REFERENCE_BATCH
            return (source, batch_id) if is_batch_id(batch_id or "") else None
    return None


def landed_files(spec: ProductSpec, folder: Path) -> list[LandedFile]:
    """The product's files in its landing folder, sorted by batch and name.

    Symbolic links, pipes, hidden files and files that are still being copied by name are passed over.
    """
    found = []
    for entry in os.scandir(folder):
        if entry.name.startswith(".") or entry.name.endswith(_UNFINISHED):
            continue
        identity = identify(spec, entry.name)
        status = entry.stat(follow_symlinks=False)
        if identity is None or not stat.S_ISREG(status.st_mode):
            continue
        found.append(LandedFile(Path(entry.path), *identity, status.st_size, status.st_mtime_ns))
    return sorted(found, key=lambda item: (item.batch_id, item.path.name))


def lacking(
    spec: ProductSpec, batch_id: str, landed: Collection[tuple[str, str]], loaded: Collection[tuple[str, str]]
) -> list[str]:
    """The sources that a batch waits for: every reference that isn't optional must have been delivered.

    Args:
        spec: the product.
        batch_id: the batch.
        landed: source and batch id of the files in the landing folder.
        loaded: source and batch id of everything in the ledger.
    """
    there = {*landed, *loaded}
    sources = {source for source, _ in there}
    return [
        name
        for name, item in spec.references.items()
        if not item.optional and ((name, batch_id) not in there if item.has_batch else name not in sources)
    ]


def find_batch(spec: ProductSpec, folder: Path, source: str, batch_id: str) -> Path | None:
    """The file of a source's batch, or None."""
    for item in landed_files(spec, folder):
        if item.source == source and item.batch_id == batch_id:
            return item.path
    return None


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def stage_copy(path: Path, staging: Path) -> tuple[Path, str, int]:
    """Copy a landed file and hash the copy, so that what is read is what was hashed.

    Returns:
        the copy, its SHA-256 and its size in bytes.

    Raises:
        HeadraceError: the file is not a regular file, or it went away.
    """
    for left in staging.glob("*.staged"):  # by a process that was killed
        if time.time() - left.stat().st_mtime > _LEFT_OVER_SECONDS:
            left.unlink(missing_ok=True)
    copy = staging / f"{os.getpid()}-{path.name}.staged"
    try:
        # O_NOFOLLOW and O_NONBLOCK: neither a link that leads elsewhere nor a pipe that never answers
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as source, copy.open("wb") as target:
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                raise OSError("not a regular file")  # noqa: TRY301 - answered below like every unreadable file
            shutil.copyfileobj(source, target, 1 << 20)
    except OSError as error:
        copy.unlink(missing_ok=True)
        raise HeadraceError(
            "the file can't be read",
            where=path.name,
            expected="a regular file",
            found=str(error),
            fix="copy the file itself (no link, no pipe) into the landing folder",
        ) from None
    return copy, hash_file(copy), copy.stat().st_size


def deliver(spec: ProductSpec, folder: Path, file: Path) -> Path:
    """Copy a file into the landing folder so that it appears there whole.

    Raises:
        HeadraceError: the name belongs to no source of the product, or it isn't a file.
    """
    if not file.is_file():
        raise HeadraceError("no such file", product=spec.product, where=str(file), fix="check the path")
    if identify(spec, file.name) is None:
        patterns = ", ".join(item.files for item in spec.sources.values())
        raise HeadraceError(
            "the file's name belongs to no source of this product",
            product=spec.product,
            where=file.name,
            expected=patterns,
            found=file.name,
            fix="rename the file, or change `files:` in the product's spec",
        )
    target = folder / file.name
    if not (target.exists() and hash_file(target) == hash_file(file)):
        write_file_atomically(target, file.read_bytes())
    return target
