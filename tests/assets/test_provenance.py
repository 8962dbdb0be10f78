"""Where something came from: commit, what differs from it, and who or what asked."""

import subprocess
from pathlib import Path

import pytest

from assets.provenance import asked_by, patch_path, person, provenance_of, read_code
from assets.settings import Settings


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"dagster/sensor_name": "flights_drift", "headrace/cause": "drift"}, "sensor flights_drift (drift)"),
        ({"dagster/schedule_name": "flights_retrain"}, "schedule flights_retrain"),
        ({"dagster/from_automation_condition": "true"}, "automation"),
        ({"dagster/backfill": "abc"}, "backfill abc"),
        ({"headrace/cause": "command"}, f"{person()}: command"),
        ({"user": "ada"}, "ada: Dagster"),
        ({}, f"{person()}: Dagster"),
    ],
    ids=["sensor", "schedule", "automation", "backfill", "command", "named user", "click"],
)
def test_whoever_asks_is_named(tags: dict[str, str], expected: str) -> None:
    assert asked_by(tags) == expected


def git(folder: Path, *command: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *command], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit of code."""
    folder = tmp_path / "checkout"
    (folder / "assets").mkdir(parents=True)
    (folder / "assets" / "code.py").write_text("VALUE = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    read_code.cache_clear()
    return folder


def test_clean_code_is_its_commit(checkout: Path) -> None:
    (checkout / "notes.txt").write_text("no code")
    assert read_code(checkout) == (git(checkout, "rev-parse", "HEAD").strip(), b"")


def test_changed_and_new_files_are_a_patch_that_makes_them_again(checkout: Path, tmp_path: Path) -> None:
    """Whatever git settings the user has; and the user's index stays as it was."""
    git(checkout, "config", "diff.noprefix", "true")
    (checkout / "assets" / "code.py").write_text("VALUE = 2\n")
    (checkout / "assets" / "new.bin").write_bytes(bytes(range(256)))
    before = git(checkout, "status", "--porcelain")
    _, patch = read_code(checkout)
    assert git(checkout, "status", "--porcelain") == before
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(checkout), str(other))
    (tmp_path / "patch").write_bytes(patch)
    git(other, "apply", str(tmp_path / "patch"))
    assert (other / "assets" / "code.py").read_text() == "VALUE = 2\n"
    assert (other / "assets" / "new.bin").read_bytes() == bytes(range(256))


def test_without_git_there_is_no_commit(tmp_path: Path) -> None:
    read_code.cache_clear()
    assert read_code(tmp_path) == ("", b"")


def test_the_patch_of_uncommitted_code_is_kept_in_the_home(tmp_path: Path) -> None:
    """So that a model of today's code can be trained again tomorrow."""
    read_code.cache_clear()
    settings = Settings(home=tmp_path)
    found = provenance_of(settings, "ada@laptop: command")
    assert found.asked_by == "ada@laptop: command"
    assert bool(found.code_changes) == patch_path(settings, found.code_changes or "none").exists()
