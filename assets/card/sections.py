"""The sections of a model card (Mitchell et al. 2019, "Model Cards for Model Reporting"), made of records alone."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from assets.card.document import (
    Badge,
    Bar,
    Bars,
    Block,
    Bullets,
    Cell,
    Commands,
    Curve,
    Dots,
    Facts,
    Mono,
    Paragraph,
    Section,
    Table,
    Tone,
    figure,
    interval,
    shown,
)
from assets.card.facts import KINDS, CardFacts
from assets.card.limits import limits
from assets.evaluation.groups import measure_name
from assets.evaluation.metrics import SHOWN
from assets.records import Decision, EvaluationReport, FeatureSchema, Override
from assets.tasks import CLASSIFICATION, DIRECTIONS

VERDICTS: dict[str, str] = {
    "PROMOTED_FIRST_CHAMPION": "Promoted: the first model to pass its gates",
    "PROMOTED_BETTER_THAN_CHAMPION": "Promoted: better than the champion",
    "PROMOTED_NOT_INFERIOR": "Promoted: not worse than a champion that was stale or drifted",
    "PROMOTED_CHAMPION_NOT_COMPARABLE": "Promoted: the champion could not be compared",
    "PROMOTED_BY_PERSON": "Promoted by a person, above the gates",
    "KEPT_CHAMPION_TIE": "Not promoted: too close to the champion to tell",
    "KEPT_CHAMPION_CHALLENGER_WORSE": "Not promoted: worse than the champion",
    "KEPT_CHAMPION_BACKTEST_TOO_SHORT": "Not promoted: not proven on enough earlier batches",
    "KEPT_CHAMPION_SAME_MODEL": "Not promoted: it is the champion itself",
    "KEPT_CHAMPION_IS_NEWER": "Not promoted: the champion has learned from later data",
    "REFUSED_NOT_BLESSED": "Refused: a gate said no",
    "REFUSED_INFRASTRUCTURE": "Refused: its bento did not pass",
    "REFUSED_WITHDRAWN": "Refused: it was taken away before",
    "BLOCKED_BY_PERSON": "Blocked by a person",
    "ROLLED_BACK": "Served again by a rollback",
    "LIVE": "Went live",
}
_NAMES = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
    "f1": "F1",
    "f1_macro": "macro F1",
    "f1_weighted": "weighted F1",
    "r2": "R²",
    "mae": "MAE",
    "rmse": "RMSE",
    "mape": "MAPE, percent",
    "smape": "sMAPE, percent",
    "calibration_error": "calibration error",
}
_TONES: dict[str, Tone] = {"PASSED": "good", "FAILED": "bad", "WARNED": "warn", "BLESSED": "good", "NOT_BLESSED": "bad"}
_ACTIONS = {"promote": "Promoted above the gates", "block": "Blocked", "accept": "Batch accepted above its data gates"}
# rows of a table that a person still reads; the ledger has them all
_ROWS = 60
_IMPORTANT = 20
_NO_OUTCOME = "Without an outcome there is nothing that parts of the rows could be compared by."
_PARTS: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation", "test")


def sections(facts: CardFacts) -> list[Section]:
    """All sections, in the order of a reader's questions; each is there whatever the ledger holds."""
    return [
        Section("Purpose", _purpose(facts)),
        Section("Decision", _decision(facts)),
        Section("Metrics", _metrics(facts)),
        Section("Slices", _slices(facts)),
        Section("Groups", _groups(facts)),
        Section("Calibration", _calibration(facts)),
        Section("Limits", [Bullets(limits(facts))]),
        Section("Gates", _gates(facts)),
        Section("Explanations", _explanations(facts)),
        Section("Data", _data(facts)),
        Section("Features", _features(facts)),
        Section("Lineage", _lineage(facts)),
        Section("Replay and roll back", _commands(facts)),
    ]


def metric_name(name: str) -> str:
    """A metric as people write it."""
    return _NAMES.get(name, name.replace("_", " "))


