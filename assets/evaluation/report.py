"""Evidently's HTML of a model's test rows and of drift. Pictures only: verdicts come from all rows, elsewhere.

Importing Evidently costs 3 s and 275 MB, so it happens inside the functions.
"""

import html
import warnings
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from assets.lake import write_file_atomically
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
    frame = _sample(frame, spec)
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
    from evidently import DataDefinition, Dataset
    from evidently.presets import DataDriftPreset

    usable = [
        name
        for name in reference.columns
        if reference[name].null_count() < reference.height and current[name].null_count() < current.height
    ]
    numeric = [name for name in usable if reference[name].dtype.is_numeric()]
    definition = DataDefinition(
        numerical_columns=numeric, categorical_columns=[name for name in usable if name not in numeric]
    )
    both = [
        Dataset.from_pandas(_sample(frame.select(usable), spec).to_pandas(), data_definition=definition)
        for frame in (current, reference)
    ]
    preset = DataDriftPreset(drift_share=spec.monitoring.drift_share, method="psi", threshold=spec.monitoring.drift_psi)
    return _write(path, preset, *both)


def _write_report(path: Path, spec: ProductSpec, preset: object, frame: pl.DataFrame, definition: object) -> Path:
    from evidently import Dataset

    return _write(path, preset, Dataset.from_pandas(_sample(frame, spec).to_pandas(), data_definition=definition), None)


def _sample(frame: pl.DataFrame, spec: ProductSpec) -> pl.DataFrame:
    rows = min(frame.height, spec.monitoring.report_rows)
    return frame.sample(rows, seed=spec.seed, shuffle=False)


def _write(path: Path, preset: object, current: object, reference: object) -> Path:
    from evidently import Report

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metrics that few rows don't define
            page: str = Report([preset]).run(current, reference).get_html_str(as_iframe=False)
    except Exception as error:  # noqa: BLE001 - a picture that can't be drawn (few rows, one class) stops no verdict
        page = f"<!doctype html><title>Report</title><p>Evidently could not draw these rows: {html.escape(repr(error))}"
    write_file_atomically(path, page.encode())
    return path
