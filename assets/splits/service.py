"""The segregation service: split the rows of a product, or of any frame, and read the parts again.

What is kept is a manifest: the rule, its seed and a hash of each part. Reading a part applies the rule again to the
rows as they were at the manifest's snapshot, so no row is copied.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from assets import blessings
from assets.errors import HeadraceError
from assets.features.read import Part, columns_of, joined, key_columns, known_at, label_of, listed
from assets.lake import newest_snapshot
from assets.naming import FEATURES, quoted, table
from assets.records import SplitManifest, SplitPart
from assets.spec import ProductSpec, SplitSpec
from assets.splits.strategies import PARTS, STRATEGIES, Assignment, Rule, custom_function

_OPTIONS = {
    "temporal": ("validation_share", "test_share_of_first"),
    "time_series_folds": ("test_share_of_first", "folds"),
    "group": ("group",),
    "custom": ("function",),
}
# split id -> keys, part and fold: a run reads the parts of the champion's, the last and the new split many times
_ASSIGNED: dict[str, pl.DataFrame] = {}
_REMEMBERED = 4
# the option that names batches which data validation held back when the split was made; absent when there were none
_HELD = "held_batches"
# text of the key columns -> 64 bits that are the same in every version of every library
_KEY_HASH = "md5_number_lower(concat_ws(chr(31), {}))"


@dataclass(frozen=True)
class Segregation:
    """A frame split: the part of each row, what the parts are like, and warnings."""

    rows: pl.DataFrame
    parts: dict[str, SplitPart]
    warnings: tuple[str, ...]
    assignment: pl.Series
    label: str | None

    def read(self, part: Part, *, with_label: bool = True) -> pl.DataFrame:
        """The rows of a part in the frame's order, without the label if it isn't wanted."""
        found = self.rows.filter(self.assignment == part)
        return found if with_label or self.label is None else found.drop(self.label)


def segregate(
    rows: pl.DataFrame,
    *,
    key: Sequence[str],
    strategy: str,
    label: str | None = None,
    event: str | None = None,
    group: str | None = None,
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    folds: int = 4,
    function: str = "",
    max_balance_gap: float = 0.15,
) -> Segregation:
    """Split any frame, without a product or a lake.

    Args:
        rows: one row per key.
        key: columns that name a row.
        strategy: one of `STRATEGIES`.
        label: rows without one are left out; `stratified` needs it.
        event: time of a row; the strategies over time need it.
        group: rows with an equal value stay together; `group` needs it.
        ratios: shares of training, validation and test rows.
        seed: of every shuffle.
        folds: of time_series_folds.
        function: of custom.
        max_balance_gap: gap between the parts' outcomes that warns.

    Raises:
        HeadraceError: an unknown strategy, a column it needs is missing, keys that are there twice, an empty part.
    """
    renamed = {name: new for name, new in ((label, "label"), (event, "event")) if name}
    wanted = list(dict.fromkeys([*key, *renamed, *([group] if group else [])]))
    missing = [name for name in wanted if name not in rows.columns]
    if missing:
        raise HeadraceError(
            "the frame lacks columns",
            expected=", ".join(wanted),
            found=", ".join(rows.columns),
            fix="correct the names",
        )
    with tempfile.TemporaryDirectory() as spill, duckdb.connect(config={"temp_directory": spill}) as con:
        con.register("given", rows.select(wanted).with_row_index("headrace_row").to_arrow())
        hashes = [("key_hash", key), *([("group_hash", [group])] if group else [])]
        found = con.execute(
            f"select {', '.join(f'{_KEY_HASH.format(_texts(names))} as {name}' for name, names in hashes)}, "
            f"row_number() over (order by {listed(list(key))}) as place from given order by headrace_row"
        ).pl()
    frame = found.with_columns(rows[name].alias(new) for name, new in renamed.items())
    frame = frame.with_columns(pl.lit("").alias("batch_id"))
    if frame["key_hash"].n_unique() < frame.height:
        raise HeadraceError(
            "a key is there twice, so a row could be in two parts",
            where=", ".join(key),
            expected=f"{frame.height} keys",
            found=f"{frame['key_hash'].n_unique()}",
            fix="name the columns that together name a row, or drop the repeated rows",
        )
    rule = Rule(
        ratios,
        seed,
        None,
        {"folds": folds, "function": function, "validation_share": ratios[1], "test_share_of_first": ratios[2]},
    )
    assignment = _assign(strategy, frame, rule, product="", where="segregate")
    parts = {part: _described(frame.filter(assignment.part == part)) for part in PARTS}
    _refuse_empty(parts, product="", where=f"strategy {strategy}")
    return Segregation(rows, parts, warnings_of(parts, ratios, strategy, max_balance_gap), assignment.part, label)


def make_split(
    con: duckdb.DuckDBPyConnection,
    spec: ProductSpec,
    as_of: str,
    feature_set_id: str,
    *,
    split: SplitSpec | None = None,
    selection: dict[str, Any] | None = None,
    seed: int | None = None,
) -> SplitManifest:
    """Split a product's rows as of a batch.

    Args:
        con: a connection to the product's lake.
        spec: the product.
        as_of: no later batch is looked at; strategies over time test on this one.
        feature_set_id: of the definitions now.
        split: instead of the spec's.
        selection: which features a model may see, instead of the spec's.
        seed: instead of the spec's.

    Raises:
        HeadraceError: there are too few labelled rows, or a part lacks them; says how many, and what to do.
    """
    split = split or spec.split
    if split.group is not None and split.group not in {*spec.key, *spec.features.inputs}:
        raise HeadraceError(
            "no such column to group by",
            product=spec.product,
            where="split.group",
            expected=", ".join([*spec.key, *spec.features.inputs]),
            found=split.group,
            fix="name one of these",
        )
    version = newest_snapshot(con)
    draft = SplitManifest(
        product=spec.product,
        as_of=as_of,
        strategy=split.strategy,
        ratios=split.ratios,
        seed=spec.seed if seed is None else seed,
        options={**_options(split), **_held_back(con, spec, as_of)},
        test_batch=as_of,
        feature_set_id=feature_set_id,
        selection=selection or spec.features.select.model_dump(mode="json"),
        data_snapshot=version,
        parts={},
    )
    rows = _rows(con, spec, draft)
    where = f"split as of {as_of}"
    labelled = (
        rows["label"].is_not_null() if "label" in rows.columns else pl.Series([True]).new_from_index(0, rows.height)
    )
    if not ((rows["batch_id"] == as_of) & labelled).any():
        raise HeadraceError(
            "the batch has no labelled row" if spec.label else "the batch has no row",
            product=spec.product,
            where=where,
            expected="rows with a label",
            found="0",
            fix="check that the batch is landed and its outcomes are delivered (headrace status)",
        )
    assignment = _assign(split.strategy, rows, _rule(draft), product=spec.product, where=where)
    chosen = _chosen(spec, rows, assignment)
    hashes = _hashes(con, spec, draft, chosen)
    parts = {
        part: _described(rows.filter(assignment.part == part)).model_copy(
            update={"row_set_hash": hashes.get(part, "0-")}
        )
        for part in PARTS
    }
    parts = _with_unlabelled(rows, assignment, parts, as_of)
    _refuse_few(spec, split, parts, assignment, where)
    manifest = draft.model_copy(
        update={
            "parts": parts,
            "known_until": _utc(assignment.known_until),
            "warnings": warnings_of(parts, split.ratios, split.strategy, split.max_balance_gap),
        }
    )
    _remember(manifest, chosen)
    return manifest


def assigned(con: duckdb.DuckDBPyConnection, spec: ProductSpec, manifest: SplitManifest) -> pl.DataFrame:
    """Key columns, `part` and `fold` of every row that is in a part, by applying the manifest's rule again."""
    known = _ASSIGNED.get(manifest.split_id)
    if known is not None:
        return known
    rows = _rows(con, spec, manifest)
    where = f"split as of {manifest.as_of}"
    assignment = _assign(manifest.strategy, rows, _rule(manifest), product=spec.product, where=where)
    return _remember(manifest, _chosen(spec, rows, assignment))


