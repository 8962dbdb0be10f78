"""`new && land && run` on every data set, to a live bento or a written refusal; `make matrix` runs them all."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.settings import CHECKOUT, Settings
from tests.matrix.sets import SETS

pytestmark = pytest.mark.matrix
# gates whose word may be no: it is in the ledger then, and nothing is served
_MAY_BE_REFUSED = {"seattle_weather", "sunspots", "stocks", "us_employment", "heart", "fair", "months"}


def headrace(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real command on a home."""
    environment = {
        **settings.environment(),
        "HEADRACE_PRODUCTS": str(settings.products),
        "HEADRACE_DBT_PROJECT": str(settings.dbt_project),
        "COLUMNS": "200",
    }
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli.main", *arguments],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,  # the promise is five minutes
        check=False,
    )


@pytest.mark.parametrize(
    "name",
    [name for name, item in SETS.items() if not item.refusal],
)
def test_an_unseen_file_becomes_a_served_model(
    name: str, empty_settings: Callable[[str], Settings], tmp_path: Path
) -> None:
    settings, item = empty_settings(name), SETS[name]
    files = item.make(tmp_path)
    options = [f"--{option}={value}" for option, value in item.options.items()]
    made = headrace(settings, "new", name, *(f"--from={file}" for file in files), *options, "--yes")
    assert made.returncode == 0, made.stderr
    assert headrace(settings, "land", name, *map(str, files)).returncode == 0
    ran = headrace(settings, "run", name)
    status = json.loads(headrace(settings, "status", name, "--json").stdout)
    if ran.returncode and name in _MAY_BE_REFUSED:
        assert status["live"] is None
        assert "REFUSED" in json.dumps(status["decisions"])
        return
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert status["live"]["product"] == name
