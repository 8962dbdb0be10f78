"""The plots of an evaluation: drawn for every task, and one for each gate."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from assets.evaluation.gates import gates_of
from assets.evaluation.groups import Group
from assets.evaluation.judge import Verdict
from assets.evaluation.metrics import class_metrics
from assets.evaluation.pictures import cluster_profile, explaining, pictures
from assets.records import Blessing, EvaluationReport, ModelManifest
from assets.spec import ProductSpec

ROWS = 60
CLASSES = ("ale", "lager", "stout")
PLACES = np.arange(ROWS) % 3


@pytest.fixture
def verdict_of(
    evaluation_of: Callable[..., EvaluationReport], manifest_of: Callable[..., ModelManifest]
) -> Callable[..., tuple[Verdict, ModelManifest]]:
    """A verdict about one model and its baseline."""

    def make(task: str, labels: np.ndarray, scores: np.ndarray) -> tuple[Verdict, ModelManifest]:
        best = evaluation_of("best", 0.9).model_copy(
            update={
                "classes": class_metrics(task, labels, scores, classes=CLASSES),
                "slices": {"kind": {"shoes": 0.8, "books": 0.4}},
            }
        )
        baseline = evaluation_of("base", 0.5, algorithm="seasonal_naive")
        blessing = Blessing(
            kind="quality", verdict="BLESSED", product="toy", as_of="1", model_id="best", split_id="s",
            row_set_hash="h", feature_set_id="f", spec_hash="s", rules_hash="s", gates=(),
        )  # fmt: skip
        manifest = manifest_of(task=task, classes=CLASSES)
        matrix = np.column_stack([PLACES * 1.0 * (column == 1) for column in range(len(manifest.features.columns))])
        verdict = Verdict(
            (best, baseline), best, baseline, blessing, labels, {"best": scores, "base": scores}, matrix,
            changes=PLACES / 50, megabytes=1.0,
            groups=(Group("kind", "shoes", 40, 0.7), Group("kind", "rare", 3, None)),
        )  # fmt: skip
        return verdict, manifest

    return make


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("binary", {"roc", "calibration", "confusion", "bias", "per_class_plot"}),
        ("multiclass", {"confusion", "per_class_plot", "calibration", "bias"}),
        ("regression", {"predicted_actual", "residuals"}),
        ("forecast", {"predicted_actual", "residuals", "over_time"}),
        ("clustering", {"cluster_sizes", "cluster_map"}),
    ],
)
def test_each_task_has_its_plots_and_each_gate_the_one_that_explains_it(
    toy: ProductSpec, orders: pl.DataFrame, verdict_of: Callable[..., tuple[Verdict, ModelManifest]],
    task: str, names: set[str],
) -> None:  # fmt: skip
    labels, scores = {
        "binary": (PLACES % 2, PLACES / 3),
        "multiclass": (np.where(np.arange(ROWS) < 2, -1, PLACES), np.eye(3)[PLACES]),
        "clustering": (PLACES * 0, np.eye(3)[PLACES]),
    }.get(task, (PLACES * 1.0, PLACES + 0.5))
    verdict, manifest = verdict_of(task, labels, scores)
    gates = toy.gates.model_copy(update={"min_class_recall": 0.1})
    spec = toy.model_copy(update={"task": task, "gates": gates})
    test = orders.head(ROWS).with_columns(ordered_at=pl.col("ordered_local_at"))
    drawn = pictures(spec, verdict, test, manifest)
    assert set(drawn) == {*names, "leaderboard_plot", "noise", "slices_plot", "groups_plot"}
    assert all("](data:image/png;base64,iVBOR" in picture for picture in drawn.values())
    # only the size of a file needs no picture
    fairness = gates.fairness.model_copy(update={"by": ("kind",)})
    named = spec.model_copy(update={"gates": gates.model_copy(update={"fairness": fairness})})
    if task == "clustering":
        named = named.model_copy(update={"label": None})
    assert set(gates_of(named)) - set(explaining(named, drawn)) == {"model_size"}


def test_clusters_are_told_by_the_numbers_that_differ_most(
    verdict_of: Callable[..., tuple[Verdict, ModelManifest]],
) -> None:
    verdict, manifest = verdict_of("clustering", PLACES * 0, np.eye(3)[PLACES])
    profile = cluster_profile(verdict, manifest.features)
    assert [row["rows"] for row in profile] == [20, 20, 20]
    telling = manifest.features.columns[1][0]
    assert list(profile[0])[2] == telling
    assert [row[telling] for row in profile] == pytest.approx([-1.2247, 0, 1.2247], abs=1e-3)
