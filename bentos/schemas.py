"""What a client sends and gets: request and response types made from a model's manifest.

The types are the contract on the wire, so they are strict: a number in quotes, a NaN, an unknown field or a time with
a zone is refused, never guessed at. Nothing here scores, reads files or knows BentoML.
"""

import difflib
import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    create_model,
)
from pydantic_core import from_json

from assets.candidates.explain import can_explain
from assets.records import ModelManifest, Record
from assets.tasks import Scores, Task, predicted_classes

MAX_ROWS = 5_000
MAX_REASONS = 10
# a reason costs some hundred times what a score does, milliseconds a row
MAX_ROWS_WITH_REASONS = 100
MAX_LENGTHS = {"category": 200, "text": 5_000}  # characters
_INT64 = 2**63
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_ROUNDING = 1e-6
_REASONS = "reasons"
_NAMED_AT_MOST = 10  # fields named in one answer: it stays readable, and small whatever was sent
_SHOWN_LENGTH = 80  # of a name that a client made up
_PLAIN_TIME = "a local time without a time zone, for example 2013-01-05T14:30:00"


class Serving(Record):
    """What a bento serves, packed beside the model."""

    product: str
    model_id: str
    as_of: str = Field(description="batch that the model was promoted as of")


class Reason(BaseModel):
    """One feature's share in a prediction."""

    model_config = ConfigDict(
        allow_inf_nan=False,
        json_schema_extra={"example": {"feature": "distance", "value": 1400.0, "contribution": 0.31}},
    )

    feature: str = Field(description="an input, or a row feature of the product's spec")
    value: Annotated[Any, WithJsonSchema({"description": "what it is in this row; null: unknown", "nullable": True})]
    contribution: float = Field(
        description="what it adds to the model's raw score (exact SHAP value): of probabilities log odds, before any "
        "calibration; of several classes the score of the one predicted; of numbers the label's unit, or its logarithm "
        "where the objective has one"
    )


@dataclass(frozen=True)
class WireTypes:
    """The types of one model's service."""

    request: type[BaseModel]
    response: type[BaseModel]
    prediction: type[BaseModel]
    inputs: Mapping[str, str]
    task: Task
    label: str
    classes: tuple[str, ...]

    def answer(
        self, serving: Serving, scores: Scores, *, threshold: float, reasons: Sequence[list[dict[str, Any]]] = ()
    ) -> BaseModel:
        """The response to rows with these scores, all finite, in the shape that `assets.tasks` says of the task.

        Args:
            serving: what is served.
            scores: of the rows.
            threshold: of binary, the probability from which the class is positive.
            reasons: of each row as `assets.candidates.explain.reasons_of` gives them; empty if none were asked for.
        """
        head: dict[str, Any] = serving.model_dump()
        if self.task == "binary":
            head["threshold"] = threshold
        predictions = self._predictions(scores, threshold)
        if reasons:
            for fields, found in zip(predictions, reasons, strict=True):
                fields[_REASONS] = [Reason(**{**item, "value": _json_value(item["value"])}) for item in found]
        return self.response(**head, predictions=[self.prediction(**fields) for fields in predictions])

    def _predictions(self, scores: Scores, threshold: float) -> list[dict[str, Any]]:
        values = scores.tolist()
        if self.task == "binary":
            return [{"probability": value, self.label: value >= threshold} for value in values]
        if self.task == "multiclass":
            places = predicted_classes(self.task, scores, threshold).tolist()
            return [
                {self.label: self.classes[place], "probabilities": dict(zip(self.classes, row, strict=True))}
                for place, row in zip(places, values, strict=True)
            ]
        if self.task == "clustering":
            places = predicted_classes(self.task, scores, threshold).tolist()
            return [{"cluster": place, "scores": row} for place, row in zip(places, values, strict=True)]
        return [{self.label: value} for value in values]

    def scores_of(self, predictions: Iterable[Mapping[str, Any]]) -> list[Any]:
        """The scores in an answer's predictions, one item a row: the way back of `answer`."""
        if self.task == "multiclass":
            return [[item["probabilities"][name] for name in self.classes] for item in predictions]
        field = {"binary": "probability", "clustering": "scores"}.get(self.task, self.label)
        return [item[field] for item in predictions]


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
        reasons=_reasons_asked(manifest),
    )
    prediction, label = _prediction(manifest)
    answers = ConfigDict(allow_inf_nan=False, protected_namespaces=(), serialize_by_alias=True)
    threshold = (float, Field(description="probability from which the class is positive"))
    head: dict[str, Any] = {
        "product": (str, ...),
        "model_id": (str, Field(description="the model that answered")),
        "as_of": (str, Field(description="batch that the model was promoted as of")),
        **({"threshold": threshold} if manifest.task == "binary" else {}),
    }
    response = create_model(
        "PredictResponse",
        __config__={**answers, "title": "PredictResponse"},
        **head,
        predictions=(
            list[prediction],  # type: ignore[valid-type]  # a class made above
            Field(description="one for each row, in the order of the rows"),
        ),
    )
    return WireTypes(request, response, prediction, features.inputs, manifest.task, label, manifest.classes)


