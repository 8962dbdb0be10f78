"""Champion or challenger: each verdict of the declared rule, with a reason that a person can read."""

from collections.abc import Callable
from typing import Any

import pytest

from assets.errors import HeadraceError
from assets.promotion.decision import champion_is_newer, decide
from assets.records import Blessing, Comparison, Decision, EvaluationReport, Gate, LivePointer
from assets.spec import ProductSpec

Evaluations = Callable[..., EvaluationReport]
FAILED = Gate(name="calibration", verdict="FAILED", observed=0.31234567, threshold=0.1)
PASSED = Gate(name="beats_baseline", verdict="PASSED", observed=0.2, threshold=0.05)
STALE = "the champion is as of 2023-09, 6 batches old"


def comparison_of(new: float, old: float, low: float, high: float, **changes: Any) -> Comparison:
    """Of a challenger with a champion, more being better."""
    fields = {
        "challenger_id": "new", "champion_id": "old", "split_id": "split-1", "metric": "roc_auc", "challenger": new,
        "champion": old, "improvement": new - old, "low": low, "high": high, "method": "DELONG", "rows": 900,
    }  # fmt: skip
    return Comparison.model_validate({**fields, **changes})


def decision(spec: ProductSpec, evaluation_of: Evaluations, item: Comparison | None, **options: Any) -> Decision:
    best = evaluation_of("new", item.challenger if item else 0.8)
    return decide(spec, best, item, **{"as_of": "2024-03", "live_id": "old", **options})


# --- first, same, not comparable ------------------------------------------------------------------------------------


def test_the_first_blessed_model_becomes_champion_and_that_is_said(
    toy: ProductSpec, evaluation_of: Evaluations
) -> None:
    found = decision(toy, evaluation_of, None, live_id=None, asked_by="ada")
    assert (found.verdict, found.champion_id, found.asked_by) == ("PROMOTED_FIRST_CHAMPION", None, "ada")
    assert found.is_promotion
    assert found.reason == "promoted: the first model to pass its gates, roc_auc 0.8000 on 2024-03"
    assert found.evidence == {"challenger_roc_auc": 0.8}


def test_a_champion_does_not_replace_itself(toy: ProductSpec, evaluation_of: Evaluations) -> None:
    found = decision(toy, evaluation_of, None, live_id="new")
    assert (found.verdict, found.is_promotion) == ("KEPT_CHAMPION_SAME_MODEL", False)


def test_a_champion_that_cannot_be_compared_gives_way_and_that_is_said(
    toy: ProductSpec, evaluation_of: Evaluations
) -> None:
    found = decision(toy, evaluation_of, None, why_not="the features changed")
    assert (found.verdict, found.champion_id) == ("PROMOTED_CHAMPION_NOT_COMPARABLE", "old")
    assert found.reason == "promoted: the features changed; the challenger passed its gates, roc_auc 0.8000 on 2024-03"


def test_a_comparison_that_is_missing_without_a_reason_is_no_licence(
    toy: ProductSpec, evaluation_of: Evaluations
) -> None:
    with pytest.raises(HeadraceError, match="no comparison with the champion, nor why there is none"):
        decision(toy, evaluation_of, None)


