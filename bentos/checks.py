"""Checks of the bento: it boots, answers as offline to the last bit, and fast enough. They make its blessing."""

import dagster as dg

from assets.definitions import check_result, check_spec, gate_results, key_of
from assets.records import Gate
from assets.spec import ProductSpec

STAGE = "bento"
GATES = {
    "boots": "The bento starts in its own process and refuses a wrong request",
    "parity": "Rows whose served score differs from the offline one in any bit",
    "latency": "99th percentile of single-row requests, milliseconds",
}


def specs(spec: ProductSpec) -> list[dg.AssetCheckSpec]:
    """One check per infrastructure gate."""
    return [check_spec(spec, name, text, STAGE, blocking=True) for name, text in GATES.items()]


def results(spec: ProductSpec, found: tuple[Gate, ...], unchanged: str) -> list[dg.AssetCheckResult]:
    """The gates of a new bento, or why there was none to test."""
    key = key_of(spec, STAGE)
    if found:
        return gate_results(key, found, gate="infrastructure")
    return [check_result(key, name, passed=True, observed=unchanged, threshold="no new bento") for name in GATES]
