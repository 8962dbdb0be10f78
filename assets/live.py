"""The live pointer: which bento of a product is served. One small file, replaced by one rename, last of all."""

from pathlib import Path

from pydantic import ValidationError

from assets.errors import HeadraceError
from assets.files import write_file_atomically
from assets.records import LivePointer


def pointer_path(home: Path, product: str) -> Path:
    """Where a product's live pointer is."""
    return home / "live" / f"{product}.json"


def read_live(home: Path, product: str) -> LivePointer | None:
    """What is live, or None before the first promotion.

    Raises:
        HeadraceError: the pointer's file is damaged.
    """
    path = pointer_path(home, product)
    try:
        return LivePointer.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise HeadraceError(
            "the live pointer is damaged",
            product=product,
            where=str(path),
            expected="the pointer that was written when a model went live",
            found=f"{path.stat().st_size} bytes of something else",
            fix=f"restore the file, or delete it and promote again (headrace models {product})",
        ) from None


def flip_live(home: Path, pointer: LivePointer) -> None:
    """Make a bento the live one."""
    write_file_atomically(pointer_path(home, pointer.product), pointer.to_json().encode())


def drop_live(home: Path, product: str) -> None:
    """Serve nothing: what was live may not be, and nothing before it may."""
    pointer_path(home, product).unlink(missing_ok=True)
