"""Champion or challenger: the decision, by a declared rule about the interval of what the challenger is better by.

Superiority: the interval is above 0 and the improvement above `gates.min_improvement`. Non-inferiority (Piaggio et al.
2012): while the champion is stale or drifted a challenger may be as good, so its interval only has to be above minus
`gates.comparison.margin`. Who may be decided about at all is asked before, at the door (`assets.blessings`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from assets.errors import HeadraceError
from assets.records import Comparison, Decision, DecisionVerdict, EvaluationReport, LivePointer
from assets.spec import ProductSpec
from assets.tasks import DIRECTIONS


@dataclass(frozen=True)
class _Word:
    """A verdict with its reason and the rule that it follows."""

    verdict: DecisionVerdict
    reason: str
    rule: str


def decide(
    spec: ProductSpec,
    best: EvaluationReport,
    comparison: Comparison | None,
    *,
    as_of: str,
    live_id: str | None,
    why_not: str = "",
    is_stale: str = "",
    backtest: Sequence[bool] = (),
    asked_by: str = "",
) -> Decision:
    """Decide about the blessed challenger.

    Args:
        spec: says the primary metric and the rule.
        best: the challenger's evaluation.
        comparison: with the champion on the same unseen rows; None when there is no champion, when the two can't be
            compared, or when they are the same model.
        as_of: the batch that both were tested on.
        live_id: the champion's model id, None before the first.
        why_not: why the champion can't be compared (`assets.evaluation.comparable`); needed where it isn't.
        is_stale: why the champion counts as stale or drifted, in words; empty when it doesn't.
        backtest: of the newest earlier evaluations, oldest first, whether the challenger's algorithm beat the baseline.
        asked_by: the person, sensor, schedule or run that asked.

    Raises:
        HeadraceError: the comparison is missing without a reason, or about other models, rows or another metric.
    """
    word = _word(spec, best, comparison, as_of=as_of, live_id=live_id, why_not=why_not, is_stale=is_stale)
    if live_id is not None and word.verdict.startswith("PROMOTED_"):
        word = _tested_back(spec, best, word, backtest)
    return Decision(
        product=spec.product,
        as_of=as_of,
        verdict=word.verdict,
        model_id=best.model_id,
        champion_id=live_id,
        split_id=best.split_id,
        reason=word.reason,
        evidence=_evidence(spec, best, comparison),
        comparison=comparison,
        rule=word.rule,
        asked_by=asked_by,
    )


def champion_is_newer(best: EvaluationReport, live: LivePointer, *, as_of: str, asked_by: str = "") -> Decision:
    """A model as of an earlier batch never replaces a newer champion, which has learned from more."""
    return Decision(
        product=live.product,
        as_of=as_of,
        verdict="KEPT_CHAMPION_IS_NEWER",
        model_id=best.model_id,
        champion_id=live.model_id,
        split_id=best.split_id,
        reason=f"kept: the champion is as of {live.as_of}, later than {as_of}; this model is a backtest",
        rule="a model as of an earlier batch never replaces a newer champion",
        asked_by=asked_by,
    )


def _word(
    spec: ProductSpec,
    best: EvaluationReport,
    comparison: Comparison | None,
    *,
    as_of: str,
    live_id: str | None,
    why_not: str,
    is_stale: str,
) -> _Word:
    """The verdict before earlier batches are asked."""
    primary = spec.gates.primary
    passed = f"{primary} {_digits(best.test[primary])} on {as_of}"
    if live_id is None:
        return _Word(
            "PROMOTED_FIRST_CHAMPION",
            f"promoted: the first model to pass its gates, {passed}",
            "the first model that passes its gates is champion",
        )
    if best.model_id == live_id:
        return _Word(
            "KEPT_CHAMPION_SAME_MODEL",
            "kept: the challenger is the champion, from the same data, features and parameters",
            "a champion doesn't replace itself",
        )
    if comparison is None and not why_not:
        raise _refusal(
            spec, best, "no comparison with the champion, nor why there is none", f"a comparison with {live_id}", "none"
        )
    if comparison is None:
        return _Word(
            "PROMOTED_CHAMPION_NOT_COMPARABLE",
            f"promoted: {why_not}; the challenger passed its gates, {passed}",
            "a champion that can't be compared gives way to a model that passes its gates",
        )
    _require_about(spec, best, comparison, live_id)
    return _judged(spec, comparison, as_of=as_of, is_stale=is_stale)


def _judged(spec: ProductSpec, item: Comparison, *, as_of: str, is_stale: str) -> _Word:
    """The rule, applied to the interval; one that isn't finite never promotes."""
    needed, margin = spec.gates.min_improvement, spec.gates.comparison.margin
    lenient = bool(is_stale) and margin > 0
    rule = _rule(item, needed, margin if lenient else 0, is_stale)
    said, between = _sentences(item, as_of)
    verdict: DecisionVerdict
    if not (math.isfinite(item.low) and math.isfinite(item.high)):
        verdict = "KEPT_CHAMPION_TIE"
        reason = f"kept: {said}; these rows don't say how sure that is"
    elif item.low > 0 and item.improvement > needed:
        verdict = "PROMOTED_BETTER_THAN_CHAMPION"
        reason = f"promoted: {said}, {between}"
    elif lenient and item.low > -margin:
        verdict = "PROMOTED_NOT_INFERIOR"
        reason = f"promoted: {said}, {between}, so at most {margin:g} worse, and {is_stale}"
    elif item.high < 0:
        verdict = "KEPT_CHAMPION_CHALLENGER_WORSE"
        reason = f"kept: {said}, {between}, so it is worse"
    else:
        verdict = "KEPT_CHAMPION_TIE"
        doubt = f"so it may be more than {margin:g} worse" if lenient else "so it may be chance"
        reason = f"kept: {said}, but {between}, " + (doubt if item.low <= 0 else f"and more than {needed:g} is needed")
    return _Word(verdict, reason, rule)


