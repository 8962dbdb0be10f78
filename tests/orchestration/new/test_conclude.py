"""Conclusions from small files, and wishes that can't be met."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets.errors import HeadraceError
from orchestration.new.conclude import Conclusions, check_name, conclude
from orchestration.new.models import feature_columns, lag_columns, other_lags
from orchestration.new.names import file_pattern, is_name
from orchestration.new.strength import roc_auc
from orchestration.new.wishes import Wishes
from tests.profiles import profile_of, profile_of_columns


def concluded(folder: Path, columns: dict[str, Any], **wishes: Any) -> Conclusions:
    pattern, _ = file_pattern(["data.csv"])
    return conclude("data", profile_of_columns(folder, columns), pattern, Wishes(**wishes))


def columns_with(target: Any, **others: Any) -> dict[str, Any]:
    random = np.random.default_rng(0)
    rows = len(target)
    return {"x": random.normal(size=rows).round(4), "kind": random.choice(["a", "b", "c"], rows), **others, "t": target}


@pytest.mark.parametrize(
    ("values", "task", "sql"),
    [
        (["true", "false"], "binary", '"t" = true'), (["Y", "N"], "binary", "\"t\" = 'Y'"),
        ([0, 1], "binary", '"t" = 1'),
        (["benign", "malignant"], "binary", "\"t\" = 'malignant'"),
        ([1.5, 2.5], "binary", '"t" = 2.5'),
        (["no", "maybe"], "binary", "\"t\" = 'maybe'"), (["a", "b", "c"], "multiclass", '"t"::varchar'),
        ([3, 4, 5, 6], "multiclass", '"t"::bigint::varchar'),
        (["1.0", "2.0", "3.0"], "multiclass", '"t"::bigint::varchar'),
        (list(range(60)), "regression", '"t"::double'), ([0.5, 1.5, 2.25], "regression", '"t"::double'),
    ],
)  # fmt: skip
def test_the_values_of_the_target_say_the_task(values: list[Any], task: str, sql: str, tmp_path: Path) -> None:
    found = concluded(tmp_path, columns_with(np.random.default_rng(1).choice(values, 300)))
    assert (found.task, found.label.sql) == (task, sql)
    assert found.target is not None
    assert found.target.raw == "t"


def test_missing_labels_stay_and_rare_classes_have_none(tmp_path: Path) -> None:
    target = [None, *["a", "b"] * 100, "rare", "rare"]
    found = concluded(tmp_path, columns_with(target))
    assert found.task == "multiclass"
    assert (found.label.rows, found.label.classes) == (200, 2)
    assert any("rare (2 rows)" in sentence for _, sentence in found.said)


@pytest.mark.parametrize(
    ("target", "task", "labels"),
    [
        (["Yes", "YES", "yes\t", "no"] * 50, "binary", {True, False}),
        (["setosa", "Setosa", "iris  virginica", "iris virginica", "other"] * 50, "multiclass",
         {"setosa", "iris virginica", "other"}),
        (["A", "a"] * 100, "binary", {True, False}),
    ],
)  # fmt: skip
def test_spellings_of_one_class_are_one_class(
    target: list[str], task: str, labels: set[object], tmp_path: Path
) -> None:
    """Regression: `Yes`, `YES` and `yes` were classes of their own, and a yes-or-no question multiclass.

    The values that `label.sql` is made of are those of the cleaned model, which are built by the column's own SQL.
    """
    found = concluded(tmp_path, columns_with(target), target="t")
    assert found.task == task
    column = next(column for column in found.columns if column.name == "t")
    assert column is found.target
    made = found.profile.con.execute(
        f"select distinct {found.label.sql} from (select {column.sql} as t from loaded)"
    ).fetchall()
    assert {value for (value,) in made} == labels


def test_lags_of_long_names_do_not_take_each_others_place(tmp_path: Path) -> None:
    """Regression: names that agree in 42 letters gave one lag, so a column vanished or was another's."""
    random, long = np.random.default_rng(8), "a_very_long_name_of_a_measurement_of_the_station"
    days = [f"{day:%Y-%m-%d}" for day in pl.date_range(date(2020, 1, 1), date(2021, 6, 1), eager=True)]
    names = [f"{long}_{part}" for part in ("north", "south", "east")]
    numbers = {name: random.normal(size=len(days)).round(3) for name in names}
    found = concluded(tmp_path, {"day": days, **numbers}, target=names[0], task="forecast", time="day")
    others = other_lags(found)
    assert [column.raw for column in others.values()] == names[1:]
    assert found.series is not None
    assert found.target is not None
    own = lag_columns(found, found.series, found.target)
    assert not set(own) & set(others)
    assert set(own) | set(others) < set(feature_columns(found))
    assert all(is_name(name) for name in feature_columns(found))


