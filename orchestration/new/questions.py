"""Questions: asked only about what files can't tell, each with a default."""

from collections.abc import Sequence


def ask_nobody(_question: str, _choices: Sequence[str], default: str) -> str:
    """The default: with `--yes` nobody is asked."""
    return default


def ask_person(question: str, choices: Sequence[str], default: str) -> str:
    """Ask at the terminal until the answer is one of the choices; nobody is there when it isn't one."""
    import sys

    from rich.prompt import Prompt

    if not sys.stdin.isatty() or len(choices) < 2:  # noqa: PLR2004 - one choice is no question
        return default
    few = len(choices) <= 12  # noqa: PLR2004 - more would fill the screen
    while True:
        answer = Prompt.ask(question, choices=list(choices) if few else None, default=default)
        if answer in choices:
            return answer
