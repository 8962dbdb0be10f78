"""Find an algorithm by name: the module of that name in `algorithms/` with its `ALGORITHM`."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assets.candidates import algorithms
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError

Progress = Callable[[str], None]
# parameter -> (low, high) of numbers, or the choices
Space = Mapping[str, tuple[int | float | str | bool, ...]]


@dataclass(frozen=True)
class Fitted:
    """What an algorithm gives back: one file that the predictor can read, the parameters it used, its history."""

    file_name: str
    content: bytes
    params: dict[str, Any]
    history: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Algorithm:
    """One way to train: for which tasks, and how.

    Args:
        description: one line for people.
        tasks: those of `assets.tasks.TASKS` that it can do.
        kinds: tags of the asset in the UI.
        fit: (rows, params, seed, threads, progress) -> Fitted; the same bytes for the same arguments.
        defaults: every parameter there is, with its value where the spec gives none.
        space: what a search tries where the spec doesn't say: (low, high) of two numbers, both included, on a
            logarithmic scale where they are a hundredfold apart and positive; else the choices.
        quick: parameters that bound the cost of the second fits that prove determinism; the smaller value counts.
        is_baseline: whether the candidates must beat it.
        supports_monotone: whether `TrainingSet.monotone` is held.
        supports_weights: whether `TrainingSet.weights` count.
    """

    description: str
    tasks: frozenset[str]
    kinds: frozenset[str]
    fit: Callable[[TrainingSet, dict[str, Any], int, int, Progress], Fitted]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    space: Space = field(default_factory=dict)
    quick: Mapping[str, int] = field(default_factory=dict)
    is_baseline: bool = False
    supports_monotone: bool = False
    supports_weights: bool = False


def names() -> list[str]:
    """All algorithms there are, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(algorithms.__path__))


def algorithm(name: str, *, product: str = "", task: str = "") -> Algorithm:
    """The algorithm of a name.

    Raises:
        HeadraceError: there is none of that name, or not for that task.
    """
    if name not in names():
        raise HeadraceError(
            "unknown algorithm",
            product=product,
            where="candidates",
            expected=", ".join(names()),
            found=name,
            fix="choose one of these, or add a module of that name to assets/candidates/algorithms",
        )
    found: Algorithm = importlib.import_module(f"{algorithms.__name__}.{name}").ALGORITHM
    if task and task not in found.tasks:
        raise HeadraceError(
            f"{name} can't do {task}",
            product=product,
            where="candidates",
            expected=", ".join(sorted(found.tasks)),
            fix=f"choose one of {', '.join(names_for(task))}" if names_for(task) else "choose another task",
        )
    return found


def names_for(task: str) -> list[str]:
    """The algorithms that can do a task, sorted."""
    return [name for name in names() if task in algorithm(name).tasks]


def merged(defaults: Mapping[str, Any], given: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    """Defaults overlaid with the spec's parameters, numbers of the default's kind: of shares, 1 is all, not one.

    Raises:
        HeadraceError: a parameter is unknown, or of another kind than its default.
    """
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise HeadraceError(
            f"unknown parameter {', '.join(unknown)}",
            where=f"candidates: {name}",
            expected=", ".join(sorted(defaults)),
            fix="remove it or correct its name in the product's spec",
        )
    wrong = [key for key, value in given.items() if not _is_alike(defaults[key], value)]
    if wrong:
        raise HeadraceError(
            f"{', '.join(wrong)} has a value of another kind",
            where=f"candidates: {name}",
            expected=", ".join(f"{key}: {type(defaults[key]).__name__}" for key in wrong),
            found=", ".join(f"{key}: {given[key]!r}" for key in wrong),
            fix="correct the value in the product's spec",
        )
    return {**defaults, **{key: type(defaults[key])(value) for key, value in given.items()}}


def _is_alike(default: Any, value: Any) -> bool:
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(default)
