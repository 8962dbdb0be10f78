"""The change sensor: what has changed in a product's PostgreSQL table becomes a partition and a run in one result."""

from typing import Any

import dagster as dg

from assets import ledger
from assets.definitions import HomeParam, partitions_of
from assets.errors import HeadraceError
from assets.home import Home
from assets.naming import partitions_name
from assets.raw.landing import lacking
from assets.raw.places import landed_files
from assets.raw.postgres.batches import is_forgotten, waiting
from assets.spec import ProductSpec
from sensors.inbox import MAX_REQUESTS

INTERVAL_SECONDS = 10
BATCH_TAG = "headrace/changes"
_ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


def build(spec: ProductSpec, *, load_job: Any, journey_job: Any) -> dg.SensorDefinition:
    """The sensor of a product's PostgreSQL table; on from the start."""
    partitions = partitions_of(spec)

    @dg.sensor(
        name=f"{spec.product}_changes",
        jobs=[load_job, journey_job],
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Changes of the PostgreSQL table of {spec.product} that wait in its replication slot.",
    )
    def changes(context: dg.SensorEvaluationContext, home: HomeParam) -> dg.SensorResult:
        known = context.instance.get_dynamic_partitions(partitions_name(spec.product))
        runs: list[dg.DagsterRun] = []
        try:
            if is_forgotten(home, spec):
                return dg.SensorResult(skip_reason=f"the source was forgotten: headrace run {spec.product} begins anew")
            found = waiting(home, spec, asked=known)
            reason = "no change"
            if found:
                runs = _runs_before(context.instance, spec, found.batch_id)
                reason = _why_not(runs, found.batch_id) or _lacks(home, spec, found.batch_id)
        except HeadraceError as error:  # a server or store that doesn't answer: the next look asks again
            return dg.SensorResult(skip_reason=error.one_line)
        if found is None or reason:
            return dg.SensorResult(skip_reason=reason)
        job, kind = (journey_job, "journey") if found.is_newest else (load_job, "load")
        request = dg.RunRequest(
            # named by the batch, so that a restart asks nothing twice; a run that ended without it is asked for again
            run_key=f"{spec.product}-{kind}-{found.batch_id}-{len(runs)}",
            job_name=job.name,
            partition_key=found.batch_id,
            tags={
                "headrace/product": spec.product,
                "headrace/cause": f"changes up to {found.batch_id}",
                BATCH_TAG: found.batch_id,
            },
        )
        return dg.SensorResult(
            run_requests=[request],
            dynamic_partitions_requests=[]
            if found.batch_id in known
            else [partitions.build_add_request([found.batch_id])],
        )

    return changes


def _runs_before(instance: dg.DagsterInstance, spec: ProductSpec, batch_id: str) -> list[dg.DagsterRun]:
    """The runs that were asked for a batch: Dagster is the memory."""
    return list(instance.get_runs(dg.RunsFilter(tags={"headrace/product": spec.product, BATCH_TAG: batch_id})))


def _why_not(runs: list[dg.DagsterRun], batch_id: str) -> str:
    """Why a batch is not asked for again; empty if it is."""
    if any(run.status not in _ENDED for run in runs):
        return f"{batch_id} is being loaded"
    if len(runs) >= MAX_REQUESTS:
        return f"asked for {batch_id} {MAX_REQUESTS} times, see its runs and then `headrace run`"
    return ""


def _lacks(home: Home, spec: ProductSpec, batch_id: str) -> str:
    """The references that a batch waits for, in words; empty without any."""
    if not spec.references:
        return ""
    landed = {(file.source, file.batch_id) for file in landed_files(home, spec)}
    with home.lake(spec.product).connect() as con:
        loaded = {(item.source, item.batch_id) for item in ledger.batches(con) if item.status == "LOADED"}
    sources = lacking(spec, batch_id, landed, loaded)
    return f"{batch_id} waits for {', '.join(sources)}" if sources else ""
