"""Strategies on any frame: parts are disjoint, of the sizes asked for, and the same in any order of the rows."""

import sys
import types
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.errors import HeadraceError
from assets.splits.service import Segregation, segregate
from assets.splits.strategies import STRATEGIES, Rule, custom_function, shuffled

ROWS = 400
START = datetime.fromisoformat("2024-01-01")


def frame(seed: int = 0, rows: int = ROWS) -> pl.DataFrame:
    """Visits of patients: a key, a time, a group, a label of unlike frequencies that is sometimes missing."""
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "visit": random.permutation(rows),
            "at": [START + timedelta(hours=int(hour)) for hour in random.integers(0, 24 * 365, rows)],
            "patient": random.integers(0, rows // 8, rows),
            "outcome": random.choice(["well", "ill", "dead", ""], rows, p=[0.7, 0.2, 0.05, 0.05]),
            "cost": random.lognormal(3, 1, rows),
        }
    ).with_columns(pl.col("outcome").replace("", None))


def parts(split: Segregation) -> dict[str, set[int]]:
    return {name: set(split.read(name)["visit"]) for name in ("train", "validation", "test")}  # type: ignore[arg-type]


def by(strategy: str, rows: pl.DataFrame, **options: Any) -> Segregation:
    needs = {"group": "patient"} if strategy == "group" else {}
    needs |= {"function": "newest_batch"} if strategy == "custom" else {}
    return segregate(rows, key=["visit"], strategy=strategy, label="outcome", event="at", **needs, **options)


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "custom"])
@settings(max_examples=8)
@given(seed=st.integers(0, 10_000))
def test_parts_are_disjoint_and_the_same_in_any_row_order(strategy: str, seed: int) -> None:
    rows = frame(seed)
    split = parts(by(strategy, rows, seed=seed))
    again = parts(by(strategy, rows.sample(fraction=1, shuffle=True, seed=seed + 1), seed=seed))
    assert split == again
    found = [visit for part in split.values() for visit in part]
    assert len(found) == len(set(found))
    labelled = set(rows.filter(pl.col("outcome").is_not_null())["visit"])
    assert set(found) == labelled if strategy not in ("temporal", "time_series_folds") else set(found) <= labelled


@pytest.mark.parametrize("strategy", ["random", "stratified", "group"])
def test_the_seed_decides_the_draw(strategy: str) -> None:
    rows = frame()
    assert parts(by(strategy, rows, seed=1)) == parts(by(strategy, rows, seed=1))
    assert parts(by(strategy, rows, seed=1)) != parts(by(strategy, rows, seed=2))


@pytest.mark.parametrize("strategy", ["random", "stratified", "sequential"])
def test_sizes_are_the_ratios(strategy: str) -> None:
    rows = frame().filter(pl.col("outcome").is_not_null())
    split = parts(by(strategy, rows, ratios=(0.5, 0.2, 0.3)))
    assert [len(part) for part in split.values()] == pytest.approx(
        [rows.height * share for share in (0.5, 0.2, 0.3)], abs=2
    )


def test_strata_have_the_same_share_of_every_class_down_to_one_row() -> None:
    rows = frame().filter(pl.col("outcome").is_not_null())
    split = by("stratified", rows, seed=3)
    counts = rows["outcome"].value_counts()
    for outcome, count in counts.iter_rows():
        for part, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
            found = split.read(part).filter(pl.col("outcome") == outcome).height  # type: ignore[arg-type]
            assert abs(found - count * share) <= 1


def test_a_number_is_stratified_by_the_tenths_of_its_distribution() -> None:
    rows = frame(rows=2000)
    split = segregate(rows, key=["visit"], strategy="stratified", label="cost", seed=1)
    expected = rows["cost"].quantile(0.9)
    tail = [
        (split.read(part)["cost"] > expected).mean()  # type: ignore[arg-type]
        for part in ("train", "validation", "test")
    ]
    assert tail == pytest.approx([0.1, 0.1, 0.1], abs=0.015)


def test_a_group_is_never_in_two_parts() -> None:
    split = by("group", frame(), seed=5)
    seen = [set(split.read(part)["patient"]) for part in ("train", "validation", "test")]  # type: ignore[arg-type]
    assert not seen[0] & seen[1]
    assert not (seen[0] | seen[1]) & seen[2]


@pytest.mark.parametrize("strategy", ["temporal", "time_series_folds", "sequential"])
def test_time_runs_from_training_to_test(strategy: str) -> None:
    split = by(strategy, frame())
    train, validation, test = (split.read(part)["at"] for part in ("train", "validation", "test"))  # type: ignore[arg-type]
    assert train.max() <= validation.min()  # type: ignore[operator]
    assert validation.max() <= test.min()  # type: ignore[operator]