def when(moment: datetime | None) -> str:
    """A moment in UTC, to the minute."""
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else ""


def override_notes(facts: CardFacts) -> list[Block]:
    """What persons said above the gates, to be seen before all else."""
    return [Paragraph(_said(at, item), "warn" if item.action != "block" else "bad") for at, item in facts.overrides]


def _said(at: datetime, item: Override) -> str:
    return f"{_ACTIONS[item.action]} by {item.asked_by} on {when(at)}: {item.reason} ({item.subject})"


def _purpose(facts: CardFacts) -> list[Block]:
    spec, manifest = facts.spec, facts.manifest
    asked = (spec.time.asked_at or spec.time.event) if spec.time else ""
    meaning = spec.label.description if spec.label else ""
    return [
        Paragraph(spec.description),
        Facts(
            [
                ("Question", spec.title),
                ("Answer", _answer(facts)),
                ("Outcome", f"{manifest.label}: {meaning}" if meaning else manifest.label or "none: it groups rows"),
                (
                    "Positive from",
                    manifest.decision_threshold if manifest.task == "binary" else "not used by this task",
                ),
                ("One row is", ", ".join(spec.key)),
                ("Asked at", asked or "any moment: rows have no time"),
                ("Task and algorithm", f"{manifest.task}, {manifest.algorithm.replace('_', ' ')}"),
                ("Owner", spec.owner),
                (
                    "Not meant for",
                    "other questions, rows that the data below does not cover, and inputs not known when asked",
                ),
            ]
        ),
    ]


def _answer(facts: CardFacts) -> str:
    manifest = facts.manifest
    return {
        "binary": f"the probability that it {manifest.positive_meaning or manifest.label or 'is positive'}",
        "multiclass": f"the class, one of {len(manifest.classes)}, with a probability each",
        "regression": f"a value: {manifest.positive_meaning or manifest.label}",
        "forecast": f"a value ahead of time: {manifest.positive_meaning or manifest.label}",
        "clustering": "the group that the row is most like",
    }[manifest.task]


def _decision(facts: CardFacts) -> list[Block]:
    newest = facts.newest_decision
    if newest is None:
        why = "promotion has not spoken" if facts.own and facts.own.is_best else "it was not the best of its round"
        return [Paragraph(f"Nothing was decided about this model: {why}."), *_compared(facts)]
    at, decision = newest
    blocks: list[Block] = [
        Paragraph(_sentence(decision.reason), _tone(decision)),
        Facts(
            [
                ("Verdict", VERDICTS[decision.verdict]),
                ("When", when(at)),
                ("As of", decision.as_of),
                ("Asked by", decision.asked_by or "not recorded"),
                ("Rule", decision.rule or "not recorded"),
                ("Champion then", Mono(decision.champion_id) if decision.champion_id else "none"),
                ("Decision", Mono(decision.decision_id)),
            ]
        ),
        *_compared(facts),
    ]
    if facts.model_overrides:
        blocks.append(Bullets([_said(at, item) for at, item in facts.model_overrides]))
    rows = [
        (when(at), VERDICTS[item.verdict], Mono(item.model_id), item.reason, item.asked_by)
        for at, item in facts.decisions[-_ROWS:]
    ]
    blocks.append(Table(("when", "verdict", "about", "reason", "asked by"), rows, "All decisions that name this model"))
    return blocks


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _tone(decision: Decision) -> Tone:
    if decision.verdict in ("PROMOTED_BY_PERSON", "ROLLED_BACK"):
        return "warn"
    if decision.is_promotion or decision.verdict == "LIVE":
        return "good"
    return "plain" if decision.verdict.startswith("KEPT") else "bad"


