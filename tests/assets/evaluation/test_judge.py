"""Who is best, and whether the best is good enough: the gates that decide, each with what it saw."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from assets.candidates.predictor import Predictor
from assets.candidates.registry import algorithm
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError
from assets.evaluation import judge as judging
from assets.evaluation.definitions import leaderboard
from assets.evaluation.groups import slice_metrics
from assets.evaluation.judge import Verdict, baselines, is_baseline, permuted
from assets.features.row import RowEncoder
from assets.records import EvaluationReport, ModelManifest, Provenance, SplitManifest
from assets.spec import ProductSpec

ROWS = 400
Specs = Callable[..., ProductSpec]
Manifests = Callable[..., ModelManifest]
Evaluations = Callable[..., EvaluationReport]


@dataclass(frozen=True)
class Scorer:
    """A model whose scores are a column of the rows; it looks at no feature, so noise in them changes nothing."""

    manifest: ModelManifest
    column: str | list[str]

    def scores(self, frame: pl.DataFrame) -> np.ndarray:
        """The column, or of several classes the columns."""
        return frame[self.column].to_numpy()

    @property
    def encoder(self) -> "Scorer":
        """Encodes rows."""
        return self

    def matrix(self, frame: pl.DataFrame) -> np.ndarray:
        """Features, all 0, and behind them the scores."""
        scores = self.scores(frame).reshape(frame.height, -1)
        return np.hstack([np.zeros((frame.height, len(self.manifest.features.columns))), scores])

    def scores_of_matrix(self, matrix: np.ndarray) -> np.ndarray:
        """What is behind the features."""
        scores = matrix[:, len(self.manifest.features.columns) :]
        return scores[:, 0] if isinstance(self.column, str) else scores


def judge(
    spec: ProductSpec, split: SplitManifest, validation: pl.DataFrame, test: pl.DataFrame,
    candidates: dict[str, Any], champion: Any, **unblessed: str,
) -> Verdict:  # fmt: skip
    """The verdict about small models whose training was blessed, unless a reason is given."""
    return judging.judge(
        spec, split, validation, test, candidates, champion, provenance=Provenance(asked_by="a test"),
        megabytes=dict.fromkeys(candidates, 0.5), unblessed=unblessed,
    )  # fmt: skip


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """Rows with labels and the scores of imaginary models."""
    random = np.random.default_rng(11)
    labels = random.integers(0, 2, ROWS)
    noise = random.normal(0, 1, ROWS)

    def squeezed(strength: float) -> np.ndarray:
        return 1 / (1 + np.exp(-(strength * (2 * labels - 1) + noise)))

    return pl.DataFrame(
        {
            "order_id": range(ROWS),
            "kind": [["shoes", "books", None, "coats"][place % 4] for place in range(ROWS)],
            "size": noise,
            "pieces": labels,
            "ordered_local_at": [None] * ROWS,
            "label": labels,
            "share": np.full(ROWS, labels.mean()),
            "weak": squeezed(0.5),
            "good": squeezed(1.5),
            "great": squeezed(2.5),
            "timid": squeezed(2.5) * 0.4,
            "boastful": np.clip(squeezed(2.5) ** 0.05, 0, 1),
        }
    )


@pytest.fixture
def judged(frame: pl.DataFrame, split: SplitManifest, manifest_of: Manifests) -> Callable[..., Verdict]:
    """Judge models by the columns that are their scores; validation rows may be others than the test rows."""

    def decide(
        spec: ProductSpec, columns: dict[str, str], *, validation: pl.DataFrame = frame, champion: Scorer | None = None,
        **unblessed: str,
    ) -> Verdict:  # fmt: skip
        candidates = {name: Scorer(manifest_of(algorithm=name), column) for name, column in columns.items()}
        return judge(spec, split, validation, frame, candidates, champion, **unblessed)

    return decide


def gates(verdict: Verdict) -> dict[str, str]:
    return {gate.name: gate.verdict for gate in verdict.blessing.gates}


# --- the best -------------------------------------------------------------------------------------------------------


def test_the_best_is_chosen_on_validation_not_on_test(
    toy: ProductSpec, judged: Callable[..., Verdict], frame: pl.DataFrame
) -> None:
    """Chosen on the test rows, its result there would be a lucky one."""
    validation = frame.with_columns(good=pl.col("great"), great=pl.col("good"))
    verdict = judged(
        toy, {"baseline": "share", "lightgbm": "great", "logistic_regression": "good"}, validation=validation
    )
    assert verdict.best.algorithm == "logistic_regression"
    on_test = {report.algorithm: report.test["roc_auc"] for report in verdict.reports}
    assert on_test["lightgbm"] > on_test["logistic_regression"]
    assert [report.algorithm for report in verdict.reports if report.is_best] == ["logistic_regression"]


def test_the_baseline_is_never_the_best(toy: ProductSpec, judged: Callable[..., Verdict]) -> None:
    verdict = judged(toy, {"baseline": "great", "lightgbm": "weak"})
    assert verdict.best.algorithm == "lightgbm"
    assert verdict.blessing.verdict == "NOT_BLESSED"


def test_the_primary_metric_of_the_spec_chooses(spec_of: Specs, judged: Callable[..., Verdict]) -> None:
    verdict = judged(spec_of({"gates.primary": "average_precision"}), {"baseline": "share", "lightgbm": "great"})
    gate = next(gate for gate in verdict.blessing.gates if gate.name == "beats_baseline")
    assert gate.observed == pytest.approx(
        verdict.best.test["average_precision"] - verdict.reports[0].test["average_precision"]
    )


@pytest.mark.parametrize("columns", [{}, {"baseline": "share"}, {"lightgbm": "great", "logistic_regression": "good"}])
def test_without_the_baseline_or_a_learner_nothing_is_judged(
    toy: ProductSpec, judged: Callable[..., Verdict], columns: dict[str, str]
) -> None:
    with pytest.raises(HeadraceError, match="candidates are missing") as caught:
        judged(toy, columns)
    assert caught.value.expected == "baseline, logistic_regression, lightgbm"
    assert caught.value.found == (", ".join(columns) or "none")


def test_the_champion_is_scored_on_the_same_rows_but_not_on_those_it_may_have_trained_on(
    toy: ProductSpec, judged: Callable[..., Verdict], manifest_of: Manifests
) -> None:
    champion = Scorer(manifest_of(seed=2), "good")
    verdict = judged(toy, {"baseline": "share", "lightgbm": "great"}, champion=champion)
    report = verdict.reports[-1]
    assert (report.role, report.model_id, report.is_best) == ("champion", champion.manifest.model_id, False)
    assert report.validation == {}
    assert report.test["rows"] == ROWS


def test_a_champion_that_is_a_candidate_is_not_judged_twice(
    toy: ProductSpec, judged: Callable[..., Verdict], manifest_of: Manifests
) -> None:
    champion = Scorer(manifest_of(algorithm="lightgbm"), "great")
    verdict = judged(toy, {"baseline": "share", "lightgbm": "great"}, champion=champion)
    assert [report.role for report in verdict.reports] == ["candidate", "candidate"]


def test_a_learner_that_training_did_not_bless_is_judged_but_never_the_best(
    toy: ProductSpec, judged: Callable[..., Verdict]
) -> None:
    columns = {"baseline": "share", "lightgbm": "great", "logistic_regression": "good"}
    verdict = judged(toy, columns, lightgbm="the training gates did not bless this model (finite: no)")
    assert verdict.best.algorithm == "logistic_regression"
    assert [(row["model"].rpartition("-")[0], row["role"]) for row in leaderboard(toy, verdict)] == [
        ("lightgbm", "candidate, can't be the best: the training gates did not bless this model (finite: no)"),
        ("logistic-regression", "best"),
        ("baseline", "baseline"),
    ]


def test_without_any_blessed_learner_the_reason_of_each_is_told(
    toy: ProductSpec, judged: Callable[..., Verdict]
) -> None:
    columns = {"baseline": "share", "lightgbm": "great", "logistic_regression": "good"}
    reasons = {"lightgbm": "not deterministic", "logistic_regression": "no training blessing"}
    with pytest.raises(HeadraceError, match="no candidate is blessed by its training") as caught:
        judged(toy, columns, **reasons)
    assert caught.value.found == "lightgbm: not deterministic; logistic_regression: no training blessing"
    assert "headrace run toy --as-of 2024-03" in caught.value.fix


def test_best_and_champion_are_compared_on_the_same_rows_with_an_interval(
    toy: ProductSpec, judged: Callable[..., Verdict], manifest_of: Manifests
) -> None:
    columns = {"baseline": "share", "lightgbm": "great"}
    champion = Scorer(manifest_of(seed=2), "weak")
    verdict = judged(toy, columns, champion=champion)
    found = verdict.comparison
    assert found is not None
    assert (found.challenger_id, found.champion_id) == (verdict.best.model_id, champion.manifest.model_id)
    assert found.rows == ROWS
    assert 0 < found.low < found.improvement < found.high
    low, high = verdict.best.intervals["roc_auc"]
    assert low < verdict.best.test["roc_auc"] < high
    assert judged(toy, columns, champion=Scorer(manifest_of(), "great")).comparison is None


# --- the gates ------------------------------------------------------------------------------------------------------


def test_a_good_model_is_blessed_about_exactly_this_model_data_and_spec(
    toy: ProductSpec, judged: Callable[..., Verdict], split: SplitManifest
) -> None:
    verdict = judged(toy, {"baseline": "share", "lightgbm": "great"})
    blessing = verdict.blessing
    assert set(gates(verdict).values()) == {"PASSED"}
    assert (blessing.kind, blessing.verdict, blessing.reasons) == ("quality", "BLESSED", ())
    assert (blessing.model_id, blessing.as_of) == (verdict.best.model_id, split.as_of)
    assert (blessing.split_id, blessing.row_set_hash) == (split.split_id, split.parts["test"].row_set_hash)
    assert (blessing.feature_set_id, blessing.spec_hash) == (split.feature_set_id, toy.spec_hash)
    assert (blessing.data_snapshot, blessing.provenance.asked_by) == (split.data_snapshot, "a test")


def test_a_model_of_one_class_cannot_pass_however_well_it_ranks(spec_of: Specs, judged: Callable[..., Verdict]) -> None:
    """Its ROC AUC is near 1, and it calls nothing positive; even a spec that allows any share doesn't allow none."""
    spec = spec_of({
        "gates.positive_share": [0, 1], "gates.max_calibration_error": 1, "gates.max_prediction_bias": 1
    })  # fmt: skip
    verdict = judged(spec, {"baseline": "share", "lightgbm": "timid"})
    assert verdict.best.test["roc_auc"] > 0.95
    assert [name for name, said in gates(verdict).items() if said == "FAILED"] == ["predicts_both_classes"]
    assert verdict.blessing.verdict == "NOT_BLESSED"
    (reason,) = verdict.blessing.reasons
    assert reason.startswith("predicts_both_classes: no row is predicted positive; 0.0% to 100.0% may be, never none")


