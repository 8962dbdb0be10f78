"""Checks of the feature table: point in time, leaks, nulls, and its statistics against the last training set."""

from collections.abc import Iterator

import dagster as dg
import numpy as np

from assets import ledger
from assets.definitions import HomeParam, batches_of, check_result, check_spec, key_of, records_table, shown_errors
from assets.features.feature_set import fit_schema
from assets.features.read import batch_inputs, batch_labels, read_part
from assets.features.row import RowEncoder
from assets.features.statistics import null_shares, single_feature_aucs, stability
from assets.lake import Lake
from assets.naming import FEATURES, quoted, table
from assets.records import SplitManifest
from assets.spec import ProductSpec


def build(spec: ProductSpec) -> dg.AssetChecksDefinition:
    """The checks of the feature table, in one step."""
    key = key_of(spec, FEATURES)
    specs = [
        check_spec(spec, "point_in_time", "No row knows more than was known at its event", FEATURES, blocking=True),
        check_spec(
            spec, "leak", "No outcome among the features, none predicts too well alone", FEATURES, blocking=True
        ),
        check_spec(spec, "nulls", "Share of nulls of each model column", FEATURES, blocking=False),
        check_spec(spec, "statistics", "Stability (PSI) against the last training set", FEATURES, blocking=False),
    ]

    @dg.multi_asset_check(name=f"{spec.product}__features_checks", specs=specs)
    def features_checks(context: dg.AssetCheckExecutionContext, home: HomeParam) -> Iterator[dg.AssetCheckResult]:
        lake, batches = home.lake(spec.product), batches_of(context)
        late = rows_from_the_future(lake, spec, batches)
        yield check_result(key, "point_in_time", passed=late == 0, observed=late, threshold=0)
        with shown_errors():
            yield from _column_results(spec, lake, batches[-1], key)

    return features_checks


def rows_from_the_future(lake: Lake, spec: ProductSpec, batches: list[str]) -> int:
    """Rows of these batches with `known_at` after their event."""
    with lake.connect() as con:
        found = con.execute(
            f"select count(*) from {table(FEATURES, spec.product)} "
            f"where batch_id in (select unnest(?)) and {quoted(spec.time.known_at)} > {quoted(spec.time.event)}",
            [batches],
        ).fetchone()
    return int(found[0]) if found else 0


def _column_results(spec: ProductSpec, lake: Lake, batch_id: str, key: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    inputs = batch_inputs(lake, spec, batch_id)
    labels = batch_labels(lake, spec, batch_id)["label"]
    encoder = RowEncoder(fit_schema(spec, inputs))
    columns = encoder.columns(inputs)
    gates = spec.gates
    labelled = labels.is_not_null().to_numpy()
    outcome = labels.drop_nulls().cast(int).to_numpy().astype(np.int64)
    aucs = single_feature_aucs(encoder.matrix(inputs)[labelled], columns.columns, outcome)
    forbidden = sorted({*spec.label.outcomes, spec.label.column} & set(columns.columns))
    strongest = max(aucs, key=lambda name: aucs[name])
    yield check_result(
        key,
        "leak",
        passed=not forbidden and aucs[strongest] <= gates.max_single_feature_auc,
        observed=aucs[strongest],
        threshold=gates.max_single_feature_auc,
        detail=f"outcomes among the features: {', '.join(forbidden)}" if forbidden else f"strongest alone: {strongest}",
        single_feature_auc=records_table(_ranked(aucs, "roc_auc")),
    )
    nulls = null_shares(columns)
    emptiest = max(nulls, key=lambda name: nulls[name])
    yield check_result(
        key,
        "nulls",
        passed=nulls[emptiest] <= gates.max_null_share,
        observed=nulls[emptiest],
        threshold=gates.max_null_share,
        warn=True,
        detail=f"most nulls: {emptiest}",
        null_share=records_table(_ranked(nulls, "null_share")),
    )
    yield _statistics_result(spec, lake, batch_id, key, encoder, inputs.height)


def _statistics_result(
    spec: ProductSpec, lake: Lake, batch_id: str, key: dg.AssetKey, encoder: RowEncoder, rows: int
) -> dg.AssetCheckResult:
    """Compare the batch with the newest earlier training set; passes when there is none."""
    with lake.connect() as con:
        splits = [split for _, split in ledger.records(con, "splits", SplitManifest) if split.as_of < batch_id]
        reference = read_part(con, spec, splits[-1], "train") if splits else None
    if reference is None or not rows:
        return check_result(
            key,
            "statistics",
            passed=True,
            observed=0.0,
            threshold=spec.gates.max_feature_psi,
            warn=True,
            detail="no earlier training set to compare with",
        )
    psi = stability(encoder.columns(reference), encoder.columns(batch_inputs(lake, spec, batch_id)))
    worst = max(psi, key=lambda name: psi[name])
    return check_result(
        key,
        "statistics",
        passed=psi[worst] <= spec.gates.max_feature_psi,
        observed=psi[worst],
        threshold=spec.gates.max_feature_psi,
        warn=True,
        detail=f"moved most: {worst} (against {splits[-1].as_of})",
        psi=records_table(_ranked(psi, "psi")),
    )


def _ranked(values: dict[str, float], name: str) -> list[dict[str, str | float]]:
    return [{"column": column, name: value} for column, value in sorted(values.items(), key=lambda item: -item[1])]