def _compared(facts: CardFacts) -> list[Block]:
    found = facts.comparison
    if found is None:
        return []
    sides = "above" if found.low > 0 else "below" if found.high < 0 else "on both sides of"
    bar = Bar("improvement", found.improvement, found.low, found.high, "good" if found.low > 0 else "plain")
    return [
        Paragraph(
            f"On the same {found.rows:,} unseen rows this model's {metric_name(found.metric)} is "
            f"{figure(found.challenger)}, the champion's {figure(found.champion)}: {found.improvement:+.4f} better, "
            f"with {found.confidence:.0%} confidence between {found.low:+.4f} and {found.high:+.4f} ({found.how}). "
            f"The interval lies {sides} zero."
        ),
        Dots("Improvement over the champion, with its interval", [Bar("no difference", 0.0), bar]),
    ]


def _metrics(facts: CardFacts) -> list[Block]:
    own = facts.own
    if own is None:
        return [Paragraph("This model was not judged on unseen rows.", "warn")]
    others = [("best baseline", facts.baseline), ("champion", facts.champion)]
    there = [(name, report) for name, report in others if report]
    names = [name for name in dict.fromkeys((facts.primary, *SHOWN[facts.manifest.task])) if name in own.test]
    names += [name for name in ("calibration_error",) if name in own.test]
    rows = [
        (
            metric_name(name) + (" (decides)" if name == facts.primary else ""),
            own.test[name],
            interval(*own.intervals[name]) if name in own.intervals else "not measured",
            *(report.test.get(name) for _, report in there),
            own.validation.get(name),
            {1: "more", -1: "less"}.get(DIRECTIONS.get(name, -1 if name == "calibration_error" else 0), ""),
        )
        for name in names
    ]
    heads = [f"{name} ({report.algorithm.replace('_', ' ')})" for name, report in there]
    columns = ("metric", "this model", "95% interval", *heads, "on validation", "better is")
    tested = facts.split.parts["test"].rows if facts.split else 0
    return [
        Table(columns, rows, f"On {tested:,} test rows that no candidate has seen" if tested else "On the test rows"),
        *_beside(facts, own, there),
        *_leaderboard(facts),
        *_per_class(own),
    ]


def _beside(facts: CardFacts, own: EvaluationReport, there: Sequence[tuple[str, EvaluationReport]]) -> list[Block]:
    primary = facts.primary
    if primary not in own.test:
        return []
    low, high = own.intervals.get(primary, (None, None))
    bars = [Bar("this model", own.test[primary], low, high, "good")]
    bars += [Bar(name, report.test[primary], tone="plain") for name, report in there if primary in report.test]
    return [Dots(f"{metric_name(primary)} on the test rows", bars)]


def _leaderboard(facts: CardFacts) -> list[Block]:
    primary = facts.primary
    direction = DIRECTIONS[primary]
    ranked = sorted(
        (item for item in facts.evaluations if primary in item.test),
        key=lambda item: (-direction * item.test[primary], item.model_id, item.role),
    )
    rows = [
        (Mono(item.model_id), "champion" if item.role == "champion" else "candidate",
         item.validation.get(primary), item.test[primary], "best on validation" if item.is_best else "")
        for item in ranked
    ]  # fmt: skip
    name = metric_name(primary)
    return [Table(("model", "role", f"{name}, validation", f"{name}, test", ""), rows, "Everyone on the same rows")]


def _per_class(own: EvaluationReport) -> list[Block]:
    if not own.classes:
        return []
    ranked = sorted(own.classes.items(), key=lambda item: (-item[1].get("rows", 0), item[0]))[:_ROWS]
    rows = [
        (name, int(part.get("rows", 0)), part.get("precision"), part.get("recall"), part.get("f1"))
        for name, part in ranked
    ]
    return [Table(("class", "rows", "precision", "recall", "F1"), rows, "Per class, the most frequent first")]


