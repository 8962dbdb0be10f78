"""Where files land: the home's landing folder, or a prefix of an object store. Looked at, copied from, delivered to.

What a name means is said in `landing.py`; how an object store is asked is in `objects.py`. Nothing is opened as data.
"""

import hashlib
import os
import re
import shutil
import stat
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

from assets.errors import HeadraceError
from assets.files import flush, own_path, write_file_atomically
from assets.home import Home
from assets.kill_points import kill_point
from assets.raw import objects
from assets.raw.landing import UNFINISHED, identify, rank
from assets.spec import ProductSpec

DONE = ".done"
# One command has no earlier look to compare with, so it looks twice at files younger than this.
SECOND_LOOK_SECONDS = 0.2
# Files that this process has found unchanged at a second look: they need no third one.
_STILL: set["LandedFile"] = set()
_PIECE_BYTES = 1 << 20
_MARKER_BYTES = 4096
# control characters, halves of surrogate pairs (bytes that are no UTF-8), line and paragraph ends
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


class NotWholeError(HeadraceError):
    """The file is not whole yet, or not what its marker says; it is taken once it is."""


@dataclass(frozen=True)
class LandedFile:
    """One file or object that belongs to a source.

    `place` is the folder, or `s3://bucket/prefix/`; `etag` is empty for a file; `changed_ns`, which no copying tool can
    set back as it can `modified_ns`, is 0 for an object; `expected_sha256` is what its marker says.
    """

    name: str
    source: str
    batch_id: str
    version_label: str
    size_bytes: int
    modified_ns: int
    etag: str
    place: str
    changed_ns: int = 0
    expected_sha256: str = ""


@dataclass(frozen=True)
class Staged:
    """The copy of a landed file that is read, and the SHA-256 of exactly these bytes."""

    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Look:
    """What lies at a product's places: files that belong to a source, and what is passed over, with the reason."""

    files: tuple[LandedFile, ...]
    passed: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Found:
    """What lies at a place, before its name is asked what it means; `kind` is empty for a regular file."""

    name: str
    size_bytes: int
    modified_ns: int
    etag: str = ""
    changed_ns: int = 0
    kind: str = ""


def look(home: Home, spec: ProductSpec) -> Look:
    """Look once at every place where the product's files land.

    Raises:
        HeadraceError: an object store can't be listed.
    """
    files: list[LandedFile] = []
    passed: list[tuple[str, str]] = []
    for location in sorted({item.location for item in spec.sources.values() if item.files}):
        place = location or str(home.landing(spec.product))
        found = _in_store(location) if location else _in_folder(place)
        names = {item.name: item for item in found}
        for item in found:
            taken = _classify(spec, location, place, item, names)
            if isinstance(taken, LandedFile):
                files.append(taken)
            elif taken:
                passed.append((shown(item.name), taken))
    files.sort(key=lambda file: (file.batch_id, rank(file.version_label, file.name), file.source))
    return Look(tuple(files), tuple(sorted(passed)))


def look_twice(home: Home, spec: ProductSpec) -> Look:
    """Look as one command does that has no earlier look: files that may be half-written are looked at again.

    A file whose time is longer ago than its `settle_seconds` is whole. For a younger one, or one from the future, a
    second look follows after a fifth of a second, and what has changed by then is passed over. A copy that pauses
    for longer than that is still found out: `stage` compares before and after, and what is written later is a
    correction.
    """
    first = look(home, spec)
    pause = max((_unsettled_seconds(spec, file) for file in first.files if file not in _STILL), default=0.0)
    if not pause:
        return first
    time.sleep(min(pause, SECOND_LOOK_SECONDS))
    second = look(home, spec)
    _STILL.update(set(first.files) & set(second.files))
    moving = [file for file in second.files if file not in _STILL and _unsettled_seconds(spec, file)]
    whole = tuple(file for file in second.files if file not in moving)
    return Look(whole, tuple(sorted([*second.passed, *((file.name, "still changing") for file in moving)])))


def landed_files(home: Home, spec: ProductSpec) -> list[LandedFile]:
    """The product's files at all its places, sorted by batch, version and name; some may be half-written still."""
    return list(look(home, spec).files)


def passed_over(home: Home, spec: ProductSpec) -> list[tuple[str, str]]:
    """Names of what is not taken, as they may be shown, each with the reason."""
    return list(look_twice(home, spec).passed)


def files_of(home: Home, spec: ProductSpec, source: str, batch_id: str) -> list[LandedFile]:
    """The whole files of a source's batch; the last one counts."""
    return [file for file in look_twice(home, spec).files if (file.source, file.batch_id) == (source, batch_id)]


