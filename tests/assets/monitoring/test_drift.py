"""Drift: how far a batch is from the training set, for how long, and what that asks for."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from assets.monitoring.drift import drift_alert, measure_drift, persistent_cause
from assets.records import DriftReport
from assets.spec import ProductSpec

Specs = Callable[..., ProductSpec]


@pytest.fixture(scope="module")
def columns() -> pl.DataFrame:
    """Model columns of a training set."""
    random = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "kind": random.choice(["shoes", "books"], 5_000).tolist(),
            "size": random.normal(10, 2, 5_000),
            "pieces": random.integers(1, 9, 5_000),
            "hour": random.integers(0, 24, 5_000),
        }
    )


@pytest.fixture(scope="module")
def scores() -> np.ndarray:
    return np.random.default_rng(2).beta(2, 5, 5_000)


def measured(
    spec: ProductSpec, reference: pl.DataFrame, current: pl.DataFrame, scores: np.ndarray, new_scores: np.ndarray,
    *, earlier: list[DriftReport] | None = None, batch_id: str = "2024-04",
) -> DriftReport:  # fmt: skip
    return measure_drift(
        spec, batch_id=batch_id, model_id="champion", reference=reference, current=current,
        reference_scores=pl.Series(scores), current_scores=pl.Series(new_scores), earlier=earlier or [],
    )  # fmt: skip


def report(verdict: str, persisted: int, batch_id: str = "2024-04", model_id: str = "champion") -> DriftReport:
    return DriftReport.model_validate(
        {
            "product": "toy", "batch_id": batch_id, "model_id": model_id, "verdict": verdict,
            "column_psi": {"size": 0.9, "kind": 0.1, "hour": 0.5, "pieces": 0.2}, "drifted": ("hour", "size"),
            "share_drifted": 0.5, "prediction_psi": 0.25, "persisted_batches": persisted,
        }
    )  # fmt: skip


def history(pattern: str) -> list[DriftReport]:
    """Reports of months in a row: D drifted, S stable, each counting on from the last."""
    found: list[DriftReport] = []
    for month, sign in enumerate(pattern, start=1):
        persisted = (found[-1].persisted_batches if found else 0) + 1 if sign == "D" else 0
        found.append(report("DRIFTED" if sign == "D" else "STABLE", persisted, f"2024-{month:02}"))
    return found


def test_the_training_set_itself_has_not_drifted(toy: ProductSpec, columns: pl.DataFrame, scores: np.ndarray) -> None:
    found = measured(toy, columns, columns.sample(fraction=0.5, seed=1), scores, scores[::2])
    assert (found.verdict, found.drifted, found.persisted_batches) == ("STABLE", (), 0)
    assert set(found.column_psi) == set(columns.columns)
    assert max(found.column_psi.values()) < 0.05


def test_moved_columns_are_named_and_their_share_decides(
    spec_of: Specs, columns: pl.DataFrame, scores: np.ndarray
) -> None:
    moved = columns.with_columns(size=pl.col("size") + 3, kind=pl.lit("coats"))
    found = measured(spec_of({"monitoring.drift_share": 0.5}), columns, moved, scores, scores)
    assert (found.verdict, found.drifted, found.share_drifted) == ("DRIFTED", ("kind", "size"), 0.5)
    assert measured(spec_of({"monitoring.drift_share": 0.51}), columns, moved, scores, scores).verdict == "STABLE"


def test_moved_scores_are_enough_alone(toy: ProductSpec, columns: pl.DataFrame, scores: np.ndarray) -> None:
    found = measured(toy, columns, columns, scores, scores + 0.3)
    assert (found.verdict, found.drifted) == ("DRIFTED", ())
    assert found.prediction_psi > 0.2


def test_predicted_classes_or_clusters_drift_by_how_often_they_are_predicted(
    toy: ProductSpec, columns: pl.DataFrame
) -> None:
    classes = np.array(["ale", "lager"])[np.arange(5_000) % 2]
    assert measured(toy, columns, columns, classes, classes[::-1]).verdict == "STABLE"
    moved = np.where(np.arange(5_000) % 10 == 0, "ale", "lager")
    assert measured(toy, columns, columns, classes, moved).verdict == "DRIFTED"


def test_more_rows_are_not_more_drift(toy: ProductSpec, columns: pl.DataFrame, scores: np.ndarray) -> None:
    moved = columns.with_columns(size=pl.col("size") + 0.5)
    few = measured(toy, columns, moved.head(1_000), scores, scores[:1_000])
    many = measured(toy, columns, pl.concat([moved] * 20), scores, np.tile(scores, 20))
    assert few.verdict == many.verdict == "STABLE"
    assert few.column_psi["size"] == pytest.approx(many.column_psi["size"], abs=0.05)


@pytest.mark.parametrize(("earlier", "persisted"), [("", 1), ("S", 1), ("D", 2), ("DD", 3), ("DS", 1), ("DSD", 2)])
def test_drifted_batches_in_a_row_are_counted_and_a_stable_one_ends_the_row(
    toy: ProductSpec, columns: pl.DataFrame, scores: np.ndarray, earlier: str, persisted: int
) -> None:
    found = measured(toy, columns, columns, scores, scores + 0.3, earlier=history(earlier), batch_id="2024-09")
    assert found.persisted_batches == persisted
    stable = measured(toy, columns, columns, scores, scores, earlier=history(earlier), batch_id="2024-09")
    assert stable.persisted_batches == 0


@pytest.mark.parametrize(("pattern", "alerts"), [("D", False), ("DD", True), ("DDD", True), ("DDS", False)])
def test_an_alert_waits_until_drift_has_persisted(spec_of: Specs, pattern: str, alerts: bool) -> None:
    spec = spec_of({"monitoring.persist_batches": 2})
    assert (drift_alert(spec, history(pattern)[-1]) is not None) == alerts


def test_an_alert_names_the_columns_that_moved_most(toy: ProductSpec) -> None:
    alert = drift_alert(toy, report("DRIFTED", 2))
    assert (alert.kind, alert.batch_id, alert.cause) == ("drift", "2024-04", "champion")
    assert alert.message.endswith("for 2 batches; most: size, hour, pieces")


def test_the_same_drift_is_one_alert_whatever_its_numbers(toy: ProductSpec) -> None:
    one = report("DRIFTED", 2)
    again = one.model_copy(update={"prediction_psi": 0.26})
    assert drift_alert(toy, one).alert_id == drift_alert(toy, again).alert_id
    assert drift_alert(toy, one).alert_id != drift_alert(toy, report("DRIFTED", 3, "2024-05")).alert_id


@pytest.mark.parametrize(
    ("pattern", "cause"),
    [
        ("", None),
        ("S", None),
        ("D", None),
        ("DD", "drift-champion-since-2024-01"),
        ("SSDD", "drift-champion-since-2024-03"),
        ("SDDD", "drift-champion-since-2024-02"),
        ("DDS", None),
        ("DDSDD", "drift-champion-since-2024-04"),
    ],
)
def test_the_cause_of_retraining_is_the_champion_and_where_its_drift_began(
    spec_of: Specs, pattern: str, cause: str | None
) -> None:
    """While drift goes on the cause stays the same, so retraining is asked for once."""
    assert persistent_cause(spec_of({"monitoring.persist_batches": 2}), history(pattern)) == cause
