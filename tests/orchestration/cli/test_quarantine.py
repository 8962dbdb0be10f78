"""What an operator sees of quarantine, and what a replay tells."""

import csv
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assets.errors import HeadraceError
from assets.home import Home
from assets.raw.ingest import load_staged
from assets.raw.places import Staged
from assets.raw.reader.protocol import RefusedFileError
from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli import console
from orchestration.cli.quarantine import replay_quarantine, show_quarantine

ORDERS = "order_id,ordered_at,size,kind\n"
GOOD = "1,2024-01-01,2.5,shoes\n"
BAD = "2,2024-01-02,NA,=1+1\n3,2024-01-02,NA,[red]\x1b[2J\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with rows of one batch and the file of another in quarantine; tests that mend them come last."""
    home = Home(Settings(home=tmp_path_factory.mktemp("quarantine-cli")))
    home.lake("toy")
    return home


@pytest.fixture(scope="module")
def waiting(home: Home, toy: ProductSpec) -> Home:
    load(home, toy, "2024-01", ORDERS + GOOD + BAD)
    with pytest.raises(RefusedFileError):
        load(home, toy, "2024-02", "order_id,ordered_at,kind\n1,2024-02-01,shoes\n")
    return home


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.out, "_width", 400)


def load(home: Home, spec: ProductSpec, batch: str, content: str) -> None:
    path = home.lake("toy").staging / f"{batch}.staged"
    path.write_bytes(content.encode())
    staged = Staged(path, hashlib.sha256(content.encode()).hexdigest(), len(content.encode()))
    load_staged(home.lake("toy"), "toy", spec.source, staged, file_name=f"orders_{batch}.csv", batch_id=batch)


def told(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_nothing_in_quarantine_is_one_sentence(tmp_path: Path, toy: ProductSpec, capsys: Any) -> None:
    settings = Settings(home=tmp_path)
    show_quarantine(settings, toy)
    replay_quarantine(settings, toy)
    assert capsys.readouterr().out == "Nothing of toy is in quarantine.\nNothing waits in quarantine.\n"


def test_what_waits_is_listed_by_batch_and_reason_with_what_to_do(waiting: Home, toy: ProductSpec, capsys: Any) -> None:
    show_quarantine(waiting.settings, toy)
    said = told(capsys.readouterr().out)
    assert "In quarantine of toy: 2 rows, 1 file" in said
    assert "2024-01 2 size: expected DOUBLE, in orders_2024-01.csv" in said
    assert "2024-02 1 file orders_2024-02.csv refused: " in said
    assert "Row by row: headrace quarantine toy --batch 2024-01" in said
    assert "headrace replay-quarantine toy" in said
    show_quarantine(waiting.settings, toy, as_json=True)
    rows, file = json.loads(capsys.readouterr().out)["waiting"]
    assert (rows["kind"], rows["count"], rows["reason"]) == ("rows", 2, "size: expected DOUBLE")
    assert (file["kind"], file["batch"], "size" in file["reason"], bool(file["what_to_do"])) == (
        "file", "2024-02", True, True,
    )  # fmt: skip


def test_a_batch_is_shown_row_by_row_and_nothing_in_it_is_obeyed(waiting: Home, toy: ProductSpec, capsys: Any) -> None:
    show_quarantine(waiting.settings, toy, batch="2024-01")
    said = capsys.readouterr().out
    assert re.search(r"^ *2 +size +DOUBLE +NA +", said, re.MULTILINE)
    assert "[red]" in said
    assert "\x1b" not in said
    show_quarantine(waiting.settings, toy, batch="2024-01", rows=1)
    assert "1 more row: add --rows 2" in told(capsys.readouterr().out)
    show_quarantine(waiting.settings, toy, batch="2024-01", as_json=True)
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["row_number"], row["column"], row["found"]) for row in rows] == [(2, "size", "NA"), (3, "size", "NA")]
    show_quarantine(waiting.settings, toy, batch="2024-02")
    assert "refused orders_2024-02.csv" in capsys.readouterr().out


@pytest.mark.parametrize("command", [show_quarantine, replay_quarantine])
def test_a_batch_without_anything_in_quarantine_is_an_error_that_names_those_with(
    waiting: Home, toy: ProductSpec, command: Callable[..., None]
) -> None:
    with pytest.raises(HeadraceError, match="nothing of this batch") as caught:
        command(waiting.settings, toy, batch="2023-12")
    assert caught.value.expected == "2024-01, 2024-02"


def test_an_export_is_said(waiting: Home, toy: ProductSpec, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "waiting.csv"
    show_quarantine(waiting.settings, toy, export=path)
    assert capsys.readouterr().out == f"wrote 2 rows and 1 refused file to {path}\n"
    with path.open(newline="") as file:
        assert [row["kind"] for row in csv.DictReader(file)] == ["row", "row", "file"]


def test_a_replay_tells_what_was_loaded_and_what_waits_and_a_second_one_finds_nothing(
    waiting: Home, toy: ProductSpec, spec_of: Callable[..., ProductSpec], capsys: Any
) -> None:
    replay_quarantine(waiting.settings, toy)
    said = told(capsys.readouterr().out)
    assert "✗ 2024-01 orders_2024-01.csv: 2 rows left: 2 rows size: expected DOUBLE" in said
    assert "Loaded 0 rows (0 refused files among them). Still in quarantine: 2 rows, 1 file." in said
    assert "headrace run" not in said
    fixed = spec_of({"source.nulls": ["NA"], "source.contract": "evolve"})
    replay_quarantine(waiting.settings, fixed, as_json=True)
    done = json.loads(capsys.readouterr().out)["replayed"]
    assert [(item["batch_id"], item["kind"], item["outcome"], item["rows_loaded"]) for item in done] == [
        ("2024-01", "rows", "loaded", 2),
        ("2024-02", "file", "loaded", 1),
    ]
    replay_quarantine(waiting.settings, fixed)
    assert capsys.readouterr().out == "Nothing waits in quarantine.\n"
    show_quarantine(waiting.settings, fixed)
    assert capsys.readouterr().out == "Nothing of toy is in quarantine.\n"
