"""What features must not know, asked where models begin: nothing of the future, and not the outcome.

A blocking check stops its own run and nothing else, so the split asks again. It asks the rows themselves, not a
verdict of before: whoever mends the SQL or the spec goes on at once, and nothing is held that isn't wrong any more.
"""

import polars as pl

from assets import blessings, ledger
from assets.errors import HeadraceError
from assets.features.leaks import Leaks, judge_leaks
from assets.features.read import batch_inputs, batch_labels, key_columns
from assets.lake import Lake
from assets.naming import FEATURES, quoted, table
from assets.records import Gate
from assets.spec import ProductSpec

# spec, rows and labels -> verdict: checks and split of a run ask about the same rows, and a model of them costs seconds
_JUDGED: dict[tuple[str, int, int], tuple[Gate, Leaks | None]] = {}
_REMEMBERED = 4


def require_features(lake: Lake, spec: ProductSpec, batch_id: str, *, where: str) -> None:
    """Refuse a batch whose features know the future or the outcome.

    Raises:
        HeadraceError: they do; says which, and what to do.
    """
    with lake.connect() as con:
        held = blessings.held_batches(con)
        learned = [item for item in ledger.loaded_batch_ids(con, spec.product) if item <= batch_id and item not in held]
    # a model as of this batch learns from those before it, too
    late = rows_from_the_future(lake, spec, sorted({*learned, batch_id}))
    if late:
        raise HeadraceError(
            f"refused: rows until batch {batch_id} know more than was known when they are asked (point_in_time)",
            product=spec.product, where=where, expected="0 rows", found=f"{late:,} rows",
            fix="correct known_at, or the joins behind it, in the SQL of the feature table",
        )  # fmt: skip
    inputs, labels = judged_rows(lake, spec, batch_id)
    gate, _ = leak_gate(spec, inputs, labels)
    if gate.verdict == "FAILED":
        raise HeadraceError(
            f"refused: features of batch {batch_id} know the outcome (leak)",
            product=spec.product, where=where, expected=f"at most {gate.threshold}", found=str(gate.observed),
            fix=gate.detail,
        )  # fmt: skip


def leak_gate(spec: ProductSpec, inputs: pl.DataFrame, labels: pl.Series | None) -> tuple[Gate, Leaks | None]:
    """`judge_leaks`, once per process for the same rows, labels and spec."""
    rows = inputs if labels is None else inputs.with_columns(labels.alias("headrace_label"))
    key = (spec.spec_hash, inputs.height, int(rows.hash_rows().sum()) if inputs.height else 0)
    if key not in _JUDGED:
        _JUDGED[key] = judge_leaks(spec, inputs, labels)
        while len(_JUDGED) > _REMEMBERED:
            _JUDGED.pop(next(iter(_JUDGED)))
    return _JUDGED[key]


def rows_from_the_future(lake: Lake, spec: ProductSpec, batches: list[str]) -> int:
    """Rows of these batches with `known_at` after their prediction is asked for; none where rows have no time.

    A row made of no fact has no `known_at`; where no row of a batch has one, the column was lost: all of them count.
    """
    if spec.time is None:
        return 0
    asked_at, known_at = spec.time.asked_at or spec.time.event, quoted(spec.time.known_at)
    with lake.connect() as con:
        found = con.execute(
            f"""select sum(case when known = 0 then rows else late end) from (
                select count(*) as rows, count({known_at}) as known,
                    count(*) filter ({known_at} > {quoted(asked_at)}) as late
                from {table(FEATURES, spec.product)} where batch_id in (select unnest(?)) group by batch_id)""",
            [batches],
        ).fetchone()
    return int(found[0] or 0) if found else 0


def judged_rows(lake: Lake, spec: ProductSpec, batch_id: str) -> tuple[pl.DataFrame, pl.Series | None]:
    """The rows that show what a batch's features know: its own; all of a followed table, where a batch is but changes.

    Returns:
        keys and inputs, and the labels in their order, null where there is none; None for a clustering.
    """
    of = None if spec.source.postgres else batch_id
    inputs = batch_inputs(lake, spec, of)
    if spec.label is None:
        return inputs, None
    keys = key_columns(spec)
    labels = batch_labels(lake, spec, of).select(*keys, "label")
    joined = inputs.select(keys).join(labels, on=keys, how="left", maintain_order="left", nulls_equal=True)
    return inputs, joined["label"]
