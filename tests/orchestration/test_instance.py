"""The home's Dagster instance."""

import subprocess
import sys
from pathlib import Path

from assets.settings import CHECKOUT, Settings
from orchestration.instance import open_instance

OPENING = """
import sys
from assets.settings import Settings
from orchestration.instance import open_instance
print("imported", flush=True)
for home in sys.stdin:
    open_instance(Settings(home=home.strip())).get_runs()
    print("opened", flush=True)
"""


def test_processes_that_open_a_new_home_at_once_all_can(tmp_path: Path) -> None:
    """Dagster alone stamps the version of its tables once per process that found none; then no one opens them again."""
    opening = [
        subprocess.Popen(
            [sys.executable, "-c", OPENING], cwd=CHECKOUT, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    homes = [tmp_path / str(number) for number in range(5)]  # one race is easily won by being early
    for home in homes:
        for process in opening:
            assert process.stdout
            process.stdout.readline()  # each waits, so all start at once
        for process in opening:
            assert process.stdin
            process.stdin.write(f"{home}\n")
    ends = [(*process.communicate(timeout=120), process.returncode) for process in opening]
    assert [code for *_, code in ends] == [0, 0, 0], ends
    for home in homes:
        assert open_instance(Settings(home=home)).get_runs() == []
