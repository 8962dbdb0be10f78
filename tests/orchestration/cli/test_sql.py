"""`headrace sql` answers questions and changes nothing."""

import subprocess

import pytest

from assets.errors import HeadraceError
from assets.lake import Lake
from assets.spec import ProductSpec
from orchestration.cli.sql import ask


def test_a_question_is_answered_with_names_and_rows(lake: Lake, toy: ProductSpec) -> None:
    assert ask(lake.settings, toy, "select 1 as one, 'x' as letter") == (["one", "letter"], [(1, "x")])
    names, _ = ask(lake.settings, toy, "describe ledger.batches")
    assert names[0] == "column_name"


def test_tables_are_found_by_schema_and_name(lake: Lake, toy: ProductSpec) -> None:
    names, _ = ask(lake.settings, toy, "select * from ledger.batches limit 0")
    assert names[:2] == ["source", "batch_id"]


@pytest.mark.parametrize("query", ["", "  \n"])
def test_no_statement_is_refused_with_an_example(lake: Lake, toy: ProductSpec, query: str) -> None:
    with pytest.raises(HeadraceError, match="no statement") as caught:
        ask(lake.settings, toy, query)
    assert "headrace sql" in caught.value.fix


@pytest.mark.parametrize(
    "query",
    [
        "insert into ledger.batches select * from ledger.batches",
        "create table raw.more (number int)",
        "drop table ledger.batches",
        "select * from read_text('/etc/passwd')",
        "select * from ledger.nothing",
        "selec 1",
    ],
)
def test_a_statement_that_is_wrong_or_writes_is_refused_in_words(lake: Lake, toy: ProductSpec, query: str) -> None:
    with pytest.raises(HeadraceError, match="the lake refused the statement") as caught:
        ask(lake.settings, toy, query)
    assert caught.value.product == "toy"
    assert caught.value.found


@pytest.mark.parametrize(
    "query",
    [
        "copy (select 1) to '{path}'",
        "select 1; copy (select 1) to '{path}'",
        "explain analyze copy (select 1) to '{path}'",
        "export database '{path}'",
    ],
)
def test_a_statement_cannot_write_a_file_inside_the_lakes_folder(lake: Lake, toy: ProductSpec, query: str) -> None:
    """A read-only attach keeps tables, not files: COPY could replace the catalog, or a data file, of the lake."""
    path = lake.folder / "written-by-sql"
    try:
        with pytest.raises(HeadraceError):
            ask(lake.settings, toy, query.format(path=path))
        assert not path.exists()
    finally:
        subprocess.run(["rm", "-rf", path], check=True)


def test_one_question_leaves_the_next_one_as_it_was(lake: Lake, toy: ProductSpec) -> None:
    """A program may ask several times in one process."""
    with pytest.raises(HeadraceError):
        ask(lake.settings, toy, "detach lake")
    assert ask(lake.settings, toy, "select 1 as one") == (["one"], [(1,)])
