"""Plots are pictures that the UI can show, whatever people have named their classes, models and columns."""

import base64
from collections.abc import Callable

import numpy as np
import pytest

from assets import plots

PNG = b"\x89PNG"
# as formulas they are wrong
NAMES = ["$\\frac{$", "from $5_ to $10^", "50% & more"]
SCORES = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "rows": 3.0}
LABELS = np.array([0, 1, 2, 0])
DRAWN: dict[str, Callable[[], str]] = {
    "roc": lambda: plots.roc(LABELS.clip(max=1), dict.fromkeys(NAMES, LABELS / 2), NAMES[0]),
    "confusion": lambda: plots.confusion(LABELS, LABELS[::-1], NAMES),
    "per_class": lambda: plots.per_class(dict.fromkeys(NAMES, SCORES)),
    "bars": lambda: plots.bars(dict.fromkeys(NAMES, 1.0), NAMES[1], limit=0.5, best=NAMES[0], failed=[NAMES[2]]),
    "distribution": lambda: plots.distribution(
        {NAMES[0]: LABELS / 2, NAMES[1]: LABELS[:0] / 2}, NAMES[1], NAMES[2], lines={NAMES[2]: 0.5}
    ),
    "importance": lambda: plots.importance(dict.fromkeys(NAMES, 1.0)),
    "over_time": lambda: plots.over_time([1, 2], {name: [1.0, 2.0] for name in NAMES}, NAMES[0]),
    "over_batches": lambda: plots.over_batches(NAMES, {name: [1.0, None, 2.0] for name in NAMES}, NAMES[1]),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_dollar_in_a_name_starts_no_formula(name: str) -> None:
    """Regression: a class named "$5 to $10" was parsed as a formula, and evaluation ended in a stack trace."""
    first, second = DRAWN[name](), DRAWN[name]()
    assert first == second
    content = first.split("base64,")[1].rstrip(")")
    assert base64.b64decode(content, validate=True).startswith(PNG)