def _slices(facts: CardFacts) -> list[Block]:
    own, gate = facts.own, facts.spec.gates.slices
    parts = own.slices if own else {}
    if facts.spec.label is None:
        return [Paragraph(_NO_OUTCOME)]
    if not any(parts.values()):
        why = f"by {', '.join(gate.by)}, but no slice was measured" if gate.by else "none"
        return [Paragraph(f"Slices declared: {why}. How good the model is on parts of the rows is not known.", "warn")]
    direction = DIRECTIONS[facts.primary]
    limit = f"at {'least' if direction > 0 else 'most'}"
    blocks: list[Block] = [
        Paragraph(
            f"{metric_name(facts.primary)} on slices of {gate.min_rows:,} test rows or more; "
            f"{limit} {figure(gate.min_metric)} is allowed."
        )
    ]
    for column, values in parts.items():
        bars = [
            Bar(value, metric, tone="bad" if direction * (metric - gate.min_metric) < 0 else "good")
            for value, metric in sorted(values.items(), key=lambda item: (direction * item[1], item[0]))[:_IMPORTANT]
        ]
        blocks.append(Dots(f"{column}, the worst first", [Bar(f"allowed {limit}", gate.min_metric), *bars]))
    return blocks


def _groups(facts: CardFacts) -> list[Block]:
    own, gate = facts.own, facts.spec.gates.fairness
    if facts.spec.label is None:
        return [Paragraph(_NO_OUTCOME)]
    if own is None or not any(own.groups.values()):
        why = f"by {', '.join(gate.by)}, but none was measured" if gate.by else "none"
        return [Paragraph(f"Groups declared: {why}. Whether the model treats groups alike is not known.", "warn")]
    blocks: list[Block] = []
    what = measure_name(facts.spec)
    for column, values in own.groups.items():
        gap = max(values.values()) - min(values.values()) if values else 0.0
        tone: Tone = "good" if gap <= gate.max_gap else "bad"
        bars = [Bar(name, value, tone=tone) for name, value in sorted(values.items(), key=lambda item: -item[1])]
        blocks.append(Bars(f"{column}: {what}, gap {figure(gap)}, at most {figure(gate.max_gap)} allowed", bars))
    return blocks


def _calibration(facts: CardFacts) -> list[Block]:
    manifest, own = facts.manifest, facts.own
    if manifest.task not in CLASSIFICATION:
        return [Paragraph(f"A {manifest.task} gives no probabilities, so there is nothing to calibrate.")]
    measured = own.test if own else {}
    rows: list[tuple[str, Cell]] = [
        ("Calibration error on the test rows", measured.get("calibration_error")),
        ("Of it chance may be", measured.get("calibration_noise")),
        ("Allowed", facts.spec.gates.max_calibration_error),
    ]
    chosen = manifest.calibration
    if chosen is None:
        return [Facts([*rows, ("Method", "none: the probabilities are the model's own")])]
    rows.append(("Method", f"{chosen.method}, chosen on validation rows"))
    if chosen.method == "platt":
        rows.append(("Of the log odds", f"slope {figure(chosen.slope)}, intercept {figure(chosen.intercept)}"))
    blocks: list[Block] = [Facts(rows)]
    if chosen.raw:
        points = list(zip(chosen.raw, chosen.calibrated, strict=True))
        blocks.append(Curve("What the model's own probability becomes", "own probability", "calibrated", points))
    if chosen.evidence:
        blocks.append(
            Table(("method", "log loss"), sorted(chosen.evidence.items()), "Cross-validated on the validation rows")
        )
    return blocks


def _gates(facts: CardFacts) -> list[Block]:
    blocks: list[Block] = [
        Paragraph("Each of the four has to say yes before a model is served; a missing word means no.")
    ]
    for kind in KINDS:
        blessing = facts.blessings.get(kind)
        if blessing is None:
            blocks.append(Paragraph(f"{kind.capitalize()}: no blessing in the ledger.", "warn"))
            continue
        about = f"batch {blessing.as_of}" if kind == "data" else "this model"
        verdict = "blessed" if blessing.verdict == "BLESSED" else "not blessed"
        rows = [
            (gate.name.replace("_", " "), _verdict(gate.verdict), gate.observed, gate.threshold, gate.detail)
            for gate in blessing.gates
        ]
        caption = f"{kind.capitalize()}: {about} is {verdict} (blessing {blessing.blessing_id})"
        blocks.append(Table(("gate", "verdict", "observed", "threshold", "detail"), rows, caption))
    return blocks


