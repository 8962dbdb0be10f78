"""The baseline: every row gets the positive share of the training rows. What doesn't beat it has learned nothing."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet


def fit(rows: TrainingSet, params: dict[str, Any], _seed: int, _threads: int, _progress: Progress) -> Fitted:
    """Build an ONNX graph that answers (1 - p, p) for each row, p the training rows' positive share."""
    used = merged({}, params, name="baseline")
    share = float(np.mean(rows.train_labels))
    row_count = helper.make_node("Slice", ["shape", "zero", "one", "zero"], ["row_count"])
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["X"], ["shape"]),
            row_count,
            helper.make_node("Concat", ["row_count", "one"], ["answer_shape"], axis=0),
            helper.make_node("Expand", ["answer", "answer_shape"], ["probabilities"]),
        ],
        "baseline",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, len(rows.columns)])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        [
            helper.make_tensor("zero", TensorProto.INT64, [1], [0]),
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("answer", TensorProto.FLOAT, [1, 2], [1 - share, share]),
        ],
    )
    # opset and IR are those that onnxruntime of the pinned version reads
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return Fitted("model.onnx", model.SerializeToString(deterministic=True), used, {"positive_share": share})


ALGORITHM = Algorithm(
    description="Positive share of the training rows, for every row",
    tasks=frozenset({"binary"}),
    kinds=frozenset({"onnx"}),
    fit=fit,
)
