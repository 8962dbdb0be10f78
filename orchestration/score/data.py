"""Tests for features and data: Data 1 to Data 7 of the ML Test Score."""

import re
from datetime import datetime
from pathlib import Path

from orchestration.score.evidence import Evidence, counted
from orchestration.score.rubric import WORK, Finding, RubricTest, half, met, not_live, unmet

_PRIVATE = 0o077


def schema(evidence: Evidence) -> Finding:
    """Types and ranges are in the spec, and the newest batch was held against them and the last accepted ones."""
    spec = evidence.spec
    columns, ranges = len(spec.source.columns), len(spec.validation.anomalies.ranges)
    if not evidence.batches:
        return unmet("no batch has been loaded", f"headrace land {spec.product} FILE...")
    found = evidence.validations.get("schema")
    if found is None:
        return unmet(
            f"no schema verdict about batch {evidence.newest_batch}",
            f"headrace run {spec.product} --as-of {evidence.newest_batch}",
        )
    at, verdict = found
    if verdict.verdict == "FAILED":
        return unmet(
            f"batch {verdict.batch_id} broke the schema and is held", "deliver it corrected, or change the spec"
        )
    return met(
        f"schema {verdict.verdict.lower()} on {verdict.batch_id}, {at:%Y-%m-%d}: {columns} types, {ranges} ranges"
    )


def beneficial(evidence: Evidence) -> Finding:
    """Each feature that the live model was given is used, or was chosen by what it is worth on training rows."""
    manifest, training = evidence.manifest, evidence.training
    if manifest is None:
        return not_live(evidence)
    how = evidence.spec.features.select.strategy
    if how in ("importance", "mutual_information"):
        return met(f"features chosen by {how.replace('_', ' ')}: {len(manifest.features.columns)} left")
    gains = training.history.get("importance") if training else None
    if not gains:
        return unmet(
            f"{manifest.algorithm} records no importance, and every feature is taken",
            "features.select: {strategy: importance}",
        )
    unused = sorted(name for name, gain in gains.items() if not gain)
    if unused:
        return half(
            f"gain of {len(gains)} features measured",
            missing=f"never used: {', '.join(unused[:4])}" + ("…" if len(unused) > 4 else ""),  # noqa: PLR2004
            fix="features.select: {strategy: importance}, or exclude them",
        )
    return met(f"each of {len(gains)} features has gain in the live model")


def cost(evidence: Evidence) -> Finding:
    """Latency and size of the whole are within budget, so no feature's share of them is too much."""
    if evidence.live is None:
        return not_live(evidence)
    latency, size = evidence.gate("infrastructure", "latency"), evidence.gate("quality", "model_size")
    there = [item for item in (latency, size) if item is not None and item.passed]
    if len(there) == 2:  # noqa: PLR2004 - both
        return met(*(item.told for item in there))
    lacking = [name for name, item in (("latency", latency), ("model_size", size)) if item not in there]
    missing = f"not passed by the live model: {', '.join(lacking)}"
    fix = f"headrace run {evidence.product}"
    return half(*(item.told for item in there), missing=missing, fix=fix) if there else unmet(missing, fix)


def meta_level(evidence: Evidence) -> Finding:
    """Rules about features as such: nothing known only afterwards, no outcome among them."""
    wanted = ("point_in_time", "leak")
    seen = [item for name in wanted if (item := evidence.check("features", name))]
    bad = [item for item in seen if not item.passed]
    if bad:
        return unmet(bad[0].told, "mend the feature table; the check's metadata names the columns", WORK)
    if len(seen) < len(wanted):
        return unmet("the feature checks have not run", f"headrace run {evidence.product}")
    return met(*(item.told for item in seen))


def privacy(evidence: Evidence) -> Finding:
    """Others on this machine can't read the data; which columns are personal nobody has declared."""
    home = evidence.settings.home
    if not home.exists() or not evidence.batches:
        return unmet("no data yet, so nothing to protect", f"headrace land {evidence.product} FILE...")
    mode = home.stat().st_mode
    if mode & _PRIVATE:
        return unmet(f"others may read {home} (mode {mode & 0o777:o})", f"chmod 700 {home}")
    return half(
        f"only its owner may read {home}",
        missing="which columns are personal is not declared, so who sees them is not checked",
        fix="keep personal columns out of the source, or hash them before they land",
        effort=WORK,
    )


def added_quickly(evidence: Evidence) -> Finding:
    """From the first split with a set of features until a model with it was served."""
    if evidence.live is None:
        return not_live(evidence)
    hours = _hours_to_production(evidence)
    if not hours:
        return unmet("no feature set was followed until it was live", f"headrace run {evidence.product}")
    told = f"{counted(len(hours), 'feature set')} went live, the slowest in {max(hours):.1f} hours"
    if len(hours) > 1:
        return met(told)
    return half(told, missing="measured once only", fix="add a feature and run again", effort=WORK)


def _hours_to_production(evidence: Evidence) -> list[float]:
    """For each feature set that was served: hours from its first split to the first LIVE decision."""
    first: dict[str, datetime] = {}
    of_split: dict[str, str] = {}
    for at, split in evidence.splits:
        first.setdefault(split.feature_set_id, at)
        of_split[split.split_id] = split.feature_set_id
    served: dict[str, datetime] = {}
    for at, decision in evidence.decisions:
        features = of_split.get(decision.split_id)
        if decision.verdict == "LIVE" and features:
            served.setdefault(features, at)
    return [(at - first[name]).total_seconds() / 3600 for name, at in served.items()]


def code_tested(evidence: Evidence) -> Finding:
    """SQL features by dbt, row features by parity of served and offline scores on real rows."""
    models = evidence.settings.dbt_project / "models" / "marts" / evidence.product
    unit, data = _declared(models, "unit_tests:"), _declared(models, "data_tests:")
    ran = evidence.check("features", "point_in_time")
    fix = (
        f"add `unit_tests:` of {evidence.product}_features to {models.name}'s yml, then headrace run {evidence.product}"
    )
    if ran is None:
        return unmet("the feature table was never built, so its tests never ran", f"headrace run {evidence.product}")
    parity = evidence.gate("infrastructure", "parity")
    told = [
        f"dbt tests of {counted(data, 'column')} ran with the table",
        *([parity.told] if parity and parity.passed else []),
    ]
    if unit and parity and parity.passed:
        return met(f"{unit} dbt unit tests", *told)
    if not data:
        return unmet("the feature table has no dbt test", fix, WORK)
    return half(*told, missing="data tests look at the result; no unit test holds the SQL", fix=fix, effort=WORK)


def _declared(folder: Path, key: str) -> int:
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yml"))]
    return sum(len(re.findall(rf"^\s*{key}", text, re.MULTILINE)) for text in texts)


TESTS = (
    RubricTest("Data", 1, "Feature expectations are captured in a schema", schema),
    RubricTest("Data", 2, "All features are beneficial", beneficial),
    RubricTest("Data", 3, "No feature's cost is too much", cost),
    RubricTest("Data", 4, "Features adhere to meta-level requirements", meta_level),
    RubricTest("Data", 5, "The data pipeline has appropriate privacy controls", privacy),
    RubricTest("Data", 6, "New features can be added quickly", added_quickly),
    RubricTest("Data", 7, "All input feature code is tested", code_tested),
)
