"""What the user said, how questions are asked, and the sentences that say what was concluded."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from assets.errors import HeadraceError
from orchestration.new.profile import Profile


@dataclass
class Wishes:
    """What the user said; `ask` answers a question with one of the choices (its default where nobody is asked).

    `said` collects what was concluded, as (topic, sentence); topics are files, target, task, key, time, split, leak.
    """

    target: str = ""
    task: str = "auto"
    time: str = ""
    key: tuple[str, ...] = ()
    ask: Callable[[str, Sequence[str], str], str] = field(default=lambda _question, _choices, default: default)
    said: list[tuple[str, str]] = field(default_factory=list)

    def say(self, topic: str, sentence: str) -> None:
        """Keep a conclusion and its reason."""
        self.said.append((topic, sentence))


def no_column(profile: Profile, option: str, wanted: str) -> HeadraceError:
    """The error of an option that names no column; the nearest one is named."""
    names = [column.raw for column in profile.columns]
    near = difflib.get_close_matches(wanted, names, n=1)
    return HeadraceError(
        "there is no such column",
        where=option,
        expected=shortened(names),
        found=wanted,
        fix=f"did you mean {near[0]}?" if near else "name one of these",
    )


def shortened(names: Sequence[str], most: int = 20) -> str:
    """Names in a row; of very many the first."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