# --- superiority ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "needed", "verdict"),
    [
        (0.001, 0.003, 0.0, "PROMOTED_BETTER_THAN_CHAMPION"),
        (0.001, 0.003, 0.0019, "PROMOTED_BETTER_THAN_CHAMPION"),
        (0.001, 0.003, 0.0021, "KEPT_CHAMPION_TIE"),
        (0.0, 0.003, 0.0, "KEPT_CHAMPION_TIE"),
        (-0.001, 0.005, 0.0, "KEPT_CHAMPION_TIE"),
        (-0.005, 0.005, -1.0, "KEPT_CHAMPION_TIE"),
        (-0.006, 0.0, 0.0, "KEPT_CHAMPION_TIE"),
        (-0.006, -0.001, 0.0, "KEPT_CHAMPION_CHALLENGER_WORSE"),
        (float("nan"), float("nan"), -1.0, "KEPT_CHAMPION_TIE"),
        (0.1, float("inf"), 0.0, "KEPT_CHAMPION_TIE"),
    ],
)
def test_a_challenger_must_be_better_beyond_chance_and_by_what_the_spec_says(
    spec_of: Callable[..., ProductSpec], evaluation_of: Evaluations, low: float, high: float, needed: float,
    verdict: str,
) -> None:  # fmt: skip
    gain = -0.003 if high <= 0 else 0.002
    spec = spec_of({"gates.min_improvement": needed})
    found = decision(spec, evaluation_of, comparison_of(0.8 + gain, 0.8, low, high))
    assert found.verdict == verdict
    assert found.is_promotion == verdict.startswith("PROMOTED")
    assert (found.model_id, found.champion_id) == ("new", "old")
    assert found.rule.startswith("superiority: the 95% interval of the improvement in roc_auc is above 0")
    assert found.evidence["difference"] == pytest.approx(gain)


@pytest.mark.parametrize(
    ("item", "needed", "said"),
    [
        (
            comparison_of(0.7301, 0.7284, -0.0004, 0.0038),
            0.0,
            (
                "kept: roc_auc 0.7301 against the champion's 0.7284 on 2024-03; +0.0017, "
                "but between -0.0004 and +0.0038 with 95% confidence, so it may be chance"
            ),
        ),
        (
            comparison_of(0.7301, 0.7284, 0.0004, 0.003),
            0.002,
            (
                "kept: roc_auc 0.7301 against the champion's 0.7284 on 2024-03; +0.0017, "
                "but between +0.0004 and +0.0030 with 95% confidence, and more than 0.002 is needed"
            ),
        ),
        (
            comparison_of(0.72, 0.73, -0.013, -0.007),
            0.0,
            (
                "kept: roc_auc 0.7200 against the champion's 0.7300 on 2024-03; -0.0100, "
                "between -0.0130 and -0.0070 with 95% confidence, so it is worse"
            ),
        ),
        (
            comparison_of(0.74, 0.73, 0.007, 0.013),
            0.0,
            (
                "promoted: roc_auc 0.7400 against the champion's 0.7300 on 2024-03; +0.0100, "
                "between +0.0070 and +0.0130 with 95% confidence"
            ),
        ),
        (
            comparison_of(0.7, 0.7, float("nan"), float("nan")),
            0.0,
            (
                "kept: roc_auc 0.7000 against the champion's 0.7000 on 2024-03; +0.0000; "
                "these rows don't say how sure that is"
            ),
        ),
        (
            comparison_of(0.73000012, 0.73000008, 0.00000001, 0.00000007),
            0.0,
            (
                "promoted: roc_auc 0.73000012 against the champion's 0.73000008 on 2024-03; +0.00000004, "
                "between +0.00000001 and +0.00000007 with 95% confidence"
            ),
        ),
    ],
)
def test_a_reason_reads_like_a_sentence(
    spec_of: Callable[..., ProductSpec], evaluation_of: Evaluations, item: Comparison, needed: float, said: str
) -> None:
    assert decision(spec_of({"gates.min_improvement": needed}), evaluation_of, item).reason == said


def test_where_less_is_better_that_is_said(spec_of: Callable[..., ProductSpec], evaluation_of: Evaluations) -> None:
    spec = spec_of({"gates.primary": "log_loss"})
    item = comparison_of(0.45, 0.48, 0.01, 0.05, metric="log_loss", improvement=0.03)
    best = evaluation_of("new", 0.5, test={"log_loss": 0.45})
    found = decide(spec, best, item, as_of="2024-03", live_id="old")
    assert found.verdict == "PROMOTED_BETTER_THAN_CHAMPION"
    assert (
        "0.4500 against the champion's 0.4800 on 2024-03 (less is better, + is an improvement); +0.03" in found.reason
    )
    assert found.evidence["difference"] == pytest.approx(-0.03)
    assert found.evidence["improvement"] == pytest.approx(0.03)


