"""The ML Test Score: every line from evidence, nothing a yes by itself, the weakest section counts."""

import json
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from assets.candidates.gates import gates_of as training_gates
from assets.evaluation.gates import gates_of as quality_gates
from assets.features.checks import build as features_checks
from assets.home import Home
from assets.predictions.checks import specs as predictions_checks
from assets.records import (
    Blessing,
    BlessingKind,
    Comparison,
    DataValidation,
    Decision,
    EvaluationReport,
    LivePointer,
    ModelManifest,
    Override,
    PerformanceReport,
    Provenance,
    SplitManifest,
    Training,
)
from assets.spec import ProductSpec
from bentos.checks import GATES as INFRASTRUCTURE_GATES
from orchestration.cli.score_card import score_card
from orchestration.score import data, infrastructure, model, monitoring
from orchestration.score.evidence import CHECKS, Evidence, Seen, counted, read_evidence
from orchestration.score.rubric import SECTIONS, Finding
from orchestration.score_card import TESTS, Line, ScoreCard, judge_all

AT = datetime(2024, 4, 1, tzinfo=UTC)
MODEL_ID = "lightgbm-1"
GATES = {
    "data": ("anomalies", "schema", "statistics"),
    "training": ("deterministic", "finite", "converged", "shuffled_control", "beats_linear"),
    "quality": ("beats_baseline", "worst_slice", "fairness", "stability", "model_size"),
    "infrastructure": ("boots", "parity", "latency"),
}


def blessing_of(kind: str, failed: Sequence[str] = (), without: Sequence[str] = ()) -> tuple[datetime, Blessing]:
    gates = [
        {"name": name, "verdict": "FAILED" if name in failed else "PASSED", "observed": 0.1, "threshold": 0.2}
        for name in GATES[kind]
        if name not in without
    ]
    return AT, Blessing.model_validate(
        {
            "kind": kind, "verdict": "NOT_BLESSED" if failed else "BLESSED", "product": "toy", "as_of": "2024-03",
            "model_id": "" if kind == "data" else MODEL_ID, "row_set_hash": "h", "feature_set_id": "f",
            "spec_hash": "s", "rules_hash": "r", "gates": gates,
        }
    )  # fmt: skip


def pointer_of(model_id: str = MODEL_ID, as_of: str = "2024-03", p50: float = 1.0) -> LivePointer:
    return LivePointer(
        product="toy", as_of=as_of, model_id=model_id, bento=f"toy:{model_id}", decision_id="d",
        offline_parity="9 of 9 rows", latency_p50_ms=p50, latency_p99_ms=2.0,
    )  # fmt: skip


def decision_of(verdict: str, as_of: str, split_id: str = "s") -> Decision:
    fields = {"product": "toy", "as_of": as_of, "verdict": verdict, "model_id": MODEL_ID, "champion_id": None}
    return Decision.model_validate({**fields, "split_id": split_id, "reason": "because"})


def used(batch_id: str, value: float, verdict: str = "OK") -> PerformanceReport:
    return PerformanceReport.model_validate(
        {
            "product": "toy", "batch_id": batch_id, "model_id": MODEL_ID, "verdict": verdict, "rows_scored": 9,
            "rows_labelled": 8, "metrics": {"roc_auc": value}, "baseline_metrics": {}, "reference": 0.8,
        }
    )  # fmt: skip


def trained(**changes: Any) -> Training:
    return Training(model_id=MODEL_ID, algorithm="lightgbm", as_of="2024-03", seconds={"fit": 2.0}, **changes)


WORD = AT, Override(product="toy", action="promote", subject=MODEL_ID, reason="trust me", asked_by="ada", at=AT)


@pytest.fixture(scope="module")
def nothing(session_home: Home, toy: ProductSpec) -> Evidence:
    """A product that nothing happened to."""
    return Evidence(spec=toy, settings=session_home.settings)


