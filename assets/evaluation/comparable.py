"""Whether the champion may be held against new candidates on their test rows: it must not have trained on one."""

import duckdb
import polars as pl

from assets import ledger
from assets.features.read import key_columns
from assets.records import ModelManifest, SplitManifest
from assets.spec import ProductSpec
from assets.splits.service import assigned

# of these a row keeps its part whatever is added, so an equal rule means no test row was ever trained on
_STABLE = frozenset({"random", "stratified", "group"})
_BY_BATCH = frozenset({"temporal", "time_series_folds"})


def why_not_comparable(
    con: duckdb.DuckDBPyConnection, spec: ProductSpec, split: SplitManifest, champion: ModelManifest
) -> str:
    """Why the champion can't be tested on a split's test rows, in words; empty when it can.

    Args:
        con: a connection to the product's lake.
        spec: the product as it is now.
        split: the split of the candidates.
        champion: the manifest of the live model.
    """
    label = spec.label.column if spec.label else ""
    if (champion.task, champion.label) != (spec.task, label):
        return f"the champion predicts something else ({champion.task} of {champion.label or 'nothing'})"
    if not champion.features.can_score(spec.features.inputs):
        return "the champion can't score these rows, the features changed"
    own = next(
        (item for _, item in ledger.records(con, "splits", SplitManifest) if item.split_id == champion.split_id), None
    )
    if own is None:
        return "the split that the champion was trained on is not in the ledger"
    if own.split_id == split.split_id or _keeps_parts(own, split):
        return ""
    if own.strategy in _BY_BATCH and split.strategy in _BY_BATCH and own.as_of != split.as_of:
        # the test is the newest batch of its split
        return f"the champion is as of {own.as_of} and knows these rows" if own.as_of > split.as_of else ""
    trained = _trained_rows(con, spec, own, split)
    return f"the champion was trained on {trained} of these test rows, as it was split otherwise" if trained else ""


def _keeps_parts(own: SplitManifest, split: SplitManifest) -> bool:
    """Whether both splits have one rule under which a row never changes its part."""
    rules = [(item.strategy, item.ratios, item.seed, item.options) for item in (own, split)]
    return rules[0] == rules[1] and split.strategy in _STABLE


def _trained_rows(con: duckdb.DuckDBPyConnection, spec: ProductSpec, own: SplitManifest, split: SplitManifest) -> int:
    """How many test rows of a split another split trains or validates on."""
    keys = key_columns(spec)
    test = assigned(con, spec, split).filter(pl.col("part") == "test").select(keys)
    trained = assigned(con, spec, own).filter(pl.col("part") != "test").select(keys)
    return test.join(trained, on=keys, how="semi", nulls_equal=True).height
