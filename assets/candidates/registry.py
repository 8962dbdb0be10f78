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


@dataclass(frozen=True)
class Fitted:
    """What an algorithm gives back: one file that the predictor can read, the parameters it used, its history."""

    file_name: str
    content: bytes
    params: dict[str, Any]
    history: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Algorithm:
    """One way to train: for which tasks, and how. `fit` must give the same bytes for the same arguments."""

    description: str
    tasks: frozenset[str]
    kinds: frozenset[str]
    fit: Callable[[TrainingSet, dict[str, Any], int, int, Progress], Fitted]


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
            fix="choose another algorithm",
        )
    return found


def merged(defaults: Mapping[str, Any], given: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    """Defaults overlaid with the spec's parameters.

    Raises:
        HeadraceError: a parameter is unknown.
    """
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise HeadraceError(
            f"unknown parameter {', '.join(unknown)}",
            where=f"candidates: {name}",
            expected=", ".join(sorted(defaults)),
            fix="remove it or correct its name in the product's spec",
        )
    return {**defaults, **given}
