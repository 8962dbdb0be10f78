"""The picture behind a decision: what the challenger is better by, its interval, and the lines that it had to pass."""

from assets import plots
from assets.records import Comparison

_INK, _ACCENT, _QUIET, _WARM = "#1f2933", "#2f6fed", "#9aa5b1", "#d64545"


def decision_plot(comparison: Comparison, rule: str, *, margin: float = 0.0, min_improvement: float = 0.0) -> str:
    """A forest plot as markdown: the improvement with its interval, and lines at 0 and at the declared limits.

    Args:
        comparison: of challenger and champion; to the right the challenger is better.
        rule: the declared rule, in words.
        margin: how much worse a challenger may be while the champion is stale; 0 has no line.
        min_improvement: how much better it has to be; 0 has no line of its own.
    """
    title = f"{comparison.challenger_id} against {comparison.champion_id} on {comparison.rows:,} rows"
    figure, axes = plots.figure(title, f"improvement in {comparison.metric}", "", height=2.2, width=6.4)
    axes.axvline(0, color=_INK, linewidth=1, label="as good as the champion")
    if min_improvement:
        axes.axvline(min_improvement, color=_QUIET, linestyle="--", linewidth=1, label=f"wanted: {min_improvement:+g}")
    if margin:
        axes.axvline(-margin, color=_WARM, linestyle=":", linewidth=1, label=f"margin: {-margin:+g}")
    colour = _ACCENT if comparison.low > 0 else _WARM if comparison.high < 0 else _QUIET
    said = f"{comparison.improvement:+.4f} [{comparison.low:+.4f}, {comparison.high:+.4f}]"
    axes.plot([comparison.low, comparison.high], [0, 0], color=colour, linewidth=3, solid_capstyle="butt")
    axes.plot([comparison.improvement], [0], color=colour, marker="s", markersize=8)
    axes.annotate(said, (comparison.improvement, 0), (0, 10), textcoords="offset points", ha="center", fontsize=8)
    axes.set_ylim(-1, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="lower left", ncols=3)
    method = comparison.how
    picture = plots.markdown(figure, f"Improvement {said}")
    return f"{picture}\n\n{comparison.confidence:.0%} interval: {method}. Rule: {rule}."
