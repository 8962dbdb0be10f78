"""The file-arrival sensor: a whole new file becomes a partition and a run in one result."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from assets import ledger
from assets.definitions import HomeParam, partitions_of
from assets.errors import HeadraceError
from assets.naming import partitions_name
from assets.raw.landing import lacking
from assets.raw.places import LandedFile, Look, content_of, look
from assets.records import Batch
from assets.spec import ProductSpec
from sensors import inbox
from sensors.inbox import MAX_REQUESTS, Arrival, Cursor, Inbox, Request, newest_contents, requests_for

INTERVAL_SECONDS = 10
# Dagster ends a look that takes too long, and it forgets what it read: the rest of many large files waits for the next.
READ_SECONDS = 20.0
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
ARRIVALS_TAG = "headrace/arrivals"
# of many names that are passed over, so many are said at a look
_NAMES_SHOWN = 20
# the newest runs of the sensor: a file that older ones were asked for was loaded or given up long ago
_RUNS_REMEMBERED = 500
_UNDER_WAY = {
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
}


def build(spec: ProductSpec, *, load_job: Any, journey_job: Any) -> dg.SensorDefinition:
    """The sensor of the places where a product's files land; on from the start."""
    partitions = partitions_of(spec)

    @dg.sensor(
        name=f"{spec.product}_new_files",
        jobs=[load_job, journey_job],
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Files of {spec.product} that have landed and are whole and new.",
    )
    def new_files(context: dg.SensorEvaluationContext, home: HomeParam) -> dg.SensorResult:
        with home.lake(spec.product).connect() as con:
            written = ledger.deliveries(con)
        try:
            seen = look(home, spec)
        except HeadraceError as error:  # an object store that doesn't answer: the next look asks again
            return dg.SensorResult(skip_reason=error.one_line, cursor=context.cursor)
        found = inbox.look(
            seen.files,
            Cursor.parse(context.cursor),
            now_ns=time.time_ns(),
            settle_seconds=settle_seconds(spec),
            newest=newest_contents(written),
            content_of=for_a_while(content_of, READ_SECONDS),
        )
        loaded = [item for item in ledger.current_batches(written) if item.status == "LOADED"]
        lacks = lacking_by_batch(spec, seen, found, loaded)
        ready = [item for item in found.arrivals if not lacks.get(item.file.batch_id)]
        before = requests_before(context.instance, spec) if ready else Requested()
        open_ = [item for item in ready if item.key not in before.under_way]
        given_up = [item for item in open_ if before.failed[item.key] >= MAX_REQUESTS]
        known = context.instance.get_dynamic_partitions(partitions_name(spec.product))
        requests = requests_for(
            spec,
            [item for item in open_ if item not in given_up],
            loaded=loaded,
            asked=before.times,
            partitions=known,
        )
        cursor = found.cursor.model_dump_json()
        if not requests:
            return dg.SensorResult(skip_reason=why_not(found, seen.passed, lacks, given_up), cursor=cursor)
        context.log.info("beside these: %s", why_not(found, seen.passed, lacks, given_up))
        new = sorted({batch for item in requests for batch in item.batches} - set(known))
        return dg.SensorResult(
            run_requests=[run_request(spec, item, load_job.name, journey_job.name) for item in requests],
            dynamic_partitions_requests=[partitions.build_add_request(new)] if new else [],
            cursor=cursor,
        )

    return new_files


def for_a_while(read: Callable[[LandedFile], str], seconds: float) -> Callable[[LandedFile], str]:
    """The same reading, that begins no other file after so many seconds."""
    until = time.monotonic() + seconds

    def read_or_wait(file: LandedFile) -> str:
        if time.monotonic() >= until:
            raise HeadraceError("it is read at the next look")
        return read(file)

    return read_or_wait


def settle_seconds(spec: ProductSpec) -> dict[str, float]:
    """How long the files of each source must be unchanged; one with a marker is whole as soon as that is there."""
    return {
        name: 0.0 if source.arrival.done_marker else source.arrival.settle_seconds
        for name, source in spec.sources.items()
    }


def lacking_by_batch(spec: ProductSpec, seen: Look, found: Inbox, loaded: Sequence[Batch]) -> dict[str, list[str]]:
    """The sources that each arrived batch waits for; a file that is still being copied is nothing to go on."""
    waiting = {file for file, _ in found.waiting}
    whole = {(file.source, file.batch_id) for file in seen.files if file not in waiting}
    known = {(batch.source, batch.batch_id) for batch in loaded}
    batches = {item.file.batch_id for item in found.arrivals if item.file.source == spec.product}
    return {batch_id: lacking(spec, batch_id, whole, known) for batch_id in sorted(batches)}


@dataclass
class Requested:
    """Keys of arrivals that runs were asked for: how often, how often in vain, and those whose runs are under way."""

    times: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    under_way: set[str] = field(default_factory=set)


def requests_before(instance: dg.DagsterInstance, spec: ProductSpec) -> Requested:
    """What the sensor's runs were asked for and how they went.

    Dagster's runs are the memory, so a lost cursor and a restart ask for nothing twice, and a run that was killed
    before it could write to the ledger is asked for again.
    """
    of_sensor = dg.RunsFilter(tags={"dagster/sensor_name": f"{spec.product}_new_files"})
    runs = instance.get_runs(of_sensor, limit=_RUNS_REMEMBERED)
    found = Requested()
    for run in runs:
        keys = run.tags.get(ARRIVALS_TAG, "").split()
        found.times.update(keys)
        if run.status in _UNDER_WAY:
            found.under_way.update(keys)
        elif run.status is not dg.DagsterRunStatus.SUCCESS:
            found.failed.update(keys)
    return found


def why_not(
    found: Inbox,
    passed: Sequence[tuple[str, str]],
    lacks: Mapping[str, Sequence[str]],
    given_up: Sequence[Arrival] = (),
) -> str:
    """What lies there and is not taken: not whole, passed over, without another source's file, or asked for in vain."""
    batches = "; ".join(f"{batch} waits for {', '.join(sources)}" for batch, sources in lacks.items() if sources)
    parts = [
        _listed("waiting until whole", (f"{file.name} ({why})" for file, why in found.waiting)),
        batches,
        _listed("passed over", (f"{name} ({why})" for name, why in passed)),
        _listed(
            f"{MAX_REQUESTS} runs failed before they could load it, see them and then `headrace run`",
            (item.file.name for item in given_up),
        ),
    ]
    return "; ".join(filter(None, parts)) or "no new file"


def _listed(what: str, names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _NAMES_SHOWN} more" if len(every) > _NAMES_SHOWN else ""
    return f"{what}: {', '.join(every[:_NAMES_SHOWN])}{more}" if every else ""


def run_request(spec: ProductSpec, request: Request, load_job: str, journey_job: str) -> dg.RunRequest:
    """The Dagster request of a run; a load of several batches is one run over their range."""
    tags = {
        "headrace/product": spec.product,
        "headrace/cause": f"new file {', '.join(request.batches)}",
        ARRIVALS_TAG: " ".join(request.arrivals),
    }
    if request.with_models:
        return dg.RunRequest(run_key=request.run_key, job_name=journey_job, partition_key=request.batches[0], tags=tags)
    # before the journey in the queue, of which one run per product is taken at a time
    span = {RANGE_START: request.batches[0], RANGE_END: request.batches[-1], "dagster/priority": "1"}
    return dg.RunRequest(run_key=request.run_key, job_name=load_job, tags={**tags, **span})
