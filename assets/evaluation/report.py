"""Evidently's HTML of a model's test rows and of drift. Pictures only: verdicts come from all rows, elsewhere.

Importing Evidently costs 3 s and 275 MB, so it happens inside the functions.
"""

import html
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assets.files import write_file_atomically
from assets.settings import prepare_process
from assets.spec import ProductSpec
from assets.tasks import UNKNOWN_CLASS, Labels, Scores, predicted_classes

# Evidently draws several pictures of each class's probability: with more classes it draws their labels only
_MOST_PROBABILITIES = 8


def write_classification_report(
    path: Path, spec: ProductSpec, labels: Labels, scores: Scores, classes: Sequence[str]
) -> Path:
    """Evidently's classification preset on a seeded sample of the test rows.

    Args:
        path: the HTML to write; it appears whole.
        spec: the product.
        labels: places of the classes, shape (rows,); rows of classes that training hasn't seen are left out.
        scores: probabilities, shape (rows,) of the positive class or (rows, classes).
        classes: multiclass: names in the order of the probabilities.
    """
    prepare_process()
    from evidently import BinaryClassification, DataDefinition, MulticlassClassification
    from evidently.presets import ClassificationPreset

    known = labels != UNKNOWN_CLASS
    labels, scores = labels[known], scores[known]
    places = predicted_classes(spec.task, scores, spec.decision_threshold)
    if spec.task == "binary" or len(classes) == 2:  # noqa: PLR2004 - it knows two classes only as yes and no
        positive = scores if scores.ndim == 1 else scores[:, 1]
        frame = pl.DataFrame({"actual": labels, "predicted": places, "probability": positive})
        kind = BinaryClassification(
            target="actual", prediction_labels="predicted", prediction_probas="probability", pos_label=1
        )
        preset = ClassificationPreset(probas_threshold=spec.decision_threshold)
        return _write_report(path, spec, preset, frame, DataDefinition(classification=[kind]))
    names = pl.Series(classes)
    frame = pl.DataFrame({"actual": names.gather(labels), "predicted": names.gather(places)})
    with_scores = 1 < len(classes) <= _MOST_PROBABILITIES and not {"actual", "predicted"} & set(classes)
    if with_scores:
        frame = frame.hstack(pl.DataFrame(scores, schema=list(classes)))
    frame = report_sample(frame, spec)
    # it looks for every class that has a probability among the rows, too
    with_scores = with_scores and set(classes) == set(frame["actual"])
    kind = MulticlassClassification(
        target="actual", prediction_labels="predicted", prediction_probas=list(classes) if with_scores else None
    )
    return _write_report(path, spec, ClassificationPreset(), frame, DataDefinition(classification=[kind]))


def write_regression_report(path: Path, spec: ProductSpec, actual: Labels, predicted: Scores) -> Path:
    """Evidently's regression preset on a seeded sample of the test rows; both shape (rows,)."""
    prepare_process()
    from evidently import DataDefinition, Regression
    from evidently.presets import RegressionPreset

    frame = pl.DataFrame({"actual": actual, "predicted": predicted})
    definition = DataDefinition(regression=[Regression(target="actual", prediction="predicted")])
    return _write_report(path, spec, RegressionPreset(), frame, definition)


def write_drift_report(path: Path, spec: ProductSpec, reference: pl.DataFrame, current: pl.DataFrame) -> Path:
    """Evidently's drift preset on seeded samples of equal size, with our threshold on the same index.

    The caller chooses the columns: drawing one costs 0.4 CPU seconds. Those that are empty on either side are left
    out: Evidently raises on them.
    """
    prepare_process()
    from evidently.presets import DataDriftPreset

    usable = _usable(reference, current)
    preset = DataDriftPreset(drift_share=spec.monitoring.drift_share, method="psi", threshold=spec.monitoring.drift_psi)
    _write(path, [preset], *_datasets(spec, usable, current, reference))
    return path


@dataclass(frozen=True)
class ReportTest:
    """The outcome of one of Evidently's tests, on its sample."""

    column: str
    passed: bool
    said: str


