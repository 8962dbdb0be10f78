"""Tests for ML infrastructure: Infra 1 to Infra 7 of the ML Test Score."""

from assets.candidates.explain import can_explain
from assets.records import BlessingKind, LivePointer
from orchestration.score.evidence import Evidence, counted
from orchestration.score.rubric import WAIT, WORK, Finding, RubricTest, half, met, not_live, unmet

_MODEL_BLESSINGS: tuple[BlessingKind, ...] = ("training", "quality", "infrastructure")
# what each training shows about its own specification
_TRAINING_GATES = ("converged", "finite", "shuffled_control")


def reproducible(evidence: Evidence) -> Finding:
    """Two fits of the same rows gave the same bytes."""
    if evidence.live is None:
        return not_live(evidence)
    same = evidence.gate("training", "deterministic")
    if same is None:
        return unmet("no training blessing says so of the live model", f"headrace run {evidence.product}")
    if not same.passed:
        return unmet(same.told, "fix seeds and thread counts of the algorithm", WORK)
    return met(same.told)


def specs_tested(evidence: Evidence) -> Finding:
    """Each training tests its own specification: it converges, is finite, and learns nothing from shuffled labels."""
    if evidence.live is None:
        return not_live(evidence)
    seen = [item for name in _TRAINING_GATES if (item := evidence.gate("training", name))]
    bad = [item for item in seen if not item.passed]
    if not seen:
        return unmet("no training blessing of the live model", f"headrace run {evidence.product}")
    if bad:
        return unmet(bad[0].told, "look at the candidate's training", WORK)
    return met(*(item.told for item in seen))


def integration(evidence: Evidence) -> Finding:
    """Batches went the whole way, from the delivered file through every gate to a written decision."""
    done = {item.as_of for _, item in evidence.decisions} & {
        item.as_of for _, item in evidence.blessings if item.kind == "quality"
    }
    if not done:
        return unmet("no batch went all the way to a decision", f"headrace run {evidence.product}")
    told = f"{counted(len(done), 'batch')} went from file to decision, the newest {max(done)}"
    if len(done) == 1:
        return half(told, missing="once only", fix="land the next batch and run it", effort=WAIT)
    return met(told)


def validated(evidence: Evidence) -> Finding:
    """The live model was blessed by all gates before it was served."""
    live = evidence.live
    if live is None:
        return not_live(evidence)
    promoted = [item for _, item in evidence.overrides if (item.action, item.subject) == ("promote", live.model_id)]
    found = {kind: evidence.blessing(kind) for kind in _MODEL_BLESSINGS}
    bad = [kind for kind, item in found.items() if item is None or item[1].verdict != "BLESSED"]
    if bad:
        who = f"; {promoted[-1].asked_by} promoted it: {promoted[-1].reason}" if promoted else ""
        return unmet(f"the live model has no {' and no '.join(bad)} blessing{who}", f"headrace run {evidence.product}")
    return met(*(f"{kind} blessing {item[1].blessing_id}, {item[0]:%Y-%m-%d}" for kind, item in found.items() if item))


def debuggable(evidence: Evidence) -> Finding:
    """What one prediction is made of can be asked for: exact contributions of LightGBM's trees."""
    manifest = evidence.manifest
    if manifest is None:
        return not_live(evidence)
    if can_explain(manifest):
        return met(f"exact contributions of {len(manifest.features.columns)} columns to each prediction, on request")
    return unmet(
        f"{manifest.algorithm} gives no reasons for one prediction", "lightgbm among the candidates gives them"
    )


def canaried(evidence: Evidence) -> Finding:
    """The bento was started and asked for real rows before it was served; it never gets a small share of traffic."""
    if evidence.live is None:
        return not_live(evidence)
    seen = [item for name in ("boots", "parity") if (item := evidence.gate("infrastructure", name))]
    bad = [item for item in seen if not item.passed]
    if bad or not seen:
        told = bad[0].told if bad else "no infrastructure blessing of the live model"
        return unmet(told, f"headrace run {evidence.product}")
    return half(
        f"asked for real rows before it was served: {evidence.live.offline_parity} as offline",
        *(item.told for item in seen),
        missing="it gets no small share of the traffic first",
        fix="put a proxy that splits traffic before two bentos",
        effort=WORK,
    )


def rolled_back(evidence: Evidence) -> Finding:
    """A rollback was done; else whether there is a whole bento to go back to."""
    live = evidence.live
    if live is None:
        return not_live(evidence)
    done = [(at, item) for at, item in evidence.decisions if item.verdict == "ROLLED_BACK"]
    if done:
        at, item = done[-1]
        return met(f"rolled back to {item.model_id} on {at:%Y-%m-%d}: {item.reason}")
    earlier = {item.model_id: item for item in evidence.pointers if item.model_id != live.model_id}
    if not earlier:
        return unmet("no other model was ever live", "promote a second one; the first stays to go back to", WAIT)
    there = [item for item in earlier.values() if _is_there(evidence, item)]
    if not there:
        return unmet("the bentos of earlier models are gone", "restore them from a backup", WORK)
    return half(
        f"{counted(len(there), 'earlier model')} can be served again",
        missing="nobody ever did it",
        fix=f"headrace rollback {evidence.product}, and forward again with --to {live.model_id}",
    )


def _is_there(evidence: Evidence, pointer: LivePointer) -> bool:
    name, _, version = pointer.bento.partition(":")
    return (evidence.settings.bentos / "bentos" / name / version).is_dir()


TESTS = (
    RubricTest("Infrastructure", 1, "Training is reproducible", reproducible),
    RubricTest("Infrastructure", 2, "Model specs are unit tested", specs_tested),
    RubricTest("Infrastructure", 3, "The ML pipeline is integration tested", integration),
    RubricTest("Infrastructure", 4, "Model quality is validated before serving", validated),
    RubricTest("Infrastructure", 5, "The model is debuggable", debuggable),
    RubricTest("Infrastructure", 6, "Models are canaried before serving", canaried),
    RubricTest("Infrastructure", 7, "Serving models can be rolled back", rolled_back),
)
