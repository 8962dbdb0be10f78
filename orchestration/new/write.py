"""Write a new product: its spec and its dbt models, all of it or nothing."""

import shutil
from pathlib import Path

from filelock import FileLock

from assets.errors import HeadraceError
from assets.files import write_file_atomically
from assets.settings import Settings
from orchestration.new.conclude import Conclusions
from orchestration.new.models import models
from orchestration.new.spec_file import spec_text


def ensure_free(settings: Settings, name: str) -> None:
    """Refuse a name whose product or dbt models are there already; what a killed `new` left is cleared away.

    Waits for a `new` that is writing: what that has made so far looks like what a killed one left.

    Raises:
        HeadraceError: something of that name is there.
    """
    with _lock(settings):
        _ensure_free(settings, name)


def _lock(settings: Settings) -> FileLock:
    return FileLock(settings.dbt_project / ".new.lock")


def _ensure_free(settings: Settings, name: str) -> None:
    spec, left = settings.products / f"{name}.yaml", _unfinished(settings, name)
    folders = _folders(settings, name)
    if spec.exists():
        shutil.rmtree(left, ignore_errors=True)
        raise HeadraceError(
            "this product is there already",
            product=name,
            where=str(spec),
            expected="a name that is free",
            fix="choose another name, or edit that file and the models below dbt_project/models",
        )
    if left.exists():
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(left)
    found = next((folder for folder in folders if folder.exists()), None)
    if found is not None:
        raise HeadraceError(
            "there are dbt models of this name without a product",
            product=name,
            where=str(found),
            expected="no such folder",
            fix="choose another name, or move that folder away",
        )


def write_product(settings: Settings, found: Conclusions) -> list[Path]:
    """Write spec and models: the folders appear by rename, the spec, which makes the product, last.

    Raises:
        HeadraceError: the name is taken, or what was made is no product (nothing stays then).
    """
    name = found.name
    text = spec_text(found)
    settings.products.mkdir(parents=True, exist_ok=True)
    with _lock(settings):
        _ensure_free(settings, name)
        left = _unfinished(settings, name)
        for path, content in models(found).items():
            write_file_atomically(left / path, content.encode())
        try:
            for folder in _folders(settings, name):
                made = left / folder.parent.name / name
                folder.parent.mkdir(parents=True, exist_ok=True)
                made.rename(folder)
            _parse(settings)
            write_file_atomically(settings.products / f"{name}.yaml", text.encode())
        except BaseException:
            for folder in _folders(settings, name):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(left, ignore_errors=True)
    return [settings.products / f"{name}.yaml", *_folders(settings, name)]


def _unfinished(settings: Settings, name: str) -> Path:
    """Where files are written before they appear; its being there says that a `new` of that name was killed."""
    return settings.dbt_project / ".new" / name


def _folders(settings: Settings, name: str) -> tuple[Path, Path]:
    base = settings.dbt_project / "models"
    return base / "staging" / name, base / "marts" / name


def _parse(settings: Settings) -> None:
    """Let dbt read the models; the first run needs its manifest anyway."""
    from assets.cleaned.dbt import ensure_manifest

    ensure_manifest(settings)
