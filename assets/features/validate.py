"""The third data verdict: distributions of a batch's features against the rows that the champion was trained on.

On all rows, column by column; pure but for reading lake and pointer and writing Evidently's page. A season moves many
columns a little, so one column that moved is no reason to refuse a batch: the share of them is. More nulls in a
column, or values that training has never seen, are what broken deliveries look like, so a single one is enough.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import duckdb
import polars as pl

from assets import blessings, ledger
from assets.evaluation.report import report_sample, write_validation_report
from assets.features.read import batch_inputs, read_part
from assets.features.row import RowEncoder
from assets.features.statistics import (
    ColumnProfile,
    chance_index,
    null_shares,
    population_stability_index,
    profile_of,
)
from assets.home import Home
from assets.live import read_live
from assets.records import (
    Batch,
    Blessing,
    ColumnFinding,
    DataValidation,
    FeatureSchema,
    Gate,
    ModelManifest,
    Provenance,
    SplitManifest,
)
from assets.spec import ProductSpec
from assets.splits.service import training_batches

KIND: Literal["statistics"] = "statistics"
_OF_RAW = ("anomalies", "schema")
_SHOWN = 3
# standard errors that chance exceeds in one of 20 cases
_CHANCE = 1.645
# (model, sample) -> what its training rows are like: batches of a run and monitoring ask for the same ones
_PROFILES: dict[tuple[str, int, int], "TrainingProfile"] = {}
_REMEMBERED = 2


@dataclass(frozen=True)
class TrainingProfile:
    """The champion's training rows, in numbers.

    Args:
        model_id: the champion.
        features: its own, not the spec's of today.
        columns: model column -> what it is like.
        sample: rows of the model columns for pictures, shape (at most monitoring.report_rows, columns).
    """

    model_id: str
    features: FeatureSchema
    columns: Mapping[str, ColumnProfile]
    sample: pl.DataFrame


def training_profile(con: duckdb.DuckDBPyConnection, spec: ProductSpec, champion: ModelManifest) -> TrainingProfile:
    """Read the rows that a model was trained on and keep what they are like; in this process once per model.

    The id of a model covers its training rows, so a profile never gets old.
    """
    key = (champion.model_id, spec.monitoring.report_rows, spec.seed)
    if key not in _PROFILES:
        # the champion's own inputs: its snapshot may lack what was added since
        rows = read_part(con, spec, split_of(con, champion), "train", inputs=champion.features.inputs, with_label=False)
        columns = RowEncoder(champion.features).columns(rows)
        _PROFILES[key] = TrainingProfile(
            champion.model_id,
            champion.features,
            {name: profile_of(columns[name]) for name in columns.columns},
            report_sample(columns, spec),
        )
        while len(_PROFILES) > _REMEMBERED:
            _PROFILES.pop(next(iter(_PROFILES)))
    return _PROFILES[key]


def split_of(con: duckdb.DuckDBPyConnection, model: ModelManifest) -> SplitManifest:
    """The split that a model was trained on."""
    return next(item for _, item in ledger.records(con, "splits", SplitManifest) if item.split_id == model.split_id)


def judge_statistics(
    spec: ProductSpec, batch_id: str, profile: TrainingProfile, columns: pl.DataFrame
) -> tuple[DataValidation, Gate]:
    """Hold a batch's model columns against the champion's training rows.

    Args:
        spec: the thresholds, `validation.statistics`.
        batch_id: the batch.
        profile: what training was like.
        columns: the batch's rows as model columns, shape (rows, columns).
    """
    limits = spec.validation.statistics
    bad: Literal["FAILED", "WARNED"] = "FAILED" if limits.severity == "block" else "WARNED"
    nulls = null_shares(columns)
    moved = [_moved(spec, name, item, columns[name]) for name, item in profile.columns.items()]
    broken = [
        finding
        for name, item in profile.columns.items()
        for finding in _broken(spec, name, item, columns[name], nulls[name])
    ]
    count = sum(item.verdict != "PASSED" for item in moved)
    too_many = bool(moved) and count >= max(limits.max_failed_share * len(moved), 1)
    breaks = [item for item in broken if item.verdict != "PASSED"]
    if too_many:
        moved = [item.model_copy(update={"verdict": bad}) if item.verdict != "PASSED" else item for item in moved]
    moved.sort(key=lambda item: -float(item.observed))
    said = [
        *(item.detail for item in breaks),
        *([f"{count} of {len(moved)} columns moved, most: {_named(moved)}"] if too_many else []),
    ]
    verdict: Literal["PASSED", "FAILED", "WARNED"] = bad if said else "PASSED"
    validation = DataValidation(
        product=spec.product,
        batch_id=batch_id,
        kind=KIND,
        verdict=verdict,
        reference=profile.model_id,
        rows=columns.height,
        columns=(*breaks, *moved, *(item for item in broken if item.verdict == "PASSED")),
    )
    more = f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    observed = "; ".join(said[:_SHOWN]) + more
    calm = f"{count} of {len(moved)} columns moved" + (f", most: {_named(moved)}" if count else "")
    return validation, Gate(
        name=KIND,
        verdict=verdict,
        observed=observed if said else calm,
        threshold=limits_in_words(spec),
        detail=f"{observed} (against the training rows of {profile.model_id})" if said else "",
    )


def limits_in_words(spec: ProductSpec) -> str:
    """What is allowed."""
    limits = spec.validation.statistics
    return (
        f"fewer than {limits.max_failed_share:.0%} of the columns with PSI above {limits.max_psi:g}, no column with "
        f"{limits.max_null_gap:.0%} more nulls or {limits.max_new_category_share:.0%} unknown categories"
    )


def _named(moved: Sequence[ColumnFinding]) -> str:
    return ", ".join(f"{item.column} {float(item.observed):.2f}" for item in moved[:_SHOWN])


def _moved(spec: ProductSpec, name: str, profile: ColumnProfile, column: pl.Series) -> ColumnFinding:
    """Whether a column's distribution moved by more than is allowed and chance gives."""
    limit = spec.validation.statistics.max_psi + chance_index(profile, len(column))
    psi = population_stability_index(profile, column, floor=max(1e-4, 0.5 / max(len(column), 1)))
    return ColumnFinding(
        check="psi", column=name, verdict="WARNED" if psi > limit else "PASSED", observed=psi, threshold=limit,
        detail=f"{name}: PSI {psi:.2f}, at most {limit:.2f} allowed" if psi > limit else "",
    )  # fmt: skip