@pytest.fixture(scope="module")
def whole(session_home: Home, spec_of: Callable[..., ProductSpec]) -> Evidence:
    """A product with a live model that every gate blessed, three batches in use and an earlier model."""
    spec = spec_of({"gates.fairness": {"by": ["kind"]}, "gates.comparison": {"stale_after_batches": 2}})
    manifest = ModelManifest.model_construct(
        product="toy", algorithm="lightgbm", spec_hash=spec.spec_hash, model_file="model.txt", versions={}, config={},
        provenance=Provenance(code_commit="c0ffee"), features=FEATURES, as_of="2024-03", calibration=None,
    )  # fmt: skip
    report = EvaluationReport(
        model_id=MODEL_ID, algorithm="lightgbm", role="candidate", split_id="s", validation={}, test={"roc_auc": 0.8},
        slices={"kind": {"a": 0.8, "b": 0.7}}, groups={"kind": {"a": 0.8, "b": 0.7}},
    )  # fmt: skip
    comparison = Comparison(
        challenger_id=MODEL_ID, champion_id="old", split_id="s", metric="roc_auc", challenger=0.8, champion=0.7,
        improvement=0.1, low=0.0, high=0.2, method="DELONG", rows=9,
    )  # fmt: skip
    verdicts = {
        kind: (AT, DataValidation.model_validate({"product": "toy", "batch_id": "2024-03", "kind": kind,
               "verdict": "PASSED", "rows": 9, "columns": ()}))
        for kind in ("anomalies", "schema", "statistics")
    }  # fmt: skip
    at, first = blessing_of("quality")
    earlier = at, first.model_copy(update={"as_of": "2024-02"})
    return Evidence(
        spec=spec,
        settings=session_home.settings.model_copy(update={"notify_command": "true"}),
        batches=["2024-01", "2024-02", "2024-03"],
        live=pointer_of(),
        pointers=[pointer_of("old", "2024-02"), pointer_of()],
        manifest=manifest,
        training=trained(trials=20, history={"importance": {"size": 2.0, "kind": 1.0}}),
        report=report,
        blessings=[earlier, *(blessing_of(kind) for kind in GATES)],
        validations=verdicts,
        decisions=[(AT, decision_of("LIVE", "2024-02")), (AT, decision_of("ROLLED_BACK", "2024-03"))],
        comparisons=[comparison] * 3,
        performance=[used(batch, 0.79) for batch in ("2024-01", "2024-02", "2024-03")],
        checks={
            f"{stage}.{name}": Seen(name, "PASSED", 0, 0, AT)
            for stage, name in (("features", "point_in_time"), ("features", "leak"), ("predictions", "range"))
        },
    )


class _Features:
    """What the lines ask of a model's features."""

    columns = (("size", "number"), ("kind", "category"))
    row = {"hour": "1"}  # noqa: RUF012 - never changed


FEATURES: Any = _Features()


def test_there_are_seven_tests_in_each_of_four_sections() -> None:
    assert [test.number for test in TESTS] == [1, 2, 3, 4, 5, 6, 7] * 4
    assert [test.section for test in TESTS] == [section for section in SECTIONS for _ in range(7)]
    assert len({test.name for test in TESTS}) == 28
    assert len({test.judge for test in TESTS}) == 28


def test_without_evidence_nothing_is_met_and_each_line_says_why(nothing: Evidence) -> None:
    card = judge_all(nothing)
    assert [line.finding.points for line in card.lines] == [0.0] * 28
    assert all(line.finding.missing and line.finding.fix for line in card.lines)
    assert (card.score, card.meaning) == (0, "more of a research project than a productionized system")
    assert card.weakest == list(SECTIONS)


