"""Transforms are fitted on training rows only, and saved as data that says the same after JSON."""

import json
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from assets.errors import HeadraceError
from assets.features.feature_set import feature_set_id, fit_schema
from assets.features.fitting import MAX_SHARES, column_names
from assets.features.row import RowEncoder
from assets.records import FeatureSchema
from assets.spec import ProductSpec

Specs = Callable[..., ProductSpec]
INPUTS: dict[str, Any] = {
    "title": {"type": "text"},
    "kind": {"type": "category"},
    "size": {"type": "number"},
    "pieces": {"type": "integer"},
    "is_gift": {"type": "boolean"},
    "made_at": {"type": "timestamp"},
}
WORDS = ("the", "The", "night", "Nacht", "Café", "cafe\u0301", "день", "夜", "7", "x-y", "İstanbul", "", "ﬁn", "a_b")
START = datetime(2024, 1, 1)  # noqa: DTZ001  # a local time


def spec_with(spec_of: Specs, fitted: dict[str, Any], **row: Any) -> ProductSpec:
    return spec_of({"features": {"inputs": INPUTS, "row": row, "fitted": fitted}, "gates": {}})


def films(rows: int = 300, seed: int = 5) -> pl.DataFrame:
    """Rows with every type of input, and missing values in each."""
    random = np.random.default_rng(seed)
    titles = [" ".join(random.choice(WORDS, random.integers(0, 7))) for _ in range(rows)]
    return pl.DataFrame(
        {
            "title": [None if place % 10 == 0 else title for place, title in enumerate(titles)],
            "kind": [None if place % 8 == 0 else str(random.choice(["shoes", "books", "Öl"])) for place in range(rows)],
            "size": [None if place % 7 == 0 else float(random.normal(10, 4)) for place in range(rows)],
            "pieces": [None if place % 6 == 0 else int(random.integers(0, 9)) for place in range(rows)],
            "is_gift": [None if place % 5 == 0 else bool(random.integers(2)) for place in range(rows)],
            "made_at": [START + timedelta(hours=place) for place in range(rows)],
        },
        schema_overrides={"made_at": pl.Datetime("us")},
    )


EVERY: dict[str, Any] = {
    "words": {"kind": "text", "of": "title"},
    "kind_share": {"kind": "frequency", "of": "kind", "keep": True},
    "kind_is": {"kind": "one_hot", "of": "kind", "keep": True},
    "kind_filled": {"kind": "impute", "of": "kind", "keep": True},
    "size_filled": {"kind": "impute", "of": "size"},
    "pieces_scaled": {"kind": "scale", "of": "pieces"},
    "gift_filled": {"kind": "impute", "of": "is_gift"},
    "third_scaled": {"kind": "scale", "of": "third"},
}
THIRD = {"sql": "size / 3"}


@pytest.fixture(scope="module")
def every(spec_of: Specs) -> ProductSpec:
    """A product with every kind of transform."""
    return spec_with(spec_of, EVERY, third=THIRD)


@pytest.fixture(scope="module")
def schema(every: ProductSpec) -> FeatureSchema:
    return fit_schema(every, films())


ROW = st.fixed_dictionaries(
    {
        "title": st.none() | st.text() | st.lists(st.sampled_from(WORDS)).map(" ".join),
        "kind": st.none() | st.sampled_from(["shoes", "Öl", "never seen", ""]),
        "size": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "pieces": st.none() | st.integers(-(2**63), 2**63 - 1),
        "is_gift": st.none() | st.booleans(),
        "made_at": st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
    }
)


@given(rows=st.lists(ROW, min_size=1, max_size=8))
def test_a_row_gives_the_same_bits_alone_in_a_batch_and_after_json(
    schema: FeatureSchema, rows: list[dict[str, Any]]
) -> None:
    encoder = RowEncoder(FeatureSchema.model_validate(json.loads(schema.to_json())))
    together = encoder.matrix(encoder.frame_of(rows))
    alone = np.vstack([encoder.matrix(encoder.frame_of([row])) for row in rows])
    more = films(50)
    among_others = RowEncoder(schema).matrix(pl.concat([encoder.frame_of(rows).select(more.columns), more]))
    assert together.tobytes() == alone.tobytes() == among_others[: len(rows)].tobytes()


def test_the_columns_are_those_of_the_spec_then_the_fitted_ones(schema: FeatureSchema) -> None:
    names = schema.column_names
    assert names[0] == "kind"
    assert [name for name, kind in schema.columns if kind == "category"] == ["kind", "kind_filled"]
    assert {"title", "size", "pieces", "is_gift", "third"}.isdisjoint(names), "a transform replaces its source"
    assert all(name.replace("_", "a").isalnum() and name.isascii() for name in names)
    found = RowEncoder(schema).columns(films())
    assert found.columns == names
    assert {str(found.schema[name]) for name, kind in schema.columns if kind == "category"} == {"String"}
    assert all(found.schema[name].is_numeric() for name, kind in schema.columns if kind == "number")


