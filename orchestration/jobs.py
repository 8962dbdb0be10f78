"""The jobs of a product: load, journey, train. They differ only in which stages they select."""

from typing import Any

import dagster as dg

from assets.spec import ProductSpec

TABLES = ("raw", "cleaned", "features")


def job_name(product: str, kind: str) -> str:
    """The name of a job: `load`, `journey` or `train` of a product."""
    return f"{product}_{kind}"


def build(spec: ProductSpec) -> dict[str, Any]:
    """`load` fills the tables (many batches a run), `train` makes and judges models as of a batch, `journey` both."""
    everything = dg.AssetSelection.groups(spec.product)
    tables = dg.AssetSelection.key_prefixes(*[[spec.product, stage] for stage in TABLES])
    selections = {
        "load": (tables, "Raw, cleaned and features of one or many batches."),
        "journey": (everything, "A batch all the way: tables, models, decision, bento, monitoring."),
        "train": (everything - tables, "Score, train, judge, decide and watch as of a batch whose tables are there."),
    }
    return {
        kind: dg.define_asset_job(
            job_name(spec.product, kind),
            selection,
            tags={"headrace/product": spec.product},
            description=text,
            # the event log has every line; the terminal of `headrace ui` shows what needs a look
            config={"loggers": {"console": {"config": {"log_level": "WARNING"}}}},
        )
        for kind, (selection, text) in selections.items()
    }
