"""Evidently's HTML of a model's test rows and of drift. Pictures only: verdicts come from all rows, elsewhere.

Importing Evidently costs 3 s and 275 MB, so it happens inside the functions.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.lake import write_file_atomically
from assets.settings import prepare_process
from assets.spec import ProductSpec


def write_classification_report(
    path: Path, spec: ProductSpec, labels: NDArray[np.int_], scores: NDArray[np.float64]
) -> Path:
    """Evidently's classification preset on a seeded sample of the test rows.

    Args:
        path: the HTML to write; it appears whole.
        spec: the product.
        labels: 0 or 1, shape (rows,).
        scores: probabilities of class 1, shape (rows,).
    """
    prepare_process()
    from evidently import BinaryClassification, DataDefinition, Dataset, Report
    from evidently.presets import ClassificationPreset

    frame = pl.DataFrame(
        {"actual": labels, "predicted": (scores >= spec.decision_threshold).astype(np.int64), "probability": scores}
    )
    sample = _sample(frame, spec)
    dataset = Dataset.from_pandas(
        sample.to_pandas(),
        data_definition=DataDefinition(
            classification=[
                BinaryClassification(
                    target="actual", prediction_labels="predicted", prediction_probas="probability", pos_label=1
                )
            ]
        ),
    )
    snapshot = Report([ClassificationPreset(probas_threshold=spec.decision_threshold)]).run(dataset, None)
    return _write(path, snapshot)


def write_drift_report(path: Path, spec: ProductSpec, reference: pl.DataFrame, current: pl.DataFrame) -> Path:
    """Evidently's drift preset on seeded samples of equal size, with our threshold on the same index.

    The caller chooses the columns: drawing one costs 0.4 CPU seconds. Those that are empty on either side are left
    out: Evidently raises on them.
    """
    prepare_process()
    from evidently import DataDefinition, Dataset, Report
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
    return _write(path, Report([preset]).run(*both))


def _sample(frame: pl.DataFrame, spec: ProductSpec) -> pl.DataFrame:
    rows = min(frame.height, spec.monitoring.report_rows)
    return frame.sample(rows, seed=spec.seed, shuffle=False)


def _write(path: Path, snapshot: object) -> Path:
    html: str = snapshot.get_html_str(as_iframe=False)  # type: ignore[attr-defined]
    write_file_atomically(path, html.encode())
    return path
