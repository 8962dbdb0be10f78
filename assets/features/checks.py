"""Checks of the feature table: point in time, leaks, nulls, and its statistics against the champion's training rows."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from assets import blessings, ledger
from assets.definitions import (
    HomeParam,
    batches_of,
    check_result,
    check_spec,
    key_of,
    provenance,
    records_table,
    shown_errors,
)
from assets.features.door import judged_rows, leak_gate, rows_from_the_future
from assets.features.feature_set import fit_schema
from assets.features.notify import notify
from assets.features.row import RowEncoder
from assets.features.statistics import null_shares
from assets.features.validate import KIND, bless_batches
from assets.home import Home
from assets.lake import Lake
from assets.naming import FEATURES
from assets.raw.checks import few, findings_metadata, said_of
from assets.records import Blessing, DataValidation, Gate
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
        check_spec(
            spec,
            KIND,
            "Distributions, nulls and categories of each batch against the champion's training rows",
            FEATURES,
            blocking=spec.validation.statistics.severity == "block",
        ),
    ]

    @dg.multi_asset_check(name=f"{spec.product}__features_checks", specs=specs)
    def features_checks(context: dg.AssetCheckExecutionContext, home: HomeParam) -> Iterator[dg.AssetCheckResult]:
        lake, asked = home.lake(spec.product), batches_of(context)
        with lake.connect() as con:
            held = blessings.held_batches(con)
        batches = [batch for batch in asked if batch not in held]
        late = rows_from_the_future(lake, spec, batches)
        detail = "" if spec.time else "rows have no time"
        yield check_result(
            key, "point_in_time", passed=late == 0, observed=late, threshold=0, detail=detail, gate="data"
        )
        with shown_errors():
            # a batch that is held has no features: of it there is nothing to see but that it is held
            yield from _column_results(spec, lake, batches[-1] if batches else asked[-1], key)
            bless_batches(home, spec, batches, provenance=provenance(context, home))
            yield statistics_result(home, spec, asked)
            with lake.connect() as con:
                held = blessings.held_batches(con)
            notify(lake, spec, [batch for batch in batches if batch not in held])

    return features_checks


def _column_results(spec: ProductSpec, lake: Lake, batch_id: str, key: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    inputs, labels = judged_rows(lake, spec, batch_id)
    gate, leaks = leak_gate(spec, inputs, labels)
    yield check_result(
        key,
        "leak",
        passed=gate.verdict == "PASSED",
        observed=gate.observed,
        threshold=gate.threshold,
        detail=gate.detail,
        gate="data",
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
        gate="data",
        null_share=records_table(_ranked(nulls, "null_share")),
    )


def statistics_result(home: Home, spec: ProductSpec, batches: list[str]) -> dg.AssetCheckResult:
    """The newest statistics verdict of each batch of a run; an error if all of them are held."""
    with home.lake(spec.product).connect() as con:
        found = {item.batch_id: item for _, item in ledger.records(con, "validations", DataValidation)
                 if item.kind == KIND and item.batch_id in batches}  # fmt: skip
        newest = {item.as_of: item for item in ledger.all_blessings(con) if item.kind == "data"}
        held = {batch: why for batch, why in blessings.held_batches(con).items() if batch in batches}
    bad = [item for _, item in sorted(found.items()) if item.verdict != "PASSED"]
    unseen = sorted({*batches} - {*found} - {*held})
    is_stopped = bool(held) and len(held) == len(batches)
    said = [f"{batch}: {text}" for batch in batches if (text := _said(batch, newest, held))]
    return check_result(
        key_of(spec, FEATURES),
        KIND,
        passed=not bad and not unseen and not is_stopped,
        observed=few(said) or "no batch",
        threshold=_threshold(newest, batches),
        warn=bool(bad or unseen) and not is_stopped,
        detail="; ".join(
            [
                *([said_of(bad, held)] if bad else []),
                *([f"not judged: {', '.join(unseen)}; materialise raw first"] if unseen else []),
            ]
        ),
        gate="data",
        **findings_metadata(bad or list(found.values())[-1:], list(found.values())),
        **_links(home, list(found.values())),
    )


def _said(batch: str, newest: Mapping[str, Blessing], held: Mapping[str, str]) -> str:
    """What the data blessing of a batch says of its statistics, or why it has none."""
    gate = _gate_of(newest, batch)
    if gate is not None:
        return str(gate.observed)
    return f"held back, {held[batch]}" if batch in held else ""


def _gate_of(newest: Mapping[str, Blessing], batch: str) -> Gate | None:
    gates = newest[batch].gates if batch in newest else ()
    return next((gate for gate in gates if gate.name == KIND), None)


def _threshold(newest: Mapping[str, Blessing], batches: list[str]) -> str:
    gates = [gate for batch in batches if (gate := _gate_of(newest, batch))]
    return str(gates[-1].threshold) if gates else "a data blessing of raw"


def _links(home: Home, found: list[DataValidation]) -> dict[str, Any]:
    """The newest of Evidently's pages."""
    pages = [item.report for item in found if item.report]
    if not pages:
        return {}
    return {"evidently_report": dg.MetadataValue.url(home.report_url(home.settings.reports / pages[-1]))}


def _ranked(values: dict[str, float], name: str) -> list[dict[str, str | float]]:
    return [{"column": column, name: value} for column, value in sorted(values.items(), key=lambda item: -item[1])]
