"""Checks of the feature table: point in time, leaks, nulls, and its statistics against the last training set."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from assets import ledger
from assets.definitions import HomeParam, batches_of, check_result, check_spec, key_of, records_table, shown_errors
from assets.features.current import current_feature_set_id
from assets.features.feature_set import fit_schema
from assets.features.leaks import judge_leaks
from assets.features.notify import notify
from assets.features.read import batch_inputs, batch_labels, key_columns, read_part
from assets.features.row import RowEncoder
from assets.features.statistics import null_shares, stability
from assets.lake import Lake
from assets.naming import FEATURES, quoted, table
from assets.records import SplitManifest
from assets.spec import ProductSpec


def build(spec: ProductSpec) -> dg.AssetChecksDefinition:
    """The checks of the feature table, in one step."""
    key = key_of(spec, FEATURES)
    specs = [
        check_spec(spec, "point_in_time", "No row knows more than was known when it is asked", FEATURES, blocking=True),
        check_spec(
            spec,
            "leak",
            "No outcome among the features, and none predicts too well",
            FEATURES,
            blocking=True,
        ),
        check_spec(spec, "nulls", "Share of nulls of each model column", FEATURES, blocking=False),
        check_spec(spec, "statistics", "Stability (PSI) against the last training set", FEATURES, blocking=False),
    ]

    @dg.multi_asset_check(name=f"{spec.product}__features_checks", specs=specs)
    def features_checks(context: dg.AssetCheckExecutionContext, home: HomeParam) -> Iterator[dg.AssetCheckResult]:
        lake, batches = home.lake(spec.product), batches_of(context)
        late = rows_from_the_future(lake, spec, batches)
        detail = "" if spec.time else "rows have no time"
        yield check_result(key, "point_in_time", passed=late == 0, observed=late, threshold=0, detail=detail)
        with shown_errors():
            yield from _column_results(spec, lake, batches[-1], key)
            notify(lake, spec, batches)

    return features_checks


def rows_from_the_future(lake: Lake, spec: ProductSpec, batches: list[str]) -> int:
    """Rows of these batches with `known_at` after their prediction is asked for; none where rows have no time."""
    if spec.time is None:
        return 0
    asked_at = spec.time.asked_at or spec.time.event
    with lake.connect() as con:
        found = con.execute(
            f"select count(*) from {table(FEATURES, spec.product)} "
            f"where batch_id in (select unnest(?)) and {quoted(spec.time.known_at)} > {quoted(asked_at)}",
            [batches],
        ).fetchone()
    return int(found[0]) if found else 0


def labels_of(lake: Lake, spec: ProductSpec, batch_id: str, inputs: pl.DataFrame) -> pl.Series | None:
    """The labels of a batch's rows in their order, null where there is none; None for a clustering."""
    if spec.label is None:
        return None
    keys = key_columns(spec)
    labels = batch_labels(lake, spec, batch_id).select(*keys, "label")
    return inputs.select(keys).join(labels, on=keys, how="left", maintain_order="left", nulls_equal=True)["label"]


def _column_results(spec: ProductSpec, lake: Lake, batch_id: str, key: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    inputs = batch_inputs(lake, spec, batch_id)
    gate, leaks = judge_leaks(spec, inputs, labels_of(lake, spec, batch_id, inputs))
    yield check_result(
        key,
        "leak",
        passed=gate.verdict == "PASSED",
        observed=gate.observed,
        threshold=gate.threshold,
        detail=gate.detail,
        alone=records_table(_ranked(leaks.alone, leaks.metric) if leaks else []),
    )
    encoder = RowEncoder(fit_schema(spec, inputs))
    nulls = null_shares(encoder.columns(inputs))
    emptiest = max(nulls, key=lambda name: nulls[name], default="")
    share = nulls.get(emptiest, 0.0)
    yield check_result(
        key,
        "nulls",
        passed=share <= spec.gates.max_null_share,
        observed=share,
        threshold=spec.gates.max_null_share,
        warn=True,
        detail=f"most nulls: {emptiest or 'no columns'}",
        null_share=records_table(_ranked(nulls, "null_share")),
    )
    yield _statistics_result(spec, lake, batch_id, key, encoder, inputs)


def _statistics_result(
    spec: ProductSpec, lake: Lake, batch_id: str, key: dg.AssetKey, encoder: RowEncoder, inputs: pl.DataFrame
) -> dg.AssetCheckResult:
    """Compare the batch with the newest earlier training set; passes when there is none."""
    # of other features there is nothing to compare with: a snapshot may lack a column that was added since
    now = current_feature_set_id(lake, spec)
    with lake.connect() as con:
        earlier = (split for _, split in ledger.records(con, "splits", SplitManifest) if split.as_of < batch_id)
        splits = [split for split in earlier if split.feature_set_id == now]
        reference = read_part(con, spec, splits[-1], "train") if splits else None
    if reference is None or inputs.is_empty() or not encoder.schema.columns:
        return check_result(
            key,
            "statistics",
            passed=True,
            observed=0.0,
            threshold=spec.gates.max_feature_psi,
            warn=True,
            detail="no earlier training set to compare with",
        )
    psi = stability(encoder.columns(reference), encoder.columns(inputs))
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
