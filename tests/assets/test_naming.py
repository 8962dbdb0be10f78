"""Names and how they become SQL."""

import string
from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.naming import asset_key, is_batch_id, literal, op_name, partitions_name, quoted, table

# DuckDB takes no NUL in a statement; surrogates are no text
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@given(name=TEXT.filter(bool))
def test_a_quoted_identifier_is_that_identifier_whatever_is_in_it(con: duckdb.DuckDBPyConnection, name: str) -> None:
    assert con.execute(f"select 1 as {quoted(name)}").description[0][0] == name


@given(text=TEXT)
def test_a_literal_is_that_text_whatever_is_in_it(con: duckdb.DuckDBPyConnection, text: str) -> None:
    assert con.execute(f"select {literal(text)}").fetchall() == [(text,)]


def test_a_table_is_quoted_part_by_part() -> None:
    assert table("raw", 'a"; drop table b') == 'lake."raw"."a""; drop table b"'


@given(st.text(max_size=70))
def test_a_batch_id_can_be_a_file_name_and_a_partition_key(text: str) -> None:
    allowed = set(string.ascii_letters + string.digits + "_.-")
    assert is_batch_id(text) == (0 < len(text) <= 63 and set(text) <= allowed and text[0] not in "_.-")


@pytest.mark.parametrize("text", ["", "..", "2013/01", "2013-01\n", "-x", "a" * 64, "٢"])
def test_what_could_leave_a_folder_or_a_line_is_no_batch_id(text: str) -> None:
    assert not is_batch_id(text)


@pytest.mark.parametrize("text", ["2013-01", "2013", "a.b_c", "9", "a" * 63])
def test_usual_batch_ids_are_accepted(text: str) -> None:
    assert is_batch_id(text)


def test_keys_ops_and_partitions_carry_the_product() -> None:
    assert asset_key("toy", "candidates", "lightgbm") == ["toy", "candidates", "lightgbm"]
    assert op_name("toy", "candidates", "lightgbm") == "toy__candidates__lightgbm"
    assert partitions_name("toy") == "toy_batches"