def _with_chance(share: float, rows: int) -> float:
    """A limit on a share of rows, with what chance adds to it in 19 of 20 cases."""
    bounded = min(share, 1.0)
    return bounded + _CHANCE * math.sqrt(bounded * (1 - bounded) / max(rows, 1))


def _broken(
    spec: ProductSpec, name: str, profile: ColumnProfile, column: pl.Series, nulls: float
) -> list[ColumnFinding]:
    """More nulls than in training, and texts that training has not seen."""
    limits = spec.validation.statistics
    bad: Literal["FAILED", "WARNED"] = "FAILED" if limits.severity == "block" else "WARNED"
    most = _with_chance(profile.null_share + limits.max_null_gap, len(column))
    found = [
        ColumnFinding(
            check="nulls", column=name, verdict=bad if nulls > most else "PASSED", observed=nulls, threshold=most,
            detail=f"{name}: {nulls:.1%} null, {profile.null_share:.1%} in training" if nulls > most else "",
        )
    ]  # fmt: skip
    if profile.names is None:
        return found
    new, limit = profile.new_share(column), _with_chance(limits.max_new_category_share, len(column))
    examples = column.cast(pl.String).drop_nulls().unique().sort() if new > limit else column.head(0)
    unknown = examples.filter(~examples.is_in(profile.names.implode())).head(_SHOWN).to_list() if new > limit else []
    said = f"{name}: {new:.1%} of rows with categories that training has not seen ({', '.join(unknown)})"
    found.append(
        ColumnFinding(
            check="new_categories", column=name, verdict=bad if new > limit else "PASSED", observed=new,
            threshold=limit, detail=said if new > limit else "",
        )
    )  # fmt: skip
    return found


def bless_batches(home: Home, spec: ProductSpec, batches: Sequence[str], *, provenance: Provenance) -> None:
    """Judge the statistics of batches that raw has blessed, and write a fuller data blessing of each, once.

    A batch is judged again when the champion is another one that has not learned from it. Evidently's page is drawn for
    the newest batch and for each that does not pass: it costs seconds, and the verdict is on all rows without it.

    Args:
        home: the installation.
        spec: the product.
        batches: batches of a run that are not held, sorted.
        provenance: at whose word.
    """
    lake, live = home.lake(spec.product), read_live(home.settings.home, spec.product)
    with lake.connect() as con:
        loaded = {item.batch_id: item for item in ledger.batches(con, spec.product) if item.status == "LOADED"}
        champion = ledger.model(con, live.model_id) if live else None
        known = training_batches(split_of(con, champion), loaded) if champion else []
        waiting = [
            (loaded[batch_id], blessing)
            for batch_id in batches
            if (blessing := blessings.data_blessing(con, spec, batch_id)) and _is_due(blessing, champion, known)
        ]
    found = [
        (batch, blessing, *_judged(home, spec, batch.batch_id, champion, known, draws=batch.batch_id == batches[-1]))
        for batch, blessing in waiting
    ]

    def write(con: duckdb.DuckDBPyConnection) -> None:
        for batch, blessing, validation, gate in found:
            ledger.append_once(con, "validations", validation.validation_id, batch.batch_id, validation)
            blessings.write(con, _fuller(spec, batch, blessing, gate, champion, provenance))

    if found:
        lake.transact(write)