def training_batches(manifest: SplitManifest, loaded: Iterable[str]) -> list[str]:
    """Those of the loaded batches that have rows to train on in a split; over time the batch it tests has none.

    Args:
        manifest: the split.
        loaded: ids of loaded batches.
    """
    known = sorted(item for item in loaded if item <= manifest.as_of and item not in held_back(manifest))
    earlier = [item for item in known if item != manifest.test_batch]
    return earlier if earlier and manifest.strategy in ("temporal", "time_series_folds") else known


def held_back(manifest: SplitManifest) -> list[str]:
    """The batches whose rows a split left out because data validation held them when it was made."""
    return [item for item in str(manifest.options.get(_HELD, "")).split(",") if item]


def overlapping_rows(con: duckdb.DuckDBPyConnection, spec: ProductSpec, manifest: SplitManifest) -> int:
    """How often a key is in another part, too: 0 in a split that is one."""
    keys = assigned(con, spec, manifest).select(*spec.key, "part").unique()
    return keys.height - keys.select(spec.key).unique().height


def warnings_of(
    parts: dict[str, SplitPart], ratios: tuple[float, float, float], strategy: str, max_gap: float
) -> tuple[str, ...]:
    """What a person should know of the parts: uneven outcomes, missing classes, sizes far from the ratios."""
    found = []
    train = parts["train"]
    for name, part in parts.items():
        gap, what = balance_gap(train, part)
        if gap > max_gap:
            found.append(f"{name}: {what} differs from train by {gap:.3g} (more than {max_gap:g})")
        lacking = [label for label in train.outcomes if label not in part.outcomes]
        if lacking and "deviation" not in train.outcomes:
            shown = ", ".join(lacking[:5]) + (" and more" if len(lacking) > 5 else "")  # noqa: PLR2004 - a readable few
            found.append(f"{name}: no row of class {shown}")
    total = sum(part.rows for part in parts.values())
    if strategy in ("group", "custom"):
        for (name, part), ratio in zip(parts.items(), ratios, strict=True):
            if abs(part.rows / max(total, 1) - ratio) > ratio / 2:
                found.append(f"{name}: {part.rows / total:.1%} of the rows, {ratio:.0%} asked for")
    return tuple(found)


