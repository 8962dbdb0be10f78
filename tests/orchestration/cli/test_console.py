"""How the command speaks: one sentence per step, and errors in words."""

from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.cli.console import failure_text, sentence, step_title

SCORED = {"rows_scored": 1200, "rows_labelled": 900, "model_id": "lightgbm-1", "verdict": "OK"}


@pytest.mark.parametrize(
    ("path", "values", "said"),
    [
        (["raw"], {"rows_loaded": 27004, "rows_quarantined": 3}, "27,004 rows loaded, 3 quarantined"),
        (["raw", "weather"], {"rows_loaded": 1, "rows_quarantined": 0}, "1 rows loaded, 0 quarantined"),
        (["raw", "quarantine"], {"by_reason": "a table"}, ""),
        (["features"], {"dagster/row_count": 1234}, "1,234 rows of features"),
        (["features", "labels"], {"dagster/row_count": 1234}, ""),
        (["split"], {"training_rows": 9000, "test_rows": 1000}, "9,000 rows train, 1,000 test"),
        (["candidates", "lightgbm"], {"model_id": "lightgbm-1", "training_rows": 9000}, "lightgbm-1 on 9,000 rows"),
        (
            ["evaluation"],
            {"best": "lightgbm-1", "test_roc_auc": 0.71234, "test_brier": 0.1, "blessing": "NOT_BLESSED"},
            "best lightgbm-1: ROC AUC 0.7123, Brier 0.1000 on the unseen batch; not blessed",
        ),
        (["promotion"], {"verdict": "LIVE", "reason": "because"}, "LIVE: because"),
        (["bento"], {"outcome": "kept"}, "kept"),
        (
            ["bento"],
            {"outcome": "x is live", "offline_parity": "200/200", "latency_p99_ms": 4.04},
            "x is live, 200/200 equal to the bit, p99 4.0 ms",
        ),
        (["predictions"], {"rows_scored": 0, "model_id": "no champion"}, "no champion"),
        (["monitoring", "drift"], {"verdict": "not scored"}, "not scored"),
        (
            ["monitoring", "drift"],
            {"verdict": "DRIFTED", "model_id": "m", "share_drifted": 0.25, "prediction_psi": 0.305},
            "drifted: 25% of the columns moved, PSI of the scores 0.30",
        ),
        (
            ["monitoring", "performance"],
            {**SCORED, "roc_auc": 0.7, "baseline_roc_auc": 0.5, "brier": 0.15, "baseline_brier": 0.2},
            "labels known for 900 of 1,200: ROC AUC 0.7000 (baseline 0.5000), Brier 0.1500 (baseline 0.2000); ok",
        ),
        (["cleaned"], {}, ""),
        (["a stage of tomorrow"], {"x": 1}, ""),
    ],
)
def test_a_materialisation_is_told_in_a_sentence(path: list[str], values: dict[str, Any], said: str) -> None:
    assert sentence(path, values) == said


def test_a_batch_whose_labels_are_not_known_yet_is_told_without_metrics() -> None:
    """Labels come late by design; then there is no ROC AUC to tell, and telling must not stop the run."""
    values = {**SCORED, "rows_labelled": 0, "rows": 0.0}
    assert sentence(["monitoring", "performance"], values).startswith("labels known for 0 of 1,200")


@pytest.mark.parametrize(
    ("step", "title"),
    [
        ("flights__candidates__logistic_regression", "candidates logistic regression"),
        ("flights__raw", "raw"),
        ("power_load__monitoring__drift", "monitoring drift"),
    ],
)
def test_a_step_is_called_without_its_product(step: str, title: str) -> None:
    assert step_title(step) == title


def error(message: str, cause: Any = None) -> SimpleNamespace:
    return SimpleNamespace(message=message, cause=cause)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (SimpleNamespace(user_failure_data=SimpleNamespace(description="toy: mend it"), error=None), "toy: mend it"),
        (SimpleNamespace(user_failure_data=None, error=error("outer", error("inner\n"))), "inner"),
        (SimpleNamespace(user_failure_data=SimpleNamespace(description=""), error=error("only")), "only"),
        (SimpleNamespace(user_failure_data=None, error=None), "failed"),
    ],
)
def test_a_failure_is_told_by_our_message_or_the_innermost_one(data: SimpleNamespace, said: str) -> None:
    assert failure_text(data) == said
