"""Bytes that are kept for a replay: whole or not there, once, and only under the name of their content."""

import hashlib
from pathlib import Path

import pytest

from assets.home import Home
from assets.raw.kept import forget, keep, kept, kept_contents

CONTENT = b"order_id\n1\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    path = tmp_path / "copy.staged"
    path.write_bytes(CONTENT)
    return path


def test_what_is_kept_outlives_the_staged_copy_and_is_there_once(home: Home, staged: Path) -> None:
    places = {keep(home.settings, "toy", staged, SHA256) for _ in range(2)}
    staged.unlink()
    assert places == {kept(home.settings, "toy", SHA256)}
    assert [path.read_bytes() for path in home.settings.quarantine.rglob("*") if path.is_file()] == [CONTENT]


def test_a_copy_is_made_where_the_file_system_has_no_links(
    home: Home, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: object) -> None:
        raise OSError("links are not supported")

    monkeypatch.setattr("os.link", no_link)
    assert keep(home.settings, "toy", staged, SHA256).read_bytes() == CONTENT


def test_what_is_forgotten_or_another_products_is_not_there(home: Home, staged: Path) -> None:
    keep(home.settings, "toy", staged, SHA256)
    assert kept(home.settings, "other", SHA256) is None
    assert kept_contents(home.settings, "toy") == [SHA256]
    for _ in range(2):
        forget(home.settings, "toy", SHA256)
    assert kept(home.settings, "toy", SHA256) is None
    assert kept_contents(home.settings, "toy") == kept_contents(home.settings, "other") == []


@pytest.mark.parametrize("name", ["", "../../etc/passwd", SHA256.upper(), SHA256[:63], f"{SHA256}\n"])
def test_nothing_but_a_hash_becomes_a_path(home: Home, staged: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a SHA-256"):
        keep(home.settings, "toy", staged, name)