def _rule(item: Comparison, needed: float, margin: float, is_stale: str) -> str:
    """What was asked, in words."""
    interval = f"the {item.confidence:.0%} interval of the improvement in {item.metric}"
    if margin:
        return f"non-inferiority, as {is_stale}: {interval} is above -{margin:g}"
    return f"superiority: {interval} is above 0" + (f" and the improvement above {needed:g}" if needed else "")


def _sentences(item: Comparison, as_of: str) -> tuple[str, str]:
    """Values and difference, and where that lies: with as many digits as the interval has."""
    width = item.high - item.low
    digits = min(8, max(4, 1 - math.floor(math.log10(width)))) if 0 < width < math.inf else 4
    less = "" if DIRECTIONS[item.metric] > 0 else " (less is better, + is an improvement)"
    said = (
        f"{item.metric} {_digits(item.challenger, digits)} against the champion's {_digits(item.champion, digits)} "
        f"on {as_of}{less}; {_digits(item.improvement, digits, '+')}"
    )
    low, high = _digits(item.low, digits, "+"), _digits(item.high, digits, "+")
    return said, f"between {low} and {high} with {item.confidence:.0%} confidence"


def _digits(value: float, digits: int = 4, sign: str = "") -> str:
    """Large values with fewer digits after the point."""
    return f"{value:{sign},.{digits if abs(value) < 100 else 1}f}"  # noqa: PLR2004 - shares and percentages


def _tested_back(spec: ProductSpec, best: EvaluationReport, word: _Word, backtest: Sequence[bool]) -> _Word:
    """A promotion stands if the algorithm beat the baseline on enough earlier batches, too."""
    wanted = spec.gates.comparison.backtest_batches
    if not wanted:
        return word
    rule = f"{word.rule}; and {best.algorithm} beat the baseline on each of the {wanted} newest earlier batches"
    newest = list(backtest[-wanted:])
    if len(newest) >= wanted and all(newest):
        return _Word(word.verdict, word.reason, rule)
    lost = newest.count(False)
    lacking = (
        f"{best.algorithm} lost to the baseline on {lost} of the {len(newest)} newest earlier batches"
        if lost
        else f"{best.algorithm} was evaluated on {len(newest)} earlier batches and {wanted} are needed "
        f"(headrace backtest {spec.product})"
    )
    reason = f"kept: {lacking}; else {word.reason}"
    return _Word("KEPT_CHAMPION_BACKTEST_TOO_SHORT", reason, rule)


def _evidence(spec: ProductSpec, best: EvaluationReport, item: Comparison | None) -> dict[str, float]:
    """Numbers that the UI plots over decisions."""
    primary = spec.gates.primary
    if item is None:
        return {f"challenger_{primary}": best.test[primary]}
    found = {
        f"challenger_{primary}": item.challenger,
        f"champion_{primary}": item.champion,
        "difference": item.challenger - item.champion,
        "improvement": item.improvement,
        "improvement_low": item.low,
        "improvement_high": item.high,
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _require_about(spec: ProductSpec, best: EvaluationReport, item: Comparison, live_id: str) -> None:
    """A comparison of anything else is no evidence."""
    wanted = {
        "challenger": best.model_id, "champion": live_id, "split": best.split_id, "metric": spec.gates.primary
    }  # fmt: skip
    found = {
        "challenger": item.challenger_id, "champion": item.champion_id, "split": item.split_id, "metric": item.metric
    }  # fmt: skip
    other = [name for name, value in wanted.items() if found[name] != value]
    if other:
        raise _refusal(
            spec, best, f"the comparison is about another {', '.join(other)}",
            "; ".join(wanted[name] for name in other), "; ".join(found[name] for name in other),
        )  # fmt: skip


def _refusal(spec: ProductSpec, best: EvaluationReport, what: str, expected: str, found: str) -> HeadraceError:
    return HeadraceError(
        f"refused: {what}",
        product=spec.product,
        where=f"promotion of {best.model_id}",
        expected=expected,
        found=found,
        fix=f"evaluate again on the same rows: headrace run {spec.product}",
    )
