"""The maintenance job in Dagster: it runs on a home, and its schedule is on."""

import dagster as dg

from assets.home import Home
from assets.maintenance.definitions import build
from assets.spec import ProductSpec


def test_the_job_maintains_the_lake_and_tells_its_size(session_home: Home, toy: ProductSpec) -> None:
    job, _ = build(toy)
    result = job.execute_in_process(resources={"home": session_home})
    assert result.success
    assert job.name == "toy_maintain"


def test_it_runs_once_a_week_by_itself(toy: ProductSpec) -> None:
    _, schedule = build(toy)
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.cron_schedule.endswith(" 3 * * 0")