def test_a_model_that_does_not_beat_the_baseline_cannot_pass(spec_of: Specs, judged: Callable[..., Verdict]) -> None:
    spec = spec_of({"gates.beats_baseline_by": 0.4, "gates.max_calibration_error": 1})
    verdict = judged(spec, {"baseline": "share", "lightgbm": "weak"})
    assert gates(verdict)["beats_baseline"] == "FAILED"
    assert verdict.blessing.verdict == "NOT_BLESSED"
    (reason,) = verdict.blessing.reasons
    assert reason.startswith("beats_baseline: roc_auc 0.")
    assert reason.endswith("better than the 0.5000 of baseline, 0.4 or more is required")


def test_a_miscalibrated_model_cannot_pass(toy: ProductSpec, judged: Callable[..., Verdict]) -> None:
    verdict = judged(toy, {"baseline": "share", "lightgbm": "boastful"})
    assert verdict.best.test["roc_auc"] > 0.95
    assert gates(verdict)["calibration"] == "FAILED"
    assert verdict.blessing.verdict == "NOT_BLESSED"


def test_a_bad_slice_cannot_hide_behind_good_ones(
    spec_of: Specs, frame: pl.DataFrame, split: SplitManifest, manifest_of: Manifests
) -> None:
    """Scores of coats are turned around; of all rows the model still ranks well."""
    spec = spec_of({"gates.slices": {"by": ["kind"], "min_metric": 0.6, "min_rows": 50}})
    turned = frame.with_columns(
        great=pl.when(pl.col("kind") == "coats").then(1 - pl.col("great")).otherwise(pl.col("great"))
    )
    candidates = {
        "baseline": Scorer(manifest_of(algorithm="baseline"), "share"), "lightgbm": Scorer(manifest_of(), "great"),
    }  # fmt: skip
    verdict = judge(spec, split, turned, turned, candidates, None)
    assert verdict.best.test["roc_auc"] > 0.7
    gate = next(gate for gate in verdict.blessing.gates if gate.name == "worst_slice")
    assert gate.verdict == "FAILED"
    assert gate.detail.endswith(" is below the 0.6 required (roc_auc of kind=coats)")
    assert gate.observed == verdict.best.slices["kind"]["coats"] < 0.2