def _is_due(blessing: Blessing, champion: ModelManifest | None, known: Sequence[str]) -> bool:
    if all(gate.name != KIND for gate in blessing.gates):
        return True
    return champion is not None and blessing.model_id != champion.model_id and blessing.as_of not in known


def _judged(
    home: Home, spec: ProductSpec, batch_id: str, champion: ModelManifest | None, known: Sequence[str], *, draws: bool
) -> tuple[DataValidation, Gate]:
    """The verdict about one batch, with Evidently's page and tests where there is something to compare."""
    lake = home.lake(spec.product)
    inputs = batch_inputs(lake, spec, batch_id)
    why_not = _why_not(champion, known, batch_id, inputs)
    if champion is None or why_not:
        return _nothing_to_compare(spec, batch_id, inputs.height, champion, why_not)
    with lake.connect() as con:
        profile = training_profile(con, spec, champion)
    columns = RowEncoder(champion.features).columns(inputs)
    validation, gate = judge_statistics(spec, batch_id, profile, columns)
    if not draws and validation.verdict == "PASSED":
        return validation, gate
    shown = shown_columns(spec, validation)
    path = home.report(spec.product, batch_id, "validation.html")
    limits = {name: profile.columns[name].null_share + spec.validation.statistics.max_null_gap for name in shown}
    tests = write_validation_report(path, spec, profile.sample.select(shown), columns.select(shown), limits)
    outcomes = [
        ColumnFinding(
            check="evidently", column=item.column, verdict="PASSED" if item.passed else "WARNED", observed=item.said,
            threshold="on a sample", detail="a picture's test: the verdict is on all rows",
        )
        for item in tests
    ]  # fmt: skip
    report = path.relative_to(home.settings.reports).as_posix()
    return validation.model_copy(update={"columns": (*validation.columns, *outcomes), "report": report}), gate


def shown_columns(spec: ProductSpec, validation: DataValidation) -> list[str]:
    """The columns that a page shows: those that broke, then those that moved most."""
    return list(dict.fromkeys(item.column for item in validation.columns))[: spec.monitoring.report_columns]


def _why_not(champion: ModelManifest | None, known: Sequence[str], batch_id: str, inputs: pl.DataFrame) -> str:
    """Why a batch is not compared, in words; empty when it is."""
    if champion is None:
        return "no champion yet"
    if batch_id in known:
        return f"the champion {champion.model_id} was trained on this batch"
    if inputs.is_empty():
        return "the batch has no rows in the feature table"
    if not champion.features.can_score(inputs.columns):
        return f"the features are no longer those of the champion {champion.model_id}"
    return "" if champion.features.columns else f"the champion {champion.model_id} has no columns"


def _nothing_to_compare(
    spec: ProductSpec, batch_id: str, rows: int, champion: ModelManifest | None, why_not: str
) -> tuple[DataValidation, Gate]:
    validation = DataValidation(
        product=spec.product, batch_id=batch_id, kind=KIND, verdict="PASSED",
        reference=champion.model_id if champion else "", rows=rows, columns=(),
    )  # fmt: skip
    return validation, Gate(name=KIND, verdict="PASSED", observed=why_not, threshold=limits_in_words(spec))


def _fuller(
    spec: ProductSpec,
    batch: Batch,
    blessing: Blessing,
    gate: Gate,
    champion: ModelManifest | None,
    provenance: Provenance,
) -> Blessing:
    """A data blessing that carries raw's gates over and adds the one of the features."""
    return blessings.bless_data(
        spec,
        batch,
        [*(item for item in blessing.gates if item.name in _OF_RAW), gate],
        champion_id=champion.model_id if champion else "",
        snapshot=blessing.data_snapshot,
        provenance=provenance,
    )
