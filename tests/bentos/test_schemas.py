"""The contract on the wire, without a server."""

import json
from datetime import UTC, datetime
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.records import ModelManifest
from bentos.schemas import (
    MAX_ROWS,
    MAX_ROWS_WITH_REASONS,
    RequestRefusedError,
    Serving,
    WireTypes,
    check_request,
    json_row,
    meaning_of,
    rows_of,
    wire_types,
)

ROW: dict[str, Any] = {
    "depot": "north", "weight_kg": 2.5, "stops": 3, "handed_in_at": "2024-01-05T14:30:00", "copy": 1,
}  # fmt: skip


@pytest.fixture(scope="session")
def types(manifest: ModelManifest) -> WireTypes:
    return wire_types(manifest, ROW)


def refusal_of(types: WireTypes, body: Any) -> RequestRefusedError:
    with pytest.raises(RequestRefusedError) as caught:
        check_request(types, body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value


def refused_fields(types: WireTypes, body: Any) -> list[str]:
    try:
        check_request(types, json.dumps(body).encode())
    except RequestRefusedError as refusal:
        return [problem.field for problem in refusal.problems] or [""]
    return []


def accepted(types: WireTypes, row: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps({"rows": [row]}).encode()
    check_request(types, body)
    request: Any = types.request.model_validate_json(body)
    return rows_of(request.rows)[0]


def test_a_row_becomes_values_by_input_name(types: WireTypes) -> None:
    """Also for an input that is called like a method of pydantic's, and with a whole number for a number."""
    found = accepted(types, ROW)
    assert found == {**ROW, "handed_in_at": datetime(2024, 1, 5, 14, 30)}  # noqa: DTZ001
    assert type(found["copy"]) is float


def test_what_is_not_required_may_be_null_or_left_out(types: WireTypes) -> None:
    least = {"handed_in_at": ROW["handed_in_at"], "copy": 0.5}
    assert accepted(types, least) == accepted(types, {**least, "depot": None, "stops": None})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight_kg", "2.5"), ("weight_kg", True), ("weight_kg", [1]), ("weight_kg", 10**400),
        ("stops", 2.5), ("stops", "3"), ("stops", 2**63), ("stops", -(2**63) - 1),
        ("depot", 5), ("depot", "x" * 201),
        ("handed_in_at", "2024-01-05T14:30:00Z"), ("handed_in_at", "2024-01-05T14:30:00+01:00"),
        ("handed_in_at", "1704465000"), ("handed_in_at", 1704465000), ("handed_in_at", "2024-01-05"),
        ("handed_in_at", "soon"), ("handed_in_at", None), ("copy", None),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_name(types: WireTypes, field: str, value: Any) -> None:
    refusal = refusal_of(types, {"rows": [ROW, {**ROW, field: value}]})
    assert [problem.field for problem in refusal.problems] == [f"rows.1.{field}"]


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused_by_name(types: WireTypes, literal: str) -> None:
    body = json.dumps({"rows": [{**ROW, "copy": 0}]}).replace('"copy": 0', f'"copy": {literal}')
    assert refusal_of(types, body.encode()).problems[0].field == "rows.0.copy"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"), (b"{", "body"), (b"\xff\xfe", "body"), (b"[" * 100_000, "body"), ([], "body"), (None, "body"),
        ({}, "rows"), ({"rows": []}, "rows"), ({"rows": {}}, "rows"), ({"rows": [1]}, "rows.0"),
        ({"rows": [ROW], "more": 1}, "more"),
    ],
)  # fmt: skip
def test_another_shape_is_refused_by_name(types: WireTypes, body: Any, field: str) -> None:
    assert refusal_of(types, body).problems[0].field == field


def test_too_many_rows_are_refused(types: WireTypes) -> None:
    assert refusal_of(types, {"rows": [ROW] * (MAX_ROWS + 1)}).problems[0].field == "rows"


def test_an_unknown_field_is_answered_with_the_nearest_known_one(types: WireTypes) -> None:
    refusal = refusal_of(types, {"rows": [{**ROW, "wieght_kg": 1}]})
    assert str(refusal) == "rows.0.wieght_kg: unknown field; did you mean weight_kg?"


@pytest.mark.parametrize("wrap", ['{"rows":[{%s}]}', "{%s}"])
def test_a_refusal_stays_small_whatever_was_sent(types: WireTypes, wrap: str) -> None:
    """Regression: pydantic took seconds for 700,000 unknown fields, looking for the nearest name of each took more."""
    names = ",".join(f'"k{place}":1' for place in range(50_000))
    assert len(refusal_of(types, (wrap % names).encode()).problems) <= 10
    assert len(str(refusal_of(types, {"rows": [{"x" * 100_000: 1}]}))) < 1_000


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["rows", *ROW, "x"]), inner),
)


