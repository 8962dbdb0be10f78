"""The split asset: the manifest as of a batch, kept in the ledger."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets import ledger
from assets.definitions import HomeParam, batch_of, key_of, records_table, shown_errors, stage_asset
from assets.features.current import current_feature_set_id
from assets.naming import FEATURES
from assets.records import SplitManifest
from assets.spec import ProductSpec
from assets.splits import checks
from assets.splits.temporal import make_split, overlapping_rows


def build(spec: ProductSpec) -> list[dg.AssetsDefinition]:
    """The split of a product."""

    @stage_asset(
        spec,
        checks.STAGE,
        description="Which rows train, validate and test as of this batch: boundaries, not copies.",
        kinds={"duckdb"},
        deps=[key_of(spec, FEATURES), key_of(spec, FEATURES, "labels")],
        checks=checks.specs(spec),
        one_run_per_batch=True,
    )
    def split(context: dg.AssetExecutionContext, home: HomeParam) -> Iterator[Any]:
        lake, as_of = home.lake(spec.product), batch_of(context)
        with shown_errors(), lake.connect() as con:
            manifest = make_split(con, spec, as_of, current_feature_set_id(lake, spec))
            overlap = overlapping_rows(con, spec, manifest)
        ledger.append_to_lake(lake, "splits", [(manifest.split_id, as_of, manifest)])
        yield dg.MaterializeResult(key_of(spec, checks.STAGE), metadata=_metadata(manifest))
        yield from checks.results(spec, manifest, overlap)

    return [split]


def _metadata(manifest: SplitManifest) -> dict[str, Any]:
    rows = [
        {
            "part": name,
            "rows": part.rows,
            "positive_share": part.positive_share,
            "unlabelled": part.unlabelled,
            "from": part.event_from.isoformat(),
            "until": part.event_until.isoformat(),
            "hash": part.row_set_hash,
        }
        for name, part in manifest.parts.items()
    ]
    return {
        "split_id": manifest.split_id,
        "parts": records_table(rows),
        "training_rows": manifest.parts["train"].rows,
        "test_rows": manifest.parts["test"].rows,
        "data_snapshot": manifest.data_snapshot,
        "warnings": "; ".join(manifest.warnings) or "none",
    }
