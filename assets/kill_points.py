"""Named places at which the fault harness kills this process, as `kill -9` would; elsewhere they do nothing.

Each stands beside a statement that changes state, so that a test can ask what a rerun makes of a death right there.
"""

import os
import signal

_VARIABLE = "HEADRACE_KILL_POINT"


def kill_point(name: str) -> None:
    """Die here if the environment asks for it: `HEADRACE_KILL_POINT=name`, or `name:3` for the third time.

    Args:
        name: dotted, what happens and whether it is about to (`ingest.commit.before`) or just did.
    """
    wanted = os.environ.get(_VARIABLE)
    if not wanted:
        return
    point, _, times = wanted.partition(":")
    if point != name:
        return
    if int(times or 1) > 1:
        os.environ[_VARIABLE] = f"{point}:{int(times) - 1}"
        return
    os.kill(os.getpid(), signal.SIGKILL)
