"""Columns of a file are matched with the contract's by name, and each mode says which differences it allows."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.raw.reader.columns import MOST_COLUMNS, ColumnPlan, or_null, plan_columns, shown
from assets.raw.reader.protocol import FoundChange, ReadRequest, RefusedFileError
from assets.spec import SourceSpec, fold_name

MODES = ("freeze", "rescue", "evolve")


@pytest.fixture
def plan(request_of: Callable[..., ReadRequest]) -> Callable[..., ColumnPlan]:
    return lambda found, **contract: plan_columns(found, request_of(Path("x.csv"), **contract))


@pytest.mark.parametrize("mode", MODES)
def test_the_contracts_own_columns_fit_in_every_mode(plan: Callable[..., ColumnPlan], mode: str) -> None:
    assert plan(["id", "size", "name"], contract=mode) == ColumnPlan(
        {"id": "id", "size": "size", "name": "name"}, (), ()
    )


def test_another_order_is_refused_only_where_the_contract_is_frozen(plan: Callable[..., ColumnPlan]) -> None:
    for mode in ("rescue", "evolve"):
        assert plan(["name", "id", "size"], contract=mode).changes == ()
    with pytest.raises(RefusedFileError, match="another order"):
        plan(["name", "id", "size"], contract="freeze")


def test_names_that_differ_in_case_or_spelling_are_the_same_column_and_recorded(
    plan: Callable[..., ColumnPlan],
) -> None:
    decomposed = unicodedata.normalize("NFD", "größe")
    found = plan(["ID", decomposed.upper()], columns={"id": "BIGINT", "größe": "DOUBLE"})
    assert found.taken == {"id": "ID", "größe": decomposed.upper()}
    assert [(change.kind, change.column) for change in found.changes] == [("renamed", "id"), ("renamed", "größe")]
    with pytest.raises(RefusedFileError, match="missing id"):
        plan(["ID", "size", "name"], contract="freeze")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("twice", ["id", "Id", "ID"])
def test_two_columns_of_one_name_are_refused_in_every_mode(
    plan: Callable[..., ColumnPlan], mode: str, twice: str
) -> None:
    with pytest.raises(RefusedFileError, match="two columns have the same name"):
        plan(["id", "size", "name", twice], contract=mode)


def test_unknown_columns_are_refused_rescued_or_left_to_be_added(plan: Callable[..., ColumnPlan]) -> None:
    names = ["id", "size", "name", "colour"]
    with pytest.raises(RefusedFileError, match="unknown colour"):
        plan(names, contract="freeze")
    rescued, evolved = plan(names), plan(names, contract="evolve")
    assert rescued.unknown == evolved.unknown == ("colour",)
    assert rescued.changes == (FoundChange(kind="rescued", column="colour", after="colour"),)
    assert evolved.changes == ()


def test_a_missing_column_refuses_the_file_unless_the_contract_evolves(plan: Callable[..., ColumnPlan]) -> None:
    for mode in ("freeze", "rescue"):
        with pytest.raises(RefusedFileError, match="missing name"):
            plan(["id", "size"], contract=mode)
    assert plan(["id", "size"], contract="evolve").changes == (
        FoundChange(kind="dropped", column="name", before="name"),
    )
    with pytest.raises(RefusedFileError, match="missing name"):
        plan(["id", "size"], contract="evolve", required=["name"])


def test_a_file_without_any_column_of_the_contract_is_another_file(plan: Callable[..., ColumnPlan]) -> None:
    with pytest.raises(RefusedFileError, match="not the ones of the file contract"):
        plan(["alpha", "beta"], contract="evolve")


@pytest.mark.parametrize(
    ("name", "said"),
    [("Size (cm)", "size is now Size"), ("SIZE_", "size is now SIZE_"), ("s\u0456ze", r"= 's\\u0456ze'")],
)
def test_the_likeliest_renamed_column_is_named(plan: Callable[..., ColumnPlan], name: str, said: str) -> None:
    with pytest.raises(RefusedFileError) as refusal:
        plan(["id", name, "name"])
    assert said.replace("\\\\", "\\") in refusal.value.fix


@pytest.mark.parametrize(("sign", "said"), [(";", '";"'), ("\t", r'"\t"'), ("|", '"|"')])
def test_a_header_of_one_field_names_the_delimiter_to_set(
    plan: Callable[..., ColumnPlan], sign: str, said: str
) -> None:
    with pytest.raises(RefusedFileError) as refusal:
        plan([sign.join(["id", "size", "name"])])
    assert f"set source.csv.delimiter: {said}" in refusal.value.fix


@pytest.mark.parametrize(
    ("names", "what"),
    [
        ([], "no columns"),
        (["id", "", "size", "name"], "no usable name"),
        (["id", "a\x00b", "size", "name"], "no usable name"),
        (["id", "size", "name", "headrace_row"], "uses itself"),
        (["id", "size", "name", *(f"c{place}" for place in range(MOST_COLUMNS))], "too many columns"),
    ],
)
def test_names_that_no_table_can_have_are_refused(plan: Callable[..., ColumnPlan], names: list[str], what: str) -> None:
    with pytest.raises(RefusedFileError, match=what):
        plan(names)


def test_a_column_called_batch_id_is_rescued_but_never_added(plan: Callable[..., ColumnPlan]) -> None:
    names = ["id", "size", "name", "Batch_ID"]
    assert plan(names).unknown == ("Batch_ID",)
    with pytest.raises(RefusedFileError, match="uses itself"):
        plan(names, contract="evolve")


def test_columns_that_came_by_evolution_are_taken_and_may_be_missing(plan: Callable[..., ColumnPlan]) -> None:
    came = {"colour": "VARCHAR"}
    assert plan(["id", "size", "name", "Colour"], came=came).taken["colour"] == "Colour"
    assert plan(["id", "size", "name"], came=came).changes == ()
    assert [change.kind for change in plan(["id", "size", "name"], came=came, contract="evolve").changes] == ["dropped"]


def test_names_in_messages_are_short_and_show_what_cannot_be_seen() -> None:
    assert shown([" id", "a\u200bb", "n" * 99]) == f"' id', 'a\\u200bb', {'n' * 60}…"
    assert shown([f"c{place}" for place in range(20)]).endswith(" and 8 more")


def test_texts_that_mean_no_value_are_quoted(request_of: Callable[..., ReadRequest]) -> None:
    assert or_null("t", request_of(Path("x"), nulls=["", "it's"])) == "nullif(nullif(t, ''), 'it''s')"


names = st.text(min_size=1, max_size=6).filter(
    lambda name: name.strip() and "\x00" not in name and not fold_name(name).startswith("headrace_")
)


@given(found=st.lists(names, min_size=1, max_size=8, unique_by=fold_name), data=st.data())
def test_every_column_of_a_file_is_taken_once_or_unknown(found: list[str], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.sampled_from(found), min_size=1, unique=True))
    columns = {data.draw(st.sampled_from([name, name.upper()])): "VARCHAR" for name in wanted}
    try:
        contract = SourceSpec.model_validate({"files": "x", "columns": columns})
    except ValueError:  # `batch_id` and the like
        return
    request = ReadRequest.model_validate(
        dict.fromkeys(("path", "folder", "file_name", "source", "batch_id", "delivery_id"), "x")
        | {"contract": contract, "columns": columns}
    )
    try:
        plan = plan_columns(found, request)
    except RefusedFileError:
        # upper case may fold to another text than its lower case: then the column is missing
        assert any(fold_name(name) not in set(map(fold_name, found)) for name in columns)
        return
    assert sorted([*plan.taken.values(), *plan.unknown]) == sorted(found)
    assert all(fold_name(name) == fold_name(other) for name, other in plan.taken.items())
