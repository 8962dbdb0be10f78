"""The word of a person for a model that went through no gate, so that a test can serve it."""

from datetime import UTC, datetime
from pathlib import Path

from assets.records import Override
from bentos.door import packed_words


def words_of(model: Path) -> bytes:
    """What is packed into the bento of a model's folder."""
    word = Override(
        product="parcels", action="promote", subject=model.name, reason="a test", asked_by="a test",
        at=datetime(2024, 3, 1, tzinfo=UTC),
    )  # fmt: skip
    return packed_words([], [word])