# --- non-inferiority ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gain", "low", "high", "margin", "verdict"),
    [
        (0.002, 0.001, 0.003, 0.01, "PROMOTED_BETTER_THAN_CHAMPION"),
        (0.002, -0.003, 0.007, 0.01, "PROMOTED_NOT_INFERIOR"),
        (-0.004, -0.006, -0.002, 0.01, "PROMOTED_NOT_INFERIOR"),
        (-0.004, -0.011, 0.003, 0.01, "KEPT_CHAMPION_TIE"),
        (-0.008, -0.012, -0.004, 0.01, "KEPT_CHAMPION_CHALLENGER_WORSE"),
        (0.002, -0.003, 0.007, 0.0, "KEPT_CHAMPION_TIE"),
    ],
)
def test_a_stale_champion_gives_way_to_one_that_is_not_worse_by_more_than_the_margin(
    spec_of: Callable[..., ProductSpec], evaluation_of: Evaluations, gain: float, low: float, high: float,
    margin: float, verdict: str,
) -> None:  # fmt: skip
    spec = spec_of({"gates.comparison.margin": margin})
    found = decision(spec, evaluation_of, comparison_of(0.8 + gain, 0.8, low, high), is_stale=STALE)
    assert found.verdict == verdict
    lenient = f"non-inferiority, as {STALE}: the 95% interval of the improvement in roc_auc is above -0.01"
    assert found.rule.startswith(lenient if margin else "superiority")


def test_what_may_be_worse_by_more_than_the_margin_is_told_so(
    spec_of: Callable[..., ProductSpec], evaluation_of: Evaluations
) -> None:
    spec = spec_of({"gates.comparison.margin": 0.01})
    kept = decision(spec, evaluation_of, comparison_of(0.796, 0.8, -0.011, 0.003), is_stale=STALE)
    assert kept.reason.endswith("so it may be more than 0.01 worse")
    found = decision(spec, evaluation_of, comparison_of(0.799, 0.8, -0.004, 0.002), is_stale=STALE)
    assert found.reason.endswith(f"with 95% confidence, so at most 0.01 worse, and {STALE}")


def test_a_margin_is_for_stale_champions_only(spec_of: Callable[..., ProductSpec], evaluation_of: Evaluations) -> None:
    spec = spec_of({"gates.comparison.margin": 0.01})
    found = decision(spec, evaluation_of, comparison_of(0.802, 0.8, -0.003, 0.007))
    assert found.verdict == "KEPT_CHAMPION_TIE"


# --- earlier batches ------------------------------------------------------------------------------------------------

BETTER = comparison_of(0.81, 0.8, 0.005, 0.015)


@pytest.mark.parametrize(
    ("backtest", "said"),
    [
        ((), "kept: lightgbm was evaluated on 0 earlier batches and 3 are needed (headrace backtest toy); else "),
        ((True, True), "kept: lightgbm was evaluated on 2 earlier batches and 3 are needed (headrace backtest toy)"),
        (
            (True, False, True),
            "kept: lightgbm lost to the baseline on 1 of the 3 newest earlier batches; else promoted",
        ),
        ((False,), "kept: lightgbm lost to the baseline on 1 of the 1 newest earlier batches"),
    ],
)
def test_a_challenger_without_the_declared_backtest_is_kept_waiting(
    spec_of: Callable[..., ProductSpec], evaluation_of: Evaluations, backtest: tuple[bool, ...], said: str
) -> None:
    spec = spec_of({"gates.comparison.backtest_batches": 3})
    found = decision(spec, evaluation_of, BETTER, backtest=backtest)
    assert found.verdict == "KEPT_CHAMPION_BACKTEST_TOO_SHORT"
    assert found.reason.startswith(said)
    assert found.rule.endswith("; and lightgbm beat the baseline on each of the 3 newest earlier batches")


def test_a_backtest_of_the_declared_length_lets_through(
    spec_of: Callable[..., ProductSpec], evaluation_of: Evaluations
) -> None:
    """Only the newest ones count; a loss before them is past."""
    spec = spec_of({"gates.comparison.backtest_batches": 2})
    found = decision(spec, evaluation_of, BETTER, backtest=(False, True, True))
    assert found.verdict == "PROMOTED_BETTER_THAN_CHAMPION"


