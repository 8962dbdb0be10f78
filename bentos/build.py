"""Pack a model into a bento: the model's files, the code that serves them, an example row, pinned requirements.

A bento's tag says what is in it: the model's id and a hash of every packed file, so a changed service is a new tag and
the same call twice is one bento. It is built in a home of its own and moved into the store by one rename; BentoML
itself copies into the final folder, where a killed build would leave a part of a bento that looks like a whole one.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from assets.errors import HeadraceError
from assets.model_store import MANIFEST, SEAL, read_model, read_sealed, seal_of, sha256_of
from assets.records import ModelManifest
from assets.settings import CHECKOUT, Settings
from bentos.door import BLESSINGS
from bentos.schemas import Serving, json_row, wire_types

# The code that serves: nothing else of the checkout is in the bento, so nothing else can be imported there.
PACKED_CODE = (
    "assets/__init__.py",
    "assets/candidates/__init__.py",
    "assets/candidates/explain.py",
    "assets/candidates/predictor.py",
    "assets/errors.py",
    "assets/features/__init__.py",
    "assets/features/row.py",
    "assets/model_store.py",
    "assets/records.py",
    "assets/tasks.py",
    "bentos/__init__.py",
    "bentos/door.py",
    "bentos/front_door.py",
    "bentos/schemas.py",
    "bentos/service.py",
)
REQUIREMENTS = ("bentoml", "lightgbm", "numpy", "onnxruntime", "polars", "pydantic")
_BUILD_SECONDS = 300
_TAG = re.compile(r"(?P<product>[a-z][a-z0-9_]{0,62}):(?P<model_id>[a-z0-9._-]+)-(?P<content>[0-9a-f]{8})")
_LOG_LINES = 20


def build_bento(
    home_settings: Settings, model_folder: Path, example: Mapping[str, Any], *, product: str, as_of: str, words: bytes
) -> str:
    """Build the bento of a model, or find it built; it can be killed at any point and called again.

    Args:
        home_settings: say where bentos are kept.
        model_folder: the model's folder in the model store; its hashes are verified.
        example: a real row, input -> value; other columns are left out.
        product: the bento's name.
        as_of: the batch that the model was promoted as of.
        words: the blessings under which it may be served (`bentos.door.packed_words`).

    Returns:
        the tag, ``product:model_id-hash``.

    Raises:
        HeadraceError: the model is damaged, the example is not a row of it, or the build failed.
    """
    packed = packed_files(model_folder, example, product=product, as_of=as_of, words=words)
    tag = f"{product}:{model_folder.name}-{content_hash_of(packed)}"
    target = bento_path(home_settings, tag)
    home_settings.bentos.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(home_settings.bentos / f"{product}.lock", timeout=home_settings.lock_timeout_seconds):
            if not is_whole(target, packed):
                _build(home_settings, tag, packed, target)
    except Timeout:
        raise HeadraceError(
            "another process has been building a bento of this product for long", product=product,
            where=str(home_settings.bentos), found=f"no turn within {home_settings.lock_timeout_seconds:.0f} s",
            fix="wait for it, or end it; its unfinished files are cleared away by the next build",
        ) from None  # fmt: skip
    return tag


def bento_path(settings: Settings, tag: str) -> Path:
    """The folder of a bento, whether it is built or not.

    Raises:
        HeadraceError: the tag is not one of ours.
    """
    found = _parsed(tag)
    return settings.bentos / "bentos" / found["product"] / tag.partition(":")[2]


def model_id_of(tag: str) -> str:
    """The id of the model that a bento serves.

    Raises:
        HeadraceError: the tag is not one of ours.
    """
    return _parsed(tag)["model_id"]


def packed_files(
    model_folder: Path, example: Mapping[str, Any], *, product: str, as_of: str, words: bytes
) -> dict[str, bytes]:
    """Everything that a bento of this model holds, path in the bento -> content; the seal has the hash of each.

    Raises:
        HeadraceError: the model is damaged, or the example is not a row that it accepts.
    """
    manifest, files = read_model(model_folder)
    row = json_row(example, manifest.features.inputs)
    _check_example(manifest, row)
    model = f"model/{manifest.model_id}"
    serving = Serving(product=product, model_id=manifest.model_id, as_of=as_of)
    packed = {
        **{path: (CHECKOUT / path).read_bytes() for path in PACKED_CODE},
        **{f"{model}/{name}": content for name, content in files.items()},
        **{f"{model}/{name}": (model_folder / name).read_bytes() for name in (MANIFEST, SEAL)},
        BLESSINGS: words,
        "example.json": json.dumps(row, indent=2).encode(),
        "requirements.txt": "".join(f"{line}\n" for line in requirements()).encode(),
        "serving.json": serving.to_json().encode(),
    }
    return {**packed, SEAL: seal_of(packed)}


def seal_hash(settings: Settings, tag: str) -> str:
    """SHA-256 of a bento's seal, which has the hash of every packed file: equal hashes, equal bentos.

    Raises:
        HeadraceError: the bento is not there, or a file is not the one that was packed.
    """
    folder = bento_path(settings, tag) / "src"
    read_sealed(folder)
    return sha256_of((folder / SEAL).read_bytes())


def requirements() -> list[str]:
    """What a bento needs, pinned to the versions it is built and asked with."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in REQUIREMENTS]