def test_slices_are_the_large_enough_ones_with_both_classes_and_missing_values_are_one(
    spec_of: Specs, frame: pl.DataFrame
) -> None:
    rows = frame.with_columns(kind=pl.when(pl.col("order_id") < 10).then(pl.lit("few")).otherwise(pl.col("kind")))
    rows = rows.with_columns(label=pl.when(pl.col("kind") == "books").then(1).otherwise(pl.col("label")))
    spec = spec_of({"gates.slices": {"by": ["kind", "pieces"], "min_rows": 50}})
    found = slice_metrics(spec, rows, rows["label"].to_numpy(), rows["great"].to_numpy())
    assert set(found["kind"]) == {"shoes", "coats", "(missing)"}
    assert found["pieces"].keys() <= {"0", "1"}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_no_number_stops_the_evaluation(
    toy: ProductSpec, frame: pl.DataFrame, split: SplitManifest, manifest_of: Manifests, bad: float
) -> None:
    broken = frame.with_columns(great=pl.when(pl.col("order_id") == 7).then(bad).otherwise(pl.col("great")))
    candidates = {
        "baseline": Scorer(manifest_of(algorithm="baseline"), "share"), "lightgbm": Scorer(manifest_of(), "great"),
    }  # fmt: skip
    with pytest.raises(HeadraceError, match="NaN or infinite") as caught:
        judge(toy, split, frame, broken, candidates, None)
    assert caught.value.found == "1 of 400"


