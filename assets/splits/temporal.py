"""The temporal split: train on what was known when the test batch began, test on that batch.

Boundaries are computed in the lake and written down; no row is copied.
"""

from datetime import UTC, date, datetime, time
from typing import Any

import duckdb

from assets.errors import HeadraceError
from assets.features.read import LABELS, Part, as_it_was, columns_of, joined, known_at, part_condition
from assets.lake import newest_snapshot
from assets.naming import quoted
from assets.records import SplitManifest, SplitPart
from assets.spec import ProductSpec


def make_split(con: duckdb.DuckDBPyConnection, spec: ProductSpec, as_of: str, feature_set_id: str) -> SplitManifest:
    """Split the rows as of a batch.

    The batch is the test. Of the earlier rows whose label was known before the batch's first event, the newest
    `validation_share` by event time stops the training early and the rest trains. With only one batch, its newest
    `test_share_of_first` is the test.

    Raises:
        HeadraceError: there are too few labelled rows; says how many, and what to do.
    """
    version = newest_snapshot(con)
    labels, event, label = (
        as_it_was(LABELS, version, "labels"),
        quoted(spec.time.event),
        quoted(spec.label.column),
    )
    test_from, test_until = _test_window(con, spec, as_of, labels)
    pool = con.execute(
        f"""select count(*), min({event}), quantile_disc({event}, ?) from {labels}
        where batch_id <= ? and {label} is not null and {event} < ? and {known_at(spec)} < ?""",
        [1 - spec.split.validation_share, as_of, test_from, test_from],
    ).fetchone()
    rows, first, boundary = pool or (0, None, None)
    if not rows or rows < spec.split.min_train_rows:
        raise HeadraceError(
            "too few labelled rows to train as of this batch",
            product=spec.product,
            where=f"split as of {as_of}",
            expected=f"at least {spec.split.min_train_rows} rows whose label was known before {test_from} UTC",
            found=f"{rows or 0}",
            fix="land earlier batches, choose a later one, or lower split.min_train_rows",
        )
    draft = SplitManifest(
        product=spec.product,
        as_of=as_of,
        strategy=spec.split.strategy,
        known_until=_utc(test_from),
        test_batch=as_of,
        feature_set_id=feature_set_id,
        data_snapshot=version,
        parts={
            "train": _bounds(first, boundary),
            "validation": _bounds(boundary, test_from),
            "test": _bounds(test_from, test_until),
        },
    )
    parts: dict[Part, SplitPart] = {part: _measured(con, spec, draft, part) for part in draft.parts}
    empty = [name for name, part in parts.items() if part.positives in (0, part.rows)]
    if empty:
        raise HeadraceError(
            "a part of the split has only one class",
            product=spec.product,
            where=f"split as of {as_of}: {', '.join(empty)}",
            expected="both outcomes in each of train, validation and test",
            found=", ".join(f"{parts[name].positives} of {parts[name].rows} positive" for name in empty),
            fix="land more data, or look at the label: it may be constant",
        )
    return draft.model_copy(update={"parts": parts, "warnings": _warnings(spec, parts)})


def overlapping_rows(con: duckdb.DuckDBPyConnection, spec: ProductSpec, manifest: SplitManifest) -> int:
    """Keys that are in more than one part: 0 in a split that is one."""
    keys = ", ".join(f"labels.{quoted(name)}" for name in spec.key)
    selects, values = [], []
    for part in manifest.parts:
        condition, bound = part_condition(spec, manifest, part)
        source = as_it_was(LABELS, manifest.data_snapshot, "labels")
        selects.append(f"select distinct {keys} from {source} where {condition}")
        values.extend(bound)
    names = ", ".join(quoted(name) for name in spec.key)
    union = " union all ".join(selects)
    row = con.execute(f"select count(*) from (select 1 from ({union}) group by {names} having count(*) > 1)", values)
    return int((row.fetchone() or (0,))[0])


def _test_window(con: duckdb.DuckDBPyConnection, spec: ProductSpec, as_of: str, labels: str) -> tuple[Any, Any]:
    event, label = quoted(spec.time.event), quoted(spec.label.column)
    window = con.execute(
        f"""select count(*), min({event}), max({event}) + interval 1 microsecond,
            quantile_disc({event}, ?), (select count(*) from {labels} where batch_id < ?)
        from {labels} where batch_id = ? and {label} is not null""",
        [1 - spec.split.test_share_of_first, as_of, as_of],
    ).fetchone()
    rows, first, until, late, earlier = window or (0, None, None, None, 0)
    if not rows:
        raise HeadraceError(
            "the batch has no labelled row",
            product=spec.product,
            where=f"split as of {as_of}",
            expected="labels for the rows of this batch",
            found="0 rows with a label",
            fix="check that the batch is landed and its outcomes are delivered (headrace status)",
        )
    return (first if earlier else late), until


def _measured(con: duckdb.DuckDBPyConnection, spec: ProductSpec, manifest: SplitManifest, part: Part) -> SplitPart:
    """Count a part and hash its rows, on exactly the rows that `read_part` reads."""
    condition, values = part_condition(spec, manifest, part)
    label, event = f"labels.{quoted(spec.label.column)}", f"labels.{quoted(spec.time.event)}"
    hashed = ", ".join([*(f"features.{quoted(name)}" for name in columns_of(spec)), label])
    # hashed twice: DuckDB joins a row's last column by XOR, so labels that changed places would cancel out
    bounds = manifest.parts[part]
    row = con.execute(
        f"""select count(*), count(*) filter ({label}), printf('%016x', bit_xor(hash(hash({hashed}))))
        from {joined(spec, manifest.data_snapshot)} where {condition}""",
        values,
    ).fetchone() or (0, 0, "")
    scope = "=" if part == "test" else "<="
    everyone = con.execute(
        f"""select count(*) from {as_it_was(LABELS, manifest.data_snapshot, "labels")}
        where labels.batch_id {scope} ? and {event} >= ? and {event} < ?""",
        [manifest.test_batch, bounds.event_from.replace(tzinfo=None), bounds.event_until.replace(tzinfo=None)],
    ).fetchone() or (0,)
    return bounds.model_copy(
        update={
            "rows": row[0],
            "positives": row[1],
            "unlabelled": everyone[0] - row[0],
            "row_set_hash": f"{row[0]}-{row[2] or ''}",
        }
    )


def _warnings(spec: ProductSpec, parts: dict[Part, SplitPart]) -> tuple[str, ...]:
    reference = parts["train"].positive_share
    return tuple(
        f"{name}: {part.positive_share:.1%} positive, {reference:.1%} in train"
        for name, part in parts.items()
        if abs(part.positive_share - reference) > spec.split.max_balance_gap
    )


def _bounds(start: Any, end: Any) -> SplitPart:
    return SplitPart(rows=0, positives=0, unlabelled=0, event_from=_utc(start), event_until=_utc(end), row_set_hash="")


def _utc(moment: date | datetime) -> datetime:
    """Times in the lake are UTC without a zone; a date is its first moment."""
    start = moment if isinstance(moment, datetime) else datetime.combine(moment, time.min)
    return start.replace(tzinfo=UTC)
