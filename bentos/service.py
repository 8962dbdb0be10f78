"""The service inside a bento: scores rows with the one model that is packed beside it.

This module can be imported inside a bento only, where `build.py` puts it: BentoML needs the types of requests when
the class is made, and they are the packed model's. Requests are judged in `front_door.py` before they come here. It
imports neither Dagster nor dbt nor Evidently nor DuckDB, and nothing is ever unpickled.
"""

import json
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
from starlette.responses import Response

from assets.model_store import read_model, read_sealed
from assets.tasks import Scores
from bentos.door import BLESSINGS, check_words
from bentos.front_door import PREDICT, FrontDoor, problem_response
from bentos.schemas import Problem, Serving, meaning_of, rows_of, wire_types

PACKED = Path(__file__).resolve().parent.parent

# Verified here, so that a damaged bento ends `bentoml serve` at once instead of its workers again and again.
_packed = read_sealed(PACKED)
_example = json.loads(_packed["example.json"])
_serving = Serving.model_validate_json(_packed["serving.json"])
check_words(_packed[BLESSINGS], _serving.model_id)
_manifest, _files = read_model(PACKED / "model" / _serving.model_id)
_types = wire_types(_manifest, _example)
_DESCRIPTION = f"""{meaning_of(_manifest)}; by model {_manifest.model_id}, as of {_serving.as_of}.

Refusals name the field: 400 for a wrong or unknown field, 408 for a body that takes longer than 10 s, 413 for more
than 8 MiB, 415 for anything but JSON, 422 for rows so extreme that the model has no finite answer, 429 while 16
requests are being answered.
"""


class UnscorableError(Exception):
    """Rows of the right types for which the model has no finite answer."""


@bentoml.service(
    name=_manifest.product,
    description=_DESCRIPTION,
    workers=1,
    threads=2,  # rows are scored outside the event loop; one more waits for CPU rather than for its turn
    traffic={"timeout": 30, "max_concurrency": 16},  # more are told 429
    http={"host": "127.0.0.1"},
    # a row is too little work to share out; the threads would only disturb each other
    envs=[{"name": name, "value": "1"} for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")],
)
class Predictions:
    """Predictions of the product's live model."""

    def __init__(self) -> None:
        # here and not above: the supervising process imports this module too, and scores nothing
        from assets.candidates.predictor import Predictor

        self._predictor = Predictor(_manifest, _files[_manifest.model_file])
        # ready means it has answered: the first row costs far more than the next
        example: Any = _types.request.model_validate_json(json.dumps({"rows": [_example]}))
        self._scores(rows_of(example.rows))

    @bentoml.api(route=PREDICT, input_spec=_types.request, output_spec=_types.response)  # type: ignore[untyped-decorator]
    def predict(self, rows: list[Any], reasons: int = 0) -> Any:
        """Score rows: what the model says of each, in the order they were sent, and if asked for why."""
        values = rows_of(rows)
        try:
            scores = self._scores(values)
        except UnscorableError:
            return self._first_unscorable(values)
        why = self._reasons(values, scores, reasons) if reasons else []
        return _types.answer(_serving, scores, threshold=_manifest.decision_threshold, reasons=why)

    def _reasons(self, rows: list[dict[str, Any]], scores: Scores, top: int) -> list[list[dict[str, Any]]]:
        from assets.candidates.explain import reasons_of

        return reasons_of(self._predictor, self._predictor.encoder.frame_of(rows), scores, top)

    def _scores(self, rows: list[dict[str, Any]]) -> Scores:
        """Scores of the rows, in the shape of the model's task, each finite.

        Raises:
            UnscorableError: a row's features can't be computed, or the model's answer to one isn't finite.
        """
        from polars.exceptions import PanicException, PolarsError

        try:
            scores = self._predictor.scores_of_rows(rows)
        except (PolarsError, PanicException) as error:
            raise UnscorableError(str(error)) from error
        if not np.isfinite(scores).all():
            raise UnscorableError("the model's answer is not a finite number")
        return scores

    def _first_unscorable(self, rows: list[dict[str, Any]]) -> Response:
        """The refusal that names the first row without an answer, found by halving."""
        start, end = 0, len(rows)
        while end - start > 1:
            middle = (start + end) // 2
            try:
                self._scores(rows[start:middle])
                start = middle
            except UnscorableError:
                end = middle
        message = "the model has no finite answer to this row; look for extreme numbers"
        return problem_response(422, [Problem(f"rows.{start}", message)])


Predictions.add_asgi_middleware(  # type: ignore[attr-defined]  # the decorator made a bentoml.Service of the class
    FrontDoor, types=_types, serving=_serving, meaning=meaning_of(_manifest)
)
