"""The checks of the feature table on real tables of a lake: every task, with and without time, batches without rows."""

import functools
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from assets.errors import HeadraceError
from assets.features.checks import _column_results
from assets.features.door import judged_rows, require_features, rows_from_the_future
from assets.home import Home
from assets.lake import Lake
from assets.settings import Settings
from assets.spec import PostgresSpec, ProductSpec

Specs = Callable[..., ProductSpec]
START = datetime(2024, 1, 1)  # noqa: DTZ001  # the lake's times have no zone
ROWS = 300


def lake_with(home: Path, product: str, **tables: pl.DataFrame) -> Lake:
    """A lake with these tables of the features schema."""
    lake = Home(Settings(home=home)).lake(product)

    def work(con: Any) -> None:
        for name, rows in tables.items():
            con.register("given", rows.to_arrow())
            con.execute(f"create table lake.features.{name} as select * from given")
            con.unregister("given")

    lake.transact(work)
    return lake


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two batches: in the second a row was known an hour after it was asked for, and before its event."""
    known = [START + timedelta(days=place) for place in range(4)]
    rows = pl.DataFrame(
        {
            "order_id": range(4),
            "batch_id": ["b1", "b1", "b2", "b2"],
            "known_at": known,
            "ordered_at": [moment + timedelta(hours=2) for moment in known],
            "asked_at": [moment + timedelta(hours=-1 if place == 3 else 1) for place, moment in enumerate(known)],
        }
    )
    return lake_with(tmp_path_factory.mktemp("timed"), "toy", toy=rows)


def test_what_is_known_is_held_against_when_it_is_asked(timed: Lake, spec_of: Specs, toy: ProductSpec) -> None:
    asked = spec_of({"time.asked_at": "asked_at"})
    assert rows_from_the_future(timed, toy, ["b1", "b2"]) == 0
    assert rows_from_the_future(timed, asked, ["b1", "b2"]) == 1
    assert rows_from_the_future(timed, asked, ["b1"]) == 0


TASKS = ["binary", "multiclass", "regression", "clustering"]


def spec_for(spec_of: Specs, task: str) -> ProductSpec:
    """A product of this task without time, with a text and a boolean."""
    label = ... if task == "clustering" else {"column": "outcome"}
    features = {
        "inputs": {
            "size": {"type": "number"}, "kind": {"type": "category"}, "gift": {"type": "boolean"},
            "title": {"type": "text"},
        },
        "fitted": {"words": {"kind": "text", "of": "title"}},
    }  # fmt: skip
    candidates = [{"algorithm": "baseline"}, {"algorithm": "lightgbm"}]
    return spec_of(
        {
            "task": task, "time": ..., "split": {"strategy": "random"}, "gates": {}, "label": label,
            "key": ["batch_id", "row_number"], "features": features, "candidates": candidates,
        }
    )  # fmt: skip


def tables(task: str) -> dict[str, pl.DataFrame]:
    """A feature table with a batch, another that has a leak, and their label table, which lacks a row of each."""
    random = np.random.default_rng(4)
    behind = random.normal(size=ROWS)
    outcome = {
        "binary": pl.Series(behind > 0),
        "multiclass": pl.Series(np.array(["a", "b", "c"])[np.digitize(behind, [-0.5, 0.5])]),
    }.get(task, pl.Series(behind))
    rows = pl.DataFrame(
        {
            "batch_id": ["b1"] * ROWS,
            "row_number": range(ROWS),
            "size": behind + 3 * random.normal(size=ROWS),
            "kind": [None if place % 3 else f"kind {place % 4}" for place in range(ROWS)],
            "gift": [bool(place % 2) for place in range(ROWS)],
            "title": [f"the {['day', 'night', 'noon'][place % 3]}" for place in range(ROWS)],
        }
    )
    leaking = rows.with_columns(batch_id=pl.lit("leaking"), size=pl.Series(behind))
    both = pl.concat([rows, leaking])
    labels = both.select("batch_id", "row_number").with_columns(outcome=pl.concat([outcome, outcome]))
    known = labels.filter(pl.col("row_number") != 7).sample(fraction=1, shuffle=True, seed=1)
    return {"toy": both} if task == "clustering" else {"toy": both, "labels": known}


@pytest.fixture(scope="module")
def lake_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Lake]:
    """The lake of a task, made once."""
    return functools.cache(lambda task: lake_with(tmp_path_factory.mktemp(task), "toy", **tables(task)))


def results(spec: ProductSpec, lake: Lake, batch_id: str) -> dict[str, dg.AssetCheckResult]:
    found = _column_results(spec, lake, batch_id, dg.AssetKey(["toy", "features"]))
    return {str(item.check_name): item for item in found}


@pytest.mark.parametrize("task", TASKS)
def test_the_checks_of_every_task_without_time(task: str, spec_of: Specs, lake_of: Callable[[str], Lake]) -> None:
    spec, lake = spec_for(spec_of, task), lake_of(task)
    assert rows_from_the_future(lake, spec, ["b1"]) == 0
    found = results(spec, lake, "b1")
    assert list(found) == ["leak", "nulls"]
    assert [item.passed for item in found.values()] == [True, False]
    assert found["nulls"].metadata["observed"].value == pytest.approx(2 / 3)
    assert found["nulls"].description == "most nulls: kind"
    empty = results(spec, lake, "a batch without rows")
    assert [item.passed for item in empty.values()] == [True, True]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_leak_stops_the_run(task: str, spec_of: Specs, lake_of: Callable[[str], Lake]) -> None:
    found = results(spec_for(spec_of, task), lake_of(task), "leaking")["leak"]
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.ERROR
    assert str(found.description).startswith("size: known only after the event?")


def test_a_door_asks_the_rows_themselves(timed: Lake, spec_of: Specs, lake_of: Callable[[str], Lake]) -> None:
    """A lone materialisation of the split is refused for the same causes; who raises the gate goes on at once."""
    spec, lake = spec_for(spec_of, "binary"), lake_of("binary")
    require_features(lake, spec, "b1", where="split")
    with pytest.raises(HeadraceError, match="know the outcome") as caught:
        require_features(lake, spec, "leaking", where="split")
    assert caught.value.fix.startswith("size: known only after the event?")
    sure = spec.gates.model_copy(update={"max_single_feature_auc": 1.0, "max_joint_auc": 1.0})
    require_features(lake, spec.model_copy(update={"gates": sure}), "leaking", where="split")
    with pytest.raises(HeadraceError, match="know more than was known") as caught:
        require_features(timed, spec_of({"time.asked_at": "asked_at"}), "b2", where="split")
    assert caught.value.found == "1 rows"


def test_labels_stand_beside_their_rows(spec_of: Specs, lake_of: Callable[[str], Lake]) -> None:
    """By key, whatever the label table's order, and null for a row that it lacks."""
    spec, lake = spec_for(spec_of, "regression"), lake_of("regression")
    _, found = judged_rows(lake, spec, "b1")
    assert found is not None
    assert found[7] is None
    expected = tables("regression")["labels"].filter(pl.col("batch_id") == "b1").sort("row_number")["outcome"]
    assert found.drop_nulls().to_list() == expected.to_list()


def test_changes_of_a_followed_table_are_judged_among_all_its_rows(
    spec_of: Specs, lake_of: Callable[[str], Lake]
) -> None:
    """Regression: a few updated rows, each an unlikely sample, were called a leak and stopped the run of the sensor."""
    spec, lake = spec_for(spec_of, "binary"), lake_of("binary")
    source = spec.source.model_copy(update={"files": "", "postgres": PostgresSpec(table="orders")})
    followed = spec.model_copy(update={"source": source})
    inputs, labels = judged_rows(lake, followed, "leaking")
    assert labels is not None
    assert (inputs.height, labels.len(), labels.null_count()) == (2 * ROWS, 2 * ROWS, 2)
    assert not results(spec, lake, "leaking")["leak"].passed
    assert results(followed, lake, "leaking")["leak"].passed