def shown(name: str) -> str:
    """A file name as it may be printed: control characters and bytes that are no text are written as escapes."""
    return "".join(
        sign.encode("unicode_escape").decode("ascii") if unicodedata.category(sign) in _UNPRINTABLE else sign
        for sign in name
    )


def stage(file: LandedFile, staging: Path) -> Staged:
    """Copy a landed file and hash the copy in one pass, so that what is read is what was hashed.

    Raises:
        NotWholeError: it changed while it was copied, or its marker says another SHA-256.
        HeadraceError: it is not a regular file, it went away, or the object store doesn't answer.
    """
    copy = own_path(staging, "staged")  # the file's own name may be too long to extend
    try:
        sha256 = _read(file, partial(_write, copy))
        kill_point("landing.stage.after")
        _hold_against_marker(file, sha256)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    return Staged(copy, sha256, copy.stat().st_size)


def content_of(file: LandedFile) -> str:
    """SHA-256 of a landed file's bytes as they are now.

    Raises:
        HeadraceError: it can't be read.
    """
    return _read(file, _digest)


def deliver(home: Home, spec: ProductSpec, file: Path) -> str:
    """Copy a file to where its source's files land, so that it appears there whole; its marker follows.

    Returns:
        where it lies now: a path, or `s3://bucket/key`.

    Raises:
        HeadraceError: the name belongs to no source of the product, it isn't a file, or the store doesn't take it.
    """
    if not file.is_file():
        raise HeadraceError("no such file", product=spec.product, where=str(file), fix="check the path")
    identity = identify(spec, file.name)
    if identity is None:
        patterns = ", ".join(item.files for item in spec.sources.values() if item.files)
        raise HeadraceError(
            "the file's name belongs to no source of this product",
            product=spec.product,
            where=shown(file.name),
            expected=patterns,
            found=shown(file.name),
            fix="rename the file, or change `files:` in the product's spec",
        )
    source = spec.sources[identity.source]
    with file.open("rb") as opened:
        sha256 = _digest(_pieces(opened))
    marker = f"{file.name}{DONE}" if source.arrival.done_marker else ""
    if source.location:
        return objects.deliver(source.location, file, sha256=sha256, marker=marker)
    target = home.landing(spec.product) / file.name
    if not target.is_file() or target.is_symlink() or _digest_of(target) != sha256:
        _appear(target, file)
    if marker:
        write_file_atomically(target.with_name(marker), sha256.encode())
    return str(target)


def _classify(spec: ProductSpec, location: str, place: str, item: _Found, names: dict[str, _Found]) -> LandedFile | str:
    """A found name as a landed file, or why it is passed over; no reason for the marker of a file that is there."""
    owner = item.name.removesuffix(DONE)
    if owner != item.name and _wants_marker(spec, owner, location):
        return "" if owner in names else "the marker of a file that is not there"
    identity = identify(spec, item.name, location=location)
    why = _unfit(item.name) or (f"{item.kind}; only regular files are taken" if item.kind else "")
    if why or identity is None:
        return why or "its name belongs to no source"
    expected = ""
    if spec.sources[identity.source].arrival.done_marker:
        expected, why = _expected(place, item.name, names.get(item.name + DONE))
    return why or LandedFile(
        item.name, *identity, item.size_bytes, item.modified_ns, item.etag, place, item.changed_ns, expected
    )


def _unfit(name: str) -> str:
    """Why a file of this name is never taken, whatever it is."""
    if any(unicodedata.category(sign) in _UNPRINTABLE for sign in name):
        return "its name has control characters or is no UTF-8"
    if {"", ".", ".."} & set(name.split("/")):
        return "its key has an empty part, . or .."
    if any(part.startswith(".") for part in name.split("/")):
        return "a hidden name"
    return "the name of an unfinished copy" if name.endswith(UNFINISHED) else ""


def _wants_marker(spec: ProductSpec, name: str, location: str) -> bool:
    identity = identify(spec, name, location=location)
    return identity is not None and spec.sources[identity.source].arrival.done_marker


def _expected(place: str, name: str, marker: _Found | None) -> tuple[str, str]:
    """The SHA-256 that a file's marker holds (empty if the marker is), and why the file still waits if it does."""
    if marker is None or marker.kind:
        return "", f"waits for {name}{DONE}"
    wrong = f"its {DONE} marker is neither empty nor a SHA-256"
    if marker.size_bytes > _MARKER_BYTES:
        return "", wrong
    try:
        if marker.etag:
            text = _marker_object(place, marker.name, marker.etag)
        else:
            with _regular_file(place, marker.name) as file:
                text = _text(_pieces(file))
    except HeadraceError as error:  # it was there a moment ago
        return "", error.what
    first = (text.split(maxsplit=1) or [""])[0].lower()
    return (first, "") if re.fullmatch(r"([0-9a-f]{64})?", first) else ("", wrong)