def test_every_gate_says_what_it_saw_and_its_threshold(toy: ProductSpec, judged: Callable[..., Verdict]) -> None:
    for gate in judged(toy, {"baseline": "share", "lightgbm": "great"}).blessing.gates:
        assert gate.detail
        assert isinstance(gate.observed, float)
        assert gate.threshold != ""


# --- the tasks ------------------------------------------------------------------------------------------------------

FORECAST = {
    "task": "forecast",
    "candidates": [{"algorithm": name} for name in ("baseline", "seasonal_naive", "last_value", "lightgbm")],
    "gates": {"slices": {"by": ["kind"], "min_rows": 20, "min_metric": 30}},
}


@pytest.fixture(scope="module")
def years(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows whose outcome is a number, with the answers of imaginary forecasts."""
    random = np.random.default_rng(5)
    actual = 100 + 20 * np.sin(np.arange(ROWS) / 9) + random.normal(0, 2, ROWS)
    return frame.select("order_id", "kind", "size", "pieces", "ordered_local_at").with_columns(
        label=pl.Series(actual),
        mean=pl.lit(100.0),
        naive=pl.Series(actual + random.normal(0, 6, ROWS)),
        last=pl.Series(actual + random.normal(0, 9, ROWS)),
        model=pl.Series(actual + random.normal(0, 3, ROWS)),
        worse=pl.Series(actual + random.normal(0, 7, ROWS)),
    )


def forecasts(manifest_of: Manifests, model: str, **changes: object) -> dict[str, Scorer]:
    columns = {"baseline": "mean", "seasonal_naive": "naive", "last_value": "last", "lightgbm": model}
    return {
        name: Scorer(manifest_of(algorithm=name, task="forecast", classes=(), **changes), column)
        for name, column in columns.items()
    }


def test_a_forecast_must_beat_the_best_of_its_baselines(
    spec_of: Specs, years: pl.DataFrame, split: SplitManifest, manifest_of: Manifests
) -> None:
    spec = spec_of(FORECAST)
    verdict = judge(spec, split, years, years, forecasts(manifest_of, "model"), None)
    assert (verdict.best.algorithm, verdict.baseline.algorithm) == ("lightgbm", "seasonal_naive")
    assert verdict.best.test["mape"] < verdict.baseline.test["mape"]
    assert list(gates(verdict)) == [
        "beats_baseline", "not_constant", "prediction_bias", "worst_slice", "stability", "model_size"
    ]  # fmt: skip
    assert set(gates(verdict).values()) == {"PASSED"}
    beaten_mean_only = judge(spec, split, years, years, forecasts(manifest_of, "worse"), None)
    assert beaten_mean_only.best.test["mape"] < beaten_mean_only.reports[0].test["mape"]
    assert gates(beaten_mean_only)["beats_baseline"] == "FAILED"


def test_a_forecast_as_good_as_the_baseline_is_not_better(
    spec_of: Specs, years: pl.DataFrame, split: SplitManifest, manifest_of: Manifests
) -> None:
    verdict = judge(spec_of(FORECAST), split, years, years, forecasts(manifest_of, "naive"), None)
    assert verdict.best.test["mape"] == verdict.baseline.test["mape"]
    assert gates(verdict)["beats_baseline"] == "FAILED"


def test_where_less_is_better_the_best_has_the_least_and_a_slice_has_a_ceiling(
    spec_of: Specs, years: pl.DataFrame, split: SplitManifest, manifest_of: Manifests
) -> None:
    spec = spec_of({**FORECAST, "gates.slices.min_metric": 4})
    bad = years.with_columns(model=pl.when(pl.col("kind") == "coats").then(pl.col("worse")).otherwise(pl.col("model")))
    candidates = forecasts(manifest_of, "worse") | {
        "random_forest": Scorer(manifest_of(algorithm="random_forest", task="forecast", classes=()), "model")
    }
    verdict = judge(spec, split, bad, bad, candidates, None)
    assert verdict.best.algorithm == "random_forest"
    (gate,) = [gate for gate in verdict.blessing.gates if gate.name == "worst_slice"]
    assert gate.verdict == "FAILED"
    assert gate.detail.endswith(" is above the 4 allowed (mape of kind=coats)")
    assert gate.observed == max(verdict.best.slices["kind"].values())


def test_rows_that_do_not_define_the_primary_metric_are_refused_with_what_to_do(
    spec_of: Specs, years: pl.DataFrame, split: SplitManifest, manifest_of: Manifests
) -> None:
    nothing = years.with_columns(label=pl.lit(0.0))
    with pytest.raises(HeadraceError, match="don't define mape") as caught:
        judge(spec_of(FORECAST), split, years, nothing, forecasts(manifest_of, "model"), None)
    assert "gates.primary: mae" in caught.value.fix


CLASSES = ("ale", "lager", "stout")


@pytest.fixture(scope="module")
def beers(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of three classes, the last ten of one that training has not seen."""
    random = np.random.default_rng(6)
    places = random.integers(0, 3, ROWS)
    good = np.eye(3)[places] * 0.6 + random.dirichlet([2, 2, 2], ROWS) * 0.4
    names = np.array(CLASSES)[places]
    names[-10:] = "cider"
    return frame.select("order_id", "kind", "size", "pieces", "ordered_local_at").with_columns(
        pl.Series("label", names),
        *(pl.Series(f"good {name}", good[:, place]) for place, name in enumerate(CLASSES)),
        *(pl.lit([0.4, 0.3, 0.3][place]).alias(f"prior {name}") for place, name in enumerate(CLASSES)),
    )


def test_several_classes_are_judged_each_by_itself_and_a_new_one_is_always_wrong(
    spec_of: Specs, beers: pl.DataFrame, split: SplitManifest, manifest_of: Manifests
) -> None:
    spec = spec_of({"task": "multiclass", "gates.max_calibration_error": 1})
    candidates = {
        name: Scorer(
            manifest_of(algorithm=name, task="multiclass", classes=CLASSES), [f"{kind} {part}" for part in CLASSES]
        )
        for name, kind in (("baseline", "prior"), ("lightgbm", "good"))
    }
    verdict = judge(spec, split, beers, beers, candidates, None)
    assert list(gates(verdict)) == [
        "beats_baseline", "predicts_several_classes", "calibration", "prediction_bias", "worst_slice", "stability",
        "model_size",
    ]  # fmt: skip
    assert verdict.blessing.verdict == "BLESSED"
    assert list(verdict.best.classes) == [*CLASSES, "(not in training)"]
    assert verdict.best.classes["(not in training)"] == {"precision": 0, "recall": 0, "f1": 0, "rows": 10}
    assert verdict.best.test["accuracy"] <= 1 - 10 / ROWS
    constant = judge(spec, split, beers, beers, {**candidates, "lightgbm": Scorer(
        manifest_of(task="multiclass", classes=CLASSES, seed=3), [f"prior {part}" for part in CLASSES]
    )}, None)  # fmt: skip
    assert gates(constant)["predicts_several_classes"] == "FAILED"


def test_a_champion_that_knows_other_classes_is_judged_by_its_own(
    spec_of: Specs, beers: pl.DataFrame, split: SplitManifest, manifest_of: Manifests
) -> None:
    """Its columns are in the order of its own classes, one of which the candidates don't have."""
    spec = spec_of({"task": "multiclass"})
    known = ("stout", "ale")
    champion = Scorer(manifest_of(task="multiclass", classes=known, seed=9), [f"good {name}" for name in known])
    candidates = {
        "baseline": Scorer(
            manifest_of(algorithm="baseline", task="multiclass", classes=CLASSES), [f"prior {name}" for name in CLASSES]
        ),
        "lightgbm": Scorer(manifest_of(task="multiclass", classes=CLASSES), [f"good {name}" for name in CLASSES]),
    }
    rows = beers.filter(pl.col("label").is_in(known))
    verdict = judge(spec, split, rows, rows, candidates, champion)
    assert verdict.reports[-1].role == "champion"
    assert verdict.reports[-1].test["accuracy"] == 1
    assert verdict.comparison is not None
    assert verdict.comparison.champion == verdict.reports[-1].test["f1_macro"] == 1


def clustered(spec: ProductSpec, rows: TrainingSet, frame: pl.DataFrame, split: SplitManifest,
              manifest_of: Manifests) -> Verdict:  # fmt: skip
    """Fit k-means and the baseline for real, and judge them."""
    candidates = {}
    for name in ("baseline", "kmeans"):
        fitted = algorithm(name).fit(rows, {"max_clusters": 3} if name == "kmeans" else {}, 1, 1, lambda _: None)
        manifest = manifest_of(
            algorithm=name, task="clustering", classes=(), label="", features=rows.schema, model_file=fitted.file_name
        )
        candidates[name] = Predictor(manifest, fitted.content)
    return judge(spec, split, frame, frame, candidates, None)


def test_a_clustering_must_find_more_than_in_shuffled_columns(
    spec_of: Specs, rows: TrainingSet, orders: pl.DataFrame, split: SplitManifest, manifest_of: Manifests
) -> None:
    """Large and small orders come from two kinds of customers; shuffled, nothing belongs together."""
    spec = spec_of({
        "task": "clustering", "label": ..., "split.strategy": "random", "gates": {},
        "candidates": [{"algorithm": "baseline"}, {"algorithm": "kmeans"}],
    })  # fmt: skip
    group = pl.Series([place % 3 == 0 for place in range(orders.height)])
    frame = orders.drop("label").with_columns(
        size=pl.when(group).then(90.0).otherwise(10.0) + pl.col("order_id") % 5,
        pieces=pl.when(group).then(pl.lit(60)).otherwise(pl.lit(5)) + pl.col("order_id") % 7,
        kind=pl.lit("shoes"),
    )
    encoder = RowEncoder(rows.schema)
    training = replace(
        rows, train=encoder.matrix(frame)[:400], validation=encoder.matrix(frame)[400:], task="clustering", classes=()
    )
    verdict = clustered(spec, training, frame, split, manifest_of)
    assert (verdict.best.algorithm, verdict.best.test["clusters"]) == ("kmeans", 2)
    assert verdict.best.test["smallest_cluster_share"] == pytest.approx(1 / 3)
    assert verdict.best.test["silhouette"] > verdict.baseline.test["silhouette"] + 0.1
    assert list(gates(verdict)) == ["beats_baseline", "no_tiny_cluster", "stability", "model_size"]
    assert set(gates(verdict).values()) == {"PASSED"}
    assert (verdict.comparison, verdict.best.intervals) == (None, {})


def test_shuffled_columns_keep_their_values_and_lose_what_they_have_in_common() -> None:
    column = np.arange(200.0)
    matrix = np.column_stack([column, column])
    shuffled = permuted(matrix, 1)
    assert (np.sort(shuffled, axis=0) == matrix).all()
    assert abs(np.corrcoef(shuffled.T)[0, 1]) < 0.2
    assert (permuted(matrix, 1) == shuffled).all()


def test_a_baseline_is_known_by_its_algorithm_and_the_best_comes_first(evaluation_of: Evaluations) -> None:
    reports = [
        evaluation_of(name, value, algorithm=name)
        for name, value in (("baseline", 0.5), ("lightgbm", 0.9), ("seasonal_naive", 0.6), ("gone", 0.99))
    ]
    assert [item.algorithm for item in baselines(reports, "roc_auc")] == ["seasonal_naive", "baseline"]
    assert not is_baseline("gone")