def balance_gap(reference: SplitPart, part: SplitPart) -> tuple[float, str]:
    """How far a part's outcomes are from the reference's, and which: largest gap of a class's share, or of means."""
    if "deviation" in reference.outcomes:
        deviation = reference.outcomes["deviation"] or 1.0
        return abs(part.outcomes.get("mean", 0.0) - reference.outcomes["mean"]) / deviation, "mean (in deviations)"
    names = {*reference.outcomes, *part.outcomes}
    gaps = {name: abs(part.outcomes.get(name, 0.0) - reference.outcomes.get(name, 0.0)) for name in names}
    worst = max(sorted(gaps), key=lambda name: gaps[name], default="")
    return gaps.get(worst, 0.0), f"share of {worst}"


def _remember(manifest: SplitManifest, chosen: pl.DataFrame) -> pl.DataFrame:
    _ASSIGNED[manifest.split_id] = chosen
    while len(_ASSIGNED) > _REMEMBERED:
        _ASSIGNED.pop(next(iter(_ASSIGNED)))
    return chosen


def _chosen(spec: ProductSpec, rows: pl.DataFrame, assignment: Assignment) -> pl.DataFrame:
    fold = (
        assignment.fold
        if assignment.fold is not None
        else pl.Series([None], dtype=pl.Int64).new_from_index(0, rows.height)
    )
    keys = rows.select(pl.col(f"key:{name}").alias(name) for name in key_columns(spec))
    return keys.with_columns(assignment.part.alias("part"), fold.alias("fold")).filter(pl.col("part").is_not_null())


