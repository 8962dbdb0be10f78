"""Tests for model development: Model 1 to Model 7 of the ML Test Score."""

import subprocess
from statistics import median

from assets.monitoring.performance import fall
from orchestration.score.evidence import Evidence, counted
from orchestration.score.rubric import WAIT, WORK, Finding, RubricTest, half, met, not_live, unmet

_ENOUGH = 3
_GIT_SECONDS = 20


def reviewed(evidence: Evidence) -> Finding:
    """The live model is of committed code and today's spec, and the spec's commit names a reviewer."""
    manifest = evidence.manifest
    if manifest is None:
        return not_live(evidence)
    made = manifest.provenance
    if not made.code_commit:
        return unmet("the live model's commit is not recorded", f"headrace run {evidence.product} in a git checkout")
    if made.code_changes:
        return unmet(
            "the live model was trained by uncommitted code", f"commit it, then headrace run {evidence.product}"
        )
    if manifest.spec_hash != evidence.spec.spec_hash:
        return unmet("the spec has changed since the live model was trained", f"headrace run {evidence.product}")
    submitted = f"trained by commit {made.code_commit[:12]} with today's spec"
    reviewers = _reviewers(evidence)
    if reviewers:
        return met(submitted, f"spec reviewed by {reviewers}")
    return half(
        submitted,
        missing="the spec's commit names no reviewer",
        fix="have it reviewed, with a line `Reviewed-by: NAME` in the commit",
        effort=WORK,
    )