def test_an_empty_home_has_a_card_too(home: Home, toy: ProductSpec, capsys: pytest.CaptureFixture[str]) -> None:
    """As a table and as JSON; nothing has to have run."""
    score_card(home.settings, toy, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["score"] == 0
    assert [len(section["tests"]) for section in found["sections"]] == [7, 7, 7, 7]
    assert judge_all(read_evidence(home.settings, toy)).score == 0
    score_card(home.settings, toy, as_json=False)
    shown = capsys.readouterr().out
    assert "ML Test Score of toy: 0" in shown
    assert "Cheapest gains" in shown


def test_with_all_evidence_most_lines_are_met_by_named_checks(whole: Evidence) -> None:
    card = judge_all(whole)
    short = {f"{line.section} {line.number}" for line in card.lines if line.finding.points < 1}
    # the tests have no repository, dbt project or proxy of their own: these are judged below
    assert short <= {"Data 5", "Data 6", "Data 7", "Model 1", "Infrastructure 6"}
    told = {f"{line.section} {line.number}": "; ".join(line.finding.evidence) for line in card.lines}
    assert told["Infrastructure 1"] == "deterministic passed: 0.1 (threshold 0.2), 2024-04-01"
    assert "parity passed" in told["Monitoring 3"]
    assert "worst_slice passed" in told["Model 6"]
    assert "20 trials" in told["Model 3"]


# what is taken away or fails -> the line that is not met any more, and a word of its reason
BROKEN: dict[str, tuple[Callable[[Evidence], Finding], Callable[[Evidence], Evidence], str]] = {
    "no schema verdict": (data.schema, lambda e: replace(e, validations={}), "no schema verdict"),
    "an unused feature": (
        data.beneficial,
        lambda e: replace(e, training=trained(history={"importance": {"a": 0.0}})),
        "never used: a",
    ),
    "no size measured": (
        data.cost,
        lambda e: replace(e, blessings=[blessing_of("quality", without=["model_size"]), blessing_of("infrastructure")]),
        "model_size",
    ),
    "a leak": (
        data.meta_level,
        lambda e: replace(e, checks={**e.checks, "features.leak": Seen("leak", "FAILED", 0.99, 0.85)}),
        "leak failed: 0.99 (threshold 0.85)",
    ),
    "uncommitted code": (
        model.reviewed,
        lambda e: replace(e, manifest=e.manifest and e.manifest.model_copy(
            update={"provenance": Provenance(code_commit="c", code_changes="x")})),
        "uncommitted",
    ),
    "worse in use": (model.correlates, lambda e: replace(e, performance=[used("2024-03", 0.5)]), "differs by 0.3000"),
    "no search": (model.tuned, lambda e: replace(e, training=trained()), "not searched"),
    "one comparison": (model.staleness, lambda e: replace(e, comparisons=e.comparisons[:1]), "1 of 3 comparisons"),
    "a linear model as good": (
        model.simpler,
        lambda e: replace(e, blessings=[blessing_of("quality"), blessing_of("training", failed=["beats_linear"])]),
        "beats_linear failed",
    ),
    "a bad slice": (
        model.slices,
        lambda e: replace(e, blessings=[blessing_of("quality", failed=["worst_slice"])]),
        "worst_slice failed",
    ),
    "no group large enough": (
        model.inclusion,
        lambda e: replace(e, report=e.report and e.report.model_copy(update={"groups": {}})),
        "no two groups by kind",
    ),
    "not deterministic": (
        infrastructure.reproducible,
        lambda e: replace(e, blessings=[blessing_of("training", failed=["deterministic"])]),
        "deterministic failed",
    ),
    "labels around the labels": (
        infrastructure.specs_tested,
        lambda e: replace(e, blessings=[blessing_of("training", failed=["shuffled_control"])]),
        "shuffled_control failed",
    ),
    "one batch": (
        infrastructure.integration,
        lambda e: replace(e, decisions=e.decisions[:1]),
        "once only",
    ),
    "a person above the gates": (
        infrastructure.validated,
        lambda e: replace(e, blessings=[*e.blessings, blessing_of("quality", ["worst_slice"])], overrides=[WORD]),
        "no quality blessing; ada promoted it: trust me",
    ),
    "an ONNX model": (
        infrastructure.debuggable,
        lambda e: replace(e, manifest=e.manifest and e.manifest.model_copy(update={"model_file": "model.onnx"})),
        "gives no reasons",
    ),
    "it never boots": (
        infrastructure.canaried,
        lambda e: replace(e, blessings=[blessing_of("infrastructure", failed=["boots"])]),
        "boots failed",
    ),
    "one live model ever": (
        infrastructure.rolled_back,
        lambda e: replace(e, decisions=[], pointers=[pointer_of()]),
        "no other model was ever live",
    ),
    "a library moved": (
        monitoring.dependencies,
        lambda e: replace(e, manifest=e.manifest and e.manifest.model_copy(update={"versions": {"numpy": "0.1"}})),
        "numpy 0.1 to",
    ),
    "nobody is told": (
        monitoring.dependencies,
        lambda e: replace(e, settings=e.settings.model_copy(update={"notify_command": ""})),
        "no channel",
    ),
    "no statistics": (
        monitoring.invariants,
        lambda e: replace(e, validations={k: v for k, v in e.validations.items() if k != "statistics"}),
        "no verdict of statistics",
    ),
    "skewed": (
        monitoring.skew,
        lambda e: replace(e, blessings=[blessing_of("infrastructure", failed=["parity"])]),
        "parity failed",
    ),
    "too old": (
        monitoring.stale,
        lambda e: replace(e, batches=[*e.batches, "2024-04", "2024-05", "2024-06"]),
        "3 batches came since the live model (2024-03), 2 are allowed",
    ),
    "not finite in use": (
        monitoring.stable,
        lambda e: replace(e, checks={"predictions.range": Seen("range", "FAILED", 3, 0)}),
        "range failed: 3",
    ),
    "nothing scored in use": (
        monitoring.stable,
        lambda e: replace(e, checks={"predictions.range": Seen("range", "PASSED", 0, "no champion for this batch")}),
        "no batch was scored in use",
    ),
    "slower than before": (
        monitoring.speed,
        lambda e: replace(e, live=pointer_of(p50=9.0)),
        "p50 9.0 ms, before 1.0",
    ),
    "degraded": (
        monitoring.quality,
        lambda e: replace(e, performance=[used("2024-03", 0.5, "DEGRADED")]),
        "degraded: roc_auc 0.5000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("cause", BROKEN)
def test_a_line_is_lost_by_exactly_its_cause(whole: Evidence, cause: str) -> None:
    judge, broken, word = BROKEN[cause]
    before, after = judge(whole), judge(broken(whole))
    assert after.points < 1
    assert word in after.missing
    assert before.points > after.points or before.missing != after.missing


def test_data_that_others_can_read_has_no_privacy(whole: Evidence, home: Home) -> None:
    folder = home.settings.home
    folder.mkdir(mode=0o755)
    evidence = replace(whole, settings=home.settings)
    assert f"chmod 700 {folder}" in data.privacy(evidence).fix
    folder.chmod(0o700)
    assert data.privacy(evidence).points == 0.5


def test_features_are_followed_from_their_first_split_until_they_are_live(whole: Evidence) -> None:
    """Two feature sets that went live are a habit, one is a single time, none is nothing."""
    split, later = (
        SplitManifest(
            product="toy", as_of="2024-03", strategy="temporal", test_batch="2024-03", parts={}, feature_set_id=name,
            data_snapshot=7,
        )
        for name in ("features-1", "features-2")
    )  # fmt: skip
    live = [(AT + timedelta(hours=3), decision_of("LIVE", "2024-03", item.split_id)) for item in (split, later)]
    evidence = replace(whole, splits=[(AT, split), (AT, later)], decisions=live)
    assert data.added_quickly(evidence).evidence == ("2 feature sets went live, the slowest in 3.0 hours",)
    assert data.added_quickly(evidence).points == 1
    assert data.added_quickly(replace(evidence, decisions=live[:1])).points == 0.5
    assert data.added_quickly(replace(evidence, decisions=[])).points == 0


def test_feature_code_needs_unit_tests_for_the_whole_point(whole: Evidence, home: Home) -> None:
    project = home.settings.home / "project"
    folder = project / "models" / "marts" / "toy"
    folder.mkdir(parents=True)
    settings = home.settings.model_copy(update={"dbt_project": project})
    evidence = replace(whole, settings=settings)
    assert data.code_tested(evidence).points == 0
    (folder / "a.yml").write_text("models:\n  - name: x\n    data_tests: [not_null]\n")
    assert data.code_tested(evidence).points == 0.5
    (folder / "a.yml").write_text("data_tests:\nunit_tests:\n  - name: y\n")
    assert data.code_tested(evidence).points == 1


@pytest.mark.parametrize(
    ("points", "score", "meaning"),
    [
        ([7, 7, 7, 0.5], 0.5, "not totally untested"),
        ([2, 7, 7, 7], 2, "a first pass"),
        ([7, 3, 3, 7], 3, "reasonably tested"),
        ([5, 5, 5, 5], 5, "strong levels"),
        ([7, 7, 5.5, 7], 5.5, "exceptional"),
    ],
)
def test_the_weakest_section_counts(points: list[float], score: float, meaning: str) -> None:
    lines = [
        Line(section, number, "a test", Finding(min(max(total - number, 0), 1), (), "m", "f", 3 - number % 3))
        for section, total in zip(SECTIONS, points, strict=True)
        for number in range(7)
    ]
    card = ScoreCard("toy", lines)
    assert card.score == score
    assert card.meaning.startswith(meaning)
    assert {line.section for line in card.next_steps} <= set(card.weakest)
    efforts = [line.finding.effort for line in card.next_steps]
    assert efforts == sorted(efforts)


def test_numbers_of_things_read_like_words() -> None:
    assert [counted(1, "batch"), counted(2, "batch"), counted(1200, "row")] == ["1 batch", "2 batches", "1,200 rows"]


def test_lines_look_for_gates_and_checks_that_there_are(whole: Evidence) -> None:
    """A gate that is renamed would turn its lines to no: what they ask for is what stages declare."""
    asked: set[tuple[str, str]] = set()

    class Listening(Evidence):
        """Notes which gates are asked for."""

        def gate(self, kind: BlessingKind, name: str) -> Seen | None:
            asked.add((kind, name))
            return super().gate(kind, name)

    judge_all(Listening(**{item.name: getattr(whole, item.name) for item in fields(whole)}))
    declared = {
        "training": set(training_gates(whole.spec)),
        "quality": set(quality_gates(whole.spec)),
        "infrastructure": set(INFRASTRUCTURE_GATES),
        "data": {*(name for _, name in CHECKS), *GATES["data"]},
    }
    assert len(asked) >= 15
    assert [(kind, name) for kind, name in sorted(asked) if name not in declared[kind]] == []
    checks = [*features_checks(whole.spec).check_specs, *predictions_checks(whole.spec)]
    there = {(item.asset_key.path[1], item.name) for item in checks}
    assert set(CHECKS) <= there
