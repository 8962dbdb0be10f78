"""The retraining schedule of a product: as of its newest batch, through the same gates."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets import ledger
from assets.definitions import HomeParam
from assets.spec import ProductSpec


def build(spec: ProductSpec, *, train_job: Any) -> list[dg.ScheduleDefinition]:
    """The schedule of the spec, or none. It is off until someone turns it on: new files and drift retrain already."""
    if not spec.retrain.schedule:
        return []

    @dg.schedule(
        name=f"{spec.product}_retrain",
        cron_schedule=spec.retrain.schedule,
        job=train_job,
        description=f"Retrain {spec.product} as of its newest batch.",
    )
    def retrain(context: dg.ScheduleEvaluationContext, home: HomeParam) -> Iterator[dg.RunRequest | dg.SkipReason]:
        with home.lake(spec.product).connect() as con:
            batches = ledger.loaded_batch_ids(con, spec.product)
        if not batches:
            yield dg.SkipReason("no batch yet")
            return
        moment = context.scheduled_execution_time.isoformat()
        yield dg.RunRequest(
            run_key=f"schedule-{moment}",
            partition_key=batches[-1],
            tags={"headrace/product": spec.product, "headrace/cause": f"schedule {moment}"},
        )

    return [retrain]
