"""Names of columns and files."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.errors import HeadraceError
from assets.naming import IDENTIFIER, is_batch_id
from orchestration.new.names import batch_of, column_names, file_pattern, is_period, reserved_words


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Größe (cm)", "grosse_cm"), ("select", "select_"), ("2nd value", "n_2nd_value"), ("customerID", "customer_id"),
        ("数量", "column_1"), ("", "column_1"), ("batch_id", "batch_id_"), ("headrace_x", "x_"), ("a.b-c", "a_b_c"),
        ("label", "label_"), ("ABC", "abc"), ("pH", "p_h"), ("PassengerId", "passenger_id"),
        ("part", "part_"), ("Fold", "fold_"), ("outcome_known_at", "outcome_known_at_"),
    ],
)  # fmt: skip
def test_a_header_name_becomes_words(raw: str, name: str) -> None:
    assert column_names([raw]) == {raw: name}


@given(st.lists(st.text(max_size=80), unique=True, max_size=20))
def test_every_header_gets_names_that_the_lake_can_have(header: list[str]) -> None:
    names = column_names(header)
    assert list(names) == header
    assert len(set(names.values())) == len(header)
    assert all(IDENTIFIER.fullmatch(name) for name in names.values())
    assert not set(names.values()) & (reserved_words() | {"batch_id", "row_number", "label"})


@pytest.mark.parametrize(
    ("files", "batches"),
    [
        (["flights_2013-01.csv"], ["2013-01"]),
        (["loan_data.csv"], ["loan_data"]),
        (["power 2006.csv", "power 2007.csv"], ["2006", "2007"]),
        (["sales_2024-01.csv", "sales_2024-02.csv", "sales_2023-12.csv"], ["2024-01", "2024-02", "2023-12"]),
        (["été (1).csv"], ["1"]),
        (["week1.csv", "week10.csv"], ["week1", "week10"]),
        (["jan x.csv", "feb x.csv"], ["jan", "feb"]),
        (["a.csv", "b.parquet"], ["a", "b"]),
        (["20240131.csv"], ["20240131"]),
        (["data.2024Q1.csv"], ["2024Q1"]),
        (["sales_2024-W05.csv"], ["2024-W05"]),
        (["loan_data.csv.gz"], ["loan_data"]),
        (["sales_2024-01.CSV.GZ"], ["2024-01"]),
        (["a.jsonl.zst", "b.jsonl.zst"], ["a", "b"]),
        (["a.csv", "b.csv.gz"], ["a", "b"]),
    ],
)
def test_file_names_give_batches(files: list[str], batches: list[str]) -> None:
    pattern, why = file_pattern(files)
    found = [batch_of(pattern, file) for file in files]
    assert all(map(is_batch_id, found))
    assert why
    if files == ["été (1).csv"]:
        assert found[0]
    else:
        assert found == batches


def test_a_later_delivery_of_the_same_kind_matches() -> None:
    assert batch_of(file_pattern(["flights_2013-01.csv"])[0], "flights_2014-12.csv") == "2014-12"
    assert batch_of(file_pattern(["loan_data.csv"])[0], "loan_data_2.csv") == "loan_data_2"
    assert batch_of(file_pattern(["loan_data.csv"])[0], "other.csv") == ""
    assert batch_of(file_pattern(["sales_2024-W05.csv.gz"])[0], "sales_2024-W53.csv.gz") == "2024-W53"
    assert batch_of(file_pattern(["loan_data.csv.gz"])[0], "loan_data_2.csv") == ""


@given(st.text(alphabet=st.characters(exclude_characters="/\x00", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_file_name_matches_its_own_pattern_or_is_refused(stem: str) -> None:
    name = f"{stem}.csv"
    if not name.startswith(".") and re.search(r"[A-Za-z0-9]", stem):
        assert is_batch_id(batch_of(file_pattern([name])[0], name))
    else:
        with pytest.raises(HeadraceError, match=r"passes over|no letter or digit"):
            file_pattern([name])


def test_names_that_can_not_be_told_apart_are_refused() -> None:
    for files in (["a/x.csv".rpartition("/")[2], "x.csv"], ["é.csv", "è.csv"], [".hidden.csv"]):
        with pytest.raises(HeadraceError) as refusal:
            file_pattern(files)
        assert refusal.value.fix


def test_periods_are_dates_months_quarters_and_years() -> None:
    assert all(map(is_period, ("2013", "2013-01", "2013-01-31", "201301", "20130131", "2013Q1", "2013-W09")))
    assert not any(map(is_period, ("loan_data", "2013-13-99x", "7", "99999")))
    assert re.compile(file_pattern(["x_2013-01-05.csv"])[0]).fullmatch("x_2013-02-06.csv")