def _rows(con: duckdb.DuckDBPyConnection, spec: ProductSpec, manifest: SplitManifest) -> pl.DataFrame:
    """One row per row of the feature table up to the batch, with what strategies look at."""
    source = joined(spec, manifest.data_snapshot)
    columns = [f"features.{quoted(name)} as {quoted(f'key:{name}')}" for name in key_columns(spec)]
    columns.append("features.batch_id as batch_id")
    needs = STRATEGIES[manifest.strategy].needs
    if "key_hash" in needs:
        columns.append(f"{_KEY_HASH.format(_texts(spec.key, 'features'))} as key_hash")
    if "place" in needs:
        columns.append(f"row_number() over (order by {listed(spec.key, 'features')}) as place")
    if spec.time:
        columns.append(f"features.{quoted(spec.time.event)}::timestamp as event")
    if spec.label:
        columns += [f"{label_of(spec, 'labels')} as label", f"{known_at(spec, 'labels')} as label_known_at"]
    if manifest.options.get("group"):
        columns.append(f"{_KEY_HASH.format(_texts([str(manifest.options['group'])], 'features'))} as group_hash")
    return con.execute(
        f"select {', '.join(columns)} from {source} "
        "where features.batch_id <= ? and features.batch_id not in (select unnest(?::varchar[]))",
        [manifest.as_of, held_back(manifest)],
    ).pl()


def _assign(name: str, rows: pl.DataFrame, rule: Rule, *, product: str, where: str) -> Assignment:
    strategy = STRATEGIES.get(name)
    if strategy is None:
        raise HeadraceError(
            "unknown split strategy",
            product=product,
            where=where,
            expected=", ".join(STRATEGIES),
            found=name,
            fix="choose one",
        )
    missing = [column for column in strategy.needs if column not in rows.columns]
    if missing:
        raise HeadraceError(
            f"the split strategy {name} needs {' and '.join(missing).replace('_hash', '')}",
            product=product,
            where=where,
            expected=", ".join(strategy.needs),
            found=", ".join(column for column in rows.columns if not column.startswith("key:")),
            fix="name the column, or choose another strategy",
        )
    return strategy.assign(rows, rule)


def _held_back(con: duckdb.DuckDBPyConnection, spec: ProductSpec, as_of: str) -> dict[str, str]:
    """Held batches that have rows in the feature table now: written down, so that reading the split leaves them out.

    What is held later, or accepted, changes nothing of a split that was made; without any there is no option, so that
    the ids of other splits don't depend on it.
    """
    held = sorted(blessings.held_batches(con))
    if not held:
        return {}
    rows = con.execute(
        f"select distinct batch_id from {table(FEATURES, spec.product)} "
        "where batch_id <= ? and batch_id in (select unnest(?::varchar[])) order by batch_id",
        [as_of, held],
    ).fetchall()
    return {_HELD: ",".join(batch_id for (batch_id,) in rows)} if rows else {}


