"""Checks of a candidate: the gates of `gates`, which together are its training blessing."""

from collections.abc import Mapping, Sequence

import dagster as dg

from assets.candidates.gates import gates_of
from assets.definitions import check_spec, gate_results, key_of
from assets.records import Gate
from assets.spec import ProductSpec

STAGE = "candidates"
# these speak of one candidate alone: without a blessing it can't win, and the others go on
_OF_THIS_CANDIDATE = frozenset({"converged", "learns", "beats_linear"})


def specs(spec: ProductSpec, name: str) -> list[dg.AssetCheckSpec]:
    """The checks of one candidate, a gate each; one that only warns stops nothing."""
    return [
        check_spec(spec, gate, asks, STAGE, name, blocking=gate not in _OF_THIS_CANDIDATE)
        for gate, asks in gates_of(spec).items()
    ]


def results(
    spec: ProductSpec, name: str, gates: Sequence[Gate], plots: Mapping[str, str] | None = None
) -> list[dg.AssetCheckResult]:
    """The outcome for one trained candidate.

    Args:
        spec: the product.
        name: of the algorithm.
        gates: as `gates.training_gates` gives them.
        plots: gate -> the picture, as markdown, that explains it.
    """
    return gate_results(key_of(spec, STAGE, name), gates, gate="training", plots=plots)
