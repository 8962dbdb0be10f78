"""The champion is held against candidates only on rows that it has not trained on."""

import itertools
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from assets import ledger
from assets.evaluation.comparable import why_not_comparable
from assets.home import Home
from assets.lake import Lake
from assets.records import ModelManifest, SplitManifest
from assets.spec import ProductSpec
from assets.splits.service import make_split

Manifests = Callable[..., ModelManifest]
BATCHES = ("2024-01", "2024-02", "2024-03")
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def own_lake(session_home: Home) -> Lake:
    """A lake with features and labels of three months."""
    lake = session_home.lake("comparable")
    rows = pl.DataFrame(
        {
            "order_id": range(300), "batch_id": [BATCHES[place // 100] for place in range(300)],
            "size": [float(place % 13) for place in range(300)], "label": [place % 3 == 0 for place in range(300)],
        }
    ).with_columns(
        ordered_at=pl.datetime(2024, 1, 1)
        + pl.duration(days=30 * (pl.col("order_id") // 100), hours=pl.col("order_id"))
    )  # fmt: skip

    def write(con: Any) -> None:
        con.register("rows", rows.to_arrow())
        con.execute(
            "create table lake.features.toy as "
            "select order_id, batch_id, ordered_at, ordered_at as known_at, size from rows"
        )
        con.execute(
            "create table lake.features.labels as select order_id, batch_id, ordered_at, ordered_at as returned_at, "
            "label as is_returned from rows"
        )
        con.unregister("rows")

    lake.transact(write)
    return lake


@pytest.fixture
def asked(own_lake: Lake, spec_of: Callable[..., ProductSpec], manifest_of: Manifests) -> Callable[..., str]:
    """Why a champion of one split can't be compared on another: (rule, batch) of both."""

    def split_of(spec: ProductSpec, as_of: str) -> SplitManifest:
        with own_lake.connect() as con:
            split = make_split(con, spec, as_of, feature_set_id="features-1")
        ledger.append_to_lake(own_lake, "splits", [(f"{split.split_id}-{next(NUMBERS)}", as_of, split)])
        return split

    def ask(
        then: dict[str, Any], now: dict[str, Any], as_of: tuple[str, str] = ("2024-02", "2024-03"), **changes: Any
    ) -> str:
        common = {
            "features": {"inputs": {"size": {"type": "number"}}}, "gates": {}, "split.min_train_rows": 10,
            "split.validation_share": 0.2,
        }  # fmt: skip
        before, after = (spec_of({**common, **rule}) for rule in (then, now))
        features = manifest_of().features
        champion = manifest_of(
            split_id=split_of(before, as_of[0]).split_id,
            **{"features": features.model_copy(update={"inputs": {"size": "number"}}), **changes},
        )
        split = split_of(after, as_of[1])
        with own_lake.connect() as con:
            return why_not_comparable(con, after, split, champion)

    return ask


STRATIFIED = {"split.strategy": "stratified"}
RANDOM = {"split.strategy": "random"}


@pytest.mark.parametrize("rule", [{}, STRATIFIED, RANDOM])
def test_a_champion_of_the_same_rule_and_an_earlier_batch_is_comparable(
    asked: Callable[..., str], rule: dict[str, Any]
) -> None:
    assert asked(rule, rule) == ""


def test_a_champion_as_of_a_later_batch_knows_the_test_rows_of_a_split_by_time(asked: Callable[..., str]) -> None:
    assert asked({}, {}, ("2024-03", "2024-02")) == "the champion is as of 2024-03 and knows these rows"


def test_where_rows_keep_their_part_a_later_champion_has_not_trained_on_them_either(asked: Callable[..., str]) -> None:
    assert asked(STRATIFIED, STRATIFIED, ("2024-03", "2024-02")) == ""


@pytest.mark.parametrize(
    ("then", "now"), [(STRATIFIED, {**RANDOM, "seed": 5}), (STRATIFIED, {**STRATIFIED, "seed": 5}),
                      (STRATIFIED, {**STRATIFIED, "split.ratios": [0.5, 0.2, 0.3]})],
)  # fmt: skip
def test_another_rule_is_found_out_by_the_rows_it_trained_on(
    asked: Callable[..., str], then: dict[str, Any], now: dict[str, Any]
) -> None:
    found = asked(then, now)
    assert found.startswith("the champion was trained on ")
    assert int(found.split()[5]) > 0


def test_another_rule_that_shares_no_row_is_comparable(asked: Callable[..., str]) -> None:
    """The champion has seen the first two months only, and the test is the third."""
    assert asked(STRATIFIED, {}) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": "is_late"}, "predicts something else (binary of is_late)"),
        ({"task": "regression"}, "predicts something else (regression of is_returned)"),
    ],
)
def test_a_champion_of_another_question_is_not_comparable(
    asked: Callable[..., str], changes: dict[str, Any], said: str
) -> None:
    assert said in asked({}, {}, **changes)


def test_a_champion_that_needs_other_inputs_is_not_comparable(
    asked: Callable[..., str], manifest_of: Manifests
) -> None:
    features = manifest_of().features
    other = features.model_copy(update={"inputs": {"size": "number", "colour": "category"}})
    assert asked({}, {}, features=other) == "the champion can't score these rows, the features changed"
