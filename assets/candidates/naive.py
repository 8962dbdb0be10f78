"""What the naive forecasts share: the answer is a column of the row."""

from typing import Any

import numpy as np

from assets.candidates.graph import INPUT, Graph
from assets.candidates.registry import Fitted
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError


def answer_column(rows: TrainingSet, used: dict[str, Any], name: str) -> Fitted:
    """A graph that answers `used["column"]`, and the training rows' mean outcome where it is missing.

    Raises:
        HeadraceError: the column is no number that the model sees.
    """
    numbers = [column for column, kind in rows.schema.columns if kind == "number"]
    if used["column"] not in numbers:
        raise HeadraceError(
            f"{name} answers a column, and params.column names none that the model sees",
            where=f"candidates: {name}",
            expected=", ".join(numbers),
            found=str(used["column"]) or "nothing",
            fix="name the feature that holds the earlier value; a selection must keep it",
        )
    mean = float(np.mean(rows.train_labels))
    graph = Graph(len(rows.columns))
    value = graph.add("Gather", INPUT, graph.constant([rows.columns.index(used["column"])], np.int64), axis=1)
    answer = graph.add("Where", graph.add("IsNaN", value), graph.constant([mean]), value)
    return Fitted("model.onnx", graph.bytes_of(answer), used, {"mean": mean})
