"""The maintenance job of a product and its weekly schedule: no asset, as it changes no row."""

from typing import Any

import dagster as dg

from assets.definitions import HomeParam, shown_errors
from assets.maintenance.maintain import maintain
from assets.naming import op_name
from assets.spec import ProductSpec

_MINUTES = 60


def build(spec: ProductSpec) -> tuple[Any, dg.ScheduleDefinition]:
    """The job `<product>_maintain`, and its schedule: on, early on Sundays (UTC), each product at its own minute."""

    @dg.op(
        name=op_name(spec.product, "maintenance"),
        description="Merge small files, expire snapshots that nothing names, delete files that nothing refers to.",
        out=dg.Out(dg.Nothing),
    )
    def maintenance(context: dg.OpExecutionContext, home: HomeParam) -> None:
        with shown_errors():
            done = maintain(home, spec)
        context.add_output_metadata(
            {
                "files_before": done.before.files,
                "files_after": done.after.files,
                "bytes_before": done.before.bytes,
                "bytes_after": done.after.bytes,
                "snapshots_before": done.before.snapshots,
                "snapshots_after": done.after.snapshots,
                "orphans": len(done.orphans),
            }
        )

    @dg.job(
        name=f"{spec.product}_maintain",
        description=f"Keep the lake of {spec.product} small and clean.",
        tags={"headrace/product": spec.product},
    )
    def job() -> None:
        maintenance()

    schedule = dg.ScheduleDefinition(
        name=f"{spec.product}_maintenance",
        job=job,
        cron_schedule=f"{sum(spec.product.encode()) % _MINUTES} 3 * * 0",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Maintain the lake of {spec.product} once a week.",
    )
    return job, schedule
