"""The backtest that the ledger holds: what the best of each batch was worth on rows after its training.

Each evaluation is one point, so a backfill over partitions (or `headrace run PRODUCT --as-of KEY` for each) is a
backtest with a rolling origin (Tashman 2000), and the newest evaluation shows the whole curve.
"""

from collections.abc import Sequence
from typing import Any

import duckdb

from assets import ledger
from assets.evaluation.judge import baselines
from assets.evaluation.metrics import SHOWN
from assets.records import EvaluationReport, SplitManifest
from assets.spec import ProductSpec


def backtest_rows(con: duckdb.DuckDBPyConnection, spec: ProductSpec) -> list[dict[str, Any]]:
    """One row per evaluated batch, in the order of batches.

    Args:
        con: a connection to the product's lake.
        spec: names the primary metric.

    Returns:
        `as_of`, `trained_until` (training knew labels until then; None where rows have no time), `rows` (of the test),
        `algorithm` and `model_id` of the best candidate, `baseline` (algorithm of the best baseline), the task's
        metrics as NAME and `baseline_NAME`, and `champion_NAME` of the primary metric (None where the champion was
        not compared).
    """
    by_split: dict[str, list[EvaluationReport]] = {}
    for _, report in ledger.records(con, "evaluations", EvaluationReport):
        by_split.setdefault(report.split_id, []).append(report)
    # a batch that was split again is shown by its newest split that was evaluated
    splits = {
        split.as_of: split for _, split in ledger.records(con, "splits", SplitManifest) if split.split_id in by_split
    }
    rows = (_row(spec, splits[as_of], by_split[splits[as_of].split_id]) for as_of in sorted(splits))
    return [row for row in rows if row]


def backtest_series(spec: ProductSpec, rows: Sequence[dict[str, Any]]) -> dict[str, list[float | None]]:
    """The primary metric over batches of the best candidate, the best baseline and the champion of then."""
    primary = spec.gates.primary
    return {
        "best candidate": [row[primary] for row in rows],
        "best baseline": [row[f"baseline_{primary}"] for row in rows],
        "champion of then": [row[f"champion_{primary}"] for row in rows],
    }


def _row(spec: ProductSpec, split: SplitManifest, reports: list[EvaluationReport]) -> dict[str, Any] | None:
    primary = spec.gates.primary
    newest = {(report.model_id, report.role): report for report in reports}
    best = next((report for report in reversed(reports) if report.is_best), None)
    ranked = baselines(newest.values(), primary)
    if best is None or not ranked:
        return None
    champion = next((report for report in reversed(reports) if report.role == "champion"), None)
    names = dict.fromkeys((primary, *SHOWN[spec.task]))
    return {
        "as_of": split.as_of,
        "trained_until": split.known_until,
        "rows": int(best.test["rows"]),
        "algorithm": best.algorithm,
        "model_id": best.model_id,
        "baseline": ranked[0].algorithm,
        **{name: best.test.get(name) for name in names},
        **{f"baseline_{name}": ranked[0].test.get(name) for name in names},
        f"champion_{primary}": champion.test.get(primary) if champion else None,
    }
