"""Gates of a new product: the spec's own limits, moved only where its data need it, each with the reason."""

from collections.abc import Iterator
from typing import Any

from assets.features.leaks import MAX_JOINT_AUC, MAX_JOINT_R2, Leaks, judge_leaks
from assets.naming import quoted
from assets.spec import GatesSpec, ProductSpec
from assets.tasks import CLASSIFICATION, LABEL_TYPES
from orchestration.new.conclude import Conclusions

_MARGIN = 0.015  # a later delivery differs a little
_MAX_ROWS = 200_000
_MUCH_MISSING = 0.45
_NEARLY_ZERO = 1e-6


def measured_leaks(found: Conclusions, spec: ProductSpec) -> Leaks | None:
    """What the leak check will measure on these rows; None without a label, and of a forecast (lags are close)."""
    if found.task not in LABEL_TYPES or found.series is not None:
        return None
    inputs = ", ".join(quoted(name) for name in spec.features.inputs)
    frame = found.profile.con.execute(
        f"select {inputs}, ({found.label.sql})::{LABEL_TYPES[found.task]} as headrace_label from typed "
        f"where headrace_row % {max(1, found.profile.rows // _MAX_ROWS)} = 0 order by headrace_file, headrace_row"
    ).pl()
    _, leaks = judge_leaks(spec, frame.drop("headrace_label"), frame.get_column("headrace_label"))
    return leaks


def gates(found: Conclusions, leaks: Leaks | None) -> Iterator[tuple[str, Any, str]]:
    """Field of `gates`, value, and why it isn't the default."""
    yield from _leak_gates(found, leaks)
    if found.task == "forecast":
        yield "max_single_feature_correlation", 1.0, "a lag of the series may well follow it closely"
        if found.label.least < _NEARLY_ZERO:
            yield "primary", "mae", "the series comes near 0, where a share of it means nothing"
    nulls = max((item.column.null_share for item in found.features), default=0.0)
    if nulls > _MUCH_MISSING:
        yield "max_null_share", round(min(nulls + 0.05, 1.0), 2), "the emptiest column"
    if found.is_wide:
        yield "max_latency_p99_ms", 250, "a request carries many fields"
    if found.is_tiny or found.is_wide:
        yield "smoke_rows", 50, ""


def _leak_gates(found: Conclusions, leaks: Leaks | None) -> Iterator[tuple[str, Any, str]]:
    if leaks is None:
        return
    field = "max_single_feature_auc" if found.task in CLASSIFICATION else "max_single_feature_correlation"
    strongest = leaks.alone.get(leaks.strongest, 0.0)
    if strongest > GatesSpec.model_fields[field].default:
        yield field, _above(strongest), f"{leaks.strongest} alone has {strongest:.3f}; is it known beforehand?"
    joint_field, limit = (
        ("max_joint_auc", MAX_JOINT_AUC) if found.task in CLASSIFICATION else ("max_joint_r2", MAX_JOINT_R2)
    )
    if leaks.joint is not None and leaks.joint > limit and joint_field in GatesSpec.model_fields:
        suspects = ", ".join(leaks.suspects[:3])
        said = f"all together reach {leaks.joint:.4f}: easy data, or {suspects} is known only afterwards"
        yield joint_field, 1.0, said


def _above(value: float) -> float:
    return min(1.0, round(value + _MARGIN, 3))