@pytest.mark.parametrize("change", [{"title": "brand new words"}, {"kind": "new"}, {"size": 1e9}, {"pieces": 10**9}])
def test_values_of_other_rows_never_matter(every: ProductSpec, schema: FeatureSchema, change: dict[str, Any]) -> None:
    """Fitting sees the rows it is given and no other: validation rows can hold anything."""
    both = films(600)
    changed = pl.concat(
        [both.head(300), both.tail(300).with_columns(**{k: pl.lit(v) for k, v in change.items()}).cast(both.schema)]
    )
    first = fit_schema(every, both.head(300))
    assert fit_schema(every, changed.head(300)) == first
    assert fit_schema(every, changed).fitted_id != first.fitted_id, "the change must be one that would matter"
    assert schema.fitted_id == fit_schema(every, films()).fitted_id


def test_the_fitted_id_changes_with_the_data_and_the_feature_set_id_does_not(every: ProductSpec) -> None:
    ids = {fit_schema(every, films(seed=seed)).fitted_id for seed in (5, 6)}
    assert len(ids) == 2
    assert feature_set_id(every, "sql") == feature_set_id(every, "sql")


def fitted_columns(spec_of: Specs, fitted: dict[str, Any], frame: pl.DataFrame, training: pl.DataFrame) -> pl.DataFrame:
    spec = spec_with(spec_of, {"made": fitted})
    missing = [pl.lit(None).cast(pl.String).alias(name) for name in INPUTS if name not in training.columns]
    schema = fit_schema(spec, training.with_columns(missing))
    found = RowEncoder(schema).columns(frame.with_columns(missing))
    return found.select(schema.fitted[0].columns)


def test_words_weigh_what_scikit_learn_says(spec_of: Specs) -> None:
    """Without its division by the row's length, which would make one term depend on the others."""
    texts = ["the night", "The THE day", "night of the day", "nothing else", "caf\u00e9 Cafe", ""] * 5
    frame = pl.DataFrame({"title": texts})
    found = fitted_columns(spec_of, {"kind": "text", "of": "title"}, frame, frame)
    theirs = TfidfVectorizer(norm=None, strip_accents="unicode", token_pattern=r"(?u)[^\W_]+")  # noqa: S106
    expected = theirs.fit_transform(texts).toarray()
    order = [list(theirs.get_feature_names_out()).index(name.removeprefix("made__")) for name in found.columns]
    assert len(found.columns) == expected.shape[1]
    assert np.allclose(found.to_numpy(), expected[:, order], rtol=1e-12)


def test_the_terms_are_those_of_most_texts_ties_by_name(spec_of: Specs) -> None:
    texts = pl.DataFrame({"title": ["b b b b a", "a b", "c", "c d", "once only", None]})
    found = fitted_columns(spec_of, {"kind": "text", "of": "title", "terms": 2}, texts, texts)
    assert found.columns == ["made__a", "made__b"]
    weight = math.log(6 / 3) + 1
    assert found["made__b"].to_list() == [4 * weight, weight, 0, 0, 0, None]


def test_words_are_found_in_any_script_case_and_spelling(spec_of: Specs) -> None:
    training = pl.DataFrame({"title": ["Café день 夜", "CAFE\u0301 ДЕНЬ 夜", "İstanbul ﬁn", "istanbul FIN"]})
    spec = spec_with(spec_of, {"made": {"kind": "text", "of": "title"}})
    rest = [pl.lit(None).cast(pl.String).alias(name) for name in INPUTS if name != "title"]
    fitted = fit_schema(spec, training.with_columns(rest)).fitted[0]
    assert fitted.data["terms"] == ["cafe", "fin", "istanbul", "день", "夜"]
    assert fitted.columns == ("made__cafe", "made__fin", "made__istanbul", "made__3", "made__4")


def test_shares_of_training_rows_unseen_is_nothing_and_missing_is_a_value(spec_of: Specs) -> None:
    training = pl.DataFrame({"kind": ["a", "a", "b", None]})
    new = pl.DataFrame({"kind": ["a", "b", None, "c", ""]})
    found = fitted_columns(spec_of, {"kind": "frequency", "of": "kind"}, new, training)
    assert found["made"].to_list() == [0.5, 0.25, 0.25, 0.0, 0.0]


def test_an_identifier_does_not_fill_the_manifest(spec_of: Specs) -> None:
    training = pl.DataFrame({"kind": [f"id {place}" for place in range(MAX_SHARES + 100)]})
    spec = spec_with(spec_of, {"made": {"kind": "frequency", "of": "kind"}})
    rest = [pl.lit(None).cast(pl.String).alias(name) for name in INPUTS if name != "kind"]
    assert len(fit_schema(spec, training.with_columns(rest)).fitted[0].data["terms"]) == MAX_SHARES


