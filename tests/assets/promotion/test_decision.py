"""Champion or challenger, and the blessing without which nothing is promoted."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from assets import ledger
from assets.errors import HeadraceError
from assets.lake import Lake
from assets.promotion.decision import champion_is_newer, decide, require_blessing
from assets.records import Blessing, Decision, EvaluationReport, Gate, LivePointer, SplitManifest
from assets.spec import ProductSpec

Evaluations = Callable[..., EvaluationReport]
NUMBERS = itertools.count()


def decision(toy: ProductSpec, best: EvaluationReport, champion: EvaluationReport | None, live: str | None) -> Decision:
    return decide(toy, best, champion, as_of="2024-03", live_id=live)


# --- the decision ---------------------------------------------------------------------------------------------------


def test_the_first_blessed_model_becomes_champion_and_that_is_said(
    toy: ProductSpec, evaluation_of: Evaluations
) -> None:
    found = decision(toy, evaluation_of("new", 0.8), None, None)
    assert (found.verdict, found.champion_id) == ("PROMOTED_FIRST_CHAMPION", None)
    assert found.is_promotion
    assert found.reason == "first model to pass its gates: roc_auc 0.8000 on 2024-03"


@pytest.mark.parametrize(
    ("value", "needed", "verdict"),
    [
        (0.81, 0.0, "PROMOTED_BETTER_THAN_CHAMPION"),
        (0.80, 0.0, "KEPT_CHAMPION_NOT_BETTER"),
        (0.79, 0.0, "KEPT_CHAMPION_NOT_BETTER"),
        (0.81, 0.02, "KEPT_CHAMPION_NOT_BETTER"),
        (0.83, 0.02, "PROMOTED_BETTER_THAN_CHAMPION"),
        (0.5, -1.0, "PROMOTED_BETTER_THAN_CHAMPION"),
        (float("nan"), 0.0, "KEPT_CHAMPION_NOT_BETTER"),
    ],
)
def test_a_challenger_must_be_better_by_what_the_spec_says(
    spec_of: Callable[..., ProductSpec], evaluation_of: Evaluations, value: float, needed: float, verdict: str
) -> None:
    spec = spec_of({"gates.min_improvement": needed})
    found = decision(spec, evaluation_of("new", value), evaluation_of("old", 0.8, role="champion"), "old")
    assert found.verdict == verdict
    assert found.is_promotion == verdict.startswith("PROMOTED")
    assert (found.model_id, found.champion_id) == ("new", "old")
    assert set(found.evidence) == {"challenger_roc_auc", "champion_roc_auc", "difference"}
    assert f"more than {needed:g} better" in found.reason


def test_the_primary_metric_decides(spec_of: Callable[..., ProductSpec], evaluation_of: Evaluations) -> None:
    spec = spec_of({"gates.primary": "average_precision"})
    better = evaluation_of("new", 0.5, test={"roc_auc": 0.5, "average_precision": 0.9})
    found = decision(spec, better, evaluation_of("old", 0.9, role="champion"), "old")
    assert found.verdict == "PROMOTED_BETTER_THAN_CHAMPION"
    assert found.evidence["difference"] == pytest.approx(0.45)


def test_a_champion_does_not_replace_itself(toy: ProductSpec, evaluation_of: Evaluations) -> None:
    found = decision(toy, evaluation_of("same", 0.9), evaluation_of("same", 0.8), "same")
    assert found.verdict == "KEPT_CHAMPION_SAME_MODEL"
    assert not found.is_promotion


def test_a_champion_that_cannot_be_compared_gives_way_and_that_is_said(
    toy: ProductSpec, evaluation_of: Evaluations
) -> None:
    found = decide(toy, evaluation_of("new", 0.7), None, as_of="2024-03", live_id="old", why_not="the features changed")
    assert (found.verdict, found.champion_id) == ("PROMOTED_CHAMPION_NOT_COMPARABLE", "old")
    assert found.reason == "the features changed; the challenger passed its gates with roc_auc 0.7000 on 2024-03"
    assert found.is_promotion


@pytest.mark.parametrize(
    ("value", "needed", "verdict"),
    [
        (4.9, 0.0, "PROMOTED_BETTER_THAN_CHAMPION"),
        (5.0, 0.0, "KEPT_CHAMPION_NOT_BETTER"),
        (5.1, 0.0, "KEPT_CHAMPION_NOT_BETTER"),
        (4.9, 0.2, "KEPT_CHAMPION_NOT_BETTER"),
        (4.7, 0.2, "PROMOTED_BETTER_THAN_CHAMPION"),
        (float("nan"), 0.0, "KEPT_CHAMPION_NOT_BETTER"),
    ],
)
def test_where_less_is_better_the_challenger_must_have_less(
    spec_of: Callable[..., ProductSpec], evaluation_of: Evaluations, value: float, needed: float, verdict: str
) -> None:
    spec = spec_of({"gates.primary": "log_loss", "gates.min_improvement": needed})
    new, old = (evaluation_of(name, 0.5, test={"log_loss": loss}) for name, loss in (("new", value), ("old", 5.0)))
    found = decision(spec, new, old, "old")
    assert found.verdict == verdict
    assert ", less is better)" in found.reason


def test_a_backtest_never_replaces_a_newer_champion(evaluation_of: Evaluations) -> None:
    """The newer champion has trained on the rows that the backtest is tested on."""
    live = LivePointer(
        product="toy", as_of="2024-09", model_id="newer", bento="b", decision_id="d", offline_parity="1/1",
        latency_p50_ms=1.0, latency_p99_ms=2.0,
    )  # fmt: skip
    found = champion_is_newer(evaluation_of("old", 0.99), live, as_of="2024-03")
    assert (found.verdict, found.is_promotion, found.champion_id) == ("KEPT_CHAMPION_IS_NEWER", False, "newer")


def test_the_same_decision_is_the_same_record(toy: ProductSpec, evaluation_of: Evaluations) -> None:
    best, other = evaluation_of("new", 0.8), evaluation_of("new", 0.81)
    assert decision(toy, best, None, None).decision_id == decision(toy, best, None, None).decision_id
    assert decision(toy, best, None, None).decision_id != decision(toy, other, None, None).decision_id


# --- the blessing at the door ---------------------------------------------------------------------------------------

FAILED = Gate(name="calibration", verdict="FAILED", observed=0.31234567, threshold=0.1)
PASSED = Gate(name="beats_baseline", verdict="PASSED", observed=0.2, threshold=0.05)


@pytest.fixture
def blessing(toy: ProductSpec, split: SplitManifest) -> Blessing:
    """A blessing of a model that no other test has."""
    return Blessing(
        kind="quality", verdict="BLESSED", product="toy", as_of=split.as_of, model_id=f"model-{next(NUMBERS)}",
        split_id=split.split_id, test_row_set_hash=split.parts["test"].row_set_hash,
        feature_set_id=split.feature_set_id, spec_hash=toy.spec_hash, gates=(PASSED,),
    )  # fmt: skip


def ask(
    lake: Lake, toy: ProductSpec, split: SplitManifest, *written: Blessing, model_id: str, **about: str
) -> Blessing:
    """Write blessings one after another, then ask for one."""
    for item in written:
        ledger.append_to_lake(lake, "blessings", [(item.blessing_id, item.as_of, item)])
    with lake.connect() as con:
        return require_blessing(con, toy, split, model_id, feature_set_id=about.get("feature_set_id", "features-1"))


def test_exactly_the_right_blessing_opens(
    lake: Lake, toy: ProductSpec, split: SplitManifest, blessing: Blessing
) -> None:
    assert ask(lake, toy, split, blessing, model_id=blessing.model_id) == blessing


def test_a_missing_blessing_means_no(lake: Lake, toy: ProductSpec, split: SplitManifest, blessing: Blessing) -> None:
    other = blessing.model_copy(update={"model_id": "another-model"})
    infrastructure = blessing.model_copy(update={"kind": "infrastructure"})
    with pytest.raises(HeadraceError, match="no quality blessing for this model") as caught:
        ask(lake, toy, split, other, infrastructure, model_id=blessing.model_id)
    assert caught.value.where == f"promotion of {blessing.model_id} as of 2024-03"
    assert "headrace run toy --as-of 2024-03" in caught.value.fix


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split_id": "another"}, "split"),
        ({"test_row_set_hash": "99-other"}, "test rows"),
        ({"feature_set_id": "features-0"}, "feature set"),
        ({"spec_hash": "another"}, "spec"),
        ({"split_id": "another", "spec_hash": "another"}, "split, spec"),
    ],
)
def test_a_blessing_of_something_else_is_stale_and_says_of_what(
    lake: Lake, toy: ProductSpec, split: SplitManifest, blessing: Blessing, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(HeadraceError, match=f"stale \\({said} changed since\\)") as caught:
        ask(lake, toy, split, blessing.model_copy(update=change), model_id=blessing.model_id)
    assert "headrace run toy" in caught.value.fix


def test_features_that_changed_since_training_make_a_blessing_stale(
    lake: Lake, toy: ProductSpec, split: SplitManifest, blessing: Blessing
) -> None:
    """Split and blessing agree; what is asked for are the features as they are defined right now."""
    with pytest.raises(HeadraceError, match="feature set changed since"):
        ask(lake, toy, split, blessing, model_id=blessing.model_id, feature_set_id="features-2")


def test_a_changed_spec_makes_a_blessing_stale(
    lake: Lake, spec_of: Callable[..., ProductSpec], split: SplitManifest, blessing: Blessing
) -> None:
    """Whoever tightens a gate must not be given what passed the old one."""
    with pytest.raises(HeadraceError, match="spec changed since"):
        ask(lake, spec_of({"gates.max_calibration_error": 0.01}), split, blessing, model_id=blessing.model_id)


def test_a_no_is_refused_with_the_gates_that_said_it(
    lake: Lake, toy: ProductSpec, split: SplitManifest, blessing: Blessing
) -> None:
    no = blessing.model_copy(update={"verdict": "NOT_BLESSED", "gates": (PASSED, FAILED)})
    with pytest.raises(HeadraceError, match="evaluation did not bless this model") as caught:
        ask(lake, toy, split, no, model_id=blessing.model_id)
    assert caught.value.found == "calibration: observed 0.3123, threshold 0.1"


def test_the_newest_word_counts(lake: Lake, toy: ProductSpec, split: SplitManifest, blessing: Blessing) -> None:
    no = blessing.model_copy(update={"verdict": "NOT_BLESSED", "gates": (FAILED,)})
    with pytest.raises(HeadraceError, match="did not bless"):
        ask(lake, toy, split, blessing, no, model_id=blessing.model_id)


@pytest.mark.parametrize(
    ("kind", "verdict"), [("quality", "REFUSED_NOT_BLESSED"), ("infrastructure", "REFUSED_INFRASTRUCTURE")]
)
def test_a_refusal_is_written_with_its_reasons(blessing: Blessing, kind: str, verdict: str) -> None:
    no = blessing.model_copy(update={"kind": kind, "verdict": "NOT_BLESSED", "gates": (PASSED, FAILED)})
    found = Decision.refusing(no, "old")
    assert (found.verdict, found.champion_id, found.is_promotion) == (verdict, "old", False)
    assert found.reason == "calibration: observed 0.3123, threshold 0.1"