def meaning_of(manifest: ModelManifest) -> str:
    """What an answer says, in one sentence without its full stop."""
    said = manifest.positive_meaning or manifest.label
    if manifest.task == "binary":
        return f"{said}: the probability that this is so"
    if manifest.task == "multiclass":
        return f"{said}: one of {len(manifest.classes)} classes, with the probability of each"
    if manifest.task == "clustering":
        return f"{said + ': ' if said else ''}the cluster that a row belongs to, and its score for each cluster"
    return f"{said}: the predicted number"


def _prediction(manifest: ModelManifest) -> tuple[type[BaseModel], str]:
    """The type of one prediction, and the field that has the outcome.

    The label keeps its own name, so that an answer reads as what it says.
    """
    meaning = manifest.positive_meaning or manifest.label
    beside = {"binary": "probability", "multiclass": "probabilities"}.get(manifest.task, "")
    label = manifest.label
    if label in (beside, _REASONS):
        label = {"binary": "is_positive"}.get(manifest.task, "predicted_class")
    probability = Annotated[float, AfterValidator(_probability), WithJsonSchema(_SHARE)]
    fields: dict[str, Any]
    if manifest.task == "binary":
        fields = {
            "probability": (probability, Field(description=f"that this is so: {meaning}")),
            "label_": (bool, Field(alias=label, description=f"{meaning}: whether probability reaches the threshold")),
        }
    elif manifest.task == "multiclass":
        each: dict[str, Any] = {
            "properties": dict.fromkeys(manifest.classes, _SHARE),
            "required": list(manifest.classes),
            "additionalProperties": False,
        }
        fields = {
            "label_": (str, Field(alias=label, description=f"{meaning}: the most probable class")),
            "probabilities": (
                dict[str, probability],
                Field(description="class -> probability", json_schema_extra=each),
            ),
        }
    elif manifest.task == "clustering":
        fields = {
            "cluster": (int, Field(ge=0, description="the row's cluster: the one with the largest score, from 0")),
            "scores": (list[float], Field(description="one for each cluster; the larger, the nearer")),
        }
    else:
        fields = {"label_": (float, Field(alias=label, description=meaning))}
    if can_explain(manifest):
        description = "what moved this score most, the largest contribution first; only if the request has `reasons`"
        # left out where it wasn't asked for: then the answer is as if there were no reasons
        left_out = Field(default=None, exclude_if=_is_none, description=description, json_schema_extra=_without_default)
        fields[_REASONS] = (list[Reason], left_out)
    config = ConfigDict(allow_inf_nan=False, protected_namespaces=(), serialize_by_alias=True)
    return create_model("Prediction", __config__=config, **fields), label


def _reasons_asked(manifest: ModelManifest) -> tuple[Any, Any]:
    """The request's field `reasons`: how many features are named for each row, 0 unless it says so.

    Of a model that has none anything else is refused in words, so that a client of several products learns why.
    """

    def possible(value: int, info: ValidationInfo) -> int:
        if value and not can_explain(manifest):
            raise ValueError(f"{manifest.algorithm} gives no reasons, only LightGBM models do; leave it out, or send 0")
        if value and len(info.data.get("rows", ())) > MAX_ROWS_WITH_REASONS:
            raise ValueError(f"with reasons at most {MAX_ROWS_WITH_REASONS} rows at a time; send fewer, or send 0")
        return value

    description = (
        f"how many features to name for each row, those that moved its score most; 0 to {MAX_REASONS}, for at most "
        f"{MAX_ROWS_WITH_REASONS} rows"
    )
    if not can_explain(manifest):
        description = f"only 0: {manifest.algorithm} gives no reasons"
    count = Annotated[int, Field(ge=0, le=MAX_REASONS), AfterValidator(possible)]
    return count, Field(default=0, description=description, json_schema_extra={"example": 3 * can_explain(manifest)})


def _is_none(value: Any) -> bool:
    return value is None


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


def _probability(value: float) -> float:
    """A float32 sum of ten trees' tenths is 1.0000001, which is a probability; what is further out is none."""
    if not -_ROUNDING <= value <= 1 + _ROUNDING:
        raise ValueError("not a probability")
    return value


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
        "boolean": bool,
        "category": Annotated[str, Field(max_length=MAX_LENGTHS["category"])],
        "text": Annotated[str, Field(max_length=MAX_LENGTHS["text"])],
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
    problems = _unknown(data, ["rows", _REASONS], "")
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
