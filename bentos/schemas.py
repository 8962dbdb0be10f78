"""What a client sends and gets: request and response types made from a model's manifest.

The types are the contract on the wire, so they are strict: a number in quotes, a NaN, an unknown field or a time with
a zone is refused, never guessed at. Nothing here scores, reads files or knows BentoML.
"""

import difflib
import itertools
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, Field, ValidationError, create_model
from pydantic_core import from_json

from assets.records import ModelManifest, Record

MAX_ROWS = 5_000
MAX_TEXT_LENGTH = 200
_INT64 = 2**63
_NAMED_AT_MOST = 10  # fields named in one answer: it stays readable, and small whatever was sent
_SHOWN_LENGTH = 80  # of a name that a client made up
_PLAIN_TIME = "a local time without a time zone, for example 2013-01-05T14:30:00"


class Serving(Record):
    """What a bento serves, packed beside the model."""

    product: str
    model_id: str
    as_of: str = Field(description="batch that the model was promoted as of")


@dataclass(frozen=True)
class WireTypes:
    """The types of one model's service."""

    request: type[BaseModel]
    response: type[BaseModel]
    prediction: type[BaseModel]
    inputs: Mapping[str, str]
    label: str

    def answer(self, serving: Serving, probabilities: NDArray[np.float64], *, threshold: float) -> BaseModel:
        """The response to rows whose positive class has these probabilities, shape (rows,), all finite."""
        return self.response(
            product=serving.product,
            model_id=serving.model_id,
            as_of=serving.as_of,
            threshold=threshold,
            predictions=[
                self.prediction(**{"probability": probability, self.label: probability >= threshold})
                for probability in probabilities.tolist()
            ],
        )


@dataclass(frozen=True)
class Problem:
    """Why a request is refused: the field, as a path such as ``rows.0.carrier``, and what is wrong with it."""

    field: str
    message: str


