"""The ML Test Score of a product (Breck et al. 2017): 28 tests in four sections, of which the weakest counts.

"The ML Test Score: A Rubric for ML Production Readiness and Technical Debt Reduction", IEEE Big Data 2017. A test is
worth one point where the platform runs it by itself again and again, half a point where it was done once, by hand, or
for a part of what it asks; each is judged from records by a function of its own (`orchestration.score`). Nothing is a
yes by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.score import data, infrastructure, model, monitoring
from orchestration.score.evidence import Evidence
from orchestration.score.rubric import SECTIONS, Finding, Section

TESTS = (*data.TESTS, *model.TESTS, *infrastructure.TESTS, *monitoring.TESTS)
# points up to which a sentence of the paper's table V holds
_MEANINGS = (
    (0.0, "more of a research project than a productionized system"),
    (1.0, "not totally untested, but serious holes in reliability are possible"),
    (2.0, "a first pass at basic productionization; additional investment may be needed"),
    (3.0, "reasonably tested; more of the tests and procedures may be automated"),
    (5.0, "strong levels of automated testing and monitoring, appropriate for mission-critical systems"),
    (7.0, "exceptional levels of automated testing and monitoring"),
)


@dataclass(frozen=True)
class Line:
    """A test with what was found."""

    section: Section
    number: int
    name: str
    finding: Finding


@dataclass(frozen=True)
class ScoreCard:
    """All lines of a product."""

    product: str
    lines: Sequence[Line]

    def of(self, section: Section) -> list[Line]:
        """The lines of a section."""
        return [line for line in self.lines if line.section == section]

    def points(self, section: Section) -> float:
        """A section's sum, 0 to 7."""
        return sum(line.finding.points for line in self.of(section))

    @property
    def score(self) -> float:
        """The least of the sections' sums: a chain is as strong as its weakest link."""
        return min(self.points(section) for section in SECTIONS)

    @property
    def weakest(self) -> list[Section]:
        """The sections that have no more than that."""
        return [section for section in SECTIONS if self.points(section) == self.score]

    @property
    def meaning(self) -> str:
        """What the paper says of such a score."""
        return next(text for most, text in _MEANINGS if self.score <= most)

    @property
    def next_steps(self) -> list[Line]:
        """What lifts the weakest sections, the cheapest first; of equal effort what gives more."""
        open_lines = [line for section in self.weakest for line in self.of(section) if line.finding.points < 1]
        return sorted(open_lines, key=lambda line: (line.finding.effort, line.finding.points, line.number))

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "product": self.product,
            "score": self.score,
            "meaning": self.meaning,
            "weakest": self.weakest,
            "sections": [
                {"name": section, "points": self.points(section), "tests": [_json(line) for line in self.of(section)]}
                for section in SECTIONS
            ],
            "next": [_json(line) for line in self.next_steps[:3]],
        }


def judge_all(evidence: Evidence) -> ScoreCard:
    """Every test on what is recorded."""
    lines = [Line(test.section, test.number, test.name, test.judge(evidence)) for test in TESTS]
    return ScoreCard(evidence.product, lines)


def _json(line: Line) -> dict[str, Any]:
    found = line.finding
    return {
        "section": line.section,
        "number": line.number,
        "name": line.name,
        "points": found.points,
        "evidence": list(found.evidence),
        "missing": found.missing,
        "fix": found.fix,
    }