@lru_cache(maxsize=4096)
def _marker_object(place: str, name: str, etag: str) -> str:
    """The text of a marker on an object store; it is downloaded once, not at every look."""
    return objects.read(place, name, etag, _text)


def _text(pieces: Iterator[bytes]) -> str:
    return b"".join(pieces).decode("ascii", errors="replace")


def _in_folder(place: str) -> list[_Found]:
    with os.scandir(place) as entries:
        found = []
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # it was there a moment ago
                continue
            found.append(
                _Found(
                    entry.name,
                    status.st_size,
                    status.st_mtime_ns,
                    changed_ns=status.st_ctime_ns,
                    kind=_kind(status.st_mode),
                )
            )
        return found


def _kind(mode: int) -> str:
    """What else than a regular file this is; empty for one."""
    if stat.S_ISREG(mode):
        return ""
    kinds = {
        stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    }  # fmt: skip
    return kinds.get(stat.S_IFMT(mode), "no regular file")


def _in_store(location: str) -> list[_Found]:
    return [_Found(item.name, item.size_bytes, item.modified_ns, item.etag) for item in objects.listed(location)]


def _unsettled_seconds(spec: ProductSpec, file: LandedFile) -> float:
    """How long a file must still be unchanged to be whole by its age alone; 0 if it is whole.

    Objects appear whole, and so does a file with a marker. A time in the future says nothing about the age.
    """
    arrival = spec.sources[file.source].arrival
    if file.etag or arrival.done_marker:
        return 0.0
    age = time.time() - file.modified_ns / 1e9
    return arrival.settle_seconds if age < 0 else max(arrival.settle_seconds - age, 0.0)


def _read(file: LandedFile, take: Callable[[Iterator[bytes]], str]) -> str:
    """What `take` makes of a landed file's bytes, if they stay as they are from the first to the last."""
    if file.etag:
        return objects.read(file.place, file.name, file.etag, take)
    with _regular_file(file.place, file.name) as opened:
        before = os.fstat(opened.fileno())
        taken = take(_pieces(opened))
        after = os.fstat(opened.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise NotWholeError(
            "the file changed while it was read",
            where=shown(file.name),
            expected=f"{before.st_size} bytes",
            found=f"{after.st_size} bytes",
            fix="nothing: it is taken once it is still",
        )
    return taken


def _regular_file(folder: str, name: str) -> BinaryIO:
    """Open a regular file of a folder: no link is followed, no pipe waited for, no other folder entered.

    Raises:
        HeadraceError: it is none, or it went away.
    """
    try:
        if "/" in name or name in ("", ".", ".."):
            raise OSError("not a plain name")  # noqa: TRY301 - answered below like every unreadable file
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
        finally:
            os.close(place)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError("not a regular file")  # noqa: TRY301
    except OSError as error:
        raise HeadraceError(
            "the file can't be read",
            where=shown(name),
            expected="a regular file in the landing folder",
            found=error.strerror or str(error),
            fix="copy the file itself (no link, no pipe) into the landing folder",
        ) from None
    return os.fdopen(handle, "rb")


def _hold_against_marker(file: LandedFile, sha256: str) -> None:
    if file.expected_sha256 not in ("", sha256):
        raise NotWholeError(
            "the file is not the one that its marker names",
            where=f"{shown(file.name)}{DONE}",
            expected=f"SHA-256 {file.expected_sha256}",
            found=f"SHA-256 {sha256}",
            fix="wait for the rest of the file, or write the marker again",
        )


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        yield piece


def _write(copy: Path, pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    with copy.open("wb") as target:
        for piece in pieces:
            digest.update(piece)
            target.write(piece)
    return digest.hexdigest()


def _digest(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return _digest(_pieces(file))


def _appear(target: Path, file: Path) -> None:
    """Copy a file to a name at which it appears whole or not at all, by any size."""
    temporary = own_path(target.parent, ".landing")
    try:
        with file.open("rb") as source, temporary.open("wb") as copy:
            shutil.copyfileobj(source, copy, _PIECE_BYTES)
        flush(temporary)
        kill_point("landing.deliver.before")
        temporary.replace(target)
        kill_point("landing.deliver.after")
        flush(target.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
