"""Decisions and gates on the console: the interval, the rule, who asked, and what failed first, in 100 columns."""

from collections.abc import Callable
from typing import Any

import pytest

from assets.blessings import write
from assets.home import Home
from assets.records import Blessing, Comparison, Decision, Gate
from assets.spec import ProductSpec
from orchestration.cli.console import out
from orchestration.cli.summary import print_decisions, print_summary

RULE = "superiority: the 95% interval of the improvement in roc_auc is above 0 and the improvement above 0.002"
REASON = (
    "kept: roc_auc 0.7301 against the champion's 0.7284 on 2013-11; +0.0017, but between -0.0004 and +0.0038 with "
    "95% confidence, so it may be chance"
)


def decided(model_id: str = "lightgbm-0123456789ab", **changes: Any) -> dict[str, Any]:
    item = Comparison(
        challenger_id=model_id, champion_id="old", split_id="s", metric="roc_auc", challenger=0.7301, champion=0.7284,
        improvement=0.0017, low=-0.0004, high=0.0038, method="DELONG", rows=27004,
    )  # fmt: skip
    fields: dict[str, Any] = {
        "product": "flights", "as_of": "2013-11", "verdict": "KEPT_CHAMPION_TIE", "model_id": model_id,
        "champion_id": "old", "split_id": "s", "reason": REASON, "comparison": item, "rule": RULE, "asked_by": "ada",
    }  # fmt: skip
    return Decision.model_validate({**fields, **changes}).model_dump(mode="json")


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The lines that were printed on a screen of 100 columns."""
    monkeypatch.setattr(out, "width", 100)

    def lines() -> list[str]:
        found = capsys.readouterr().out.splitlines()
        assert max(map(len, found)) <= 100
        return [line.rstrip() for line in found]

    return lines


def test_a_decision_shows_its_interval_its_reason_its_rule_and_who_asked(told: Callable[[], list[str]]) -> None:
    print_decisions("Decisions", [("2013-11", decided())])
    title, head, *below = told()
    assert title == "Decisions"
    assert head == "2013-11  KEPT_CHAMPION_TIE  lightgbm-0123456789ab  +0.0017 [-0.0004, +0.0038]"
    assert " ".join(line.strip() for line in below).strip() == f"{REASON} rule: {RULE} asked by ada"


def test_a_rule_is_told_when_it_changes(told: Callable[[], list[str]]) -> None:
    lenient = decided(rule="non-inferiority, as the champion is old")
    print_decisions("Decisions", [("2013-10", decided()), ("2013-11", decided()), ("2013-12", lenient)])
    lines = told()
    assert sum("rule: superiority" in line for line in lines) == 1
    assert sum("rule: non-inferiority" in line for line in lines) == 1


def test_an_interval_without_room_goes_below(told: Callable[[], list[str]]) -> None:
    item = decided("logistic-regression-0123456789ab", verdict="PROMOTED_BETTER_THAN_CHAMPION")
    print_decisions("History", [("2026-11-22 10:00  2013-11", item)])
    _, head, interval, *_ = told()
    assert head.endswith("logistic-regression-0123456789ab")
    assert interval == "    +0.0017 [-0.0004, +0.0038]"


def test_a_decision_without_a_champion_has_no_interval(told: Callable[[], list[str]]) -> None:
    item = decided(verdict="PROMOTED_FIRST_CHAMPION", comparison=None, rule="", asked_by="", reason="[the] first")
    print_decisions("Decisions", [("2013-02", item)])
    assert told()[1:3] == ["2013-02  PROMOTED_FIRST_CHAMPION  lightgbm-0123456789ab", "    [the] first"]


def blessing(kind: str, *gates: Gate) -> Blessing:
    return Blessing.model_validate(
        {
            "kind": kind, "verdict": "BLESSED", "product": "toy", "as_of": "2013-11", "split_id": "s",
            "model_id": "" if kind == "data" else "lightgbm-0123456789ab", "row_set_hash": "r", "spec_hash": "s",
            "feature_set_id": "f", "rules_hash": "s", "gates": gates,
        }
    )  # fmt: skip


def gate(name: str, verdict: str, observed: float | str, threshold: float | str) -> Gate:
    return Gate.model_validate({"name": name, "verdict": verdict, "observed": observed, "threshold": threshold})


def test_gates_stand_by_blessing_and_what_failed_stands_first(
    home: Home, toy: ProductSpec, told: Callable[[], list[str]]
) -> None:
    """In the order of the journey, with what was observed beside its threshold."""
    for item in (
        blessing(
            "quality",
            gate("beats_baseline", "PASSED", 0.2061, 0.1),
            gate("prediction_distribution", "WARNED", "mean 0.31 where 0.22 of the outcomes are", "0.25"),
            gate("calibration", "FAILED", 0.2461, 0.12),
        ),
        blessing("training", gate("converged", "PASSED", "92 of 150 rounds", "stopped")),
        blessing("data", gate("schema", "PASSED", "19 columns", "as accepted")),
    ):
        home.lake("toy").transact(lambda con, item=item: write(con, item))
    print_summary(home, toy)
    lines = told()
    quality = "Gates: quality of lightgbm-0123456789ab as of 2013-11: 1 failed, 1 warned, 1 passed"
    assert [line for line in lines if line.startswith("Gates:")] == [
        "Gates: data of 2013-11: 1 passed",
        "Gates: training of lightgbm-0123456789ab as of 2013-11: 1 passed",
        quality,
    ]
    start = lines.index(quality)
    rows = [line.split() for line in lines[start + 2 : start + 5]]
    assert rows[0] == ["calibration", "failed", "0.2461", "0.1200"]
    assert rows[1][:2] == ["prediction_distribution", "warned"]
    assert rows[1][-2:] == ["…", "0.25"]
    assert rows[2] == ["beats_baseline", "passed", "0.2061", "0.1000"]
