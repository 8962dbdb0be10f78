"""Score rows with a saved model: LightGBM text or ONNX, verified before it is parsed.

Serving and every offline stage score through this module, so equal rows get equal bits.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.errors import HeadraceError
from assets.features.row import RowEncoder
from assets.model_store import read_model
from assets.records import ModelManifest
from assets.tasks import NUMERIC, Scores, Task

Matrix = NDArray[np.float64]
Score = Callable[[Matrix], Scores]

# rows that an ONNX graph sees at once: the neighbours of 4,096 rows fit into memory, those of a million don't
_BLOCK_ROWS = 4_096
_FLOAT32 = np.finfo(np.float32)
_PLAIN = re.compile(r"[A-Za-z0-9_]+")


class Predictor:
    """A model ready to score; scores have the shape that `assets.tasks` says of its task. Thread-safe once made.

    Raises:
        HeadraceError: the manifest's features are not the ones that the model was trained on.
    """

    def __init__(self, manifest: ModelManifest, content: bytes, *, threads: int = 1) -> None:
        if manifest.fitted_features_id != manifest.features.fitted_id:
            raise HeadraceError(
                "the features in the manifest are not the ones that the model was trained on",
                product=manifest.product,
                where=f"{manifest.algorithm}, trained as of {manifest.as_of}",
                expected=f"fitted features {manifest.fitted_features_id}",
                found=manifest.features.fitted_id,
                fix="restore the model's folder from a backup, or train again",
            )
        self.manifest = manifest
        self.encoder = RowEncoder(manifest.features)
        self._score = score_function(
            manifest.model_file, content, task=manifest.task, columns=manifest.features.column_names, threads=threads
        )

    def scores(self, frame: pl.DataFrame) -> Scores:
        """Scores of rows of inputs, shape (rows,) or (rows, classes or clusters)."""
        # the matrix of a frame without rows has its columns all the same, so that the scores get their shape
        return self._score(self.encoder.matrix(frame))

    def scores_of_matrix(self, matrix: Matrix) -> Scores:
        """The same for rows that this model's encoder (or an equal one) has encoded, shape (rows, columns)."""
        return self._score(matrix)

    def scores_of_rows(self, rows: Sequence[Mapping[str, Any]]) -> Scores:
        """The same for request rows."""
        return self.scores(self.encoder.frame_of(rows))


def load_predictor(folder: Path, *, threads: int = 1) -> Predictor:
    """Open a model's folder after verifying every hash.

    Raises:
        HeadraceError: a file is missing or differs from what was saved.
    """
    manifest, files = read_model(folder)
    return Predictor(manifest, files[manifest.model_file], threads=threads)


def as_float32(matrix: Matrix) -> NDArray[np.float32]:
    """The matrix in the precision of ONNX; what is beyond its range becomes its end, not infinity."""
    return np.clip(matrix, _FLOAT32.min, _FLOAT32.max).astype(np.float32)


def file_names(columns: Sequence[str]) -> list[str]:
    """Column names as a LightGBM file can hold them: letters, digits and underscores, the others named by hash."""
    return [
        name if _PLAIN.fullmatch(name) else f"column_{hashlib.sha256(name.encode()).hexdigest()[:12]}"
        for name in columns
    ]


def score_function(file_name: str, content: bytes, *, task: Task, columns: Sequence[str], threads: int) -> Score:
    """A function from an encoded matrix, shape (rows, columns), to scores in the shape of the task.

    Raises:
        HeadraceError: the file is of an unknown kind, or was trained on other columns.
    """
    if file_name.endswith(".txt"):
        return _booster(content, columns, threads)
    if file_name.endswith(".onnx"):
        return _session(content, task, len(columns), threads)
    raise HeadraceError(
        "unknown kind of model file",
        where=file_name,
        expected="*.txt (LightGBM) or *.onnx",
        fix="train the model again",
    )


def _booster(content: bytes, columns: Sequence[str], threads: int) -> Score:
    import lightgbm

    booster = lightgbm.Booster(model_str=content.decode())
    if booster.feature_name() != file_names(columns):
        raise HeadraceError(
            "the model was trained on other columns than its manifest says",
            where="LightGBM file",
            expected=", ".join(file_names(columns)),
            found=", ".join(booster.feature_name()),
            fix="train the model again",
        )
    width = booster.num_model_per_iteration()

    def score(matrix: Matrix) -> Scores:
        if not len(matrix):
            return np.empty((0, width) if width > 1 else 0, dtype=np.float64)
        return np.asarray(booster.predict(matrix, num_threads=threads), dtype=np.float64)

    return score


def _session(content: bytes, task: Task, width: int, threads: int) -> Score:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # one thread per block: the sums over trees would round differently with another number of threads
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    output = session.get_outputs()[-1].name
    found_width = session.get_inputs()[0].shape[-1]
    if found_width not in (None, width):
        raise HeadraceError(
            "the model was trained on other columns than its manifest says",
            where="ONNX file",
            expected=f"{width} columns",
            found=f"{found_width} columns",
            fix="train the model again",
        )

    def block(matrix: Matrix) -> Scores:
        # onnxruntime scores a lone row with another kernel, up to 2e-6 away: so a row is never alone
        fed = as_float32(matrix if len(matrix) > 1 else np.repeat(matrix, 2, axis=0))
        found = np.asarray(session.run([output], {"X": fed})[0])[: len(matrix)].astype(np.float64)
        if task == "binary":
            return found[:, -1]
        return found.reshape(-1) if task in NUMERIC else found

    def score(matrix: Matrix) -> Scores:
        if not len(matrix):
            return block(np.zeros((1, width)))[:0]
        if len(matrix) <= _BLOCK_ROWS:
            return block(matrix)
        blocks = [matrix[at : at + _BLOCK_ROWS] for at in range(0, len(matrix), _BLOCK_ROWS)]
        with ThreadPoolExecutor(threads) as pool:
            return np.concatenate(list(pool.map(block, blocks)))

    return score
