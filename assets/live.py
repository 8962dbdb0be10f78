"""The live pointer: which bento of a product is served. One small file, replaced by one rename, last of all."""

from pathlib import Path

from assets.lake import write_file_atomically
from assets.records import LivePointer


def pointer_path(home: Path, product: str) -> Path:
    """Where a product's live pointer is."""
    return home / "live" / f"{product}.json"


def read_live(home: Path, product: str) -> LivePointer | None:
    """What is live, or None before the first promotion."""
    try:
        return LivePointer.model_validate_json(pointer_path(home, product).read_bytes())
    except FileNotFoundError:
        return None


def flip_live(home: Path, pointer: LivePointer) -> None:
    """Make a bento the live one."""
    write_file_atomically(pointer_path(home, pointer.product), pointer.to_json().encode())


def drop_live(home: Path, product: str) -> None:
    """Serve nothing: what was live may not be, and nothing before it may."""
    pointer_path(home, product).unlink(missing_ok=True)
