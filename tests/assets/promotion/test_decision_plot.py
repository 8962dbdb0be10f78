"""The forest plot of a decision."""

import base64
import re

from assets.promotion.decision_plot import decision_plot
from assets.records import Comparison

ITEM = Comparison(
    challenger_id="new", champion_id="old", split_id="s", metric="roc_auc", challenger=0.7301, champion=0.7284,
    improvement=0.0017, low=-0.0004, high=0.0038, method="DELONG", rows=27004,
)  # fmt: skip


def test_a_plot_is_a_picture_with_method_and_rule_below_it() -> None:
    found = decision_plot(ITEM, "superiority: $ above 0", margin=0.01, min_improvement=0.002)
    picture = re.fullmatch(
        r"!\[Improvement \+0\.0017 \[-0\.0004, \+0\.0038\]\]\(data:image/png;base64,(.+)\)\n\n(.+)", found
    )
    assert picture
    assert base64.b64decode(picture[1]).startswith(b"\x89PNG")
    assert picture[2] == "95% interval: DeLong. Rule: superiority: $ above 0."


def test_limits_are_drawn_only_where_they_are_declared_and_the_picture_is_the_same_every_time() -> None:
    plain = decision_plot(ITEM, "")
    assert plain == decision_plot(ITEM, "")
    assert len({plain, decision_plot(ITEM, "", margin=0.01), decision_plot(ITEM, "", min_improvement=0.002)}) == 3


def test_a_bootstrap_says_its_replicates() -> None:
    item = ITEM.model_copy(update={"method": "PAIRED_BOOTSTRAP", "replicates": 1000})
    assert "paired bootstrap, 1,000 replicates" in decision_plot(item, "")