def test_folds_are_in_the_order_of_time_and_of_equal_size() -> None:
    rows = frame().rename({"at": "event", "outcome": "label"})
    rows = rows.with_columns(key_hash=pl.col("visit").cast(pl.UInt64), batch_id=pl.lit(""))
    rule = Rule(options={"folds": 5, "test_share_of_first": 0.2, "validation_share": 0.1})
    found = STRATEGIES["time_series_folds"].assign(rows, rule)
    table = rows.with_columns(found.part.alias("part"), found.fold.alias("fold")).filter(pl.col("fold").is_not_null())
    spans = table.group_by("fold").agg(
        pl.col("event").min().alias("first"), pl.col("event").max().alias("last"), pl.len()
    )
    spans = spans.sort("fold")
    assert spans["fold"].to_list() == [0, 1, 2, 3, 4]
    assert (spans["last"].head(4) <= spans["first"].tail(4)).all()
    assert spans["len"].max() - spans["len"].min() <= 1  # type: ignore[operator]
    assert set(table.filter(pl.col("fold") == 4)["part"]) == {"validation"}


def test_a_shuffle_is_uniform_and_independent_of_close_keys() -> None:
    """Hashes of neighbouring numbers are spread: a chi-square of 16 bins stays below its 0.1% limit of 37.7."""
    values = shuffled(pl.Series(range(16_000), dtype=pl.UInt64), 7) / 2.0**64
    counts = np.histogram(values, bins=16, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 37.7


# --- warnings and refusals ------------------------------------------------------------------------------------------


def test_uneven_outcomes_and_missing_classes_are_warned_of() -> None:
    rows = frame().with_columns(
        outcome=pl.when(pl.col("at") > START + timedelta(days=320)).then(pl.lit("ill")).otherwise("outcome")
    )
    warnings = by("temporal", rows).warnings
    assert any("share of" in text for text in warnings)
    assert any("no row of class" in text for text in warnings)


def test_a_part_without_its_label_has_none() -> None:
    split = by("random", frame())
    assert "outcome" not in split.read("train", with_label=False).columns
    assert split.read("train", with_label=False).height == split.read("train").height


def test_repeated_keys_are_refused_because_a_row_could_be_in_two_parts() -> None:
    rows = pl.concat([frame(), frame().head(3)])
    with pytest.raises(HeadraceError, match="a key is there twice") as caught:
        by("random", rows)
    assert (caught.value.expected, caught.value.found) == (f"{ROWS + 3} keys", str(ROWS))


@pytest.mark.parametrize(
    ("strategy", "words"),
    [("stratified", "needs label"), ("temporal", "needs event"), ("by luck", "unknown split strategy")],
)
def test_a_strategy_without_its_column_is_refused(strategy: str, words: str) -> None:
    with pytest.raises(HeadraceError, match=words):
        segregate(frame(), key=["visit"], strategy=strategy)


def test_too_few_rows_for_three_parts_are_refused() -> None:
    with pytest.raises(HeadraceError, match="a part of the split has no row"):
        segregate(frame().head(2), key=["visit"], strategy="random")


def test_a_function_of_your_own_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("assets.splits.custom.odd")
    module.assign = lambda rows, _ratios, _seed: rows.select(  # type: ignore[attr-defined]
        pl.when(pl.col("place") % 3 == 0).then(pl.lit("test")).when(pl.col("place") % 3 == 1).then(pl.lit("train"))
        .otherwise(pl.lit("validation"))
    ).to_series()  # fmt: skip
    monkeypatch.setitem(sys.modules, "assets.splits.custom.odd", module)
    split = segregate(frame(), key=["visit"], strategy="custom", function="odd")
    assert set(split.read("test")["visit"]) == {visit for visit in range(ROWS) if visit % 3 == 2}


def test_a_function_that_answers_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("assets.splits.custom.wrong")
    module.assign = lambda rows, _ratios, _seed: pl.Series(["training"] * rows.height)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "assets.splits.custom.wrong", module)
    with pytest.raises(HeadraceError, match="answers one part for each row"):
        segregate(frame(), key=["visit"], strategy="custom", function="wrong")


def test_an_unknown_function_is_named_with_where_it_belongs() -> None:
    with pytest.raises(HeadraceError, match="no such split function") as caught:
        custom_function("nobody")
    assert "assets/splits/custom/nobody.py" in caught.value.expected
