"""Local files: names that no other process has, and content that appears whole and is on the disk.

Which files there are, and what is in them, is decided by the callers.
"""

import functools
import itertools
import os
import secrets
import shutil
import socket
from pathlib import Path

import psutil

_OWN_PATHS = itertools.count()


def own_path(folder: Path, purpose: str) -> Path:
    """A path below `folder` that no other process and no other call has; what killed processes have left is removed.

    Args:
        folder: where processes of any machine may work.
        purpose: the start of the name.
    """
    start, own = f"{purpose}-{socket.gethostname()}-", os.getpid()
    for left in folder.glob(f"{start}*"):
        process_id, _, rest = left.name.removeprefix(start).partition("-")
        if not process_id.isdigit():
            continue
        # in a container the process that follows a killed one has its number
        is_over = not rest.startswith(_token(own)) if int(process_id) == own else not psutil.pid_exists(int(process_id))
        if is_over and left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        elif is_over:
            left.unlink(missing_ok=True)
    return folder / f"{start}{own}-{_token(own)}-{next(_OWN_PATHS)}"


@functools.cache
def _token(process_id: int) -> str:
    """Tells this process from another of the same number; a forked one has its own."""
    return f"{secrets.token_hex(4)}{process_id}"


def spill_directory(folder: Path) -> str:
    """Where one DuckDB instance of this process may spill what doesn't fit in memory; DuckDB makes and removes it.

    DuckDB's own default is `.tmp` in whatever folder the command was typed in, and its files have the same names in
    every process.
    """
    return str(own_path(folder, "spill"))


def write_file_atomically(path: Path, content: bytes) -> None:
    """Make a file appear whole or not at all: write beside it, flush to disk, rename, flush the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_bytes(content)
    flush(temporary)
    temporary.replace(path)
    flush(path.parent)


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