def test_a_date_to_predict_may_have_years_before_our_era(tmp_path: Path) -> None:
    """Regression: the earliest date is text then, and naming it ended in a stack trace."""
    target = ["0000-01-01", *[f"2020-01-{1 + n % 28:02}" for n in range(199)]]
    found = concluded(tmp_path, columns_with(target), target="t")
    assert "timestamp '2020-01-01 00:00:00'" in found.label.sql
    with pytest.raises(HeadraceError, match="no date of our era"):
        concluded(
            tmp_path, columns_with(["0000-01-01", "0000-01-02", "0000-01-03"] * 60), target="t", task="regression"
        )


def test_the_user_may_answer(tmp_path: Path) -> None:
    answers = {"Which column is to be predicted?": "kind2", "Which kind2 is the one to find?": "left"}
    target = np.random.default_rng(2).choice([1, 2, 3], 200)
    sides = np.where(np.arange(200) % 3 == 0, "right", "left")
    found = concluded(
        tmp_path, columns_with(target, kind2=sides), ask=lambda question, _choices, _default: answers[question]
    )
    assert found.label.sql == "\"kind2\" = 'left'"


def test_a_leak_may_be_kept_by_who_knows_better(tmp_path: Path) -> None:
    target = np.random.default_rng(3).integers(0, 2, 400)
    columns = columns_with(target, after=target * 7)
    assert concluded(tmp_path, columns, target="t").leaks == ("after",)
    kept = concluded(tmp_path, columns, target="t", ask=lambda *_: "yes")
    assert kept.leaks == ()
    assert "after" in {item.column.name for item in kept.features}


def test_a_strong_but_honest_column_is_kept_and_pointed_at(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    target = random.integers(0, 2, 500)
    found = concluded(tmp_path, columns_with(target, strong=target + random.normal(0, 0.45, 500)), target="t")
    assert found.leaks == ()
    assert any(topic == "leak" and "strong" in sentence for topic, sentence in found.said)


def test_an_identifier_in_each_row_is_no_leak_but_useless(tmp_path: Path) -> None:
    target = np.random.default_rng(5).integers(0, 2, 300)
    columns = columns_with(
        target, user_id=np.random.default_rng(6).permutation(300) * 7, token=[f"k{n}" for n in range(300)]
    )
    found = concluded(tmp_path, columns, target="t")
    assert [column.name for column in found.key] == ["user_id"]
    assert "identifier-like" in found.left_out["token"]


@pytest.mark.parametrize(
    ("wishes", "word"),
    [
        ({"target": "nope"}, "no such column"), ({"task": "ranking"}, "unknown task"),
        ({"key": ("kind",)}, "don't name a row"),
        ({"time": "x"}, "no time of the rows"), ({"time": "nope"}, "no such column"),
        ({"key": ("nope",)}, "no such column"),
        ({"target": "x", "task": "binary"}, "doesn't fit the task binary"),
        ({"task": "forecast", "target": "x"}, "no regular series"),
        ({"target": "x", "task": "multiclass"}, "doesn't fit the task multiclass"),
        ({"target": "kind", "task": "regression"}, "doesn't fit the task regression"),
    ],
)  # fmt: skip
def test_a_wish_that_can_not_be_met_is_refused(wishes: dict[str, Any], word: str, tmp_path: Path) -> None:
    with pytest.raises(HeadraceError, match=word) as refusal:
        concluded(tmp_path, columns_with(np.random.default_rng(7).integers(0, 2, 200)), **wishes)
    assert refusal.value.fix


def test_a_time_that_is_asked_for_splits_the_rows(tmp_path: Path) -> None:
    at = [f"2024-0{1 + n // 100}-{1 + n % 28:02} 10:{n % 60:02}:00" for n in range(300)]
    found = concluded(tmp_path, columns_with(np.arange(300) % 2, paid_at=at), target="t", time="paid_at")
    assert (found.strategy, found.time and found.time.name) == ("temporal", "paid_at")


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    with pytest.raises(HeadraceError, match="different columns"):
        profile_of(tmp_path, tmp_path / "a.csv", tmp_path / "b.csv")


@pytest.mark.parametrize("name", ["Bad Name", "1x", "labels", "", "x-y", "a" * 64])
def test_a_name_that_can_not_be_is_answered_with_one_that_can(name: str) -> None:
    with pytest.raises(HeadraceError) as refusal:
        check_name(name)
    check_name(refusal.value.fix.split()[2])


def test_roc_auc_counts_ties_half() -> None:
    labels = np.array([0.0, 1.0, 0.0, 1.0])
    assert roc_auc(np.array([1.0, 2.0, 3.0, 4.0]), labels) == pytest.approx(0.75)
    assert roc_auc(np.ones(4), labels) == pytest.approx(0.5)
    assert roc_auc(np.ones(2), np.ones(2)) == pytest.approx(0.5)