@hypothesis.settings(max_examples=50, deadline=None)
@given(value=ANY_JSON, field=st.sampled_from([*ROW, "x"]))
def test_any_json_is_accepted_or_refused_with_a_field(types: WireTypes, value: Any, field: str) -> None:
    for body in (value, {"rows": value}, {"rows": [value]}, {"rows": [{**ROW, field: value}]}):
        assert "" not in refused_fields(types, body)


def test_an_answer_names_model_label_and_threshold(types: WireTypes) -> None:
    """The label reaches the threshold at equality, and a float64 survives the text to the last bit."""
    probabilities = np.array([0.1 + 0.2, 0.4, np.nextafter(0.4, 0)])
    serving = Serving(product="parcels", model_id="lightgbm-0123456789ab", as_of="2024-03")
    answer = json.loads(types.answer(serving, probabilities, threshold=0.4).model_dump_json())
    assert (answer["product"], answer["model_id"], answer["as_of"], answer["threshold"]) == (
        "parcels", "lightgbm-0123456789ab", "2024-03", 0.4,
    )  # fmt: skip
    assert [item["probability"] for item in answer["predictions"]] == probabilities.tolist()
    assert [item["is_late"] for item in answer["predictions"]] == [False, True, False]


@pytest.mark.parametrize("probability", [float("nan"), float("inf"), -0.1, 1.1])
def test_what_is_no_probability_is_never_answered(types: WireTypes, probability: float) -> None:
    serving = Serving(product="parcels", model_id="m", as_of="2024-03")
    with pytest.raises(ValueError, match="probability"):
        types.answer(serving, np.array([probability]), threshold=0.4)


def test_the_rounding_of_a_forest_is_answered(manifest: ModelManifest) -> None:
    """Ten trees that agree have 1.0000001 in float32: an answer, not an error of the service."""
    tenths = float(np.float32(0.1) * np.float32(10) + np.float32(1.2e-7))
    assert tenths > 1
    assert answer_of(types_of(manifest, "binary"), [tenths])["predictions"][0]["probability"] == tenths
    answer = answer_of(types_of(manifest, "multiclass"), [[tenths, 0, 0]])
    assert answer["predictions"][0]["is_late"] == "early, by a day"


def test_a_label_called_probability_keeps_the_probability(manifest: ModelManifest) -> None:
    types = wire_types(manifest.model_copy(update={"label": "probability"}), ROW)
    answer: Any = types.answer(Serving(product="p", model_id="m", as_of="1"), np.array([0.7]), threshold=0.4)
    assert answer.model_dump()["predictions"] == [{"probability": 0.7, "is_positive": True}]


SERVING = Serving(product="parcels", model_id="lightgbm-0123456789ab", as_of="2024-03")
SCORES: dict[str, Any] = {
    "binary": [0.1 + 0.2, 0.4, float(np.nextafter(0.4, 0))],
    "multiclass": [[0.1 + 0.2, 0.6, 0.1], [1 / 3, 1 / 3, 1 / 3], [0.0, 0.0, 1.0]],
    "regression": [0.1 + 0.2, -1e300, 5e-324],
    "forecast": [0.1 + 0.2, 0.0, 3.0],
    "clustering": [[-0.5, -0.1 - 0.2], [0.0, -7.0], [-1e-300, 1e300]],
}


def types_of(manifest: ModelManifest, task: str, **changes: Any) -> WireTypes:
    classes = ("early, by a day", "late", "Å") if task == "multiclass" else ()
    return wire_types(manifest.model_copy(update={"task": task, "classes": classes, **changes}), ROW)


