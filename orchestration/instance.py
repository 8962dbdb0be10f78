"""Dagster's instance in the home: its dagster.yaml, written once, and the running of jobs in this process."""

import os
import socket
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
import psutil
import yaml
from filelock import FileLock

from assets.files import write_file_atomically
from assets.naming import partitions_name
from assets.settings import Settings

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

PROCESS_TAG = "headrace/process"
_UNDER_WAY = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)

INSTANCE = {
    "telemetry": {"enabled": False},
    "nux": {"enabled": False},
    "run_coordinator": {
        "module": "dagster.core.run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": {
            # a dropped file ends 0.3 s after its work instead of 16 s
            "dequeue_interval_seconds": 1,
            # one run of a product at a time; products don't wait for each other
            "tag_concurrency_limits": [
                {"key": "headrace/product", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
            ],
        },
    },
    # capturing a step's stdout starts four processes; what stages say is in the event log
    "compute_logs": {"module": "dagster.core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"},
    # a run whose process was killed is tried once more; one that a step or a gate failed is not
    "run_retries": {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False},
    # without these a run that was killed with its machine would stay STARTED
    "run_monitoring": {"enabled": True, "start_timeout_seconds": 180, "poll_interval_seconds": 20},
}


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance of the home, created at first use; the UI shows the same runs."""
    settings.dagster.mkdir(parents=True, exist_ok=True)
    # at first use Dagster makes its tables and then stamps their version: two processes at once stamp it twice,
    # and none ever opens that instance again
    with FileLock(settings.dagster / "opening.lock"):
        _prepare_instance(settings)
        return dg.DagsterInstance.from_config(str(settings.dagster))


def _prepare_instance(settings: Settings) -> None:
    """Write the home's dagster.yaml unless it is there; a user's changes stay."""
    path = settings.dagster / "dagster.yaml"
    if not path.exists():
        text = "# Written by headrace once; change it as you like.\n" + yaml.safe_dump(INSTANCE, sort_keys=False)
        write_file_atomically(path, text.encode())


def end_dead_runs(instance: dg.DagsterInstance, *, is_ui_starting: bool) -> list[str]:
    """Report runs as failed whose process is gone: one would hold its product's place in the queue for ever.

    Args:
        instance: the home's.
        is_ui_starting: runs that a UI had started (they name no process) are dead when a new one starts.

    Returns:
        ids of the runs that were ended.
    """
    ended = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[*_UNDER_WAY])):
        owner = run.tags.get(PROCESS_TAG)
        if is_alive(owner) if owner else not is_ui_starting:
            continue
        instance.report_run_failed(run, "The process of this run ended before it did. Run it again: it goes on.")
        ended.append(run.run_id)
    return ended


def process_name() -> str:
    """This process, so that a later one can tell whether it still is: host, id and moment of start."""
    return f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time():.0f}"


def is_alive(name: str) -> bool:
    """Whether a named process runs; one of another host is believed to."""
    host, pid, started = name.rsplit("/", 2)
    if host != socket.gethostname():
        return True
    try:
        return abs(psutil.Process(int(pid)).create_time() - float(started)) <= 1
    except psutil.NoSuchProcess:
        return False


def run_job(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job_name: str,
    *,
    product: str,
    batches: Sequence[str],
    cause: str,
    on_event: Callable[[Any], None],
    tags: Mapping[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """Run a job here, recorded in the instance like any other run.

    Args:
        definitions: the code location.
        instance: the home's.
        job_name: a job of `orchestration/jobs.py`.
        product: whose partitions the batches are.
        batches: one batch, or several that are neighbours among the partitions (for `load`).
        cause: why, for the run's tags.
        on_event: called with each event log entry as it happens.
        tags: further tags of the run.
    """
    instance.add_dynamic_partitions(partitions_name(product), list(batches))
    run_tags: dict[str, str] = {
        **(tags or {}),
        "headrace/product": product,
        "headrace/cause": cause,
        PROCESS_TAG: process_name(),
        **_origin_tags(),
    }
    span: Mapping[str, Any] = {"partition_key": batches[0]}
    if len(batches) > 1:
        run_tags |= {RANGE_START: batches[0], RANGE_END: batches[-1]}
        span = {}
    run_id = str(uuid.uuid4())
    instance.add_event_listener(run_id, on_event)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return definitions.resolve_job_def(job_name).execute_in_process(
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=instance,
            raise_on_error=False,
            run_id=run_id,
            tags=run_tags,
            **span,
        )


def _origin_tags() -> dict[str, str]:
    """What makes the UI link a run to its job in this code location."""
    return {".dagster/repository": "__repository__@headrace"}
