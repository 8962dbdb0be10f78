"""Gradient boosted trees by LightGBM, stopped early on the validation rows."""

from typing import Any

import lightgbm as lgb

from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet

DEFAULTS: dict[str, Any] = {
    "max_rounds": 500,
    "early_stopping_rounds": 30,
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "cat_smooth": 20.0,
    "max_bin": 255,
}
_OURS = ("max_rounds", "early_stopping_rounds")
_REPORT_EVERY = 25


def fit(rows: TrainingSet, params: dict[str, Any], seed: int, threads: int, progress: Progress) -> Fitted:
    """Boost until the validation rows' log loss stops falling; the file is LightGBM's text format."""
    used = merged(DEFAULTS, params, name="lightgbm")
    training = lgb.Dataset(
        rows.train,
        rows.train_labels,
        feature_name=rows.columns,
        categorical_feature=rows.categorical,
        params={"max_bin": used["max_bin"]},
    )
    validation = lgb.Dataset(rows.validation, rows.validation_labels, reference=training)
    losses: dict[str, dict[str, list[float]]] = {}

    def report(state: Any) -> None:
        if (state.iteration + 1) % _REPORT_EVERY == 0:
            loss = state.evaluation_result_list[0][2]
            progress(f"lightgbm: round {state.iteration + 1} of at most {used['max_rounds']}, log loss {loss:.4f}")

    booster = lgb.train(
        {
            **{name: value for name, value in used.items() if name not in _OURS},
            "objective": "binary",
            "metric": "binary_logloss",
            "verbosity": -1,
            # same input, same bytes: with fewer or more threads the sums would round differently
            "seed": seed,
            "num_threads": threads,
            "deterministic": True,
            "force_row_wise": True,
        },
        training,
        num_boost_round=used["max_rounds"],
        valid_sets=[validation],
        valid_names=["validation"],
        callbacks=[
            lgb.early_stopping(used["early_stopping_rounds"], verbose=False),
            lgb.record_evaluation(losses),
            report,
        ],
    )
    history = {
        "rounds": booster.best_iteration,
        "validation_log_loss": losses["validation"]["binary_logloss"],
        "importance": dict(zip(rows.columns, map(float, booster.feature_importance("gain")), strict=True)),
    }
    text = booster.model_to_string(num_iteration=booster.best_iteration)
    return Fitted("model.txt", text.encode(), used, history)


ALGORITHM = Algorithm(
    description="Gradient boosted trees", tasks=frozenset({"binary"}), kinds=frozenset({"lightgbm"}), fit=fit
)
