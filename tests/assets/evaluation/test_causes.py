"""One planted cause per quality gate, in real small models: its gate fails and says so, and no other gate does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets.candidates.predictor import Predictor
from assets.candidates.registry import algorithm
from assets.candidates.training_set import TrainingSet
from assets.evaluation.judge import Verdict, judge
from assets.features.feature_set import fit_schema
from assets.features.row import RowEncoder
from assets.records import Gate, ModelManifest, Provenance, SplitManifest
from assets.spec import ProductSpec
from assets.tasks import classes_of, encode_labels

TRAINED, HELD = 1_500, 500
SMALL = {"max_rounds": 30, "num_leaves": 7, "min_data_in_leaf": 20, "learning_rate": 0.2}
# memorises its training rows, and is as sure of new ones
OVERFITTED = {
    "max_rounds": 80, "num_leaves": 63, "min_data_in_leaf": 1, "learning_rate": 0.5, "early_stopping_rounds": 0,
    "lambda_l2": 0.0,
}  # fmt: skip


@cache
def orders(rows: int = 4_000) -> pl.DataFrame:
    """Orders of three kinds and two regions; large ones are sent back more often, so no model is always right."""
    random = np.random.default_rng(3)
    size, weight = random.normal(0, 1, rows), random.normal(50, 10, rows)
    chance = 1 / (1 + np.exp(-3 * size))
    return pl.DataFrame(
        {
            "kind": random.choice(["shoes", "books", "coats"], rows),
            "region": random.choice(["north", "south"], rows),
            "size": size,
            "weight": weight,
            "pieces": random.integers(1, 9, rows),
            "label": (random.random(rows) < chance).astype(int),
            "price": 100 + 10 * size + random.normal(0, 2, rows),
        }
    )


@dataclass(frozen=True)
class Court:
    """Trains a model on the first rows, and judges it on the last ones."""

    spec_of: Callable[..., ProductSpec]
    split: SplitManifest
    manifest_of: Callable[..., ModelManifest]

    def verdict(
        self, rows: pl.DataFrame, learner: str = "lightgbm", params: Mapping[str, Any] | None = None, **gates: Any
    ) -> Verdict:
        """Fit the baseline and a learner, and judge them under gates beside those that every product has."""
        task = "regression" if rows["label"].dtype.is_float() else "binary"
        kinds = {"kind": "category", "region": "category", "size": "number", "weight": "number", "pieces": "integer"}
        kinds |= {name: "number" for name in rows.columns if name.startswith("extra")}
        spec = self.spec_of(
            {
                "task": task,
                "features": {"inputs": {name: {"type": kind} for name, kind in kinds.items()}, "exclude": ["region"]},
                "candidates": [{"algorithm": "baseline"}, {"algorithm": learner}],
                "decision_threshold": gates.pop("decision_threshold", 0.5),
                "gates": {
                    "slices": {"by": ["kind"], "min_metric": 0.3, "min_rows": 100},
                    "fairness": {"by": ["region"]},
                },
                **{f"gates.{name}": value for name, value in gates.items()},
            }
        )
        train, held, test = rows[:TRAINED], rows[TRAINED : TRAINED + HELD], rows[TRAINED + HELD :]
        schema = fit_schema(spec, train)
        encoder, classes = RowEncoder(schema), classes_of(task, rows["label"])
        labels = [encode_labels(task, part["label"], classes) for part in (train, held)]
        training = TrainingSet(
            schema, encoder.matrix(train), labels[0], encoder.matrix(held), labels[1], task=task, classes=classes
        )
        candidates, megabytes = {}, {}
        for name, used in (("baseline", {}), (learner, params or (SMALL if learner == "lightgbm" else {}))):
            fitted = algorithm(name).fit(training, dict(used), 1, 1, lambda _: None)
            manifest = self.manifest_of(
                algorithm=name, task=task, classes=classes, features=schema, model_file=fitted.file_name
            )
            candidates[name] = Predictor(manifest, fitted.content)
            megabytes[name] = len(fitted.content) / 1e6
        return judge(
            spec, self.split, held, test, candidates, None, provenance=Provenance(), megabytes=megabytes, unblessed={}
        )


@pytest.fixture(scope="module")
def court(
    spec_of: Callable[..., ProductSpec], split: SplitManifest, manifest_of: Callable[..., ModelManifest]
) -> Court:
    return Court(spec_of, split, manifest_of)


def the_failed(verdict: Verdict) -> Gate:
    """The only gate that failed."""
    (failed,) = [gate for gate in verdict.blessing.gates if gate.verdict == "FAILED"]
    assert verdict.blessing.verdict == "NOT_BLESSED"
    assert verdict.blessing.reasons == (f"{failed.name}: {failed.detail}",)
    return failed


def turned(rows: pl.DataFrame, where: pl.Expr) -> pl.DataFrame:
    """Some rows with the other outcome."""
    return rows.with_columns(label=pl.when(where).then(1 - pl.col("label")).otherwise(pl.col("label")))


def test_a_healthy_model_passes_every_gate(court: Court) -> None:
    verdict = court.verdict(orders(), min_class_recall=0.6)
    assert verdict.blessing.reasons == ()
    assert [gate.name for gate in verdict.blessing.gates] == [
        "beats_baseline", "predicts_both_classes", "calibration", "class_recall", "prediction_bias", "worst_slice",
        "fairness", "stability", "model_size",
    ]  # fmt: skip


def test_a_model_that_is_not_as_much_better_as_asked_does_not_beat_the_baseline(court: Court) -> None:
    gate = the_failed(court.verdict(orders(), beats_baseline_by=0.45))
    assert gate.name == "beats_baseline"
    assert gate.detail.endswith("better than the 0.5000 of baseline, 0.45 or more is required")


def test_a_model_that_calls_nothing_positive_is_of_one_class(court: Court) -> None:
    gate = the_failed(court.verdict(orders(), decision_threshold=0.999))
    assert (gate.name, gate.observed) == ("predicts_both_classes", 0)


def test_a_model_that_is_too_sure_is_miscalibrated(court: Court) -> None:
    """It ranks well, and is right on average: only its probabilities are too far apart."""
    gate = the_failed(court.verdict(orders(), params=OVERFITTED))
    assert gate.name == "calibration"
    assert " is above the 0.1" in gate.detail


def test_one_class_that_is_hardly_found_fails_although_the_ranking_is_good(court: Court) -> None:
    gate = the_failed(court.verdict(orders(), decision_threshold=0.9, min_class_recall=0.6))
    assert gate.name == "class_recall"
    assert gate.detail.endswith("is below the 0.6 required (share of the rows of class true that are found)")


def test_prices_that_have_risen_since_are_a_bias(court: Court) -> None:
    """The model explains the differences as well as ever; all prices of the test rows are 5 higher."""
    risen = orders().with_columns(
        label=pl.col("price") + pl.when(pl.int_range(pl.len()) >= 2_000).then(5.0).otherwise(0)
    )
    verdict = court.verdict(risen, **{"fairness.max_gap": 1})
    gate = the_failed(verdict)
    assert gate.name == "prediction_bias"
    assert gate.observed == pytest.approx(5 / verdict.best.test["deviation"], abs=0.05)


def test_one_kind_for_which_the_world_has_turned_is_the_worst_slice(court: Court) -> None:
    """A third of the rows: of all rows the model is still good enough."""
    rows = turned(orders(), (pl.col("kind") == "coats") & (pl.int_range(pl.len()) >= 2_000))
    gate = the_failed(court.verdict(rows, max_calibration_error=0.5))
    assert gate.name == "worst_slice"
    assert gate.detail.endswith("is below the 0.3 required (roc_auc of kind=coats)")


def test_a_group_whose_positives_are_found_less_is_treated_unfairly(court: Court) -> None:
    """In the north some small orders are sent back, too, for reasons that nobody wrote down."""
    unknown = pl.Series(np.random.default_rng(4).random(orders().height) < 0.4)
    north = (pl.col("region") == "north") & (pl.col("size") < 0) & unknown
    rows = orders().with_columns(label=pl.when(north).then(1).otherwise(pl.col("label")))
    verdict = court.verdict(rows)
    gate = the_failed(verdict)
    assert gate.name == "fairness"
    assert "allowed (true positive rate is 0." in gate.detail
    assert "of the gap may be chance" in gate.detail
    assert " of region=north and 0." in gate.detail
    assert set(verdict.best.groups["region"]) == {"north", "south"}


def test_a_model_that_lives_on_a_tiny_difference_is_brittle(court: Court) -> None:
    """Two inputs that are nearly equal, of which only the difference counts: each is measured a little off."""
    random = np.random.default_rng(8)
    difference = random.normal(0, 0.03, orders().height)
    rows = orders().with_columns(
        extra_one=pl.col("size"), extra_two=pl.col("size") + difference,
        label=pl.Series(difference * 500 + random.normal(0, 2, orders().height)),
    )  # fmt: skip
    changes = {"learner": "linear_regression", "params": {"l2": 0.01}, "fairness.max_gap": 1}
    gate = the_failed(court.verdict(rows, **changes))
    assert gate.name == "stability"
    assert "is above the 0.2 allowed (mean change of 2,000 scores" in gate.detail
    assert court.verdict(rows, **changes, input_noise=0.0).blessing.reasons == ()


def test_a_model_of_more_megabytes_than_allowed_is_too_large(court: Court) -> None:
    verdict = court.verdict(orders(), max_model_megabytes=0.001)
    gate = the_failed(verdict)
    assert (gate.name, gate.observed) == ("model_size", verdict.megabytes)
    assert verdict.megabytes > 0.001