def answer_of(types: WireTypes, scores: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(types.answer(SERVING, np.array(scores), threshold=0.4).model_dump_json())
    return found


@pytest.mark.parametrize("task", SCORES)
def test_scores_survive_the_answer_to_the_last_bit(manifest: ModelManifest, task: str) -> None:
    types = types_of(manifest, task)
    answer = answer_of(types, SCORES[task])
    assert types.scores_of(answer["predictions"]) == SCORES[task]
    assert ("threshold" in answer) == (task == "binary")


def test_each_task_answers_in_its_own_words(manifest: ModelManifest) -> None:
    answers = {task: answer_of(types_of(manifest, task), SCORES[task])["predictions"][0] for task in SCORES}
    assert answers == {
        "binary": {"probability": 0.1 + 0.2, "is_late": False},
        "multiclass": {"is_late": "late", "probabilities": {"early, by a day": 0.1 + 0.2, "late": 0.6, "Å": 0.1}},
        "regression": {"is_late": 0.1 + 0.2},
        "forecast": {"is_late": 0.1 + 0.2},
        "clustering": {"cluster": 1, "scores": [-0.5, -0.1 - 0.2]},
    }


@pytest.mark.parametrize("task", SCORES)
def test_the_schema_of_an_answer_says_what_is_answered(manifest: ModelManifest, task: str) -> None:
    types = types_of(manifest, task)
    shown = types.response.model_json_schema(mode="serialization")
    prediction = shown["$defs"]["Prediction"]
    assert prediction["required"] == list(answer_of(types, SCORES[task])["predictions"][0])
    assert list(prediction["properties"]) == [*prediction["required"], "reasons"]
    assert ("threshold" in shown["properties"]) == (task == "binary")
    if task == "multiclass":
        assert prediction["properties"]["probabilities"]["required"] == ["early, by a day", "late", "Å"]


@pytest.mark.parametrize(
    ("task", "label"),
    [("binary", "probability"), ("multiclass", "probabilities"), ("binary", "reasons"), ("multiclass", "reasons")],
)
def test_a_label_named_like_the_score_gives_way(manifest: ModelManifest, task: str, label: str) -> None:
    types = types_of(manifest, task, label=label)
    assert types.scores_of(answer_of(types, SCORES[task])["predictions"]) == SCORES[task]


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        (-1, "greater than or equal to 0"), (11, "less than or equal to 10"), (True, "valid integer"),
        ("3", "valid integer"), (2.5, "valid integer"), (None, "valid integer"), ([3], "valid integer"),
    ],
)  # fmt: skip
def test_a_number_of_reasons_that_is_none_is_refused_by_name(types: WireTypes, reasons: Any, words: str) -> None:
    problem = refusal_of(types, {"rows": [ROW], "reasons": reasons}).problems[0]
    assert problem.field == "reasons"
    assert words in problem.message


def test_reasons_are_for_a_limited_number_of_rows(types: WireTypes) -> None:
    for rows, reasons in ((MAX_ROWS_WITH_REASONS, 10), (MAX_ROWS_WITH_REASONS + 1, 0), (1, 1)):
        check_request(types, json.dumps({"rows": [ROW] * rows, "reasons": reasons}).encode())
    refusal = refusal_of(types, {"rows": [ROW] * (MAX_ROWS_WITH_REASONS + 1), "reasons": 1})
    assert str(refusal) == "reasons: with reasons at most 100 rows at a time; send fewer, or send 0"
    assert refused_fields(types, {"rows": [{}], "reasons": 3})[0].startswith("rows.0.")


def test_a_model_without_reasons_says_so_and_takes_none(manifest: ModelManifest) -> None:
    types = types_of(manifest, "binary", algorithm="random_forest", model_file="model.onnx")
    check_request(types, json.dumps({"rows": [ROW], "reasons": 0}).encode())
    refusal = refusal_of(types, {"rows": [ROW], "reasons": 3})
    assert refusal.problems[0].field == "reasons"
    assert "random_forest gives no reasons, only LightGBM models do" in refusal.problems[0].message
    assert "reasons" not in types.response.model_json_schema(mode="serialization")["$defs"]["Prediction"]["properties"]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_an_answer_has_reasons_only_where_they_were_asked_for(manifest: ModelManifest, task: str) -> None:
    types = types_of(manifest, task)
    scores = np.array(SCORES[task])
    found = [
        [
            {"feature": "stops", "value": 3, "contribution": -0.5},
            {"feature": "weight_kg", "value": float("nan"), "contribution": 0.1 + 0.2},
        ]
    ] * len(scores)
    asked = types.answer(SERVING, scores, threshold=0.4, reasons=found).model_dump_json()
    for prediction in json.loads(asked)["predictions"]:
        assert prediction.pop("reasons") == [
            {"feature": "stops", "value": 3, "contribution": -0.5},
            {"feature": "weight_kg", "value": None, "contribution": 0.1 + 0.2},
        ]
    plain = answer_of(types, scores)
    assert all("reasons" not in prediction for prediction in plain["predictions"])
    assert types.scores_of(json.loads(asked)["predictions"]) == types.scores_of(plain["predictions"])


