"""The file-arrival sensor: a whole new file becomes a partition and a run in one result."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets import ledger
from assets.definitions import HomeParam, partitions_of
from assets.naming import partitions_name
from assets.raw.landing import LandedFile, hash_file, lacking, landed_files
from assets.spec import ProductSpec
from sensors.inbox import Cursor, Request, look, requests_for

# Quiet for this long and unchanged between two looks: then a file is taken as whole.
SETTLE_SECONDS = 4.0
INTERVAL_SECONDS = 10
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def build(spec: ProductSpec, *, load_job: Any, journey_job: Any) -> dg.SensorDefinition:
    """The sensor of a product's landing folder; on from the start."""
    partitions = partitions_of(spec)

    @dg.sensor(
        name=f"{spec.product}_new_files",
        jobs=[load_job, journey_job],
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Files in the landing folder of {spec.product} that are whole and new.",
    )
    def new_files(context: dg.SensorEvaluationContext, home: HomeParam) -> dg.SensorResult:
        with home.lake(spec.product).connect() as con:
            delivered = ledger.batches(con)
        known = {batch.sha256 for batch in delivered}
        landed = landed_files(spec, home.landing(spec.product))
        arrivals, waiting, cursor = look(
            landed,
            Cursor.parse(context.cursor),
            now_ns=time.time_ns(),
            settle_seconds=SETTLE_SECONDS,
            known_hashes=known,
            hash_file=hash_file,
        )
        loaded = {(batch.source, batch.batch_id) for batch in delivered if batch.status == "LOADED"}
        # a file counts once it is whole: one that is still being copied is nothing to go on
        there = {(file.source, file.batch_id) for file in landed if file not in waiting}
        own = [item for item in arrivals if item.file.source == spec.product]
        lacks = {item.file.batch_id: lacking(spec, item.file.batch_id, there, loaded) for item in own}
        new = {item.file.batch_id: item.sha256 for item in own if not lacks[item.file.batch_id]}
        known_partitions = context.instance.get_dynamic_partitions(partitions_name(spec.product))
        requests = requests_for(new, product=spec.product, known=known_partitions)
        if not requests:
            return dg.SensorResult(skip_reason=why_not(waiting, lacks), cursor=cursor.model_dump_json())
        return dg.SensorResult(
            run_requests=[run_request(spec, item, load_job.name, journey_job.name) for item in requests],
            dynamic_partitions_requests=[partitions.build_add_request(sorted(new))],
            cursor=cursor.model_dump_json(),
        )

    return new_files


def why_not(waiting: Sequence[LandedFile], lacks: Mapping[str, Sequence[str]]) -> str:
    """Why nothing is asked for: no new file, one that isn't whole, or a batch that lacks another source's file."""
    names = ", ".join(file.path.name for file in waiting)
    batches = "; ".join(f"{batch} waits for {', '.join(sources)}" for batch, sources in lacks.items() if sources)
    return "; ".join(filter(None, [f"waiting until whole: {names}" if names else "", batches])) or "no new file"


def run_request(spec: ProductSpec, request: Request, load_job: str, journey_job: str) -> dg.RunRequest:
    """The Dagster request of a run; a load of several batches is one run over their range."""
    tags = {"headrace/product": spec.product, "headrace/cause": f"new file {', '.join(request.batches)}"}
    if request.with_models:
        return dg.RunRequest(run_key=request.run_key, job_name=journey_job, partition_key=request.batches[0], tags=tags)
    # before the journey in the queue, of which one run per product is taken at a time
    span = {RANGE_START: request.batches[0], RANGE_END: request.batches[-1], "dagster/priority": "1"}
    return dg.RunRequest(run_key=request.run_key, job_name=load_job, tags={**tags, **span})
