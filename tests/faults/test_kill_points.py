"""The list of kill points is whole: every one in the sources is in it, and every one in it is passed by a day."""

import re
from collections.abc import Callable

from assets.settings import CHECKOUT
from tests.faults.harness import Harness
from tests.faults.points import ELSEWHERE, KILL_POINTS, OF_DBT

CALL = re.compile(r'kill_point\(\s*(f?)"([^"]+)"')
PLACEHOLDER = re.compile(r"\\\{[^}]*\\\}")


def in_sources() -> dict[str, list[str]]:
    """Patterns of the names in the sources' calls, each with the files that have it."""
    found: dict[str, list[str]] = {}
    for top in ("assets", "bentos", "sensors", "orchestration"):
        for path in sorted((CHECKOUT / top).rglob("*.py")):
            for is_formatted, name in CALL.findall(path.read_text(encoding="utf-8")):
                pattern = PLACEHOLDER.sub(r"[a-z_.]+", re.escape(name)) if is_formatted else re.escape(name)
                found.setdefault(pattern, []).append(str(path.relative_to(CHECKOUT)))
    return found


def test_every_kill_point_in_the_sources_is_in_the_list_and_the_other_way_round() -> None:
    sources = in_sources()
    elsewhere = [re.escape(name) for name in ELSEWHERE]
    unknown = {
        pattern: files
        for pattern, files in sources.items()
        if not any(re.fullmatch(pattern, name) for name in KILL_POINTS)
        and not any(pattern.startswith(name) for name in elsewhere)
        and not any("postgres" in file for file in files)
    }
    assert unknown == {}
    gone = [
        name
        for name in KILL_POINTS
        if name not in OF_DBT and not any(re.fullmatch(pattern, name) for pattern in sources)
    ]
    assert gone == []
    assert len(KILL_POINTS) == len(set(KILL_POINTS)) >= 30


def test_points_that_need_a_server_have_a_test_that_has_one() -> None:
    for beginning, test in ELSEWHERE.items():
        assert beginning in (CHECKOUT / test).read_text(encoding="utf-8")


def test_every_kill_point_is_passed_by_a_day(days: Callable[[int], Harness]) -> None:
    passed = days(1).passings()
    assert sorted(passed) == sorted(KILL_POINTS)
