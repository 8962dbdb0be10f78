"""Monitoring tests: Monitor 1 to Monitor 7 of the ML Test Score."""

import importlib.metadata
import platform
from statistics import median

from assets.provenance import requirements_hash
from assets.records import LivePointer
from assets.settings import CHECKOUT
from orchestration.score.evidence import Evidence, counted
from orchestration.score.rubric import WAIT, WORK, Finding, RubricTest, half, met, not_live, unmet

_INVARIANTS = ("anomalies", "schema", "statistics")
# a model that takes so many times as long as usual is slower, not noise
_SLOWER = 2.0


def dependencies(evidence: Evidence) -> Finding:
    """Libraries are those that the live model was trained with; a change of what comes in is refused and told."""
    manifest = evidence.manifest
    if manifest is None:
        return not_live(evidence)
    moved = [f"{name} {old} to {new}" for name, old in manifest.versions.items() if (new := _installed(name)) != old]
    if moved:
        return unmet(
            f"changed since the live model was trained: {', '.join(moved)}", f"headrace replay {manifest.model_id}"
        )
    locked = manifest.provenance.requirements
    told = [f"{len(manifest.versions)} libraries are as at its training"]
    if locked:
        told.append(
            "requirements.lock is the same" if locked == requirements_hash(CHECKOUT) else "requirements.lock moved"
        )
    settings = evidence.settings
    if settings.notify_webhook or settings.notify_command or settings.notify_email:
        return met(*told, "completed batches are made known; refused files and drift are alerts in the ledger")
    return half(
        *told, missing="nobody is told: no channel is set", fix="set HEADRACE_NOTIFY_WEBHOOK, _COMMAND or _EMAIL"
    )


def _installed(name: str) -> str:
    if name == "python":
        return platform.python_version()
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def invariants(evidence: Evidence) -> Finding:
    """The newest batch has all three verdicts, none of them a no."""
    if not evidence.batches:
        return unmet("no batch has been loaded", f"headrace land {evidence.product} FILE...")
    there = {kind: evidence.validations[kind] for kind in _INVARIANTS if kind in evidence.validations}
    bad = [kind for kind, (_, item) in there.items() if item.verdict == "FAILED"]
    if bad:
        return unmet(f"{' and '.join(bad)} of batch {evidence.newest_batch} failed", "deliver it corrected")
    told = [f"{kind} {item.verdict.lower()} on {item.batch_id}, {at:%Y-%m-%d}" for kind, (at, item) in there.items()]
    lacking = [kind for kind in _INVARIANTS if kind not in there]
    fix = f"headrace run {evidence.product} --as-of {evidence.newest_batch}"
    if not there:
        return unmet(f"no verdict about batch {evidence.newest_batch}", fix)
    return half(*told, missing=f"no verdict of {' and '.join(lacking)}", fix=fix) if lacking else met(*told)


def skew(evidence: Evidence) -> Finding:
    """Served scores of real rows are the offline ones to the bit."""
    if evidence.live is None:
        return not_live(evidence)
    parity = evidence.gate("infrastructure", "parity")
    if parity is None or not parity.passed:
        told = parity.told if parity else "no infrastructure blessing of the live model"
        return unmet(told, f"headrace run {evidence.product}")
    return met(f"{evidence.live.offline_parity} served as offline, to the bit", parity.told)


def stale(evidence: Evidence) -> Finding:
    """How many batches have come since the live model, against what the spec allows."""
    live = evidence.live
    if live is None:
        return not_live(evidence)
    age, limit = (
        sum(batch > live.as_of for batch in evidence.batches),
        evidence.spec.gates.comparison.stale_after_batches,
    )
    told = f"{counted(age, 'batch')} came since the live model ({live.as_of})"
    if not limit:
        return half(
            told,
            missing="from which age it is stale is not declared",
            fix="gates.comparison.stale_after_batches: 3",
        )
    if age > limit:
        return unmet(f"{told}, {limit} are allowed", f"headrace run {evidence.product}")
    return met(f"{told}, {limit} are allowed")


