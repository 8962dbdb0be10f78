"""Score rows with a saved model: LightGBM text or ONNX, verified before it is parsed.

Serving and every offline stage score through this module, so equal rows get equal bits.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.errors import HeadraceError
from assets.features.row import RowEncoder
from assets.model_store import read_model
from assets.records import Calibration, ModelManifest
from assets.tasks import NUMERIC, Scores, Task

Matrix = NDArray[np.float64]
Score = Callable[[Matrix], Scores]
Contributions = Callable[[Matrix], NDArray[np.float64]]

# rows that an ONNX graph sees at once: the neighbours of 4,096 rows fit into memory, those of a million don't
_BLOCK_ROWS = 4_096
_FLOAT32 = np.finfo(np.float32)
# how near 0 and 1 a float32 score can be, and log odds at which a probability is 0 or 1
_NEAR, _FAR_ODDS = 1e-7, 700.0
_LEAVES = re.compile(rb"^num_leaves=(\d+)", re.MULTILINE)
_PLAIN = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class ModelFile:
    """What an opened model file can do with encoded rows, shape (rows, columns).

    Args:
        score: scores as the file has them, before any calibration, in the shape of the task.
        contributions: SHAP values, see `Predictor.contributions`; None where the file's kind has none.
        leaves: of all trees of a LightGBM file: what contributions cost.
    """

    score: Score
    contributions: Contributions | None = None
    leaves: int = 0


class Predictor:
    """A model ready to score; scores have the shape that `assets.tasks` says of its task. Thread-safe once made.

    Probabilities are calibrated where the manifest has a calibration.

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
        self._file = open_file(
            manifest.model_file, content, task=manifest.task, columns=manifest.features.column_names, threads=threads
        )

    def scores(self, frame: pl.DataFrame) -> Scores:
        """Scores of rows of inputs, shape (rows,) or (rows, classes or clusters)."""
        # the matrix of a frame without rows has its columns all the same, so that the scores get their shape
        return self.scores_of_matrix(self.encoder.matrix(frame))

    def scores_of_matrix(self, matrix: Matrix) -> Scores:
        """The same for rows that this model's encoder (or an equal one) has encoded, shape (rows, columns)."""
        raw = self._file.score(matrix)
        return calibrated(self.manifest.calibration, raw) if self.manifest.calibration else raw

    def scores_of_rows(self, rows: Sequence[Mapping[str, Any]]) -> Scores:
        """The same for request rows."""
        return self.scores(self.encoder.frame_of(rows))

    @property
    def leaves(self) -> int:
        """Leaves of all trees of a LightGBM model, which contributions cost in proportion; 0 of other models."""
        return self._file.leaves

    def contributions(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """What each model column adds to the raw score of a row, exactly; the last column is the base of all rows.

        They add up to the raw score before calibration: of binary the log odds, of numbers the value (of objectives
        with a log link its logarithm), of multiclass the score of each class before softmax. Source: SHAP values of
        trees, by LightGBM itself; Lundberg and Lee (2017), Lundberg et al. (2020).

        Returns:
            shape (rows, columns + 1); of multiclass (rows, classes, columns + 1).

        Raises:
            HeadraceError: the model is no LightGBM file.
        """
        if self._file.contributions is None:
            raise HeadraceError(
                f"{self.manifest.algorithm} has no exact contributions",
                product=self.manifest.product,
                where=self.manifest.model_id,
                expected="a LightGBM model",
                found=self.manifest.model_file,
                fix="explain a lightgbm candidate",
            )
        found = self._file.contributions(self.encoder.matrix(frame))
        shape = len(frame), len(self.manifest.classes), len(self.manifest.features.columns) + 1
        return found.reshape(shape) if self.manifest.task == "multiclass" else found


def load_predictor(folder: Path, *, threads: int = 1) -> Predictor:
    """Open a model's folder after verifying every hash.

    Raises:
        HeadraceError: a file is missing or differs from what was saved.
    """
    manifest, files = read_model(folder)
    return Predictor(manifest, files[manifest.model_file], threads=threads)


def calibrated(calibration: Calibration, raw: Scores) -> Scores:
    """Probabilities that are true from a model's own, shape (rows,), never falling with them and within 0 and 1.

    Sums, products and searches of single numbers only, or functions that numpy computes for each number alike: so a
    row has the same bits alone and among others.
    """
    if calibration.method == "platt":
        odds = calibration.slope * log_odds(raw) + calibration.intercept
        return np.asarray(1 / (1 + np.exp(-np.clip(odds, -_FAR_ODDS, _FAR_ODDS))))
    points, values = np.array(calibration.raw), np.array(calibration.calibrated)
    slopes = np.diff(values) / np.diff(points)
    given = np.clip(raw, points[0], points[-1])
    place = np.clip(np.searchsorted(points, given, side="right") - 1, 0, len(slopes) - 1)
    # rounding may overshoot the next point by a bit
    return np.asarray(np.minimum(values[place] + (given - points[place]) * slopes[place], values[place + 1]))


def log_odds(probabilities: Scores) -> NDArray[np.float64]:
    """Log odds of probabilities; 0 and 1 count as the nearest that float32 scores tell apart."""
    inside = np.clip(probabilities, _NEAR, 1 - _NEAR)
    return np.asarray(np.log(inside) - np.log1p(-inside))


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
    """A function from an encoded matrix, shape (rows, columns), to the file's own scores in the shape of the task.

    Raises:
        HeadraceError: the file is of an unknown kind, or was trained on other columns.
    """
    return open_file(file_name, content, task=task, columns=columns, threads=threads).score


def open_file(file_name: str, content: bytes, *, task: Task, columns: Sequence[str], threads: int) -> ModelFile:
    """Parse a model file, whose hash must have been verified.

    Raises:
        HeadraceError: the file is of an unknown kind, or was trained on other columns.
    """
    if file_name.endswith(".txt"):
        return _booster(content, columns, threads)
    if file_name.endswith(".onnx"):
        return ModelFile(_session(content, task, len(columns), threads))
    raise HeadraceError(
        "unknown kind of model file",
        where=file_name,
        expected="*.txt (LightGBM) or *.onnx",
        fix="train the model again",
    )


def _booster(content: bytes, columns: Sequence[str], threads: int) -> ModelFile:
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

    def contributions(matrix: Matrix) -> NDArray[np.float64]:
        if not len(matrix):
            return np.empty((0, width * (len(columns) + 1)))
        # one thread: of a few rows, more would only wait for each other
        return np.asarray(booster.predict(matrix, pred_contrib=True, num_threads=1), dtype=np.float64)

    return ModelFile(score, contributions, sum(map(int, _LEAVES.findall(content))))


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
