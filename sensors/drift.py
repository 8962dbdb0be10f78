"""The drift sensor: drift that persists asks for retraining, once per cause."""

from typing import Any

import dagster as dg

from assets import ledger
from assets.definitions import HomeParam
from assets.live import read_live
from assets.monitoring.drift import persistent_cause
from assets.monitoring.watch import drift_reports
from assets.records import Retrain
from assets.spec import ProductSpec

INTERVAL_SECONDS = 30


def build(spec: ProductSpec, *, train_job: Any) -> dg.SensorDefinition:
    """The drift sensor of a product; on when the spec says that drift retrains."""
    status = dg.DefaultSensorStatus.RUNNING if spec.retrain.on_drift else dg.DefaultSensorStatus.STOPPED

    @dg.sensor(
        name=f"{spec.product}_drift",
        job=train_job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=status,
        description=f"Drift of {spec.product} that persisted and was not yet answered.",
    )
    def drift(_context: dg.SensorEvaluationContext, home: HomeParam) -> dg.RunRequest | dg.SkipReason:
        live = read_live(home.settings.home, spec.product)
        if live is None:
            return dg.SkipReason("no champion yet")
        lake = home.lake(spec.product)
        with lake.connect() as con:
            reports = drift_reports(con, live.model_id)
            cause = persistent_cause(spec, reports)
            asked = {record.cause for _, record in ledger.records(con, "retrains", Retrain)}
        if cause is None:
            return dg.SkipReason("no drift that persisted")
        if cause in asked:
            return dg.SkipReason(f"asked before: {cause}")
        batch_id = reports[-1].batch_id
        record = Retrain(product=spec.product, cause=cause, batch_id=batch_id)
        # The run key makes a repeated request one run, so the request may come before the ledger's row.
        ledger.append_to_lake(lake, "retrains", [(cause, batch_id, record)])
        return dg.RunRequest(
            run_key=cause,
            partition_key=batch_id,
            tags={"headrace/product": spec.product, "headrace/cause": cause},
        )

    return drift
