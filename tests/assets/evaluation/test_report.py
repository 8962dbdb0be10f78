"""Evidently's pages: drawn for every task, and no reason to stop where there is nothing to draw."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assets.evaluation.report import write_classification_report, write_drift_report, write_regression_report
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
