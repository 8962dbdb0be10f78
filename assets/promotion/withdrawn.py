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

    A rollback takes away the model that it leaves, unless it goes forward again: to one that went live later.
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
            left = item.champion_id or ""
            if left in went_live and went_live.index(left) > went_live.index(item.model_id):
                found[left] = f"rolled back by {item.asked_by}: {item.reason}"
    return found