def test_a_backtest_also_guards_a_champion_that_cannot_be_compared_but_not_an_empty_place(
    spec_of: Callable[..., ProductSpec], evaluation_of: Evaluations
) -> None:
    spec = spec_of({"gates.comparison.backtest_batches": 2})
    assert decision(spec, evaluation_of, None, why_not="x").verdict == "KEPT_CHAMPION_BACKTEST_TOO_SHORT"
    assert decision(spec, evaluation_of, None, live_id=None).verdict == "PROMOTED_FIRST_CHAMPION"


def test_a_worse_challenger_is_told_so_before_its_backtest_is_asked_for(
    spec_of: Callable[..., ProductSpec], evaluation_of: Evaluations
) -> None:
    spec = spec_of({"gates.comparison.backtest_batches": 2})
    found = decision(spec, evaluation_of, comparison_of(0.7, 0.8, -0.2, -0.05))
    assert found.verdict == "KEPT_CHAMPION_CHALLENGER_WORSE"


# --- the record -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"challenger_id": "other"}, "challenger"),
        ({"champion_id": "other"}, "champion"),
        ({"split_id": "other"}, "split"),
        ({"metric": "brier", "split_id": "other"}, "split, metric"),
    ],
)
def test_a_comparison_of_something_else_is_no_evidence(
    toy: ProductSpec, evaluation_of: Evaluations, change: dict[str, str], said: str
) -> None:
    with pytest.raises(HeadraceError, match=f"the comparison is about another {said}\n"):
        decision(toy, evaluation_of, comparison_of(0.81, 0.8, 0.005, 0.015, **change))


def test_a_decision_keeps_its_evidence_and_is_the_same_record_twice(
    toy: ProductSpec, evaluation_of: Evaluations
) -> None:
    found = decision(toy, evaluation_of, BETTER)
    assert found.comparison == BETTER
    assert found.evidence == pytest.approx(
        {
            "challenger_roc_auc": 0.81, "champion_roc_auc": 0.8, "difference": 0.01, "improvement": 0.01,
            "improvement_low": 0.005, "improvement_high": 0.015,
        }
    )  # fmt: skip
    assert Decision.model_validate_json(found.to_json()) == found
    assert found.decision_id == decision(toy, evaluation_of, BETTER).decision_id
    other = comparison_of(0.82, 0.8, 0.005, 0.015)
    assert found.decision_id != decision(toy, evaluation_of, other).decision_id


def test_a_backtest_never_replaces_a_newer_champion(evaluation_of: Evaluations) -> None:
    """The newer champion has trained on the rows that the backtest is tested on."""
    live = LivePointer(
        product="toy", as_of="2024-09", model_id="newer", bento="b", decision_id="d", offline_parity="1/1",
        latency_p50_ms=1.0, latency_p99_ms=2.0,
    )  # fmt: skip
    found = champion_is_newer(evaluation_of("old", 0.99), live, as_of="2024-03", asked_by="backfill")
    assert (found.verdict, found.is_promotion, found.champion_id) == ("KEPT_CHAMPION_IS_NEWER", False, "newer")
    assert found.asked_by == "backfill"


@pytest.mark.parametrize(
    ("kind", "verdict"), [("quality", "REFUSED_NOT_BLESSED"), ("infrastructure", "REFUSED_INFRASTRUCTURE")]
)
def test_a_refusal_is_written_with_its_reasons(kind: str, verdict: str) -> None:
    no = Blessing.model_validate(
        {
            "kind": kind, "verdict": "NOT_BLESSED", "product": "toy", "as_of": "2024-03", "model_id": "new",
            "split_id": "split-1", "row_set_hash": "100-test", "feature_set_id": "features-1", "spec_hash": "s",
            "rules_hash": "s", "gates": (PASSED, FAILED),
        }
    )  # fmt: skip
    found = Decision.refusing(no, "old")
    assert (found.verdict, found.champion_id, found.is_promotion) == (verdict, "old", False)
    assert found.reason == "calibration: observed 0.3123, threshold 0.1"