@pytest.mark.parametrize(
    ("source", "values", "columns", "expected"),
    [
        ("kind", ["b", "a", "a", None], ["made__a", "made__b"], [[0, 1], [1, 0], [1, 0], [0, 0]]),
        ("pieces", [3, 7, 7, None], ["made__7", "made__3"], [[0, 1], [1, 0], [1, 0], [0, 0]]),
        ("is_gift", [True, True, False, None], ["made__true", "made__false"], [[1, 0], [1, 0], [0, 1], [0, 0]]),
    ],
)
def test_one_column_for_each_frequent_value(
    spec_of: Specs, source: str, values: list[Any], columns: list[str], expected: list[list[int]]
) -> None:
    frame = pl.DataFrame({source: values})
    found = fitted_columns(spec_of, {"kind": "one_hot", "of": source}, frame, frame)
    assert found.columns == columns
    assert found.to_numpy().tolist() == expected
    assert fitted_columns(spec_of, {"kind": "one_hot", "of": source, "terms": 1}, frame, frame).columns == columns[:1]


@pytest.mark.parametrize(
    ("source", "values", "expected"),
    [
        ("size", [1.0, 2.0, 10.0, None, float("nan")], [1.0, 2.0, 10.0, 2.0, 2.0]),
        ("pieces", [1, 2, None, None, 4], [1.0, 2.0, 2.0, 2.0, 4.0]),
        ("is_gift", [True, True, False, None, None], [1.0, 1.0, 0.0, 1.0, 1.0]),
        ("kind", ["b", "a", None, "b", "a"], ["b", "a", "a", "b", "a"]),
        ("kind", [None] * 5, [""] * 5),
        ("size", [None] * 5, [None] * 5),
    ],
)
def test_missing_values_become_the_training_rows_middle(
    spec_of: Specs, source: str, values: list[Any], expected: list[Any]
) -> None:
    kinds = {"size": pl.Float64, "pieces": pl.Int64, "is_gift": pl.Boolean, "kind": pl.String}
    frame = pl.DataFrame({source: pl.Series(values, dtype=kinds[source])})
    found = fitted_columns(spec_of, {"kind": "impute", "of": source}, frame, frame)
    assert found["made"].to_list() == expected


def test_scaled_numbers_have_mean_nothing_and_deviation_one(spec_of: Specs) -> None:
    frame = pl.DataFrame({"size": [*np.random.default_rng(1).normal(50, 9, 500).tolist(), None]})
    found = fitted_columns(spec_of, {"kind": "scale", "of": "size"}, frame, frame)["made"]
    assert found.null_count() == 1
    assert found.mean() == pytest.approx(0, abs=1e-12)
    assert found.std(ddof=0) == pytest.approx(1)


@pytest.mark.parametrize("values", [[0.1] * 7, [5.0], [None, None], [5e-324] * 3, []])
def test_a_constant_is_scaled_to_nothing_and_stays_finite(spec_of: Specs, values: list[Any]) -> None:
    frame = pl.DataFrame({"size": pl.Series(values, dtype=pl.Float64)})
    found = fitted_columns(spec_of, {"kind": "scale", "of": "size"}, frame, frame)["made"].drop_nulls()
    assert np.allclose(found.to_numpy(), 0, atol=1e-12)


def test_without_rows_nothing_crashes(every: ProductSpec) -> None:
    schema = fit_schema(every, films().clear())
    assert RowEncoder(schema).matrix(films()).shape == (300, len(schema.columns))
    assert RowEncoder(schema).matrix(films().clear()).shape == (0, len(schema.columns))


@pytest.mark.parametrize(
    ("kind", "of"),
    [("text", "size"), ("scale", "kind"), ("scale", "title"), ("impute", "title"), ("one_hot", "made_at")],
)
def test_a_transform_that_means_nothing_is_refused_with_what_to_do(spec_of: Specs, kind: str, of: str) -> None:
    with pytest.raises(HeadraceError, match=f"{kind} cannot be fitted on a") as caught:
        fit_schema(spec_with(spec_of, {"made": {"kind": kind, "of": of}}), films())
    assert caught.value.where == "features.fitted.made"


@given(st.lists(st.sampled_from(["a", "A b", "A_b", "a b", "1", "2", "0", "é", "день", "x" * 60]), unique=True))
def test_names_of_columns_are_plain_and_never_the_same(terms: list[str]) -> None:
    taken = {"made__a", "made__0"}
    found = column_names("made", terms, taken)
    assert len(set(found)) == len(terms)
    assert {"made__a", "made__0"}.isdisjoint(found)
    assert set(found) < taken
    assert all(name.startswith("made__") and name.isascii() and name.replace("_", "a").isalnum() for name in found)
