"""The code and the environment of then: a checkout of the recorded commit with its uncommitted changes, and a Python.

Both are made from what `assets.provenance` has recorded, verified by hash, and leave the user's checkout as it is.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from assets.errors import HeadraceError
from assets.model_store import sha256_of
from assets.provenance import patch_path, read_code, requirements_hash
from assets.records import Provenance
from assets.settings import CHECKOUT, Settings

_GIT_SECONDS = 300
_INSTALL_SECONDS = 1_800
_LOCK = "requirements.lock"


def is_today(made_by: Provenance) -> bool:
    """Whether code and requirements of then are those of this checkout now."""
    commit, patch = read_code(CHECKOUT)
    changes = sha256_of(patch) if patch else ""
    now = (commit, changes, requirements_hash(CHECKOUT))
    return (made_by.code_commit, made_by.code_changes, made_by.requirements) == now


def code_in_words(made_by: Provenance) -> str:
    """Which code that was, for a person."""
    if not made_by.code_commit:
        return "no recorded commit"
    return f"commit {made_by.code_commit[:12]}" + (
        f" with uncommitted changes {made_by.code_changes[:12]}" if made_by.code_changes else ""
    )


@contextmanager
def recorded_checkout(settings: Settings, made_by: Provenance, checkout: Path = CHECKOUT) -> Iterator[Path]:
    """A temporary checkout of the code of then, removed afterwards.

    Args:
        settings: says where the patches of uncommitted changes are kept.
        made_by: commit, changes and requirements; the requirements are compared with what the checkout has.
        checkout: a git repository that has the commit.

    Raises:
        HeadraceError: this is no git repository, it lacks the commit, or the patch is gone, damaged or doesn't apply.
    """
    patch = _verified_patch(settings, made_by.code_changes)
    _require_commit(checkout, made_by.code_commit)
    with tempfile.TemporaryDirectory(prefix="headrace-code-") as folder:
        tree = Path(folder) / "code"
        try:
            _git(checkout, "worktree", "add", "--quiet", "--detach", str(tree), made_by.code_commit)
            if patch:
                _git(tree, "apply", "--whitespace=nowarn", "-", given=patch)
            _require_requirements(tree, made_by)
            yield tree
        finally:
            _remove(checkout, tree)


def python_of(settings: Settings, made_by: Provenance, versions: Mapping[str, str], tree: Path) -> Path:
    """A Python with the requirements of then: this one if they are today's, else one made once and kept in the home.

    Args:
        settings: the environment is kept in HOME/code.
        made_by: names the requirements by their hash.
        versions: as the manifest has them; `python` is asked for.
        tree: the checkout with these requirements.

    Raises:
        HeadraceError: it can't be made here (no package index, say); says which versions differ.
    """
    if made_by.requirements == requirements_hash(CHECKOUT):
        return Path(sys.executable)
    folder = settings.home / "code" / f"env-{made_by.requirements[:16]}"
    python, done = folder / "bin" / "python", folder / ".complete"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if done.exists():
            return python
        shutil.rmtree(folder, ignore_errors=True)
        for command in (
            ["venv", "--quiet", "--python", versions.get("python", sys.executable), str(folder)],
            ["pip", "sync", "--quiet", "--python", str(python), "--allow-empty-requirements", str(tree / _LOCK)],
        ):
            _uv(command, versions)
        done.touch()
    return python


def versions_that_differ(versions: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Library -> (recorded, installed here) where they differ; `python` is one of them."""
    import platform

    differing = {}
    for name, recorded in versions.items():
        try:
            installed = platform.python_version() if name == "python" else importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "none"
        if installed != recorded:
            differing[name] = (recorded, installed)
    return differing


