"""`headrace maintain`: what it prints."""

import json

import pytest

from assets.home import Home
from assets.spec import ProductSpec
from orchestration.cli.maintain import maintain_lake


@pytest.fixture(scope="module")
def home(session_home: Home) -> Home:
    """A home whose lake has a table of three small files."""
    lake = session_home.lake("toy")
    lake.transact(lambda con: con.execute("create table if not exists lake.raw.small (n int)"))
    for _ in range(3):
        lake.transact(lambda con: con.execute("insert into lake.raw.small select * from range(50)"))
    return session_home


def test_a_dry_run_and_a_run_say_how_many_files_there_are(
    home: Home, toy: ProductSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    maintain_lake(home.settings, toy, dry_run=True)
    told = capsys.readouterr().out
    assert "what maintenance would do now" in told
    assert "small files lie beside others of their table" in told
    maintain_lake(home.settings, toy)
    told = capsys.readouterr().out
    assert "toy: maintained" in told
    assert "small files merged into few" in told


def test_json_is_all_that_is_printed(home: Home, toy: ProductSpec, capsys: pytest.CaptureFixture[str]) -> None:
    maintain_lake(home.settings, toy, dry_run=True, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["product"] == "toy"
    assert found["is_dry_run"] is True
    assert found["before"] == found["after"]
