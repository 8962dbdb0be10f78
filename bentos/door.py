"""What a bento asks before it serves: is it the one that was built, and is there a word for its model?

Serving imports this, so nothing here knows the lake. The words are packed beside the model when it is built; the one
about the bento itself (infrastructure) can only be in the ledger, where `headrace serve` reads it.
"""

import json
from collections.abc import Sequence

from pydantic import ValidationError

from assets.errors import HeadraceError
from assets.records import Blessing, Override

BLESSINGS = "blessings.json"
NEEDED = ("data", "training", "quality")


def packed_words(blessings: Sequence[Blessing], overrides: Sequence[Override] = ()) -> bytes:
    """The blessings of a model and the words of persons about it or its batch, as they are packed."""
    words = {
        "blessings": [item.model_dump(mode="json") for item in blessings],
        "overrides": [item.model_dump(mode="json") for item in overrides],
    }
    return json.dumps(words, indent=1, sort_keys=True).encode()


def check_words(content: bytes, model_id: str) -> None:
    """Refuse a model without a word: every blessing that is needed, or a person's promotion.

    Raises:
        HeadraceError: one is missing, says no, or is about another model.
    """
    try:
        words = json.loads(content)
        blessings = [Blessing.model_validate(item) for item in words["blessings"]]
        overrides = [Override.model_validate(item) for item in words["overrides"]]
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise _refused(model_id, "whole blessings", type(error).__name__) from None
    if any((item.action, item.subject) == ("promote", model_id) for item in overrides):
        return
    said = {
        item.kind
        for item in blessings
        if item.verdict == "BLESSED" and (item.kind == "data" or item.model_id == model_id)
    }
    said |= {"data" for item in overrides if item.action == "accept"}
    missing = [kind for kind in NEEDED if kind not in said]
    if missing:
        raise _refused(model_id, ", ".join(NEEDED), ", ".join(sorted(said)) or "none")


def _refused(model_id: str, expected: str, found: str) -> HeadraceError:
    return HeadraceError(
        "refused: this model isn't blessed",
        where=f"bento of {model_id}",
        expected=expected,
        found=found,
        fix="serve what is live (headrace serve PRODUCT), or run the product again",
    )
