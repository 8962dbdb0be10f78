"""Local files: whole or not there, and never another process's."""

import itertools
import os
from pathlib import Path

import pytest

from assets import files
from assets.files import own_path, write_file_atomically


def test_a_file_appears_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "pointer.json"
    for content in (b"first", b"second, longer", b""):
        write_file_atomically(path, content)
        assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["pointer.json"]


def test_a_reader_of_a_file_that_is_replaced_keeps_what_it_opened(tmp_path: Path) -> None:
    path = tmp_path / "pointer.json"
    write_file_atomically(path, b"first")
    with path.open("rb") as reader:
        write_file_atomically(path, b"second")
        assert reader.read() == b"first"


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "pointer.json"
    write_file_atomically(path, b"first")
    with pytest.raises(TypeError):
        write_file_atomically(path, None)  # type: ignore[arg-type]
    assert path.read_bytes() == b"first"


def test_an_own_path_is_nobody_elses_also_when_a_process_gets_the_number_of_a_killed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container each process may be number 1.

    Regression: it wrote over what the killed one had left, through a hard link also over a refused file's kept bytes.
    """
    first = own_path(tmp_path, "staged")
    first.write_text("left")
    assert own_path(tmp_path, "staged") != first
    assert first.exists()
    monkeypatch.setattr(files, "_token", lambda _: "another process")
    monkeypatch.setattr(files, "_OWN_PATHS", itertools.count())
    assert own_path(tmp_path, "staged") != first
    assert not first.exists()
