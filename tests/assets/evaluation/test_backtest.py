"""A backfill of evaluations read as one curve."""

from collections.abc import Callable
from typing import Any

import pytest

from assets import ledger
from assets.evaluation.backtest import backtest_rows, backtest_series
from assets.home import Home
from assets.lake import Lake
from assets.records import EvaluationReport, SplitManifest
from assets.spec import ProductSpec

Evaluations = Callable[..., EvaluationReport]


@pytest.fixture
def write(home: Home, split: SplitManifest, evaluation_of: Evaluations) -> Callable[..., Lake]:
    """Write a split and its evaluations."""
    lake = home.lake("toy")

    def make(as_of: str, seed: int = 0, **values: float) -> Lake:
        item = split.model_copy(update={"as_of": as_of, "seed": seed})
        ledger.append_to_lake(lake, "splits", [(item.split_id, as_of, item)])
        for name, value in values.items():
            report = evaluation_of(
                f"{name}-{as_of}-{seed}", value, role="champion" if name == "champion" else "candidate",
                algorithm="lightgbm" if name == "champion" else name, split_id=item.split_id,
                test={"roc_auc": value, "rows": 100.0}, is_best=name == "lightgbm",
            )  # fmt: skip
            ledger.append_to_lake(lake, "evaluations", [(report.model_id, as_of, report)])
        return lake

    return make


def rows_of(lake: Lake, spec: ProductSpec) -> list[dict[str, Any]]:
    with lake.connect() as con:
        return backtest_rows(con, spec)


def test_each_batch_is_a_point_with_what_it_was_held_against(
    toy: ProductSpec, write: Callable[..., Lake], split: SplitManifest
) -> None:
    """In whatever order the backfill ran."""
    write("2024-03", baseline=0.5, lightgbm=0.8, champion=0.7, logistic_regression=0.9)
    lake = write("2024-02", baseline=0.5, lightgbm=0.75)
    first, second = rows_of(lake, toy)
    assert (first["as_of"], first["roc_auc"], first["champion_roc_auc"]) == ("2024-02", 0.75, None)
    assert (second["as_of"], second["roc_auc"], second["baseline_roc_auc"]) == ("2024-03", 0.8, 0.5)
    assert (second["champion_roc_auc"], second["rows"]) == (0.7, 100)
    assert (second["algorithm"], second["baseline"]) == ("lightgbm", "baseline")
    assert second["trained_until"] == split.known_until
    assert backtest_series(toy, [first, second]) == {
        "best candidate": [0.75, 0.8], "best baseline": [0.5, 0.5], "champion of then": [None, 0.7],
    }  # fmt: skip


def test_a_batch_that_was_judged_again_is_one_point_of_its_newest_split(
    toy: ProductSpec, write: Callable[..., Lake]
) -> None:
    write("2024-03", baseline=0.5, lightgbm=0.8)
    lake = write("2024-03", seed=1, baseline=0.5, lightgbm=0.85)
    assert [row["roc_auc"] for row in rows_of(lake, toy)] == [0.85]


def test_a_split_without_an_evaluation_is_no_point(toy: ProductSpec, write: Callable[..., Lake]) -> None:
    assert rows_of(write("2024-03"), toy) == []
