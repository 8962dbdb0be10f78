"""Build ONNX files node by node: what a fitted estimator has learned, as arithmetic on the columns of a row.

Written by hand rather than converted: a forest of 200 trees takes a converter eight seconds, and a search makes many.
The arithmetic is in float32, as ONNX runtimes have kernels for; thresholds of trees are rounded so that they part the
same rows. Names are numbered in the order of use, so equal models are equal bytes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from assets.tasks import CLASSIFICATION, Task

# opset and IR are those that onnxruntime of the pinned version reads
_OPSET, _OPSET_ML, _IR = 17, 3, 9
INPUT, OUTPUT = "X", "scores"

Values = NDArray[Any]


class Graph:
    """A graph that takes `X`, shape (rows, columns), and answers `scores`; a value in it is its name."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, values: Any, kind: Any = np.float32) -> str:
        """A constant tensor."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=kind), name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """The first output of a new node."""
        name = f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], name, domain=domain, **attributes))
        return name

    def bytes_of(self, scores: str) -> bytes:
        """The file whose output is the given value."""
        graph = helper.make_graph(
            [*self._nodes, helper.make_node("Identity", [scores], [OUTPUT], OUTPUT)],
            "model",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, self._columns])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, None])],
            self._constants,
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _OPSET_ML)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))

    # --- pieces that algorithms share ---------------------------------------------------------------------------------

    def same_for_all(self, answer: Values) -> str:
        """The answer, shape (width,), for each row: shape (rows, width)."""
        zero, one = self.constant([0], np.int64), self.constant([1], np.int64)
        rows = self.add("Slice", self.add("Shape", INPUT), zero, one, zero)
        return self.add("Expand", self.constant([answer]), self.add("Concat", rows, one, axis=0))

    def linear(self, value: str, weights: Values, intercept: Values) -> str:
        """Rows times weights, shape (outputs, columns), plus intercept, shape (outputs,): shape (rows, outputs)."""
        return self.add("Gemm", value, self.constant(weights), self.constant(intercept), transB=1)

    def probabilities(self, value: str, task: Task) -> str:
        """Log odds or logits as probabilities."""
        return self.add("Sigmoid", value) if task == "binary" else self.add("Softmax", value, axis=1)

    def square_distances(self, value: str, centres: Values, scales: Values) -> str:
        """Sum over columns of ((row - centre) / scale)^2, shape (rows, centres); `scales` has the centres' shape."""
        # centre by centre: the product of row and centre would cancel out digits, all at once would take much memory
        parts = []
        for centre, scale in zip(centres, scales, strict=True):
            away = self.add("Sub", value, self.constant(centre))
            squared = self.add("Mul", away, away)
            # a product, as ReduceSum rounds differently with the number of rows
            parts.append(self.linear(squared, 1 / scale[None].astype(np.float64) ** 2, np.zeros(1)))
        return self.add("Concat", *parts, axis=1)

    def log_densities(self, value: str, means: Values, variances: Values, priors: Values) -> str:
        """Log of prior times normal density, columns being independent; shape (rows, components)."""
        distances = self.square_distances(value, means, np.sqrt(variances))
        constants = np.log(priors) - 0.5 * np.log(2 * np.pi * variances).sum(axis=1)
        return self.add("Add", self.add("Mul", distances, self.constant([-0.5])), self.constant(constants))

    def nearest(self, value: str, references: Values, answers: Values, neighbours: int) -> str:
        """Mean answer of the nearest reference rows, shape (rows, answers' width); of equally near the first count."""
        # the row's own length is the same for every reference, so it decides nothing
        lengths = (references.astype(np.float64) ** 2).sum(axis=1)
        distances = self.linear(value, -2 * references, lengths)
        count = self.constant([neighbours], np.int64)
        name = f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node("TopK", [distances, count], [f"{name}d", name], name, axis=1, largest=0))
        return self.add("ReduceMean", self.add("Gather", self.constant(answers), name), axes=[1], keepdims=0)

    def trees(self, value: str, trees: Sequence[Any], *, task: Task) -> str:
        """Mean of scikit-learn's fitted trees, shape (rows, 1), or (rows, classes) for multiclass."""
        leaves = [_leaf_values(tree, task) / len(trees) for tree in trees]
        base = np.zeros(leaves[0].shape[1])
        if task not in CLASSIFICATION:  # around the first tree's mean: sums of deviations keep more digits
            base = (leaves[0][0] * len(trees)).astype(np.float32).astype(np.float64)
            leaves = [part - base / len(trees) for part in leaves]
        sizes = [tree.node_count for tree in trees]
        treeids = np.repeat(np.arange(len(trees)), sizes)
        nodeids = np.concatenate([np.arange(size) for size in sizes])
        is_leaf = np.concatenate([tree.children_left for tree in trees]) < 0

        def branches(name: str) -> Values:
            return np.where(is_leaf, 0, np.concatenate([getattr(tree, name) for tree in trees]))

        width = leaves[0].shape[1]
        return self.add(
            "TreeEnsembleRegressor",
            value,
            domain="ai.onnx.ml",
            nodes_treeids=treeids.tolist(),
            nodes_nodeids=nodeids.tolist(),
            nodes_featureids=branches("feature").tolist(),
            nodes_values=_rounded_down(branches("threshold")).tolist(),
            nodes_truenodeids=branches("children_left").tolist(),
            nodes_falsenodeids=branches("children_right").tolist(),
            nodes_modes=np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
            target_treeids=np.repeat(treeids[is_leaf], width).tolist(),
            target_nodeids=np.repeat(nodeids[is_leaf], width).tolist(),
            target_ids=np.tile(np.arange(width), int(is_leaf.sum())).tolist(),
            target_weights=np.concatenate(leaves)[is_leaf].astype(np.float32).reshape(-1).tolist(),
            base_values=base.astype(np.float32).tolist(),
            n_targets=width,
            aggregate_function="SUM",
            post_transform="NONE",
        )


def _leaf_values(tree: Any, task: Task) -> Values:
    """What each node of a tree answers, shape (nodes, 1 or classes): of binary the positive class alone."""
    values: Values = tree.value[:, 0, :]
    return values[:, -1:] if task == "binary" else values


def _rounded_down(thresholds: Values) -> NDArray[np.float32]:
    """The largest float32 that isn't above: a float32 is at most one if and only if it is at most the other."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