def test_the_request_says_how_many_reasons_there_can_be(types: WireTypes) -> None:
    shown = types.request.model_json_schema()
    field = shown["properties"]["reasons"]
    assert (field["type"], field["minimum"], field["maximum"], field["default"], field["example"]) == (
        "integer", 0, 10, 0, 3,
    )  # fmt: skip
    assert shown["required"] == ["rows"]


def test_a_clustering_needs_no_label(manifest: ModelManifest) -> None:
    types = types_of(manifest, "clustering", label="", positive_meaning="")
    assert answer_of(types, [[0.2, 0.1]])["predictions"] == [{"cluster": 0, "scores": [0.2, 0.1]}]


@pytest.mark.parametrize("task", SCORES)
def test_a_meaning_is_one_sentence(manifest: ModelManifest, task: str) -> None:
    for words in ("arrives a day late", ""):
        changes = {"task": task, "positive_meaning": words, "label": "" if task == "clustering" else "is_late"}
        found = meaning_of(manifest.model_copy(update=changes))
        assert found.startswith(words or ("the cluster" if task == "clustering" else "is_late"))
        assert not found.endswith(".")


@pytest.mark.parametrize(("task", "scores"), [("multiclass", [[1.1, 0, 0]]), ("regression", [float("nan")])])
def test_what_is_no_score_is_never_answered(manifest: ModelManifest, task: str, scores: Any) -> None:
    with pytest.raises(ValueError, match="Prediction"):
        types_of(manifest, task).answer(SERVING, np.array(scores), threshold=0.4)


@pytest.fixture(scope="session")
def worded(manifest: ModelManifest) -> WireTypes:
    """The types of a model with a boolean and a text."""
    features = manifest.features.model_copy(update={"inputs": {"fragile": "boolean", "note": "text"}, "required": ()})
    return wire_types(manifest.model_copy(update={"features": features}), {"fragile": True, "note": "ring twice"})


def test_booleans_and_texts_are_taken_as_they_are(worded: WireTypes) -> None:
    assert accepted(worded, {"fragile": False, "note": ""}) == {"fragile": False, "note": ""}
    assert accepted(worded, {"note": "x" * 5_000}) == {"fragile": None, "note": "x" * 5_000}
    row = worded.request.model_json_schema()["$defs"]["Row"]["properties"]
    assert row["fragile"] == {"type": "boolean", "nullable": True, "title": "fragile"}
    assert row["note"] == {"type": "string", "maxLength": 5_000, "nullable": True, "title": "note"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("fragile", 1), ("fragile", "true"), ("fragile", 0.0), ("note", "x" * 5_001), ("note", 7), ("note", ["x"])],
)
def test_what_is_no_boolean_or_text_is_refused(worded: WireTypes, field: str, value: Any) -> None:
    assert refused_fields(worded, {"rows": [{field: value}]}) == [f"rows.0.{field}"]


def test_the_schema_shows_the_example_and_is_openapi_3_0(types: WireTypes) -> None:
    """OpenAPI 3.0 has no null type: an input that may be missing is nullable instead."""
    schema = types.request.model_json_schema()
    row = schema["$defs"]["Row"]
    assert schema["example"] == {"rows": [ROW]}
    assert row["required"] == ["handed_in_at", "copy"]
    assert row["additionalProperties"] is False
    assert row["properties"]["weight_kg"] == {
        "type": "number", "nullable": True, "title": "weight_kg", "description": "Weight, kilograms",
    }  # fmt: skip
    assert "anyOf" not in json.dumps(schema)


def test_a_feature_row_becomes_json() -> None:
    """Times in ISO format, missing numbers null, NumPy's scalars plain, other columns left out."""
    row = {"at": datetime(2024, 1, 5, tzinfo=UTC), "a": float("nan"), "b": np.int64(3), "c": None, "key": 1}
    found = json_row(row, ["at", "a", "b", "c", "d"])
    assert found == {"at": "2024-01-05T00:00:00+00:00", "a": None, "b": 3, "c": None, "d": None}
    assert json.loads(json.dumps(found)) == found
