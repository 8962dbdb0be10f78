"""Evidently's pages and the plots: drawn for every task, and no reason to stop where there is nothing to draw."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assets.evaluation.judge import Verdict
from assets.evaluation.metrics import class_metrics
from assets.evaluation.pictures import cluster_profile, pictures
from assets.evaluation.report import write_classification_report, write_drift_report, write_regression_report
from assets.records import Blessing, EvaluationReport, ModelManifest
from assets.spec import ProductSpec

ROWS = 60
CLASSES = ("ale", "lager", "stout")
PLACES = np.arange(ROWS) % 3


def spec_as(toy: ProductSpec, task: str) -> ProductSpec:
    return toy.model_copy(update={"task": task})


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_page_is_drawn_for_each_task(toy: ProductSpec, tmp_path: Path, task: str) -> None:
    spec, path = spec_as(toy, task), tmp_path / "page.html"
    if task == "binary":
        write_classification_report(path, spec, PLACES % 2, PLACES / 3, ())
    elif task == "multiclass":
        # two rows are of a class that training has not seen
        labels = np.where(np.arange(ROWS) < 2, -1, PLACES)
        write_classification_report(path, spec, labels, np.eye(3)[PLACES] * 0.7 + 0.1, CLASSES)
    else:
        write_regression_report(path, spec, PLACES.astype(float), PLACES + 0.5)
    text = path.read_text()
    assert "could not draw" not in text
    assert len(text) > 100_000


def test_rows_that_cannot_be_drawn_stop_nothing_and_say_so(toy: ProductSpec, tmp_path: Path) -> None:
    path = write_classification_report(tmp_path / "page.html", toy, np.zeros(5, dtype=int), np.full(5, 0.2), ())
    assert "Evidently could not draw these rows" in path.read_text()


def test_clusters_are_a_column_of_the_page(toy: ProductSpec, tmp_path: Path) -> None:
    frame = pl.DataFrame({"size": np.arange(ROWS) * 1.0, "cluster": [str(place) for place in PLACES]})
    text = write_drift_report(tmp_path / "page.html", toy, frame, frame.reverse()).read_text()
    assert "could not draw" not in text
    assert "cluster" in text


@pytest.fixture
def verdict_of(
    evaluation_of: Callable[..., EvaluationReport], manifest_of: Callable[..., ModelManifest]
) -> Callable[..., tuple[Verdict, ModelManifest]]:
    """A verdict about one model and its baseline."""

    def make(task: str, labels: np.ndarray, scores: np.ndarray) -> tuple[Verdict, ModelManifest]:
        best = evaluation_of("best", 0.9).model_copy(
            update={"classes": class_metrics(task, labels, scores, classes=CLASSES)}
        )
        baseline = evaluation_of("base", 0.5, algorithm="seasonal_naive")
        blessing = Blessing(
            kind="quality", verdict="BLESSED", product="toy", as_of="1", model_id="best", split_id="s",
            test_row_set_hash="h", feature_set_id="f", spec_hash="s", gates=(),
        )  # fmt: skip
        manifest = manifest_of(task=task, classes=CLASSES)
        matrix = np.column_stack([PLACES * 1.0 * (column == 1) for column in range(len(manifest.features.columns))])
        return Verdict((best, baseline), best, baseline, blessing, labels, {"best": scores, "base": scores}, matrix), (
            manifest
        )

    return make


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("binary", {"roc", "calibration", "confusion"}),
        ("multiclass", {"confusion", "per_class_plot", "calibration"}),
        ("regression", {"predicted_actual", "residuals"}),
        ("forecast", {"predicted_actual", "residuals", "over_time"}),
        ("clustering", {"cluster_sizes", "cluster_map"}),
    ],
)
def test_each_task_has_its_plots_and_the_same_rows_draw_the_same(
    toy: ProductSpec, orders: pl.DataFrame, verdict_of: Callable[..., tuple[Verdict, ModelManifest]],
    task: str, names: set[str],
) -> None:  # fmt: skip
    labels, scores = {
        "binary": (PLACES % 2, PLACES / 3),
        "multiclass": (np.where(np.arange(ROWS) < 2, -1, PLACES), np.eye(3)[PLACES]),
        "clustering": (PLACES * 0, np.eye(3)[PLACES]),
    }.get(task, (PLACES * 1.0, PLACES + 0.5))
    verdict, manifest = verdict_of(task, labels, scores)
    test = orders.head(ROWS).with_columns(ordered_at=pl.col("ordered_local_at"))
    drawn = pictures(spec_as(toy, task), verdict, test, manifest)
    assert set(drawn) == names
    assert all("](data:image/png;base64,iVBOR" in picture for picture in drawn.values())
    assert pictures(spec_as(toy, task), verdict, test, manifest) == drawn


def test_clusters_are_told_by_the_numbers_that_differ_most(
    verdict_of: Callable[..., tuple[Verdict, ModelManifest]],
) -> None:
    verdict, manifest = verdict_of("clustering", PLACES * 0, np.eye(3)[PLACES])
    profile = cluster_profile(verdict, manifest.features)
    assert [row["rows"] for row in profile] == [20, 20, 20]
    telling = manifest.features.columns[1][0]
    assert list(profile[0])[2] == telling
    assert [row[telling] for row in profile] == pytest.approx([-1.2247, 0, 1.2247], abs=1e-3)
