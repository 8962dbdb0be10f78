"""Dagster's instance in the home: its dagster.yaml, written once, and the running of jobs in this process."""

import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
import yaml

from assets.lake import write_file_atomically
from assets.naming import partitions_name
from assets.settings import Settings

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

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
    # without these a run that was killed with its machine would stay STARTED
    "run_monitoring": {"enabled": True, "start_timeout_seconds": 180, "poll_interval_seconds": 20},
}


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance of the home, created at first use; the UI shows the same runs."""
    prepare_instance(settings)
    return dg.DagsterInstance.from_config(str(settings.dagster))


def prepare_instance(settings: Settings) -> None:
    """Write the home's dagster.yaml unless it is there; a user's changes stay."""
    path = settings.dagster / "dagster.yaml"
    if not path.exists():
        text = "# Written by headrace once; change it as you like.\n" + yaml.safe_dump(INSTANCE, sort_keys=False)
        write_file_atomically(path, text.encode())


def run_job(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job_name: str,
    *,
    product: str,
    batches: Sequence[str],
    cause: str,
    on_event: Callable[[Any], None],
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
    """
    instance.add_dynamic_partitions(partitions_name(product), list(batches))
    tags: dict[str, str] = {"headrace/product": product, "headrace/cause": cause, **_origin_tags()}
    span: Mapping[str, Any] = {"partition_key": batches[0]}
    if len(batches) > 1:
        tags |= {RANGE_START: batches[0], RANGE_END: batches[-1]}
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
            tags=tags,
            **span,
        )


def _origin_tags() -> dict[str, str]:
    """What makes the UI link a run to its job in this code location."""
    return {".dagster/repository": "__repository__@headrace"}
