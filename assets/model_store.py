"""Model files on disk, named by their content; every hash is verified before anything parses a byte.

A model is a folder `<models>/<product>/<model_id>/` with `manifest.json`, the files it lists, and `seal.json` with the
hash of each. It appears by one rename. A bento is sealed in the same way, whole.
This module knows nothing of how a model is trained or scored, and serving imports it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from assets.errors import HeadraceError
from assets.records import ModelManifest

MANIFEST = "manifest.json"
SEAL = "seal.json"
# a seal is read before anything is known of it
_MAX_SEAL_BYTES = 1_000_000


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
    sealed = {**files, MANIFEST: manifest.to_json().encode()}
    for name, content in {**sealed, SEAL: seal_of(sealed)}.items():
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
        sealed = read_sealed(folder)
        manifest = ModelManifest.model_validate(json.loads(sealed[MANIFEST]))
        files = {name: sealed[name] for name in manifest.files}
    except (ValueError, KeyError, ValidationError) as error:
        raise _damaged(folder, "a whole manifest and every file it names", type(error).__name__) from None
    if manifest.model_id != folder.name:
        raise _damaged(folder, f"the manifest of {folder.name}", f"that of {manifest.model_id}")
    for name, expected in manifest.files.items():
        found = sha256_of(files[name])
        if found != expected:
            raise _damaged(folder, f"{name} with SHA-256 {expected[:16]}…", f"{found[:16]}…")
    return manifest, files


def seal_of(files: Mapping[str, bytes]) -> bytes:
    """The seal of some files: path -> SHA-256, with a checksum of the list itself, so that rot in it is seen, too."""
    hashes = {path: sha256_of(content) for path, content in sorted(files.items())}
    return json.dumps({"files": hashes, "seal": _seal_hash(hashes)}, indent=1).encode()


def read_sealed(folder: Path) -> dict[str, bytes]:
    """Every sealed file below a folder, path -> content, compared with its hash; nothing but the seal is parsed.

    Raises:
        HeadraceError: the seal or a file is missing, or differs from what was sealed.
    """
    try:
        with (folder / SEAL).open("rb") as file:
            found = json.loads(file.read(_MAX_SEAL_BYTES))
        hashes, seal = dict(found["files"]), str(found["seal"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(folder, "a whole seal.json", type(error).__name__) from None
    if _seal_hash(hashes) != seal:
        raise _damaged(folder, "the seal.json that was written", "another one")
    files: dict[str, bytes] = {}
    for name, expected in hashes.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise _damaged(folder, "files below this folder", name)
        try:
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            raise _damaged(folder, name, type(error).__name__) from None
        actual = sha256_of(files[name])
        if actual != expected:
            raise _damaged(folder, f"{name} with SHA-256 {str(expected)[:16]}…", f"{actual[:16]}…")
    return files


def _seal_hash(hashes: Mapping[str, str]) -> str:
    return sha256_of(json.dumps(hashes, sort_keys=True).encode())


def _damaged(folder: Path, expected: str, found: str) -> HeadraceError:
    return HeadraceError(
        "the model's files are not the ones that were saved",
        product=folder.parent.name,
        where=str(folder),
        expected=expected,
        found=found,
        fix="restore the folder from a backup, or delete it and train again; it was not opened",
    )
