"""Score rows with a saved model: LightGBM text or ONNX, verified before it is parsed.

Serving and every offline stage score through this module, so equal rows get equal bits.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.errors import HeadraceError
from assets.features.row import RowEncoder
from assets.model_store import read_model
from assets.records import ModelManifest

Matrix = NDArray[np.float64]
Score = Callable[[Matrix], Matrix]


class Predictor:
    """A model ready to score. Thread-safe after it is made."""

    def __init__(self, manifest: ModelManifest, content: bytes, *, threads: int = 1) -> None:
        self.manifest = manifest
        self.encoder = RowEncoder(manifest.features)
        self._score = score_function(manifest, content, threads=threads)

    def probabilities(self, frame: pl.DataFrame) -> Matrix:
        """Probability of the positive class for each row of inputs, shape (rows,)."""
        if frame.is_empty():
            return np.empty(0, dtype=np.float64)
        return self._score(self.encoder.matrix(frame))

    def probabilities_of_matrix(self, matrix: Matrix) -> Matrix:
        """The same for rows that this model's encoder (or an equal one) has encoded, shape (rows, columns)."""
        return self._score(matrix)

    def probabilities_of_rows(self, rows: Sequence[Mapping[str, Any]]) -> Matrix:
        """The same for request rows, shape (rows,)."""
        return self.probabilities(self.encoder.frame_of(rows))


def load_predictor(folder: Path, *, threads: int = 1) -> Predictor:
    """Open a model's folder after verifying every hash.

    Raises:
        HeadraceError: a file is missing or differs from what was saved.
    """
    manifest, files = read_model(folder)
    return Predictor(manifest, files[manifest.model_file], threads=threads)


def score_function(manifest: ModelManifest, content: bytes, *, threads: int) -> Score:
    """A function from an encoded matrix, shape (rows, columns), to probabilities, shape (rows,).

    Raises:
        HeadraceError: the file is of an unknown kind, or was trained on other columns than its manifest says.
    """
    file_name = manifest.model_file
    if file_name.endswith(".txt"):
        import lightgbm

        booster = lightgbm.Booster(model_str=content.decode())
        if booster.feature_name() != manifest.features.column_names:
            raise HeadraceError(
                "the model was trained on other columns than its manifest says",
                product=manifest.product,
                where=manifest.model_id,
                expected=", ".join(manifest.features.column_names),
                found=", ".join(booster.feature_name()),
                fix="train the model again",
            )

        def by_booster(matrix: Matrix) -> Matrix:
            return np.asarray(booster.predict(matrix, num_threads=threads), dtype=np.float64)

        return by_booster
    if file_name.endswith(".onnx"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        output = session.get_outputs()[-1].name

        def by_session(matrix: Matrix) -> Matrix:
            # onnxruntime scores a lone row with another kernel, up to 2e-6 away: so a row is never alone
            fed = matrix if len(matrix) > 1 else np.repeat(matrix, 2, axis=0)
            found = np.asarray(session.run([output], {"X": fed.astype(np.float32)})[0])
            return found[: len(matrix), -1].astype(np.float64)

        return by_session
    raise HeadraceError(
        "unknown kind of model file",
        where=file_name,
        expected="*.txt (LightGBM) or *.onnx",
        fix="train the model again",
    )
