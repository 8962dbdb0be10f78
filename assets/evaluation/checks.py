"""Checks of evaluation: its gates, which also make the blessing."""

import dagster as dg

from assets.definitions import check_spec, gate_results, key_of
from assets.evaluation.judge import Verdict
from assets.spec import ProductSpec

STAGE = "evaluation"
GATES = {
    "beats_baseline": "The best candidate beats the baseline on the test rows",
    "predicts_both_classes": "The best candidate predicts both classes",
    "worst_slice": "The metric in the worst slice",
    "calibration": "Predicted probabilities are about what happens",
}


def specs(spec: ProductSpec) -> list[dg.AssetCheckSpec]:
    """One check per gate, blocking: what isn't blessed isn't promoted."""
    return [check_spec(spec, name, text, STAGE, blocking=True) for name, text in GATES.items()]


def results(spec: ProductSpec, verdict: Verdict) -> list[dg.AssetCheckResult]:
    """The gates of the best candidate."""
    return gate_results(key_of(spec, STAGE), verdict.blessing.gates)
