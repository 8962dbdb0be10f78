"""The code and environment of then, on tiny repositories and requirements."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.candidates.recorded_code import code_in_words, python_of, recorded_checkout, versions_that_differ
from assets.errors import HeadraceError
from assets.home import Home
from assets.model_store import sha256_of
from assets.provenance import patch_path
from assets.records import Provenance

Git = Callable[..., str]
REQUIREMENTS = b"# nothing\n"


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Git in a repository with one commit."""
    folder = tmp_path / "repository"
    (folder / "assets").mkdir(parents=True)

    def run(*command: str) -> str:
        who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        return subprocess.run(
            ["git", "-C", str(folder), *who, *command], check=True, capture_output=True, text=True
        ).stdout

    run("init", "--quiet")
    (folder / "requirements.lock").write_bytes(REQUIREMENTS)
    (folder / "assets" / "code.py").write_text("committed = 1\n", encoding="utf-8")
    run("add", ".")
    run("commit", "--quiet", "-m", "first")
    return run


@pytest.fixture
def repository(git: Git) -> Path:
    return Path(git("rev-parse", "--show-toplevel").strip())


@pytest.fixture
def made_by(git: Git, repository: Path, home: Home) -> Provenance:
    """The first commit with uncommitted changes, whose patch is kept, and a later commit on top."""
    commit = git("rev-parse", "HEAD").strip()
    (repository / "assets" / "code.py").write_text("committed = 1\nnot_yet = 2\n", encoding="utf-8")
    (repository / "assets" / "picture.png").write_bytes(bytes(range(256)))
    git("add", ".")
    patch = subprocess.run(
        ["git", "-C", str(repository), "diff", "--cached", "--binary", "HEAD"], check=True, capture_output=True
    ).stdout
    git("commit", "--quiet", "-m", "second")
    path = patch_path(home.settings, sha256_of(patch))
    path.parent.mkdir(parents=True)
    path.write_bytes(patch)
    return Provenance(code_commit=commit, code_changes=sha256_of(patch), requirements=sha256_of(REQUIREMENTS))


def test_the_commit_and_its_uncommitted_changes_are_there_and_removed_after_an_error(
    git: Git, repository: Path, made_by: Provenance, home: Home
) -> None:
    """A crash inside leaves neither a folder nor a worktree, and the user's checkout is as it was."""
    (repository / "assets" / "code.py").write_text("now = 3\n", encoding="utf-8")
    before = git("status", "--porcelain")
    used: list[Path] = []

    def use(tree: Path) -> None:
        used.append(tree)
        assert (tree / "assets" / "code.py").read_text(encoding="utf-8") == "committed = 1\nnot_yet = 2\n"
        assert (tree / "assets" / "picture.png").read_bytes() == bytes(range(256))
        raise RuntimeError

    with pytest.raises(RuntimeError), recorded_checkout(home.settings, made_by, repository) as tree:
        use(tree)
    assert not used[0].exists()
    assert len(git("worktree", "list").splitlines()) == 1
    assert (repository / "assets" / "code.py").read_text(encoding="utf-8") == "now = 3\n"
    assert git("status", "--porcelain") == before


def test_hooks_of_the_repository_do_not_run(repository: Path, made_by: Provenance, home: Home, tmp_path: Path) -> None:
    """To look at the code of then is no checkout of the user's."""
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n", encoding="utf-8")
    hook.chmod(0o755)
    with recorded_checkout(home.settings, made_by, repository):
        pass
    assert not (tmp_path / "ran").exists()


def test_a_patch_that_is_gone_or_was_changed_is_not_applied(repository: Path, made_by: Provenance, home: Home) -> None:
    """Its name is its hash, which is compared before git reads it."""
    path = patch_path(home.settings, made_by.code_changes)
    path.write_bytes(path.read_bytes().replace(b"not_yet = 2", b"not_yet = 3"))
    with (
        pytest.raises(HeadraceError, match="not the one that was kept"),
        recorded_checkout(home.settings, made_by, repository),
    ):
        pytest.fail("a changed patch was applied")
    path.unlink()
    with (
        pytest.raises(HeadraceError, match="whose patch is gone"),
        recorded_checkout(home.settings, made_by, repository),
    ):
        pytest.fail("there is no patch")


@pytest.mark.parametrize("where", ["another commit", "no repository"])
def test_a_commit_that_is_not_here_is_said_in_words(
    repository: Path, made_by: Provenance, home: Home, tmp_path: Path, where: str
) -> None:
    """The checkout was moved, cloned shallow, or is an unpacked archive."""
    lacking = made_by.model_copy(update={"code_commit": "0" * 40}) if where == "another commit" else made_by
    folder = repository if where == "another commit" else tmp_path
    with (
        pytest.raises(HeadraceError, match="doesn't have the commit"),
        recorded_checkout(home.settings, lacking, folder),
    ):
        pytest.fail("there is no such commit")


def test_requirements_that_are_not_the_recorded_ones_are_refused(
    git: Git, repository: Path, made_by: Provenance, home: Home
) -> None:
    """An environment made of others would prove nothing."""
    other = made_by.model_copy(update={"requirements": sha256_of(b"others")})
    with pytest.raises(HeadraceError, match="other requirements"), recorded_checkout(home.settings, other, repository):
        pytest.fail("the requirements differ")
    assert len(git("worktree", "list").splitlines()) == 1


def test_the_environment_of_then_is_made_once(home: Home, tmp_path: Path) -> None:
    """Named by its requirements, so that a second replay finds it; half a one of a killed process is made again."""
    (tmp_path / "requirements.lock").write_bytes(REQUIREMENTS)
    made_by = Provenance(requirements=sha256_of(REQUIREMENTS))
    half = home.settings.home / "code" / f"env-{made_by.requirements[:16]}"
    half.mkdir(parents=True)
    (half / "left").touch()
    python = python_of(home.settings, made_by, {}, tmp_path)
    assert not (half / "left").exists()
    code = "import importlib.util as u, sys; print(sys.prefix, u.find_spec('polars'))"
    found = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.split() == [str(half), "None"]
    (half / "kept").touch()
    assert python_of(home.settings, made_by, {}, tmp_path) == python
    assert (half / "kept").exists()


def test_an_environment_that_cannot_be_made_says_which_versions_differ(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline, the person learns what would be needed and what is here."""
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "requirements.lock").write_text("headrace-has-no-such-package==1.0\n", encoding="utf-8")
    made_by = Provenance(requirements=sha256_of((tmp_path / "requirements.lock").read_bytes()))
    with pytest.raises(HeadraceError, match="can't be made here") as refused:
        python_of(home.settings, made_by, {"polars": "0.1.0"}, tmp_path)
    assert refused.value.expected == "polars 0.1.0"
    assert "uv said" in refused.value.found
    assert not (home.settings.home / "code" / f"env-{made_by.requirements[:16]}" / ".complete").exists()


def test_versions_and_code_are_said_for_a_person() -> None:
    """What is missing here is none."""
    assert versions_that_differ({"headrace-has-no-such-package": "1"}) == {
        "headrace-has-no-such-package": ("1", "none")
    }
    assert code_in_words(Provenance()) == "no recorded commit"
    dirty = Provenance(code_commit="a" * 40, code_changes="b" * 64)
    assert code_in_words(dirty) == f"commit {'a' * 12} with uncommitted changes {'b' * 12}"
