"""The command line: help for every command, and mistakes as messages with exit code 1."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assets.settings import CHECKOUT
from orchestration.cli.main import app

COMMANDS = [
    "new",
    "demo",
    "land",
    "run",
    "backtest",
    "split",
    "status",
    "history",
    "models",
    "promote",
    "block",
    "rollback",
    "accept",
    "quarantine",
    "replay-quarantine",
    "forget-source",
    "maintain",
    "replay",
    "diff",
    "card",
    "score-card",
    "serve",
    "ui",
    "sql",
    "doctor",
]


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(command in result.output for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_an_unknown_product_is_a_message_and_exit_code_1(tmp_path: Path) -> None:
    """The whole command as a user types it: no trace, on standard error, and nothing was made in the home."""
    result = subprocess.run(
        [sys.executable, "-m", "orchestration.cli.main", "status", "flihgts"],
        cwd=CHECKOUT,
        env={**os.environ, "HEADRACE_HOME": str(tmp_path / "home"), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error flihgts: ")
    assert "no such product" in result.stderr
    assert "expected: flights" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert not (tmp_path / "home").exists()


def test_a_home_that_cannot_be_made_is_a_message_too(tmp_path: Path) -> None:
    """Regression: whatever the system refused (a full disk, a folder that may not be written) was a stack trace."""
    month = tmp_path / "flights_2013-01.csv"
    month.touch()
    result = subprocess.run(
        [sys.executable, "-m", "orchestration.cli.main", "land", "flights", str(month)],
        cwd=CHECKOUT,
        env={**os.environ, "HEADRACE_HOME": str(month / "home"), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "the system refuses" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_a_broken_spec_is_a_message_too(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text("product: toy\ntitle: [unclosed\n")
    result = subprocess.run(
        [sys.executable, "-m", "orchestration.cli.main", "status", "toy"],
        cwd=CHECKOUT,
        env={
            **os.environ,
            "HEADRACE_HOME": str(tmp_path / "home"),
            "HEADRACE_PRODUCTS": str(tmp_path),
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "toy.yaml, line 3: not valid YAML" in result.stderr
    assert "Traceback" not in result.stderr