def _verified_patch(settings: Settings, changes: str) -> bytes:
    """The kept patch of uncommitted changes, empty where there were none; its hash is verified before git reads it."""
    if not changes:
        return b""
    path = patch_path(settings, changes)
    try:
        patch = path.read_bytes()
    except FileNotFoundError:
        raise HeadraceError(
            "the model was trained by uncommitted code whose patch is gone",
            where=str(path),
            expected=f"a patch with SHA-256 {changes[:16]}",
            found="no file",
            fix="restore HOME/code from a backup; commit before training models that have to last",
        ) from None
    if sha256_of(patch) != changes:
        raise HeadraceError(
            "the patch of the uncommitted code is not the one that was kept; it was not applied",
            where=str(path),
            expected=f"SHA-256 {changes[:16]}",
            found=sha256_of(patch)[:16],
            fix="restore it from a backup",
        )
    return patch


def _require_commit(checkout: Path, commit: str) -> None:
    try:
        _git(checkout, "cat-file", "-e", f"{commit}^{{commit}}")
    except HeadraceError as error:
        raise HeadraceError(
            "this checkout doesn't have the commit that the model was trained by",
            where=str(checkout),
            expected=f"commit {commit}",
            found=error.found,
            fix="run from the git checkout it was trained in, or fetch that commit (git fetch --all)",
        ) from None


def _require_requirements(tree: Path, made_by: Provenance) -> None:
    try:
        found = sha256_of((tree / _LOCK).read_bytes())
    except FileNotFoundError:
        found = ""
    if found != made_by.requirements:
        raise HeadraceError(
            "the recorded code has other requirements than were recorded with it",
            where=_LOCK,
            expected=made_by.requirements[:16] or "none",
            found=found[:16] or "none",
            fix="it may be ignored by git and was changed; put the file of then back",
        )


def _remove(checkout: Path, tree: Path) -> None:
    """Remove a worktree, however far it came."""
    try:
        _git(checkout, "worktree", "remove", "--force", str(tree))
    except HeadraceError:
        shutil.rmtree(tree, ignore_errors=True)
        subprocess.run(
            ["git", "-C", str(checkout), "worktree", "prune"],  # noqa: S607 - the user's git
            capture_output=True,
            check=False,
            timeout=_GIT_SECONDS,
        )


def _git(folder: Path, *command: str, given: bytes | None = None) -> bytes:
    """What git prints.

    Raises:
        HeadraceError: there is no git, or it said no; with what it said.
    """
    # no hooks: a checkout of then must not run what somebody's repository does after each checkout
    full = ["git", "-C", str(folder), "-c", "core.hooksPath=/dev/null", *command]
    # a hook that called us has set GIT_DIR and others to its own repository
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(
            full, input=given, capture_output=True, check=True, timeout=_GIT_SECONDS, env=clean
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        raise HeadraceError(
            f"git could not {command[0]}",
            where=str(folder),
            found=" ".join(said.decode(errors="replace").split()) or "no reason given",
            fix="the model is unharmed; mend what git names and run again",
        ) from None


def _uv(command: list[str], versions: Mapping[str, str]) -> None:
    """Run uv of this environment, or the one on the path; it never downloads a Python."""
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        subprocess.run(
            [shutil.which("uv", path=here) or "uv", *command],
            capture_output=True,
            check=True,
            timeout=_INSTALL_SECONDS,
            env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"},
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error).encode()
        differing = versions_that_differ(versions)
        then = ", ".join(f"{name} {recorded}" for name, (recorded, _) in differing.items())
        now = ", ".join(f"{name} {installed}" for name, (_, installed) in differing.items())
        alike = "other requirements than today's, but the same versions of all that decides a model's bytes"
        raise HeadraceError(
            "the environment of then can't be made here, so the model can't be trained again",
            where=f"uv {' '.join(command[:2])}",
            expected=then or alike,
            found=f"{now or 'no such environment'}; uv said: {' '.join(said.decode(errors='replace').split())[:300]}",
            fix="connect to the package index (or set UV_DEFAULT_INDEX to one that is reachable) and run again",
        ) from None
