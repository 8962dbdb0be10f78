"""The split asset: the manifest as of a batch, kept in the ledger."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from pydantic import ValidationError

from assets import blessings, ledger
from assets.definitions import HomeParam, batch_of, key_of, records_table, shown_errors, stage_asset
from assets.errors import HeadraceError
from assets.features.current import current_feature_set_id
from assets.features.door import require_features
from assets.naming import FEATURES
from assets.records import SplitManifest
from assets.spec import ProductSpec, SelectSpec
from assets.splits import checks
from assets.splits.identical import identical_rows
from assets.splits.service import held_back, make_split, overlapping_rows

# the tag by which a run chooses among features, JSON of a SelectSpec
SELECT_TAG = "headrace/select"
_OUTCOMES_SHOWN = 8


def build(spec: ProductSpec) -> list[dg.AssetsDefinition]:
    """The split of a product."""

    @stage_asset(
        spec,
        checks.STAGE,
        description="Which rows train, validate and test as of this batch: boundaries, not copies.",
        kinds={"duckdb"},
        deps=[key_of(spec, FEATURES), *([key_of(spec, FEATURES, "labels")] if spec.label else [])],
        checks=checks.specs(spec),
        one_run_per_batch=True,
    )
    def split(context: dg.AssetExecutionContext, home: HomeParam) -> Iterator[Any]:
        lake, as_of = home.lake(spec.product), batch_of(context)
        with shown_errors(), lake.connect() as con:
            blessings.require_data(con, spec, as_of, where=checks.STAGE)
            require_features(lake, spec, as_of, where=checks.STAGE)
            manifest = make_split(
                con, spec, as_of, current_feature_set_id(lake, spec), selection=chosen_selection(context.run.tags)
            )
            overlap = overlapping_rows(con, spec, manifest)
            identical = identical_rows(con, spec, manifest)
        lake.transact(lambda con: ledger.append_newest(con, "splits", manifest.split_id, as_of, manifest))
        yield dg.MaterializeResult(key_of(spec, checks.STAGE), metadata=_metadata(manifest))
        yield from checks.results(spec, manifest, overlap, identical)

    return [split]


def chosen_selection(tags: Mapping[str, str]) -> dict[str, Any] | None:
    """The feature selection that a run was asked for; None for the spec's.

    Raises:
        HeadraceError: it isn't one.
    """
    if SELECT_TAG not in tags:
        return None
    try:
        return SelectSpec.model_validate_json(tags[SELECT_TAG]).model_dump(mode="json")
    except ValidationError as error:
        raise HeadraceError(
            "the run's feature selection can't be read",
            where=f"tag {SELECT_TAG}",
            expected='{"strategy": "importance", "top": 20}',
            found=tags[SELECT_TAG],
            fix=str(error.errors()[0]["msg"]),
        ) from None


def _metadata(manifest: SplitManifest) -> dict[str, Any]:
    rows = [
        {
            "part": name,
            "rows": part.rows,
            **{f"{outcome}": value for outcome, value in list(part.outcomes.items())[:_OUTCOMES_SHOWN]},
            "unlabelled": part.unlabelled,
            "from": part.event_from.isoformat() if part.event_from else "",
            "until": part.event_until.isoformat() if part.event_until else "",
            "hash": part.row_set_hash,
        }
        for name, part in manifest.parts.items()
    ]
    return {
        "split_id": manifest.split_id,
        "strategy": manifest.strategy,
        "seed": manifest.seed,
        "parts": records_table(rows),
        "training_rows": manifest.parts["train"].rows,
        "test_rows": manifest.parts["test"].rows,
        "held_batches": ", ".join(held_back(manifest)) or "none",
        "selection": manifest.selection.get("strategy", "all"),
        "data_snapshot": manifest.data_snapshot,
        "warnings": "; ".join(manifest.warnings) or "none",
    }
