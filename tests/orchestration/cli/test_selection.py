"""A feature selection as it is typed."""

import pytest

from assets.errors import HeadraceError
from assets.spec import SelectSpec
from orchestration.cli.main import parse_selection


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", SelectSpec()),
        ("importance:7", SelectSpec(strategy="importance", top=7)),
        ("mutual_information", SelectSpec(strategy="mutual_information")),
        ("names:size,kind", SelectSpec(strategy="names", names=("size", "kind"))),
    ],
)
def test_strategies_are_typed_with_how_many_or_which(text: str, expected: SelectSpec) -> None:
    assert parse_selection(text) == expected


@pytest.mark.parametrize("text", ["best:3", "importance:many", "importance:0", ""])
def test_anything_else_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(HeadraceError, match="no such feature selection") as caught:
        parse_selection(text)
    assert "importance:N" in caught.value.expected
