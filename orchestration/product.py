"""A product's table of contents: its spec becomes the stages of the journey, in order."""

from typing import Any

import dagster as dg

import assets.candidates.definitions
import assets.cleaned.definitions
import assets.evaluation.definitions
import assets.features.definitions
import assets.maintenance.definitions
import assets.monitoring.definitions
import assets.predictions.definitions
import assets.promotion.definitions
import assets.raw.definitions
import assets.splits.definitions
import bentos.definitions
import sensors.changes
import sensors.drift
import sensors.new_files
from assets.spec import ProductSpec
from orchestration import jobs, schedules


def build_product(spec: ProductSpec, manifest: dict[str, Any]) -> dg.Definitions:
    """All definitions of one product.

    Args:
        spec: the product.
        manifest: the product's part of dbt's manifest.
    """
    made = jobs.build(spec)
    arrivals = sensors.changes if spec.source.postgres else sensors.new_files
    maintenance, weekly = assets.maintenance.definitions.build(spec)
    stages = [
        *assets.raw.definitions.build(spec),
        *assets.cleaned.definitions.build(spec, manifest),
        *assets.features.definitions.build(spec),
        *assets.splits.definitions.build(spec),
        *assets.candidates.definitions.build(spec),
        *assets.evaluation.definitions.build(spec),
        *assets.predictions.definitions.build(spec),
        *assets.promotion.definitions.build(spec),
        *bentos.definitions.build(spec),
        *assets.monitoring.definitions.build(spec),
    ]
    return dg.Definitions(
        assets=[stage for stage in stages if not isinstance(stage, dg.AssetChecksDefinition)],
        asset_checks=[stage for stage in stages if isinstance(stage, dg.AssetChecksDefinition)],
        jobs=[*made.values(), maintenance],
        sensors=[
            arrivals.build(spec, load_job=made["load"], journey_job=made["journey"]),
            sensors.drift.build(spec, train_job=made["train"]),
        ],
        schedules=[*schedules.build(spec, train_job=made["train"]), weekly],
    )
