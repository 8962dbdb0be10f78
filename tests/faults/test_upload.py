"""A delivery to an object store that is killed at any of its points is finished by one rerun: the object is there once.

It needs a server, so it is no step of a day.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from assets.home import Home
from assets.raw.places import deliver, landed_files, stage
from assets.settings import CHECKOUT
from tests.faults.deliveries import chance, parcels
from tests.faults.scenarios import spec_with

DELIVER = """
import sys
from pathlib import Path
from assets.home import Home
from assets.raw.places import deliver
from assets.settings import Settings
from tests.faults.scenarios import spec_with
location, home, file = sys.argv[1:]
spec = spec_with({"location": location, "arrival": {"done_marker": True}})
deliver(Home(Settings(home=home)), spec, Path(file))
"""
POINTS = ("landing.upload.before", "landing.upload.after", "landing.upload_marker.after")


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_upload_is_finished_by_one_rerun(point: str, bucket: str, home: Home, tmp_path: Path) -> None:
    delivery = parcels(chance(point), 1)
    file = tmp_path / delivery.name
    file.write_bytes(delivery.content)
    location = f"s3://{bucket}/landing/"
    arguments = [sys.executable, "-c", DELIVER, location, str(tmp_path / "home"), str(file)]
    killed = subprocess.run(arguments, cwd=CHECKOUT, env={**os.environ, "HEADRACE_KILL_POINT": point}, check=False)
    assert killed.returncode == -signal.SIGKILL
    spec = spec_with({"location": location, "arrival": {"done_marker": True}})
    whole = landed_files(home, spec)
    assert len(whole) == (point == POINTS[-1]), "without its marker the object waits"
    deliver(home, spec, file)
    (landed,) = landed_files(home, spec)
    staged = stage(landed, tmp_path)
    assert (landed.name, staged.sha256) == (delivery.name, delivery.sha256)