def _reviewers(evidence: Evidence) -> str:
    """Who reviewed the newest commit of the spec's file; empty outside of git."""
    folder = evidence.settings.products
    command = ["git", "-C", str(folder), "log", "-1", "--format=%(trailers:key=Reviewed-by,valueonly,separator=%x2C)"]
    try:
        return subprocess.run(
            [*command, "--", f"{evidence.product}.yaml"],
            capture_output=True,
            check=True,
            text=True,
            timeout=_GIT_SECONDS,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def correlates(evidence: Evidence) -> Finding:
    """What models were worth on their own test rows, beside what they were worth in use once outcomes were known."""
    primary, limit = evidence.spec.gates.primary, evidence.spec.monitoring.max_metric_drop
    pairs = [(item.metrics[primary], item.reference) for item in evidence.performance if primary in item.metrics]
    if not pairs:
        return unmet(
            "no batch that was scored in use has outcomes yet",
            f"land the next batch, then headrace run {evidence.product}",
            WAIT,
        )
    gap = median(abs(fall(primary, value, reference)) for value, reference in pairs)
    over = counted(len(pairs), "batch")
    told = f"{primary} in use differs by {gap:.4f} from the test's, median of {over} (up to {limit:g})"
    if gap > limit:
        return unmet(told, "look at drift: the test rows are unlike those in use", WORK)
    if len(pairs) < _ENOUGH:
        return half(told, missing=f"{len(pairs)} of {_ENOUGH} batches", fix="land further batches", effort=WAIT)
    return met(told)


def tuned(evidence: Evidence) -> Finding:
    """The live model's parameters were searched on validation rows."""
    manifest, training = evidence.manifest, evidence.training
    if manifest is None:
        return not_live(evidence)
    if training and training.trials:
        return met(f"{training.trials} trials of {manifest.algorithm} on the validation rows")
    tried = (
        training.history.get("silhouette_by_clusters", training.history.get("bic_by_clusters")) if training else None
    )
    if tried and len(tried) > 1:
        return met(f"{counted(len(tried), 'number')} of clusters tried by {manifest.algorithm}")
    return unmet(
        f"the parameters of {manifest.algorithm} were given, not searched",
        f"candidates, {manifest.algorithm}: search: {{trials: 20}}",
    )


def staleness(evidence: Evidence) -> Finding:
    """How much a newer model is better than an older one on the same rows: what waiting costs."""
    gains = [item.improvement for item in evidence.comparisons]
    if not gains:
        return unmet(
            "no newer model was held against an older one on the same rows",
            f"land the next batch, then headrace run {evidence.product}",
            WAIT,
        )
    primary = evidence.spec.gates.primary
    told = f"newer models improved {primary} by {median(gains):+.4f}, median of {counted(len(gains), 'comparison')}"
    if len(gains) < _ENOUGH:
        return half(told, missing=f"{len(gains)} of {_ENOUGH} comparisons", fix="land further batches", effort=WAIT)
    return met(told)


def simpler(evidence: Evidence) -> Finding:
    """The live model beats the best baseline, and a linear model."""
    if evidence.live is None:
        return not_live(evidence)
    baseline, linear = evidence.gate("quality", "beats_baseline"), evidence.gate("training", "beats_linear")
    if baseline is None or not baseline.passed:
        told = baseline.told if baseline else "no quality blessing says so"
        return unmet(f"the live model does not beat the baseline: {told}", f"headrace run {evidence.product}")
    if linear is None:
        return half(
            baseline.told,
            missing="no linear model was tried beside it",
            fix=f"headrace run {evidence.product} with a linear candidate in the spec",
        )
    if not linear.passed:
        return unmet(linear.told, "serve the linear model: it is as good and simpler", WORK)
    return met(baseline.told, linear.told)


def slices(evidence: Evidence) -> Finding:
    """The worst slice of the live model is good enough."""
    if evidence.live is None:
        return not_live(evidence)
    if evidence.spec.label is None:
        return _no_outcome()
    by = evidence.spec.gates.slices.by
    if not by:
        return unmet("no slices are declared", f"gates.slices.by: [{_category(evidence)}] with min_metric")
    worst = evidence.gate("quality", "worst_slice")
    measured = sum(len(part) for part in evidence.report.slices.values()) if evidence.report else 0
    if worst is None or not worst.passed:
        told = worst.told if worst else f"the live model was judged before slices by {', '.join(by)} were declared"
        return unmet(told, f"headrace run {evidence.product}")
    if not measured:
        return unmet(
            f"no slice by {', '.join(by)} has {evidence.spec.gates.slices.min_rows} rows",
            "gates.slices.min_rows: fewer",
        )
    return met(worst.told, f"{measured} slices by {', '.join(by)}")


def inclusion(evidence: Evidence) -> Finding:
    """Declared groups are treated alike by the live model."""
    if evidence.live is None:
        return not_live(evidence)
    if evidence.spec.label is None:
        return _no_outcome()
    by = evidence.spec.gates.fairness.by
    if not by:
        return unmet("no groups are declared", f"gates.fairness.by: [{_category(evidence)}]")
    gap = evidence.gate("quality", "fairness")
    measured = sum(len(part) for part in evidence.report.groups.values()) if evidence.report else 0
    if gap is None or not gap.passed:
        told = gap.told if gap else f"the live model was judged before groups by {', '.join(by)} were declared"
        return unmet(told, f"headrace run {evidence.product}")
    if not measured:
        return unmet(
            f"no two groups by {', '.join(by)} have {evidence.spec.gates.fairness.min_rows} rows",
            "gates.fairness.min_rows: fewer",
        )
    return met(gap.told, f"{measured} groups by {', '.join(by)}")


def _no_outcome() -> Finding:
    """Of a clustering neither slices nor groups can be judged."""
    return unmet("without an outcome there is nothing that parts could be compared by", "look at the clusters", WORK)


def _category(evidence: Evidence) -> str:
    """A category to name in an example."""
    inputs = evidence.spec.features.inputs
    return next((name for name, item in inputs.items() if item.type in ("category", "boolean")), next(iter(inputs)))


TESTS = (
    RubricTest("Model", 1, "Model specs are reviewed and submitted", reviewed),
    RubricTest("Model", 2, "Offline and online metrics correlate", correlates),
    RubricTest("Model", 3, "All hyperparameters have been tuned", tuned),
    RubricTest("Model", 4, "The impact of model staleness is known", staleness),
    RubricTest("Model", 5, "A simpler model is not better", simpler),
    RubricTest("Model", 6, "Model quality is sufficient on important data slices", slices),
    RubricTest("Model", 7, "The model is tested for considerations of inclusion", inclusion),
)
