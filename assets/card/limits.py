"""What is not known about a model, and what speaks against it: each sentence from a record, or from its absence."""

from collections.abc import Iterator

from assets.card.document import figure
from assets.card.facts import KINDS, CardFacts
from assets.evaluation.metrics import UNSEEN
from assets.tasks import CLASSIFICATION

# fewer test rows leave wide intervals
_FEW_ROWS = 1_000
_LISTED = 12


def limits(facts: CardFacts) -> list[str]:
    """All limits, the gravest first; there is always at least one."""
    return [
        *_gate_limits(facts),
        *_test_limits(facts),
        *_class_limits(facts),
        *_part_limits(facts),
        *_data_limits(facts),
        *_since(facts),
        *_lineage_limits(facts),
        "A category that training has not seen counts as unknown.",
    ]


def _gate_limits(facts: CardFacts) -> Iterator[str]:
    for kind in KINDS:
        blessing = facts.blessings.get(kind)
        if blessing is None:
            yield f"No {kind} gate has spoken: what it would have found is not known."
            continue
        for gate in blessing.gates:
            if gate.verdict != "PASSED":
                said = "failed" if gate.verdict == "FAILED" else "warned"
                about = f" ({gate.detail})" if gate.detail else ""
                yield (
                    f"The {kind} gate {gate.name.replace('_', ' ')} {said}: observed {_text(gate.observed)}, "
                    f"threshold {_text(gate.threshold)}{about}."
                )


def _test_limits(facts: CardFacts) -> Iterator[str]:
    if facts.own is None:
        yield "It was not judged on unseen rows: how good it is is not known."
        return
    if facts.split:
        test = facts.split.parts["test"]
        if test.event_from and test.event_until:
            yield (
                f"It was tested on {test.rows:,} rows from {test.event_from:%Y-%m-%d} to {test.event_until:%Y-%m-%d} "
                "alone: other times may be harder."
            )
        if test.rows < _FEW_ROWS:
            yield f"{test.rows:,} test rows are few: its metrics may be off by chance."
    if facts.primary not in facts.own.intervals:
        yield f"The interval of its {facts.primary} was not measured."
    if facts.champion is None:
        yield "No champion was scored on the same rows, so it is not known whether it is better than one."


def _class_limits(facts: CardFacts) -> Iterator[str]:
    unseen = int(facts.own.classes.get(UNSEEN, {}).get("rows", 0)) if facts.own else 0
    if unseen:
        yield f"{unseen:,} test rows are of classes that training has not seen: it is always wrong about those."
    if facts.split and facts.manifest.task in CLASSIFICATION:
        known = set(facts.split.parts["train"].outcomes)
        new = sorted({name for part in facts.split.parts.values() for name in part.outcomes} - known)
        if new:
            yield f"Classes without training rows: {_listed(new)}."


def _part_limits(facts: CardFacts) -> Iterator[str]:
    if facts.spec.label is None:  # nothing that parts could be compared by
        return
    own, gates = facts.own, facts.spec.gates
    slices = own.slices if own else {}
    if not gates.slices.by:
        yield "No slices are declared (gates.slices.by in the spec): its worst part of the rows is not known."
    for column in gates.slices.by:
        if not slices.get(column):
            yield f"No slice of {column} has the {gates.slices.min_rows:,} rows of several outcomes that judging takes."
    if any(slices.values()):
        yield f"Slices with fewer than {gates.slices.min_rows:,} test rows, or of one outcome only, were not judged."
    if not gates.fairness.by:
        yield "No groups are declared (gates.fairness.by in the spec): whether it treats groups alike was not tested."
    for column in gates.fairness.by:
        if not (own and own.groups.get(column)):
            yield f"No two groups of {column} have the {gates.fairness.min_rows:,} rows that judging takes."


def _data_limits(facts: CardFacts) -> Iterator[str]:
    if facts.split:
        left = sum(part.unlabelled for part in facts.split.parts.values())
        if left:
            yield f"{left:,} rows had no label, or none in time, and are in no part: they may be unlike the others."
    quarantined = sum(item.rows_quarantined for item in facts.batches)
    if quarantined:
        yield f"{quarantined:,} delivered rows did not fit their columns and were left in quarantine."
    refused = [item.file_name for item in facts.batches if item.status == "REFUSED"]
    if refused:
        yield f"Refused files were never read: {_listed(refused)}."
    label = facts.spec.label
    if label and label.delay_minutes:
        yield f"Labels reach us {figure(label.delay_minutes)} minutes late, so what goes wrong is seen that much later."
    accepted = [item.subject for _, item in facts.overrides if item.action == "accept"]
    if accepted:
        yield f"Batches that data validation held back and a person accepted: {_listed(accepted)}."
    held = sorted({item.batch_id for item in facts.validations if item.verdict == "FAILED"} - set(accepted))
    if held:
        yield f"Batches with a failed data validation: {_listed(held)}."


def _since(facts: CardFacts) -> Iterator[str]:
    """What monitoring has seen since; of a model that scored nothing that nothing is known."""
    if not facts.drift:
        yield "No later batch was held against its training data yet: whether the world has moved since is not known."
    else:
        moved = [item for item in facts.drift if item.verdict == "DRIFTED"]
        columns = sorted({name for item in moved for name in item.drifted})
        what = f" (columns: {_listed(columns)})" if columns else ""
        yield f"{len(moved)} of {len(facts.drift)} batches that it scored have drifted{what}."
    if not facts.performance:
        yield "No later batch has outcomes yet: how good it is in use is not known."
        return
    newest = facts.performance[-1]
    value = newest.metrics.get(facts.primary)
    degraded = [item.batch_id for item in facts.performance if item.verdict == "DEGRADED"]
    if degraded:
        yield f"It was worse than on its own test rows beyond what is allowed on: {_listed(degraded)}."
    yield (
        f"On the newest batch that it scored ({newest.batch_id}) the outcomes of {newest.rows_labelled:,} of "
        f"{newest.rows_scored:,} rows are known: {facts.primary} {figure(value)}, on its own test "
        f"{figure(newest.reference)}."
    )


def _lineage_limits(facts: CardFacts) -> Iterator[str]:
    made = facts.manifest.provenance
    if not made.code_commit:
        yield "By which commit it was trained is not recorded."
    elif made.code_changes:
        yield "It was trained by uncommitted code; the patch is in the home's folder named code."
    if facts.is_spec_changed:
        yield "The product's spec has changed since it was trained: texts and thresholds here are today's."


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else figure(value)