def content_hash_of(packed: Mapping[str, bytes]) -> str:
    """Eight hexadecimal digits that change with any packed path or byte."""
    digest = hashlib.sha256()
    for path, content in sorted(packed.items()):
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:8]


def is_whole(bento: Path, packed: Mapping[str, bytes]) -> bool:
    """Whether a bento is there with every packed file, byte for byte."""
    try:
        return (bento / "bento.yaml").is_file() and all(
            (bento / "src" / path).read_bytes() == content for path, content in packed.items()
        )
    except OSError:
        return False


def build_file(tag: str) -> dict[str, Any]:
    """BentoML's build file. Nothing is locked or downloaded: the requirements are pinned already."""
    found = _parsed(tag)
    return {
        "name": found["product"],
        "service": "bentos.service:Predictions",
        "labels": {"product": found["product"], "model_id": found["model_id"]},
        "include": [*PACKED_CODE, "model/**", BLESSINGS, SEAL, "example.json", "requirements.txt", "serving.json"],
        "python": {"requirements_txt": "requirements.txt", "lock_packages": False},
    }


def _build(settings: Settings, tag: str, packed: Mapping[str, bytes], target: Path) -> None:
    """Build in a home of its own, then move the bento to its place."""
    product, _, version = tag.partition(":")
    staging = settings.bentos / "staging" / product
    shutil.rmtree(staging, ignore_errors=True)
    home = staging / "home"
    # BentoML refuses to build below a hidden folder, which the default home is
    with tempfile.TemporaryDirectory(prefix="headrace-bento-") as context:
        done = _run_build(settings, tag, packed, Path(context), home)
    built = home / "bentos" / product / version
    if done.returncode or not is_whole(built, packed):
        raise HeadraceError(
            "the bento could not be built", product=product, where=tag,
            found="\n    ".join(done.stdout.splitlines()[-_LOG_LINES:]),
            fix="the last lines of BentoML's log say why; correct it and materialize the bento again",
        )  # fmt: skip
    _synchronise(built)
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    built.replace(target)
    latest = staging / "latest"
    latest.write_text(version)
    latest.replace(target.parent / "latest")
    shutil.rmtree(staging, ignore_errors=True)


def _run_build(
    settings: Settings, tag: str, packed: Mapping[str, bytes], context: Path, home: Path
) -> subprocess.CompletedProcess[str]:
    """Lay out the build context and run `bentoml build` there.

    A process of its own: a second build in one process packs the first one's modules.
    """
    build = {"bentofile.yaml": json.dumps(build_file(tag), indent=2).encode()}  # JSON is YAML
    for path, content in {**packed, **build}.items():
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        (context / path).write_bytes(content)
    return subprocess.run(
        [sys.executable, "-m", "bentoml", "build", ".", "--version", tag.partition(":")[2]],
        cwd=context,
        env={**settings.environment(), "BENTOML_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )


def _check_example(manifest: ModelManifest, row: dict[str, Any]) -> None:
    try:
        wire_types(manifest, row).request.model_validate_json(json.dumps({"rows": [row]}))
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        raise HeadraceError(
            f"the example row is not one that the model accepts: {item['msg']}", product=manifest.product,
            where=".".join(str(part) for part in item["loc"][2:]), found=repr(item["input"]),
            fix="take a whole row of the feature table; if it is one, its types no longer match the product's spec",
        ) from None  # fmt: skip


def _synchronise(folder: Path) -> None:
    """Wait until every file below a folder is on disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _parsed(tag: str) -> re.Match[str]:
    found = _TAG.fullmatch(tag)
    if found is None:
        raise HeadraceError(
            "not the tag of a bento", where=tag, expected="product:model_id-hash",
            fix="take the tag from the live pointer or from the bento asset's metadata",
        )  # fmt: skip
    return found
