"""What differs between two recorded models: data, features, parameters, calibration, metrics, code, versions.

It reads the ledger, the feature table at both snapshots, and git; it trains nothing.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb

from assets import ledger
from assets.candidates.lookup import RecordedModel
from assets.candidates.recorded_code import code_in_words
from assets.candidates.replay import differences
from assets.errors import HeadraceError
from assets.evaluation.metrics import SHOWN
from assets.features.read import as_it_was
from assets.provenance import CODE, patch_path
from assets.records import Comparison, EvaluationReport, FeatureSchema, ModelManifest, Provenance, content_hash
from assets.settings import CHECKOUT, Settings
from assets.splits.service import held_back
from assets.tasks import DIRECTIONS

Section = Literal["data", "features", "parameters", "calibration", "metrics", "code", "versions", "spec"]
_GIT_SECONDS = 60
_FILES_SHOWN = 20
_VALUES_SHOWN = 5
_LONG = 80
_PATCHED = re.compile(rb"^diff --git a/(.+?) b/", re.MULTILINE)


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same: what, and its value in both models ("" where there is none)."""

    section: Section
    what: str
    first: Any
    second: Any


@dataclass(frozen=True)
class ModelDiff:
    """What differs, by section; a section without a row is the same in both.

    Args:
        first, second: ids of the models.
        rows: of each section in its order; of metrics the equal ones, too.
        notes: how the metrics compare, and what could not be looked up.
    """

    product: str
    first: str
    second: str
    rows: tuple[Difference, ...]
    notes: tuple[str, ...]

    def of(self, section: Section) -> list[Difference]:
        """The rows of one section."""
        return [row for row in self.rows if row.section == section]


def diff_models(
    settings: Settings, first: RecordedModel, second: RecordedModel, checkout: Path = CHECKOUT
) -> ModelDiff:
    """Hold two models of one product against each other.

    Args:
        settings: of the home that both are in.
        first: from `find_model`.
        second: the same.
        checkout: the git repository that is asked for changed files.

    Raises:
        HeadraceError: they are of different products.
    """
    if first.manifest.product != second.manifest.product:
        raise HeadraceError(
            "the models are of different products, so there is nothing to hold against each other",
            where=f"{first.model_id} and {second.model_id}",
            expected="two models of one product",
            found=f"{first.manifest.product} and {second.manifest.product}",
            fix=f"name two of one product (headrace history {first.manifest.product} lists its decisions)",
        )
    data, data_notes = _data(first, second)
    metrics, metric_notes = _metrics(first, second)
    code, code_notes = _code(settings, first.manifest.provenance, second.manifest.provenance, checkout)
    old, new = first.manifest, second.manifest
    rows = [
        *data,
        *_features(old, new),
        *_parameters(old, new),
        *_flat("calibration", _calibration(old), _calibration(new)),
        *metrics,
        *code,
        *_flat("versions", old.versions, new.versions),
        *_flat("spec", {"hash": old.spec_hash[:16]}, {"hash": new.spec_hash[:16]}),
    ]
    return ModelDiff(
        old.product, first.model_id, second.model_id, tuple(rows), (*data_notes, *metric_notes, *code_notes)
    )


def _flat(section: Section, first: Any, second: Any) -> list[Difference]:
    """Where two JSON values differ, as rows; nothing is an empty text."""
    return [
        Difference(section, ": ".join(path), "" if old is None else old, "" if new is None else new)
        for path, old, new in differences(first, second)
    ]


def _data(first: RecordedModel, second: RecordedModel) -> tuple[list[Difference], list[str]]:
    """Split rule, batches, and of each part rows, hash, outcomes and time span."""
    old, new = (_split(model.split.model_dump(mode="json")) for model in (first, second))
    rows = _flat("data", old, new)
    try:
        batches = [{"rows of batch": _batches(model)} for model in (first, second)]
    except duckdb.Error as error:
        return rows, [f"batches: a snapshot can't be read any more ({str(error).splitlines()[0]})"]
    return [*rows, *_flat("data", *batches)], []


def _split(split: Mapping[str, Any]) -> dict[str, Any]:
    """The rule of a split and what each part is like."""
    rule = ("as_of", "strategy", "ratios", "seed", "options", "known_until", "test_batch")
    parts = {name: split["parts"][name] for name in ("train", "validation", "test") if name in split["parts"]}
    return {name.replace("_", " "): split[name] for name in rule} | {
        name: {field.replace("_", " "): value for field, value in part.items()} for name, part in parts.items()
    }