class RequestRefusedError(Exception):
    """A request that is not what the model was trained for; it names at least one field."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)[:_NAMED_AT_MOST]
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in self.problems))


def wire_types(manifest: ModelManifest, example: Mapping[str, Any]) -> WireTypes:
    """Types of a model's requests and responses.

    Args:
        manifest: names inputs, their types, descriptions and the label.
        example: a real row as JSON values, shown in the OpenAPI document; it must be one the model accepts.
    """
    features = manifest.features
    strict = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())
    fields: dict[str, Any] = {
        # an alias, since an input may be called like a method of pydantic's (copy, json, schema)
        f"{name}_": _field(name, kind, features.descriptions.get(name, ""), is_required=name in features.required)
        for name, kind in features.inputs.items()
    }
    row = create_model("Row", __config__={**strict, "json_schema_extra": _extra({"example": dict(example)})}, **fields)
    request = create_model(
        "PredictRequest",
        __config__={**strict, "title": "PredictRequest", "json_schema_extra": {"example": {"rows": [dict(example)]}}},
        # FailFast: one wrong row is enough to refuse; naming every field of 5,000 rows would be the larger load
        rows=(
            Annotated[list[row], Field(min_length=1, max_length=MAX_ROWS), FailFast()],
            Field(description=f"1 to {MAX_ROWS:,} rows"),
        ),
    )
    # the label keeps its own name, so that an answer reads as what it says
    label = manifest.label if manifest.label != "probability" else "is_positive"
    answers = ConfigDict(allow_inf_nan=False, protected_namespaces=(), serialize_by_alias=True)
    prediction = create_model(
        "Prediction",
        __config__=answers,
        probability=(float, Field(ge=0, le=1, description=f"that this is so: {manifest.positive_meaning}")),
        label_=(
            bool,
            Field(alias=label, description=f"{manifest.positive_meaning}: whether probability reaches the threshold"),
        ),
    )
    response = create_model(
        "PredictResponse",
        __config__={**answers, "title": "PredictResponse"},
        product=(str, ...),
        model_id=(str, Field(description="the model that answered")),
        as_of=(str, Field(description="batch that the model was promoted as of")),
        threshold=(float, Field(description="probability from which the class is positive")),
        predictions=(
            list[prediction],
            Field(description="one for each row, in the order of the rows"),
        ),
    )
    return WireTypes(request, response, prediction, features.inputs, label)


def check_request(types: WireTypes, body: bytes) -> None:
    """Let a right request pass.

    Raises:
        RequestRefusedError: the body is no JSON, or not what the model needs; names the fields.
    """
    try:
        _refuse_unknown(types, from_json(body))
        types.request.model_validate_json(body)
    except ValidationError as error:
        raise RequestRefusedError(
            Problem(".".join(str(part) for part in item["loc"]) or "body", _words(item))
            for item in error.errors(include_url=False, include_input=False)
        ) from None
    except ValueError as error:
        raise RequestRefusedError([Problem("body", f"not valid JSON: {error}")]) from None


def rows_of(rows: Iterable[BaseModel]) -> list[dict[str, Any]]:
    """Validated rows for the row encoder: input -> value, None where it was left out."""
    return [row.model_dump(by_alias=True) for row in rows]


def json_row(row: Mapping[str, Any], inputs: Iterable[str]) -> dict[str, Any]:
    """A feature row as JSON values: times in ISO format, NaN and missing values null.

    Args:
        row: column -> Python value; columns that aren't inputs are left out.
        inputs: the inputs of the model.
    """
    return {name: _json_value(row.get(name)) for name in inputs}


def _json_value(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _field(name: str, kind: str, description: str, *, is_required: bool) -> tuple[Any, Any]:
    types: dict[str, Any] = {
        "number": float,
        "integer": Annotated[int, Field(ge=-_INT64, le=_INT64 - 1)],
        "category": Annotated[str, Field(max_length=MAX_TEXT_LENGTH)],
        "timestamp": Annotated[datetime, BeforeValidator(_plain_time)],
    }
    if kind == "timestamp":
        description = f"{description or name} ({_PLAIN_TIME})"
    if is_required:
        return types[kind], Field(alias=name, title=name, description=description or None)
    return types[kind] | None, Field(default=None, alias=name, title=name, description=description or None)


def _plain_time(value: Any) -> datetime:
    """A time as it is written: no zone, so that nobody's clock is silently read as another's."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"write {_PLAIN_TIME}") from None
    if moment.tzinfo is not None or (isinstance(value, str) and ":" not in value):
        raise ValueError(f"write {_PLAIN_TIME}")
    return moment


def _extra(example: dict[str, Any]) -> Any:
    """Add the example, and write "X or null" as OpenAPI 3.0 does: it has no null type."""

    def change(schema: dict[str, Any]) -> None:
        schema.update(example)
        for field in schema["properties"].values():
            if "anyOf" in field:
                field.update(field.pop("anyOf")[0], nullable=True)
                field.pop("default", None)

    return change


def _refuse_unknown(types: WireTypes, data: Any) -> None:
    """Refuse unknown fields before pydantic sees them: for 700,000 of them in one row it took 3.3 s to say so.

    What has another shape than a request is left to pydantic, whose message names it.
    """
    if not isinstance(data, dict):
        return
    problems = _unknown(data, ["rows"], "")
    rows = data.get("rows")
    for place, row in enumerate(rows if isinstance(rows, list) else ()):
        if problems:
            break
        if isinstance(row, dict):
            problems = _unknown(row, types.inputs, f"rows.{place}.")
    if problems:
        raise RequestRefusedError(problems)


def _unknown(found: dict[str, Any], known: Collection[str], path: str) -> list[Problem]:
    """A problem for each of the first unknown fields of an object; the nearest known field is named."""
    problems = []
    for name in itertools.islice((name for name in found if name not in known), _NAMED_AT_MOST):
        shown = name[:_SHOWN_LENGTH]
        near = difflib.get_close_matches(shown, known, n=1)
        problems.append(Problem(path + shown, f"unknown field{f'; did you mean {near[0]}?' if near else ''}"))
    return problems


def _words(item: Any) -> str:
    """One finding of pydantic, without its prefix."""
    return str(item["msg"]).removeprefix("Value error, ")
