"""Train a recorded model again, from its snapshot, by its code, in its environment, and compare the bytes.

Nothing is written but temporary files, and a kept environment where the requirements of then differ from today's.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.candidates.lookup import RecordedModel
from assets.candidates.recorded_code import (
    code_in_words,
    is_today,
    python_of,
    recorded_checkout,
    versions_that_differ,
)
from assets.candidates.registry import Progress
from assets.errors import HeadraceError
from assets.model_store import read_model
from assets.settings import CHECKOUT, Settings

_SCRIPT = Path(__file__).with_name("retrain.py")
_PARTS = {"train": "training rows", "validation": "validation rows", "test": "test rows"}
# what a model is not: where its rows can be read again, and who asked for it
_NOT_OF_THE_MODEL = ("data_snapshot", "provenance")
# fields of the manifest that have a line of their own, each with what a person calls it
_NAMED = {
    "features": "feature schema",
    "params": "parameters",
    "calibration": "calibration",
    "versions": "versions",
    "files": "files",
}
_SHOWN = 60
_DIFFERENCES_SHOWN = 5


@dataclass(frozen=True)
class Line:
    """One thing that was compared: what it is, as recorded and as replayed, and whether that is the same."""

    what: str
    recorded: str
    replayed: str
    is_same: bool


@dataclass(frozen=True)
class Replay:
    """What came of a replay.

    Args:
        code: by which code it was trained again, in words.
        notes: what a person should know of how.
        lines: what was compared.
        seconds: read, train, and all of it.
    """

    product: str
    model_id: str
    as_of: str
    code: str
    notes: tuple[str, ...]
    lines: tuple[Line, ...]
    seconds: Mapping[str, float]

    @property
    def is_identical(self) -> bool:
        """Whether rows, features, parameters, every file and the id are the same."""
        return all(line.is_same for line in self.lines)

    @property
    def differing(self) -> tuple[str, ...]:
        """What differs."""
        return tuple(line.what for line in self.lines if not line.is_same)


def replay_model(settings: Settings, model: RecordedModel, *, search: bool, progress: Progress) -> Replay:
    """Train a model again as it was recorded, and compare.

    Args:
        settings: of the home that the model is in.
        model: from `find_model`.
        search: make the search of its parameters again, where it had one; else the recorded parameters are taken.
        progress: told how far it is.

    Raises:
        HeadraceError: its code, environment, spec or rows can't be had any more; says which.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-replay-") as folder, _code_of(settings, model, progress) as code:
        progress(f"starting {code.words}")
        outcome = _retrain(settings, model, code, Path(folder), search=search, progress=progress)
        recorded = json.loads(model.manifest_json)
        lines = compare(model.model_id, recorded, json.loads(model.split_json), outcome)
        notes = [*code.notes, *_search_note(recorded, search=search)]
        if recorded["files"] != outcome["manifest"]["files"]:
            notes += _first_difference(settings, model, Path(outcome["folder"]))
    return Replay(
        product=model.manifest.product,
        model_id=model.model_id,
        as_of=model.manifest.as_of,
        code=code.words,
        notes=tuple(notes),
        lines=lines,
        seconds=outcome["seconds"],
    )


def compare(
    model_id: str, recorded: Mapping[str, Any], split: Mapping[str, Any], outcome: Mapping[str, Any]
) -> tuple[Line, ...]:
    """Recorded and replayed, line by line.

    Args:
        model_id: under which it was recorded.
        recorded: the manifest as it was written.
        split: the split as it was written.
        outcome: of `retrain`.
    """
    replayed = outcome["manifest"]
    hashes, found = {name: part["row_set_hash"] for name, part in split["parts"].items()}, outcome["row_set_hashes"]
    lines = [_line(_PARTS[name], hashes[name], found.get(name, "no row")) for name in _PARTS if name in hashes]
    lines.append(_line("fitted features", recorded["fitted_features_id"], replayed["fitted_features_id"]))
    for field, what in _NAMED.items():
        if field != "files":
            lines.append(_summed(what, recorded.get(field), replayed.get(field)))
    files = sorted({*recorded["files"], *replayed["files"]})
    lines += [_line(name, recorded["files"].get(name, "none"), replayed["files"].get(name, "none")) for name in files]
    plain = {*recorded, *replayed} - {*_NAMED, *_NOT_OF_THE_MODEL, "fitted_features_id"}
    lines += [
        _line(field, _text(recorded.get(field)), _text(replayed.get(field)))
        for field in sorted(plain)
        if recorded.get(field) != replayed.get(field)
    ]
    lines.append(_line("model", model_id, outcome["model_id"]))
    return tuple(lines)