def write_validation_report(
    path: Path, spec: ProductSpec, reference: pl.DataFrame, current: pl.DataFrame, null_limits: Mapping[str, float]
) -> list[ReportTest]:
    """Evidently's drift and null tests of a batch, with explicit thresholds, on seeded samples of equal size.

    Without thresholds Evidently chooses method and limit by the number of rows. A column that is empty on either side
    is left out: Evidently raises on it, and the verdict on all rows has named it.

    Args:
        path: the HTML to write; it appears whole.
        spec: the product.
        reference: rows of the champion's training set as model columns; the caller chooses the columns.
        current: the batch's rows, the same columns.
        null_limits: column -> largest share of nulls.

    Returns:
        what each test said, in the order of the columns; none when Evidently could not draw these rows.
    """
    prepare_process()
    from evidently.metrics import MissingValueCount, ValueDrift
    from evidently.tests import lt, lte

    usable, limit = _usable(reference, current), spec.validation.statistics.max_psi
    if not usable:
        return []
    metrics = [
        metric
        for name in usable
        for metric in (
            ValueDrift(column=name, method="psi", threshold=limit, tests=[lt(limit)]),
            MissingValueCount(column=name, share_tests=[lte(round(min(null_limits[name], 1.0), 4))]),
        )
    ]
    rows = min(reference.height, current.height)
    sampled = [frame.sample(rows, seed=spec.seed) if frame.height > rows else frame for frame in (current, reference)]
    snapshot = _write(path, metrics, *_datasets(spec, usable, *sampled))
    return [
        ReportTest(
            column=str(item["metric_config"]["params"]["column"]),
            passed=str(item["status"]).endswith("SUCCESS"),
            said=str(item["description"]),
        )
        for item in (snapshot.dict()["tests"] if snapshot is not None else [])
    ]


def report_sample(frame: pl.DataFrame, spec: ProductSpec) -> pl.DataFrame:
    """The seeded sample that Evidently draws of a frame; of the sample itself it is all."""
    rows = min(frame.height, spec.monitoring.report_rows)
    return frame.sample(rows, seed=spec.seed, shuffle=False) if rows < frame.height else frame


def _usable(reference: pl.DataFrame, current: pl.DataFrame) -> list[str]:
    """Columns that have a value on both sides."""
    return [
        name
        for name in reference.columns
        if reference[name].null_count() < reference.height and current[name].null_count() < current.height
    ]


def _datasets(spec: ProductSpec, columns: list[str], *frames: pl.DataFrame) -> list[Any]:
    """Frames as Evidently takes them, sampled; the kinds of columns are those of the first."""
    from evidently import DataDefinition, Dataset

    numeric = [name for name in columns if frames[0][name].dtype.is_numeric()]
    definition = DataDefinition(
        numerical_columns=numeric, categorical_columns=[name for name in columns if name not in numeric]
    )
    return [
        Dataset.from_pandas(report_sample(frame.select(columns), spec).to_pandas(), data_definition=definition)
        for frame in frames
    ]


def _write_report(path: Path, spec: ProductSpec, preset: object, frame: pl.DataFrame, definition: object) -> Path:
    from evidently import Dataset

    current = Dataset.from_pandas(report_sample(frame, spec).to_pandas(), data_definition=definition)
    _write(path, [preset], current, None)
    return path


def _write(path: Path, metrics: Sequence[object], current: object, reference: object) -> Any:
    """Draw and write a page; returns Evidently's snapshot, None where it could not draw these rows."""
    from evidently import Report

    snapshot = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metrics that few rows don't define
            snapshot = Report(list(metrics)).run(current, reference)
            page: str = snapshot.get_html_str(as_iframe=False)
    except Exception as error:  # noqa: BLE001 - a picture that can't be drawn (few rows, one class) stops no verdict
        page = f"<!doctype html><title>Report</title><p>Evidently could not draw these rows: {html.escape(repr(error))}"
    write_file_atomically(path, page.encode())
    return snapshot
