"""What file names mean, and what a batch waits for."""

from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.naming import is_batch_id
from assets.raw.landing import REFERENCE_BATCH, identify, lacking, rank
from assets.spec import ProductSpec


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("orders_2024-01.csv", ("toy", "2024-01", "")),
        ("kinds.csv", ("kinds", REFERENCE_BATCH, "")),
        ("orders_2024-1.csv", None),
        ("orders_2024-01.csv.part", None),
        ("xorders_2024-01.csv", None),
        ("orders_2024-01.csv\n", None),
        ("kinds2.csv", None),
        ("", None),
    ],
)
def test_the_whole_name_says_source_and_batch(
    toy: ProductSpec, name: str, identity: tuple[str, str, str] | None
) -> None:
    assert identify(toy, name) == identity


def test_a_batch_that_could_not_be_a_partition_key_is_no_batch(spec_of: Callable[..., ProductSpec]) -> None:
    spec = spec_of({"source.files": "orders_(?P<batch>.*)\\.csv"})
    assert identify(spec, "orders_2024.csv") == ("toy", "2024", "")
    assert identify(spec, "orders_2024 01.csv") is None
    assert identify(spec, "orders_.csv") is None


@given(st.text(max_size=40))
def test_whatever_a_name_holds_only_plain_texts_become_partition_keys(
    spec_of: Callable[..., ProductSpec], text: str
) -> None:
    spec = spec_of({"source.files": "(?s:orders_(?P<batch>.*)(_(?P<version>.*))?)"})
    found = identify(spec, f"orders_{text}")
    assert found is None or is_batch_id(found.batch_id)


def test_a_name_without_its_optional_batch_is_passed_over(spec_of: Callable[..., ProductSpec]) -> None:
    """Regression: it stopped the sensor with a TypeError."""
    spec = spec_of({"source.files": r"orders(_(?P<batch>\d+))?\.csv"})
    assert identify(spec, "orders.csv") is None


def test_a_name_may_say_a_version(spec_of: Callable[..., ProductSpec]) -> None:
    spec = spec_of({"source.files": r"orders_(?P<batch>\d+)(_(?P<version>v\d+))?\.csv"})
    assert identify(spec, "orders_01_v2.csv") == ("toy", "01", "v2")
    assert identify(spec, "orders_01.csv") == ("toy", "01", "")


def test_a_name_belongs_to_a_source_of_the_place_where_it_lies(spec_of: Callable[..., ProductSpec]) -> None:
    spec = spec_of({"source.location": "s3://bucket/orders/"})
    assert identify(spec, "orders_2024-01.csv", location="s3://bucket/orders/") is not None
    assert identify(spec, "orders_2024-01.csv", location="") is None
    assert identify(spec, "kinds.csv", location="") is not None
    assert identify(spec, "orders_2024-01.csv") is not None


@pytest.mark.parametrize(
    "sorted_labels", [["", "v1", "v2", "v10", "v10a"], ["2024-02", "2024-10"], ["1", "2", "010", "11"]]
)
def test_versions_are_ordered_as_a_person_reads_them(sorted_labels: list[str]) -> None:
    for labels in permutations(sorted_labels):
        assert sorted(labels, key=lambda label: rank(label, "a.csv")) == sorted_labels


def test_of_two_files_of_one_version_the_name_decides() -> None:
    assert rank("v2", "a.csv") < rank("v2", "b.csv") < rank("v10", "a.csv")


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=6))
def test_any_two_files_have_an_order(files: list[tuple[str, str]]) -> None:
    """Also labels of digits and letters in turn, and digits of other scripts."""
    ranks = sorted({rank(label, name) for label, name in files})
    assert len(ranks) == len(set(files))


@pytest.mark.parametrize(
    ("landed", "loaded", "missing"),
    [
        ([], [], ["kinds", "prices"]),
        ([("kinds", REFERENCE_BATCH)], [("prices", "2024-01")], []),
        ([("kinds", REFERENCE_BATCH), ("prices", "2024-02")], [], ["prices"]),
        ([("prices", "2024-01")], [("kinds", "0a1b2c3d4e5f")], []),
    ],
)
def test_a_batch_waits_for_every_source_that_is_not_optional(
    spec_of: Callable[..., ProductSpec],
    landed: list[tuple[str, str]],
    loaded: list[tuple[str, str]],
    missing: list[str],
) -> None:
    """A register has to have come once, a source of batches for this very batch; whether landed or loaded."""
    columns = {"kind": "VARCHAR", "price": "DOUBLE"}
    spec = spec_of(
        {
            "references.prices": {"files": r"prices_(?P<batch>.+)\.csv", "columns": columns},
            "references.rates": {"files": r"rates\.csv", "columns": columns, "optional": True},
        }
    )
    assert lacking(spec, "2024-01", landed, loaded) == missing