def _verdict(verdict: str) -> Badge:
    return Badge(verdict.lower().replace("_", " "), _TONES[verdict])


def _explanations(facts: CardFacts) -> list[Block]:
    gains = _importance(facts)
    total = sum(gains.values())
    if not total:
        return [
            Paragraph(
                f"The training of {facts.manifest.algorithm.replace('_', ' ')} recorded no importance of its features."
            )
        ]
    ranked = sorted(gains.items(), key=lambda item: (-item[1], item[0]))
    unused = [name for name, gain in ranked if not gain]
    blocks: list[Block] = [
        Bars(
            "Share of the gain of all splits, in percent",
            [Bar(n, 100 * g / total, tone="good") for n, g in ranked[:_IMPORTANT] if g],
        )
    ]
    if unused:
        blocks.append(Paragraph(f"Never used by the model: {', '.join(unused)}."))
    return blocks


def _importance(facts: CardFacts) -> dict[str, float]:
    found: Any = facts.training.history.get("importance") if facts.training else None
    return {str(name): float(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _data(facts: CardFacts) -> list[Block]:
    split, label = facts.split, facts.spec.label
    delay = f"{figure(label.delay_minutes)} minutes after it is known" if label else "there is no label"
    blocks: list[Block] = [
        Facts(
            [
                ("As of", facts.manifest.as_of),
                ("Tested on", split.test_batch if split else ""),
                ("Split", f"{split.strategy}, seed {split.seed}" if split else "not in the ledger"),
                ("Labels known until", when(split.known_until) if split and split.known_until else "rows have no time"),
                ("Label reaches us", delay),
                ("Snapshot", facts.manifest.data_snapshot),
            ]
        )
    ]
    if split:
        rows = [
            (name, part.rows, part.unlabelled, _day(part.event_from), _day(part.event_until), _outcomes(part.outcomes),
             Mono(part.row_set_hash))
            for name in _PARTS if (part := split.parts.get(name))
        ]  # fmt: skip
        blocks.append(
            Table(("part", "rows", "left out, no label", "from", "until", "outcomes", "row set"), rows, "Parts")
        )
        blocks += [Paragraph(text, "warn") for text in split.warnings]
    return [*blocks, *_batches(facts), *_validations(facts)]


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else ""


def _outcomes(outcomes: dict[str, float]) -> str:
    ranked = sorted(outcomes.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {figure(value)}" for name, value in ranked[:5]) + (", …" if len(ranked) > 5 else "")  # noqa: PLR2004


def _batches(facts: CardFacts) -> list[Block]:
    rows = [
        (item.batch_id, item.file_name, item.rows_in, item.rows_loaded, item.rows_quarantined,
         Badge(item.status.lower(), "bad" if item.status == "REFUSED" else "good"), Mono(item.sha256[:16]))
        for item in facts.batches[-_ROWS:]
    ]  # fmt: skip
    columns = ("batch", "file", "rows in", "loaded", "quarantined", "", "file hash")
    return [Table(columns, rows, f"Delivered files up to {facts.manifest.as_of}, {len(facts.batches):,} in all")]


def _validations(facts: CardFacts) -> list[Block]:
    if not facts.validations:
        return [Paragraph("No data validation of these batches is in the ledger.", "warn")]
    rows = [
        (item.batch_id, item.kind, _verdict(item.verdict), item.reference or "nothing",
         "; ".join(f"{found.column} {found.check}: {shown(found.observed)}" for found in item.columns
                   if found.verdict != "PASSED") or "nothing found")
        for item in facts.validations[-_ROWS:]
    ]  # fmt: skip
    return [Table(("batch", "looked at", "verdict", "held against", "found"), rows, "Data validation")]


def _features(facts: CardFacts) -> list[Block]:
    schema, excluded = facts.manifest.features, facts.spec.features.exclude
    inputs = [
        (name, kind, "yes" if name in schema.required else "", schema.descriptions.get(name, ""))
        for name, kind in schema.inputs.items()
    ]
    blocks: list[Block] = [
        Paragraph(f"The model sees {len(schema.columns)} columns, made of {len(schema.inputs)} inputs."),
        Table(("input", "type", "required", "what it is"), inputs, "Inputs, as a request carries them"),
    ]
    if schema.row:
        rows = [(name, Mono(sql)) for name, sql in schema.row.items()]
        blocks.append(Table(("feature", "expression, the same in training and serving"), rows, "Row features"))
    if schema.fitted:
        fitted = [(item.name, item.kind, item.of, len(item.columns)) for item in schema.fitted]
        blocks.append(Table(("feature", "kind", "made of", "columns"), fitted, "Fitted on training rows only"))
    blocks.append(Facts([("Excluded", ", ".join(excluded) or "none"), ("Columns", _columns(schema))]))
    return blocks


def _columns(schema: FeatureSchema) -> str:
    return ", ".join(schema.column_names)


def _lineage(facts: CardFacts) -> list[Block]:
    manifest, made = facts.manifest, facts.manifest.provenance
    training = facts.training
    seconds = ", ".join(f"{name} {figure(value)}" for name, value in training.seconds.items()) if training else ""
    rows: list[tuple[str, Cell]] = [
        ("Model", Mono(manifest.model_id)),
        *((f"SHA-256 of {name}", Mono(sha)) for name, sha in sorted(manifest.files.items())),
        ("Data snapshot", manifest.data_snapshot),
        ("Training rows", manifest.training_rows),
        ("Training row set", Mono(manifest.training_row_set_hash)),
        ("Split", Mono(manifest.split_id)),
        ("Features", Mono(f"{manifest.feature_set_id}, fitted {manifest.fitted_features_id}")),
        ("Spec", Mono(manifest.spec_hash)),
        ("Code commit", Mono(made.code_commit) if made.code_commit else "not recorded"),
        (
            "Uncommitted code",
            Mono(made.code_changes) if made.code_changes else "none" if made.code_commit else "not recorded",
        ),
        ("Requirements", Mono(made.requirements) if made.requirements else "not recorded"),
        ("Trained at the word of", made.asked_by or "not recorded"),
        ("Seed", str(manifest.seed)),
        ("Parameters", _pairs(manifest.params.items())),
        ("Search", f"{training.trials} trials" if training and training.trials else "none"),
        ("Seconds", seconds or "not recorded"),
        ("Versions", _pairs(sorted(manifest.versions.items()))),
    ]
    live = facts.live
    if facts.is_live and live is not None:
        rows += [
            ("Served as", Mono(live.bento)),
            ("Served as offline", live.offline_parity),
            ("Latency, ms", f"p50 {figure(live.latency_p50_ms)}, p99 {figure(live.latency_p99_ms)}"),
            ("Seal of the bento", Mono(live.seal) if live.seal else "none"),
        ]
    return [Facts(rows)]


def _pairs(items: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in items) or "none"


def _commands(facts: CardFacts) -> list[Block]:
    product, model_id = facts.manifest.product, facts.model_id
    lines = [
        (f"headrace replay {model_id}", "Train it again and compare the hash"),
        (f"headrace history {product}", "What was live when, and why"),
        (f"headrace run {product} --as-of {facts.manifest.as_of}", "Judge this batch again"),
    ]
    if facts.is_live:
        lines.append((f"headrace rollback {product}", "Serve the model before it again"))
    else:
        lines.append((f"headrace rollback {product} --to {model_id}", "Serve this model again, if it was live"))
    lines.append((f"headrace block {product} {model_id} --reason …", "Take it away"))
    other = facts.comparison.champion_id if facts.comparison else ""
    if other:
        lines.append((f"headrace diff {other} {model_id}", "What differs from the champion of then"))
    return [Commands(lines)]
