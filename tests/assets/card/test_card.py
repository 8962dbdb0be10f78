"""Model cards: every section for every task and state, from records alone; honest about what is not known."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from assets import ledger
from assets.card.card import card, standing, write_card
from assets.card.facts import CardFacts
from assets.card.limits import limits
from assets.errors import HeadraceError
from assets.home import Home
from assets.records import (
    Batch,
    Blessing,
    Calibration,
    ColumnFinding,
    Comparison,
    DataValidation,
    Decision,
    DriftReport,
    EvaluationReport,
    Gate,
    LivePointer,
    ModelManifest,
    Override,
    PerformanceReport,
    Provenance,
    SplitManifest,
    Training,
)
from assets.spec import ProductSpec
from assets.tasks import PRIMARIES, TASKS, Task

AT = datetime(2024, 4, 1, 12, 30, tzinfo=UTC)
SECTIONS = [
    *("Purpose", "Decision", "Metrics", "Slices", "Groups", "Calibration", "Limits", "Gates", "Explanations", "Data"),
    *("Features", "Lineage", "Replay and roll back"),
]
CHANGES: dict[Task, dict[str, Any]] = {
    "binary": {},
    "multiclass": {"task": "multiclass"},
    "regression": {"task": "regression"},
    "forecast": {
        "task": "forecast",
        "candidates": [{"algorithm": name} for name in ("baseline", "seasonal_naive", "last_value", "lightgbm")],
    },
    "clustering": {
        "task": "clustering", "label": ..., "split": {"strategy": "random"}, "gates": {},
        "candidates": [{"algorithm": "baseline"}, {"algorithm": "kmeans"}],
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def facts_of(
    spec_of: Callable[..., ProductSpec],
    manifest_of: Callable[..., ModelManifest],
    evaluation_of: Callable[..., EvaluationReport],
    split: SplitManifest,
) -> Callable[..., CardFacts]:
    """The facts of a model that went the whole way, by task; changes are of `CardFacts`."""

    def make(task: Task = "binary", changes: Mapping[str, Any] | None = None, **fields: Any) -> CardFacts:
        spec = spec_of({**CHANGES[task], **(changes or {})})
        primary = spec.gates.primary
        manifest = manifest_of(
            task=task, split_id=split.split_id, spec_hash=spec.spec_hash, label=spec.label.column if spec.label else "",
            classes={"binary": ("false", "true"), "multiclass": ("<b>", "a|b")}.get(task, ()),
            calibration=Calibration(method="isotonic", raw=(0.1, 0.9), calibrated=(0.2, 0.8), evidence={"platt": 0.4})
            if task == "binary" else None,
            provenance=Provenance(code_commit="c0ffee", requirements="r0", asked_by="ada@host: command"),
        )  # fmt: skip
        model_id = manifest.model_id
        own = evaluation_of(
            model_id, 0.8, split_id=split.split_id, is_best=True, intervals={primary: (0.75, 0.85)},
            test={primary: 0.8, "calibration_error": 0.05}, validation={primary: 0.82},
            slices={"kind": {"shoes": 0.9, "<i>": 0.4}} if spec.label else {},
            groups={"kind": {"shoes": 0.9, "books": 0.7}},
            classes={"a|b": {"precision": 1.0, "recall": 0.5, "f1": 0.67, "rows": 7}} if task == "multiclass" else {},
        )  # fmt: skip
        others = [
            evaluation_of("baseline-1", 0.5, algorithm="baseline", split_id=split.split_id, test={primary: 0.5}),
            evaluation_of("champion-1", 0.7, role="champion", split_id=split.split_id, test={primary: 0.7}),
        ]
        comparison = Comparison(
            challenger_id=model_id, champion_id="champion-1", split_id=split.split_id, metric=primary, challenger=0.8,
            champion=0.7, improvement=0.1, low=0.04, high=0.16, method="PAIRED_BOOTSTRAP", rows=100, replicates=1000,
        )  # fmt: skip
        decision = decision_of(model_id, "PROMOTED_BETTER_THAN_CHAMPION", reason="better than the champion")
        found = CardFacts(
            spec=spec,
            manifest=manifest,
            split=split,
            training=Training(
                model_id=model_id,
                algorithm="lightgbm",
                as_of="2024-03",
                seconds={"fit": 1.5},
                history={"importance": {"size": 3.0, "kind": 1.0, "pieces": 0.0}},
            ),
            evaluations=[*others, own],
            blessings={kind: blessing_of(model_id, kind) for kind in ("data", "training", "quality", "infrastructure")},
            decisions=[(AT, decision)],
            comparisons=[comparison],
            batches=[batch_of("2024-03")],
            validations=[
                DataValidation(
                    product="toy",
                    batch_id="2024-03",
                    kind="statistics",
                    verdict="WARNED",
                    rows=100,
                    reference="champion-1",
                    columns=(
                        ColumnFinding(check="psi", column="size", verdict="WARNED", observed=0.3, threshold=0.25),
                    ),
                )
            ],
        )
        return replace(found, **fields)

    return make


def decision_of(model_id: str, verdict: str, **changes: Any) -> Decision:
    fields = {
        "product": "toy", "as_of": "2024-03", "verdict": verdict, "model_id": model_id, "champion_id": "champion-1",
        "split_id": "s", "reason": "because", "rule": "superiority", "asked_by": "ada@host", **changes,
    }  # fmt: skip
    return Decision.model_validate(fields)


def blessing_of(model_id: str, kind: str, verdict: str = "PASSED") -> Blessing:
    gate = Gate.model_validate(
        {"name": f"{kind}_gate", "verdict": verdict, "observed": 0.246, "threshold": 0.12, "detail": "on <all> rows"}
    )
    return Blessing.model_validate(
        {
            "kind": kind, "verdict": "NOT_BLESSED" if verdict == "FAILED" else "BLESSED", "product": "toy",
            "as_of": "2024-03", "model_id": model_id, "row_set_hash": "h", "feature_set_id": "f", "spec_hash": "s",
            "rules_hash": "r", "gates": (gate,),
        }
    )  # fmt: skip


def batch_of(batch_id: str) -> Batch:
    return Batch(
        source="toy", batch_id=batch_id, file_name=f"orders_{batch_id}.csv", sha256="ab" * 32, size_bytes=9,
        status="LOADED", rows_in=110, rows_loaded=107, rows_quarantined=3, loaded_at=AT,
    )  # fmt: skip


def live_of(model_id: str) -> LivePointer:
    return LivePointer(
        product="toy", as_of="2024-03", model_id=model_id, bento="toy:1", decision_id="d", offline_parity="9 of 9 rows",
        latency_p50_ms=1.0, latency_p99_ms=2.0,
    )  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_every_section_is_there_for_every_task(facts_of: Callable[..., CardFacts], task: Task) -> None:
    document = card(facts_of(task))
    assert [section.title for section in document.sections] == SECTIONS
    html, markdown = document.html(), document.markdown()
    for text in (html, markdown):
        assert "0.75 to 0.85" in text  # the interval of the metric that decides
        assert "c0ffee" in text
        assert "orders_2024-03.csv" in text
    assert "<i>" not in html + markdown
    assert PRIMARIES[task][0] == facts_of(task).primary


@pytest.mark.parametrize("task", TASKS)
def test_a_model_that_nothing_happened_to_has_a_card(facts_of: Callable[..., CardFacts], task: Task) -> None:
    """Never judged, decided, blessed or served: the same sections, each saying so."""
    whole = facts_of(task)
    bare = CardFacts(spec=whole.spec, manifest=whole.manifest)
    document = card(bare)
    assert [section.title for section in document.sections] == SECTIONS
    assert document.badges[0].text == "nothing decided"
    text = document.markdown()
    assert "This model was not judged on unseen rows." in text
    assert text.count("no blessing in the ledger") == 4


def test_the_decision_is_told_with_its_interval_and_rule(facts_of: Callable[..., CardFacts]) -> None:
    text = card(facts_of()).markdown()
    assert "**✓** Better than the champion." in text
    assert "Promoted: better than the champion" in text
    assert "+0.1000 better, with 95% confidence between +0.0400 and +0.1600" in text
    assert "superiority" in text
    assert "2024-04-01 12:30 UTC" in text


def test_a_comparison_is_told_before_anything_is_decided(facts_of: Callable[..., CardFacts]) -> None:
    text = card(replace(facts_of(), decisions=[])).markdown()
    assert "Nothing was decided about this model: promotion has not spoken." in text
    assert "between +0.0400 and +0.1600" in text


def test_gates_stand_with_what_was_observed_and_their_threshold(facts_of: Callable[..., CardFacts]) -> None:
    whole = facts_of()
    failed = replace(whole, blessings={**whole.blessings, "quality": blessing_of(whole.model_id, "quality", "FAILED")})
    text = card(failed).markdown()
    assert "| quality gate | ✗ **failed** | 0.246 | 0.12 | on &lt;all&gt; rows |" in text
    assert "The quality gate quality gate failed: observed 0.246, threshold 0.12 (on <all> rows)." in limits(failed)


@pytest.mark.parametrize(
    ("verdict", "fields", "word"),
    [
        ("PROMOTED_FIRST_CHAMPION", {}, "promoted, not live yet"),
        ("KEPT_CHAMPION_TIE", {}, "not promoted"),
        ("REFUSED_NOT_BLESSED", {}, "refused"),
        ("BLOCKED_BY_PERSON", {"withdrawn": "blocked by ada: wrong"}, "blocked by a person"),
        ("LIVE", {"withdrawn": "rolled back by ada: worse"}, "rolled back"),
        ("LIVE", {}, "was live"),
    ],
)
def test_the_standing_is_a_word(
    facts_of: Callable[..., CardFacts], verdict: str, fields: dict[str, Any], word: str
) -> None:
    whole = facts_of(**fields)
    facts = replace(whole, decisions=[(AT, decision_of(whole.model_id, verdict))])
    assert standing(facts).text == word
    assert facts.withdrawn in card(facts).markdown()


def test_what_is_served_is_live_whatever_was_decided(facts_of: Callable[..., CardFacts]) -> None:
    whole = facts_of()
    document = card(replace(whole, live=live_of(whole.model_id)))
    assert document.badges[0].text == "live"
    assert "headrace rollback toy`" in document.markdown()


def test_a_persons_word_is_the_first_thing_on_the_card(facts_of: Callable[..., CardFacts]) -> None:
    whole = facts_of()
    word = Override(
        product="toy", action="promote", subject=whole.model_id, reason="I <know> it", asked_by="ada", at=AT
    )
    accepted = Override(product="toy", action="accept", subject="2024-03", reason="fine", asked_by="bo", at=AT)
    document = card(replace(whole, overrides=[(AT, word), (AT, accepted)]))
    head = document.markdown().split("## Purpose")[0]
    assert "Promoted above the gates by ada on 2024-04-01 12:30 UTC: I &lt;know&gt; it" in head
    assert "Batch accepted above its data gates by bo" in head
    assert "promoted by a person" in [badge.text for badge in document.badges]


def test_limits_are_made_of_records(facts_of: Callable[..., CardFacts]) -> None:
    """Each appears with its cause and not without it."""
    whole = facts_of()
    calm = "\n".join(limits(whole))
    assert "3 delivered rows did not fit" in calm
    assert "Labels reach us 60 minutes late" in calm
    assert "No groups are declared" in calm
    assert "drifted" not in calm
    drift = DriftReport(
        product="toy", batch_id="2024-04", model_id=whole.model_id, verdict="DRIFTED", column_psi={"size": 0.5},
        drifted=("size",), share_drifted=0.5, prediction_psi=0.1, persisted_batches=1,
    )  # fmt: skip
    used = PerformanceReport(
        product="toy", batch_id="2024-04", model_id=whole.model_id, verdict="DEGRADED", rows_scored=10, rows_labelled=4,
        metrics={"roc_auc": 0.6}, baseline_metrics={}, reference=0.8,
    )  # fmt: skip
    told = "\n".join(limits(replace(whole, drift=[drift], performance=[used])))
    assert "1 of 1 batches that it scored have drifted (columns: size)." in told
    assert "the outcomes of 4 of 10 rows are known: roc_auc 0.6, on its own test 0.8." in told
    assert [badge.text for badge in card(replace(whole, drift=[drift], performance=[used])).badges] == [
        "promoted, not live yet", "drifted on 2024-04", "degraded on 2024-04",
    ]  # fmt: skip


def test_classes_that_training_has_not_seen_are_a_limit(
    facts_of: Callable[..., CardFacts], evaluation_of: Callable[..., EvaluationReport]
) -> None:
    whole = facts_of("multiclass")
    report = evaluation_of(
        whole.model_id, 0.8, split_id="s", test={"f1_macro": 0.8}, validation={},
        classes={"(not in training)": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "rows": 12}},
    )  # fmt: skip
    assert any(text.startswith("12 test rows are of classes") for text in limits(replace(whole, evaluations=[report])))
    assert not any("not seen: it is always wrong" in text for text in limits(whole))


def test_a_changed_spec_is_said(facts_of: Callable[..., CardFacts], spec_of: Callable[..., ProductSpec]) -> None:
    whole = facts_of()
    changed = replace(whole, spec=spec_of({"title": "Another question?"}))
    assert "spec has changed since" in card(changed).markdown().split("## Purpose")[0]
    assert "spec has changed" not in card(whole).markdown()


def test_a_card_is_written_from_the_ledger_and_again_the_same(
    session_home: Home, facts_of: Callable[..., CardFacts]
) -> None:
    whole = facts_of()
    lake, model_id = session_home.lake("toy"), whole.model_id
    as_of = whole.manifest.as_of
    own = next(item for item in whole.evaluations if item.model_id == model_id)
    ledger.append_to_lake(lake, "models", [(model_id, as_of, whole.manifest)])
    ledger.append_to_lake(lake, "evaluations", [(f"card-{item.model_id}", as_of, item) for item in whole.evaluations])
    decision = decision_of(model_id, "REFUSED_NOT_BLESSED", reason="calibration 0.246, at most 0.12 allowed")
    ledger.append_to_lake(lake, "decisions", [(decision.decision_id, as_of, decision)])
    quality = blessing_of(model_id, "quality", "FAILED")
    ledger.append_to_lake(lake, "blessings", [(quality.blessing_id, as_of, quality)])
    page, text = write_card(session_home, whole.spec, model_id)
    assert page == session_home.settings.reports / "toy" / as_of / f"model-card-{model_id}.html"
    assert text.name == f"model-card-{model_id}.md"
    first = page.read_bytes(), text.read_bytes()
    assert "Calibration 0.246, at most 0.12 allowed." in first[1].decode()
    assert f"{own.test['roc_auc']:.4g} (0.75 to 0.85), best baseline 0.5, champion 0.7" in first[1].decode()
    assert "Quality: this model is not blessed" in first[0].decode()
    write_card(session_home, whole.spec, model_id)
    assert (page.read_bytes(), text.read_bytes()) == first


def test_a_card_of_no_model_is_refused_in_words(session_home: Home, toy: ProductSpec) -> None:
    with pytest.raises(HeadraceError, match="there is no such model"):
        write_card(session_home, toy, "lightgbm-nothing")
