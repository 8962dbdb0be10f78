"""The rubric of the ML Test Score: what a test is, and what can be found about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from orchestration.score.evidence import Evidence

Section = Literal["Data", "Model", "Infrastructure", "Monitoring"]
SECTIONS: tuple[Section, ...] = ("Data", "Model", "Infrastructure", "Monitoring")
# how much a gain asks for: a command or a line of the spec, a wait for data, work
COMMAND, WAIT, WORK = 1, 2, 3


@dataclass(frozen=True)
class Finding:
    """What the records say about one test.

    Args:
        points: 0, 0.5 or 1.
        evidence: the checks that satisfy it, with what they saw and when.
        missing: why it has not the whole point.
        fix: what to do about that.
        effort: of the fix: COMMAND, WAIT or WORK.
    """

    points: float
    evidence: tuple[str, ...] = ()
    missing: str = ""
    fix: str = ""
    effort: int = COMMAND


@dataclass(frozen=True)
class RubricTest:
    """One of the 28, named as in the paper."""

    section: Section
    number: int
    name: str
    judge: Callable[[Evidence], Finding]


def met(*evidence: str) -> Finding:
    """The platform runs it by itself."""
    return Finding(1.0, evidence)


def half(*evidence: str, missing: str, fix: str, effort: int = COMMAND) -> Finding:
    """Done in part."""
    return Finding(0.5, evidence, missing, fix, effort)


def unmet(missing: str, fix: str, effort: int = COMMAND) -> Finding:
    """Not done, and why."""
    return Finding(0.0, (), missing, fix, effort)


def not_live(evidence: Evidence) -> Finding:
    """What most tests are about is not there yet."""
    return unmet("nothing is live yet", f"headrace run {evidence.product}")
