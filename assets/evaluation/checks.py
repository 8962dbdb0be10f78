"""Checks of evaluation: its gates, which also make the blessing."""

from collections.abc import Mapping

import dagster as dg

from assets.definitions import check_spec, gate_results, key_of
from assets.evaluation.gates import gates_of
from assets.evaluation.judge import Verdict
from assets.spec import ProductSpec

STAGE = "evaluation"


def specs(spec: ProductSpec) -> list[dg.AssetCheckSpec]:
    """One check per gate, blocking: what isn't blessed isn't promoted."""
    return [check_spec(spec, name, text, STAGE, blocking=True) for name, text in gates_of(spec).items()]


def results(spec: ProductSpec, verdict: Verdict, plots: Mapping[str, str]) -> list[dg.AssetCheckResult]:
    """The gates of the best candidate, each with the picture that explains it (gate name -> markdown)."""
    return gate_results(key_of(spec, STAGE), verdict.blessing.gates, gate="quality", plots=plots)
