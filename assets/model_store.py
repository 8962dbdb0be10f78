"""Model files on disk, named by their content; every hash is verified before anything parses a byte.

A model is a folder `<models>/<product>/<model_id>/` with `manifest.json` and the files it lists. It appears by one
rename. This module knows nothing of how a model is trained or scored, and serving imports it.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

from pydantic import ValidationError

from assets.errors import HeadraceError
from assets.records import ModelManifest

MANIFEST = "manifest.json"


def sha256_of(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def save_model(folder: Path, manifest: ModelManifest, files: dict[str, bytes]) -> Path:
    """Write a model below `folder`; a model that is already there and whole stays as it is.

    Args:
        folder: the product's model folder.
        manifest: names every file with its hash.
        files: file name -> content.

    Returns:
        the model's folder.
    """
    target = folder / manifest.model_id
    if target.exists():
        try:
            read_model(target)
        except HeadraceError:
            shutil.rmtree(target)
        else:
            return target
    temporary = folder / f".{manifest.model_id}.{os.getpid()}.part"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name, content in {**files, MANIFEST: manifest.to_json().encode()}.items():
        with (temporary / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(target)
    return target


def read_model(folder: Path) -> tuple[ModelManifest, dict[str, bytes]]:
    """Read a model's manifest and the bytes of its files, each verified against its hash.

    Raises:
        HeadraceError: a file is missing or differs from what was saved; no parser has seen it.
    """
    try:
        manifest = ModelManifest.model_validate(json.loads((folder / MANIFEST).read_bytes()))
        files = {name: (folder / name).read_bytes() for name in manifest.files if Path(name).name == name}
    except (OSError, ValueError, ValidationError) as error:
        raise _damaged(folder, "a whole manifest and every file it names", type(error).__name__) from None
    if manifest.model_id != folder.name:
        raise _damaged(folder, f"the manifest of {folder.name}", f"that of {manifest.model_id}")
    for name, expected in manifest.files.items():
        found = sha256_of(files.get(name, b""))
        if found != expected:
            raise _damaged(folder, f"{name} with SHA-256 {expected[:16]}…", f"{found[:16]}…")
    return manifest, files


def _damaged(folder: Path, expected: str, found: str) -> HeadraceError:
    return HeadraceError(
        "the model's files are not the ones that were saved",
        product=folder.parent.name,
        where=str(folder),
        expected=expected,
        found=found,
        fix="restore the folder from a backup, or delete it and train again; it was not opened",
    )