def _options(split: SplitSpec) -> dict[str, str | int | float | None]:
    options = {name: getattr(split, name) for name in _OPTIONS.get(split.strategy, ())}
    if split.strategy == "custom":
        custom_function(split.function)
        path = Path(__file__).parent / "custom" / f"{split.function}.py"
        options["source_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return options


def _rule(manifest: SplitManifest) -> Rule:
    return Rule(manifest.ratios, manifest.seed, manifest.test_batch, dict(manifest.options))


def _hashes(
    con: duckdb.DuckDBPyConnection,
    spec: ProductSpec,
    manifest: SplitManifest,
    chosen: pl.DataFrame,
) -> dict[str, str]:
    """Per part an order-free hash of exactly the rows that `read_part` reads."""
    label = [f"labels.{quoted(spec.label.column)}"] if spec.label else []
    # hashed twice: DuckDB joins a row's last column by XOR, so labels that changed places would cancel out
    hashed = ", ".join([*(f"features.{quoted(name)}" for name in columns_of(spec)), *label])
    con.register("chosen_rows", chosen.to_arrow())
    try:
        found = con.execute(
            f"""select chosen.part, count(*), printf('%016x', bit_xor(hash(hash({hashed}))))
            from {joined(spec, manifest.data_snapshot)}
            join chosen_rows as chosen using ({listed(key_columns(spec))}) group by chosen.part"""
        ).fetchall()
    finally:
        con.unregister("chosen_rows")
    return {part: f"{count}-{value}" for part, count, value in found}


def _described(rows: pl.DataFrame) -> SplitPart:
    """Rows, outcomes and time span of a part."""
    outcomes: dict[str, float] = {}
    if "label" in rows.columns and rows.height:
        # sorted: sums of floats depend on the order, and these are part of the split's id
        label = rows["label"].sort()
        if label.dtype.is_numeric():
            outcomes = {"mean": float(label.mean()), "deviation": float(label.std() or 0.0)}  # type: ignore[arg-type]
        else:
            counts = label.cast(pl.String).alias("label").value_counts(normalize=True).sort("label")
            outcomes = dict(counts.drop_nulls().iter_rows())
    if "event" not in rows.columns or rows.is_empty():
        return SplitPart(rows=rows.height, outcomes=outcomes)
    span: tuple[Any, Any] = (rows["event"].min(), rows["event"].max())
    return SplitPart(
        rows=rows.height,
        outcomes=outcomes,
        event_from=_utc(span[0]),
        event_until=_utc(span[1] + timedelta(microseconds=1)),
    )


def _with_unlabelled(
    rows: pl.DataFrame, assignment: Assignment, parts: dict[str, SplitPart], as_of: str
) -> dict[str, SplitPart]:
    """Count the rows that are left out: of the test batch to the test, of the others to training."""
    left = rows.filter(assignment.part.is_null())
    if assignment.known_until is None:
        return {**parts, "train": parts["train"].model_copy(update={"unlabelled": left.height})}
    of_test = left.filter((pl.col("batch_id") == as_of) & (pl.col("event") >= assignment.known_until)).height
    return {
        **parts,
        "train": parts["train"].model_copy(update={"unlabelled": left.height - of_test}),
        "test": parts["test"].model_copy(update={"unlabelled": of_test}),
    }


def _refuse_few(
    spec: ProductSpec, split: SplitSpec, parts: dict[str, SplitPart], assignment: Assignment, where: str
) -> None:
    """Refuse a split that can teach or judge nothing."""
    known = f" whose label was known before {assignment.known_until} UTC" if assignment.known_until else ""
    for name, minimum, fix in (
        ("train", split.min_train_rows, "land earlier batches, choose a later one, or lower split.min_train_rows"),
        ("test", split.min_test_rows, "wait for the rest of the batch, or lower split.min_test_rows"),
    ):
        pool = parts["train"].rows + parts["validation"].rows if name == "train" else parts["test"].rows
        if pool < minimum:
            raise HeadraceError(
                f"too few labelled rows to {name} as of this batch",
                product=spec.product,
                where=where,
                expected=f"at least {minimum} rows{known if name == 'train' else ''}",
                found=f"{pool}",
                fix=fix,
            )
    _refuse_empty(parts, product=spec.product, where=where)
    if spec.task not in ("binary", "multiclass"):
        return
    judged = PARTS if spec.task == "binary" else ("train",)
    constant = [name for name in judged if len(parts[name].outcomes) < 2]  # noqa: PLR2004 - two classes or more
    if constant:
        raise HeadraceError(
            "a part of the split has only one class",
            product=spec.product,
            where=f"{where}: {', '.join(constant)}",
            expected="both outcomes in each of train, validation and test",
            found=", ".join(
                f"{parts[name].rows} rows, all {next(iter(parts[name].outcomes), 'without label')}" for name in constant
            ),
            fix="land more data, or look at the label: it may be constant",
        )


def _refuse_empty(parts: dict[str, SplitPart], *, product: str, where: str) -> None:
    empty = [name for name, part in parts.items() if not part.rows]
    if empty:
        raise HeadraceError(
            "a part of the split has no row",
            product=product,
            where=where,
            expected="rows in each of train, validation and test",
            found=f"none in {', '.join(empty)}",
            fix="land more rows, change split.ratios, or choose another seed or strategy",
        )


def _texts(names: Sequence[str], alias: str = "") -> str:
    prefix = f"{alias}." if alias else ""
    return ", ".join(f"{prefix}{quoted(name)}::varchar" for name in names)


def _utc(moment: date | datetime | None) -> datetime | None:
    """Times in the lake are UTC without a zone; a date is its first moment."""
    if moment is None:
        return None
    start = moment if isinstance(moment, datetime) else datetime.combine(moment, time.min)
    return start.replace(tzinfo=UTC)