def _batches(model: RecordedModel) -> dict[str, int]:
    """Batch -> rows of the feature table that the model's split could see, as they were then."""
    with model.lake.connect() as con:
        found = con.execute(
            f"select batch_id, count(*) from {as_it_was(model.spec.product, model.split.data_snapshot, 'features')} "
            "where batch_id <= ? group by batch_id order by batch_id",
            [model.split.as_of],
        ).fetchall()
    return {batch_id: rows for batch_id, rows in found if batch_id not in held_back(model.split)}


def _features(first: ModelManifest, second: ModelManifest) -> list[Difference]:
    """Inputs, expressions, columns, known values, fitted transforms, the selection's outcome, and the ids of all."""
    rows = _flat("features", _schema(first.features), _schema(second.features))
    old, new = first.features.categories, second.features.categories
    for name in sorted({*old, *new}):
        lost, gained = (
            sorted(set(here.get(name, ())) - set(there.get(name, ()))) for here, there in ((old, new), (new, old))
        )
        if lost or gained:
            rows.append(Difference("features", f"known values of {name}, only here", _few(lost), _few(gained)))
    ids = [{"definitions": item.feature_set_id, "fitted": item.fitted_features_id} for item in (first, second)]
    return [*rows, *_flat("features", *ids)]


def _schema(schema: FeatureSchema) -> dict[str, Any]:
    """A feature schema as names and what each is, in words short enough for a table."""
    return {
        "input": schema.inputs,
        "expression": schema.row,
        "column": dict(schema.columns),
        "transform": {item.name: f"{item.kind} of {item.of}" for item in schema.fitted},
        "state of": {item.name: _state(item.data) for item in schema.fitted},
    }


def _few(values: Sequence[str]) -> str:
    more = f" and {len(values) - _VALUES_SHOWN} more" if len(values) > _VALUES_SHOWN else ""
    return ", ".join(values[:_VALUES_SHOWN]) + more


def _state(data: Mapping[str, Any]) -> Any:
    """What was fitted, by its hash where it is long."""
    text = json.dumps(data, sort_keys=True)
    return data if len(text) <= _LONG else f"{len(text):,} characters ({content_hash(data)[:8]})"


def _parameters(first: ModelManifest, second: ModelManifest) -> list[Difference]:
    """Algorithm, parameters as used, the other settings of the candidate, seed and threshold."""

    def settings_of(manifest: ModelManifest) -> dict[str, Any]:
        candidate = {name: value for name, value in manifest.config.items() if name not in ("algorithm", "params")}
        fixed = {"algorithm": manifest.algorithm, "seed": manifest.seed, "threshold": manifest.decision_threshold}
        return {**fixed, **candidate, **manifest.params}

    return _flat("parameters", settings_of(first), settings_of(second))


def _calibration(manifest: ModelManifest) -> dict[str, Any]:
    """How scores are calibrated, the points of a curve by their number."""
    found = manifest.calibration
    if found is None:
        return {"method": "none"}
    shown: dict[str, Any] = {"method": found.method, "log loss": found.evidence}
    if found.method == "platt":
        return {**shown, "slope": found.slope, "intercept": found.intercept}
    return {**shown, "points": len(found.raw), "curve": content_hash([found.raw, found.calibrated])[:8]}


def _metrics(first: RecordedModel, second: RecordedModel) -> tuple[list[Difference], list[str]]:
    """Metrics on the newest test rows that both were judged on, else each on its own test rows."""
    with first.lake.connect() as con:
        evaluations = [item for _, item in ledger.records(con, "evaluations", EvaluationReport)]
        comparisons = [item for _, item in ledger.records(con, "comparisons", Comparison)]
    judged = [
        {item.split_id: item for item in evaluations if item.model_id == model.model_id} for model in (first, second)
    ]
    common = [split_id for split_id in judged[0] if split_id in judged[1]]
    if common:
        old, new = (reports[common[-1]] for reports in judged)
        note = f"metrics: both on the same test rows (split {common[-1]})"
    else:
        reports = [found.get(model.split.split_id) for found, model in zip(judged, (first, second), strict=True)]
        own = [item for item in reports if item is not None]
        if len(own) < len(reports):
            return [], ["metrics: one of them was never judged"]
        old, new = own
        note = (
            f"metrics: each on its own test rows ({first.split.test_batch} and {second.split.test_batch}), "
            "so the numbers don't compare"
        )
    known = [name for name in _shown(first) if name in old.test and name in new.test]
    rows = [Difference("metrics", _named(name), old.test[name], new.test[name]) for name in known]
    rows += [
        Difference("metrics", f"{name}, 95% interval", _span(old.intervals, name), _span(new.intervals, name))
        for name in known
        if name in {**old.intervals, **new.intervals}
    ]
    return rows, [note, *_compared(comparisons, first.model_id, second.model_id)]


