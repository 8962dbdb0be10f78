"""What persons took away stays away, whatever the gates say, until a person brings it back."""

from datetime import UTC, datetime

import pytest

from assets.promotion.withdrawn import withdrawn
from assets.records import Decision, DecisionVerdict


def decision(verdict: DecisionVerdict, model_id: str, champion_id: str | None = None) -> Decision:
    return Decision(
        product="toy", as_of="2024-03", verdict=verdict, model_id=model_id, champion_id=champion_id, split_id="s",
        reason="it was slow", asked_by="ada@laptop", at=datetime(2024, 3, 1, tzinfo=UTC),
    )  # fmt: skip


LIVE = [decision("LIVE", "one"), decision("LIVE", "two"), decision("LIVE", "three")]


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        ([], set()),
        ([decision("BLOCKED_BY_PERSON", "two")], {"two"}),
        ([decision("ROLLED_BACK", "two", "three")], {"three"}),
        ([decision("ROLLED_BACK", "two", "three"), decision("ROLLED_BACK", "one", "two")], {"two", "three"}),
        ([decision("ROLLED_BACK", "two", "three"), decision("ROLLED_BACK", "three", "two")], set()),
        ([decision("ROLLED_BACK", "two", "three"), decision("PROMOTED_BY_PERSON", "three", "two")], set()),
        ([decision("BLOCKED_BY_PERSON", "two"), decision("PROMOTED_BETTER_THAN_CHAMPION", "two")], {"two"}),
        ([decision("BLOCKED_BY_PERSON", "two"), decision("PROMOTED_BY_PERSON", "two")], set()),
    ],
    ids=["nothing", "blocked", "back", "back twice", "back and forward", "back and promoted", "a gate", "a person"],
)
def test_a_model_is_away_from_a_persons_no_until_a_persons_yes(then: list[Decision], expected: set[str]) -> None:
    """Going forward again takes nothing away: the older model is only older."""
    assert set(withdrawn([*LIVE, *then])) == expected


def test_the_reason_names_who_and_why() -> None:
    found = withdrawn([*LIVE, decision("BLOCKED_BY_PERSON", "two")])
    assert found["two"] == "blocked by ada@laptop: it was slow"


def test_going_back_two_takes_the_one_in_between_away_too() -> None:
    """Regression: a rerun of the batch in between put its model in the place of the one that was gone back to."""
    assert set(withdrawn([*LIVE, decision("ROLLED_BACK", "one", "three")])) == {"two", "three"}