def stable(evidence: Evidence) -> Finding:
    """Scores are finite in training and in use, and small noise in the inputs moves them little."""
    if evidence.live is None:
        return not_live(evidence)
    in_use = evidence.checks.get("predictions.range")
    # without a champion there was nothing to look at
    scored = in_use if in_use and "no champion" not in str(in_use.threshold) else None
    seen = [evidence.gate("training", "finite"), evidence.gate("quality", "stability"), scored]
    there = [item for item in seen if item is not None]
    bad = [item for item in there if not item.passed]
    if bad or not there:
        told = bad[0].told if bad else "no gate has looked at the live model's scores"
        return unmet(told, f"headrace run {evidence.product}")
    if len(there) < len(seen):
        return half(
            *(item.told for item in there),
            missing="no batch was scored in use" if scored is None else "not all gates have spoken",
            fix=f"land the next batch, then headrace run {evidence.product}",
            effort=WAIT,
        )
    return met(*(item.told for item in there))


def speed(evidence: Evidence) -> Finding:
    """Latency is within budget and not far above that of earlier live models; nor is the time to train."""
    live = evidence.live
    if live is None:
        return not_live(evidence)
    latency = evidence.gate("infrastructure", "latency")
    if latency is None or not latency.passed:
        return unmet(latency.told if latency else "latency was not measured", f"headrace run {evidence.product}")
    slower = [text for text in (_slower_answers(evidence, live), _slower_training(evidence)) if text]
    if slower:
        return unmet("; ".join(slower), "headrace diff of the two models says what changed", WORK)
    earlier = {item.model_id for item in evidence.pointers} - {live.model_id}
    if not earlier:
        return half(
            latency.told,
            missing="one model was live, so there is nothing to be slower than",
            fix="promote another one",
            effort=WAIT,
        )
    return met(
        latency.told, f"not twice as slow as {counted(len(earlier), 'earlier live model')}, nor longer in training"
    )


def _slower_answers(evidence: Evidence, live: LivePointer) -> str:
    before = [item.latency_p50_ms for item in evidence.pointers if item.model_id != live.model_id]
    usual = median(before) if before else 0.0
    return (
        f"p50 {live.latency_p50_ms:.1f} ms, before {usual:.1f}"
        if before and live.latency_p50_ms > _SLOWER * usual
        else ""
    )


def _slower_training(evidence: Evidence) -> str:
    own = evidence.training
    if own is None or "fit" not in own.seconds:
        return ""
    before = [
        item.seconds["fit"]
        for _, item in evidence.trainings
        if item.algorithm == own.algorithm
        and item.model_id != own.model_id
        and item.as_of < own.as_of
        and "fit" in item.seconds
    ]
    usual = median(before) if before else 0.0
    # training sets grow, so only what is far above usual counts
    return (
        f"fit {own.seconds['fit']:.0f} s, before {usual:.0f}"
        if before and own.seconds["fit"] > 2 * _SLOWER * usual + 1
        else ""
    )


def quality(evidence: Evidence) -> Finding:
    """What the newest scored batch with known outcomes says of the predictions."""
    if evidence.live is None:
        return not_live(evidence)
    known = [item for item in evidence.performance if evidence.spec.gates.primary in item.metrics]
    if not known:
        return unmet(
            "no batch that was scored has outcomes yet",
            f"land the next batch, then headrace run {evidence.product}",
            WAIT,
        )
    newest, primary = known[-1], evidence.spec.gates.primary
    told = (
        f"{primary} {newest.metrics[primary]:.4f} on {newest.batch_id} ({newest.rows_labelled:,} rows with outcome), "
        f"{newest.reference:.4f} on the model's own test"
    )
    if newest.verdict == "DEGRADED":
        return unmet(f"degraded: {told}", f"headrace run {evidence.product}")
    return met(f"degradation {newest.verdict.lower()}: {told}")


TESTS = (
    RubricTest("Monitoring", 1, "Dependency changes result in notification", dependencies),
    RubricTest("Monitoring", 2, "Data invariants hold for inputs", invariants),
    RubricTest("Monitoring", 3, "Training and serving are not skewed", skew),
    RubricTest("Monitoring", 4, "Models are not too stale", stale),
    RubricTest("Monitoring", 5, "Models are numerically stable", stable),
    RubricTest("Monitoring", 6, "Computing performance has not regressed", speed),
    RubricTest("Monitoring", 7, "Prediction quality has not regressed", quality),
)