def differences(first: Any, second: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Where two JSON values differ: the path, and both values there (None where there is none)."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for name in dict.fromkeys([*first, *second]):
            yield from differences(first.get(name), second.get(name), (*path, str(name)))
    elif first != second:
        yield path, first, second


@dataclass(frozen=True)
class _Code:
    """A checkout to train by: its folder, which Python, and how to say so."""

    tree: Path
    python: Path
    words: str
    notes: tuple[str, ...] = ()


@contextmanager
def _code_of(settings: Settings, model: RecordedModel, progress: Progress) -> Iterator[_Code]:
    """The code that trained the model: this checkout if that is it, else a temporary one.

    Raises:
        HeadraceError: nobody knows which code that was and the spec has changed, or it can't be had any more.
    """
    manifest, this = model.manifest, Path(sys.executable)
    made_by = manifest.provenance
    words, installed = code_in_words(made_by), _installed(manifest.versions)
    if made_by.code_commit and is_today(made_by):
        yield _Code(CHECKOUT, this, f"this checkout ({words})", installed)
    elif made_by.code_commit:
        progress(f"checking out {words}")
        with recorded_checkout(settings, made_by) as tree:
            progress("looking for the environment of then")
            python = python_of(settings, made_by, manifest.versions, tree)
            yield _Code(tree, python, f"a checkout of {words}", installed if python == this else ())
    elif manifest.spec_hash == model.spec.spec_hash:
        note = "the model doesn't say by which code it was trained: today's was taken, as the spec is the same"
        yield _Code(CHECKOUT, this, "this checkout", (note, *installed))
    else:
        raise HeadraceError(
            "the model doesn't say by which code it was trained, and the spec has changed since",
            product=manifest.product,
            where=model.model_id,
            expected=f"spec {manifest.spec_hash[:16]}",
            found=f"spec {model.spec.spec_hash[:16]} today",
            fix="check out the code of then and replay there, or train a new model: it will say",
        )


def _installed(versions: Mapping[str, str]) -> tuple[str, ...]:
    """A note where this environment is not the one that the requirements ask for."""
    differing = versions_that_differ(versions)
    if not differing:
        return ()
    named = ", ".join(f"{name} {now} instead of {then}" for name, (then, now) in differing.items())
    return (f"this environment has {named}: install requirements.lock (make env)",)


def _retrain(
    settings: Settings, model: RecordedModel, code: _Code, folder: Path, *, search: bool, progress: Progress
) -> dict[str, Any]:
    """Run `retrain.py` by that code in a process of its own: nothing is remembered there, and nothing of now is in it.

    Raises:
        HeadraceError: what it refuses, or that it stopped.
    """
    job, result, errors = folder / "job.json", folder / "result.json", folder / "stderr"
    asked = {
        "manifest": json.loads(model.manifest_json),
        "split": json.loads(model.split_json),
        "folder": str(folder / "models"),
        "result": str(result),
        "search": search,
    }
    job.write_text(json.dumps(asked), encoding="utf-8")
    command = [str(code.python), "-P", str(_SCRIPT), str(job)]
    environment = environment_for(settings, code.tree)
    with (
        errors.open("wb") as said,
        subprocess.Popen(
            command, cwd=code.tree, env=environment, stdout=subprocess.PIPE, stderr=said, text=True
        ) as child,
    ):
        try:
            for line in child.stdout or ():
                progress(line.strip())
        except BaseException:
            child.kill()
            raise
    if not result.exists():
        last = errors.read_text(errors="replace").strip().splitlines()[-1:]
        raise HeadraceError(
            f"training again was stopped (exit code {child.returncode})",
            product=model.manifest.product,
            where=code.words,
            found=last[0] if last else "it said nothing",
            fix="if memory was short, close other programs; else the code of then doesn't run here any more",
        )
    outcome: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    if "error" in outcome:
        raise HeadraceError(**outcome["error"])
    return outcome


def environment_for(settings: Settings, tree: Path) -> dict[str, str]:
    """What the child needs to find this home with the code of a checkout: what is in ours is looked up in that one."""
    given = {}
    for name, value in settings.model_dump(mode="json").items():
        path = Path(str(value))
        moves = name in ("products", "dbt_project") and path.is_relative_to(CHECKOUT)
        given[f"HEADRACE_{name.upper()}"] = str(tree / path.relative_to(CHECKOUT)) if moves else str(value)
    return {**settings.environment(), **given, "PYTHONPATH": str(tree)}


def _search_note(recorded: Mapping[str, Any], *, search: bool) -> list[str]:
    """How the parameters were found, where the candidate has a search."""
    if not recorded.get("config", {}).get("search"):
        return []
    return (
        ["the search was made again; one that its time limit ended may end elsewhere on another machine"]
        if search
        else ["the parameters are those that the search found and the model records; --search searches again"]
    )


def _first_difference(settings: Settings, model: RecordedModel, folder: Path) -> list[str]:
    """Where the stored file and the new one part, if there is a stored one and both are text."""
    try:
        _, stored = read_model(settings.models / model.manifest.product / model.model_id)
        before = stored[model.manifest.model_file].decode().splitlines()
        after = (folder / model.manifest.model_file).read_text(encoding="utf-8").splitlines()
    except (HeadraceError, OSError, KeyError, UnicodeDecodeError):
        return []
    # sizes of trees and other sums of all that follows say little; the parameters at the end say why
    for number, (old, new) in enumerate(zip(before, after, strict=False), start=1):
        if old != new and not old.startswith("tree_sizes="):
            where = f"{model.manifest.model_file}, line {number}"
            return [f"first difference in {where}: recorded {old[:_SHOWN]!r}, replayed {new[:_SHOWN]!r}"]
    return [f"{model.manifest.model_file} has {len(before):,} lines in the store and {len(after):,} in the replay"]


def _line(what: str, recorded: str, replayed: str) -> Line:
    return Line(what, _short(recorded), _short(replayed), recorded == replayed)


def _summed(what: str, recorded: Any, replayed: Any) -> Line:
    """A part of the manifest in a few words if it is the same, else where it differs."""
    found = list(differences(recorded, replayed))
    if not found:
        words = _in_words(recorded)
        return Line(what, words, words, is_same=True)
    few = found[:_DIFFERENCES_SHOWN]
    more = f" and {len(found) - len(few)} more" if len(found) > len(few) else ""
    return Line(
        what,
        "; ".join(f"{'.'.join(path) or what} {_text(old)}" for path, old, _ in few) + more,
        "; ".join(f"{'.'.join(path) or what} {_text(new)}" for path, _, new in few) + more,
        is_same=False,
    )


def _in_words(value: Any) -> str:
    if not value:
        return "none"
    if "columns" in value:
        return f"{len(value['columns'])} columns of {len(value['inputs'])} inputs"
    if "method" in value:
        return str(value["method"])
    return f"{len(value)} values"


def _short(text: str) -> str:
    """A hash as its beginning; anything else as it is."""
    is_hash = len(text) == 64 and set(text) <= set("0123456789abcdef")  # noqa: PLR2004 - SHA-256 in hexadecimal
    return text[:16] if is_hash else text


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
