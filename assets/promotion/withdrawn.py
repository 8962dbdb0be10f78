"""Which models a person has taken away: blocked, or rolled back from. No gate brings one back, only a person does."""

from collections.abc import Iterable

import duckdb

from assets import ledger
from assets.records import Decision


def withdrawn_models(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Model id -> why it isn't promoted any more, in words."""
    return withdrawn(item for _, item in ledger.decisions(con))


def withdrawn(decisions: Iterable[Decision]) -> dict[str, str]:
    """The same of decisions, oldest first.

    A rollback takes away what went live after the model that it goes back to; going forward again takes nothing.
    """
    found: dict[str, str] = {}
    went_live: list[str] = []
    for item in decisions:
        if item.verdict == "LIVE" and item.model_id not in went_live:
            went_live.append(item.model_id)
        elif item.verdict == "BLOCKED_BY_PERSON":
            found[item.model_id] = f"blocked by {item.asked_by}: {item.reason}"
        elif item.verdict == "PROMOTED_BY_PERSON":
            found.pop(item.model_id, None)
        elif item.verdict == "ROLLED_BACK":
            found.pop(item.model_id, None)
            until = went_live.index(item.champion_id) + 1 if item.champion_id in went_live else 0
            since = went_live.index(item.model_id) + 1 if item.model_id in went_live else until
            # those in between, too: a rerun of their batch must not put one of them in the place of the older one
            found |= dict.fromkeys(went_live[since:until], f"rolled back by {item.asked_by}: {item.reason}")
    return found