def _shown(model: RecordedModel) -> list[str]:
    return list(dict.fromkeys([model.spec.gates.primary, *SHOWN[model.manifest.task]]))


def _named(metric: str) -> str:
    return f"{metric} (less is better)" if DIRECTIONS.get(metric, 1) < 0 else metric


def _span(intervals: Mapping[str, tuple[float, float]], name: str) -> str:
    return f"{intervals[name][0]:.4f} to {intervals[name][1]:.4f}" if name in intervals else ""


def _compared(comparisons: Iterable[Comparison], first: str, second: str) -> list[str]:
    """The newest comparison of exactly these two, in words."""
    found = [item for item in comparisons if {item.challenger_id, item.champion_id} == {first, second}]
    if not found:
        return []
    item = found[-1]
    interval = f"{item.confidence:.0%} interval {item.low:+.4f} to {item.high:+.4f}"
    against = f"{item.challenger_id} was {item.improvement:+.4f} in {item.metric} against {item.champion_id}"
    return [f"{against} ({interval}) on {item.rows:,} rows of both"]


def _code(
    settings: Settings, first: Provenance, second: Provenance, checkout: Path
) -> tuple[list[Difference], list[str]]:
    """Commits, uncommitted changes, requirements, who asked, and the files that changed in between."""
    parts = [
        {"code": code_in_words(item), "requirements": item.requirements[:16], "asked by": item.asked_by}
        for item in (first, second)
    ]
    rows = _flat("code", *parts)
    same = (first.code_commit, first.code_changes) == (second.code_commit, second.code_changes)
    if same or not first.code_commit or not second.code_commit:
        return rows, []
    try:
        changed = changed_files(settings, first, second, checkout)
    except (OSError, subprocess.SubprocessError):
        return rows, ["code: git doesn't know both commits here, so the changed files can't be listed"]
    rows += [Difference("code", name, how if how == "removed" else "", how) for name, how in changed[:_FILES_SHOWN]]
    left = len(changed) - _FILES_SHOWN
    return rows, [f"code: {left} more files changed (--json lists no more either; git diff does)"] if left > 0 else []


def changed_files(
    settings: Settings, first: Provenance, second: Provenance, checkout: Path
) -> list[tuple[str, Literal["added", "removed", "changed"]]]:
    """Files of the code that differ between two states, each a commit with a patch of uncommitted changes on top.

    Raises:
        OSError, subprocess.SubprocessError: there is no git, or it lacks a commit.
    """
    listed = subprocess.run(
        ["git", "-C", str(checkout), "diff", "--name-status", "--no-renames", "-z",  # noqa: S607 - the user's git
         first.code_commit, second.code_commit, "--", *CODE],
        capture_output=True, check=True, timeout=_GIT_SECONDS,
    ).stdout.decode(errors="replace").split("\0")  # fmt: skip
    words: dict[str, Literal["added", "removed", "changed"]] = {"A": "added", "D": "removed"}
    found = {name: words.get(status, "changed") for status, name in zip(listed[::2], listed[1::2], strict=False)}
    patches = [_patched(settings, item) for item in (first, second)]
    for name in sorted({*patches[0], *patches[1]}):
        if patches[0].get(name) != patches[1].get(name):
            found.setdefault(name, "changed")
    return sorted(found.items())


def _patched(settings: Settings, made_by: Provenance) -> dict[str, bytes]:
    """File -> its part of a kept patch; empty where there is none, or it is gone."""
    if not made_by.code_changes:
        return {}
    try:
        patch = patch_path(settings, made_by.code_changes).read_bytes()
    except FileNotFoundError:
        return {}
    starts = [*_PATCHED.finditer(patch)]
    ends = [*(item.start() for item in starts[1:]), len(patch)]
    return {item[1].decode(errors="replace"): patch[item.start() : end] for item, end in zip(starts, ends, strict=True)}
