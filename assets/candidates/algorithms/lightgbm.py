"""Gradient boosted trees by LightGBM, stopped early on the validation rows."""

from typing import Any

import lightgbm as lgb

from assets.candidates.predictor import file_names
from assets.candidates.registry import Algorithm, Fitted, Progress, merged
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError
from assets.tasks import CLASSIFICATION, NUMERIC

DEFAULTS: dict[str, Any] = {
    "objective": "auto",  # regression and forecast: regression, regression_l1, huber, quantile, mape, poisson, ...
    "max_rounds": 500,
    "early_stopping_rounds": 30,  # 0: every round is used
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 0,  # 0: by the number of rows
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "cat_smooth": 20.0,
    "max_bin": 255,
}
_OURS = ("max_rounds", "early_stopping_rounds", "objective")
_REPORT_EVERY = 25
# leaves of fewer rows say little, but 150 rows must part at all
_LEAF_ROWS, _SMALLEST_LEAF_ROWS, _LEAVES_OF_FEW = 50, 5, 40
# objective by task with the metric that stops the boosting; other objectives stop by themselves
_METRICS = {"binary": "binary_logloss", "multiclass": "multi_logloss", "regression": "rmse"}
_OBJECTIVES = (
    "regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie",
)  # fmt: skip


def fit(rows: TrainingSet, params: dict[str, Any], seed: int, threads: int, progress: Progress) -> Fitted:
    """Boost until the validation rows' loss stops falling; the file is LightGBM's text. Source: Ke et al. (2017)."""
    used = _used(rows, params)
    metric = _METRICS.get(used["objective"], used["objective"])
    names = file_names(rows.columns)
    training = lgb.Dataset(
        rows.train,
        rows.train_labels,
        weight=rows.weights,
        feature_name=names,
        categorical_feature=rows.categorical,
        params={"max_bin": used["max_bin"]},
    )
    losses: dict[str, dict[str, list[float]]] = {}

    def report(state: Any) -> None:
        if (state.iteration + 1) % _REPORT_EVERY == 0 and state.evaluation_result_list:
            loss = state.evaluation_result_list[0][2]
            progress(f"lightgbm: round {state.iteration + 1} of at most {used['max_rounds']}, {metric} {loss:.4g}")

    judged: dict[str, Any] = {"callbacks": [report]}
    if len(rows.validation):
        judged = {
            "valid_sets": [lgb.Dataset(rows.validation, rows.validation_labels, reference=training)],
            "valid_names": ["validation"],
            "callbacks": [*_early_stopping(used["early_stopping_rounds"]), lgb.record_evaluation(losses), report],
        }
    booster = lgb.train(
        {
            **{name: value for name, value in used.items() if name not in _OURS},
            **_of_task(rows),
            "objective": used["objective"],
            "metric": metric,
            "verbosity": -1,
            # same input, same bytes: with fewer or more threads the sums would round differently
            "seed": seed,
            "num_threads": threads,
            "deterministic": True,
            "force_row_wise": True,
        },
        training,
        num_boost_round=used["max_rounds"],
        **judged,
    )
    rounds = booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
    history = {
        "rounds": rounds,
        "max_rounds": used["max_rounds"],
        "validation_metric": metric,
        "validation_loss": losses.get("validation", {}).get(metric, []),
        "importance": dict(zip(rows.columns, map(float, booster.feature_importance("gain")), strict=True)),
    }
    return Fitted("model.txt", booster.model_to_string(num_iteration=rounds).encode(), used, history)


def _early_stopping(rounds: int) -> list[Any]:
    return [lgb.early_stopping(rounds, verbose=False)] if rounds else []


def _used(rows: TrainingSet, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters with what depends on task and rows filled in.

    Raises:
        HeadraceError: a parameter is unknown, or the objective is not for this task.
    """
    used = merged(DEFAULTS, params, name="lightgbm")
    allowed = _OBJECTIVES if rows.task in NUMERIC else (rows.task,)
    if used["objective"] == "auto":
        used["objective"] = allowed[0]
    if used["objective"] not in allowed:
        raise HeadraceError(
            f"objective {used['objective']} is not for {rows.task}",
            where="candidates: lightgbm",
            expected=", ".join(allowed),
            fix="change or remove params.objective",
        )
    if not used["min_data_in_leaf"]:
        few = max(_SMALLEST_LEAF_ROWS, len(rows.train) // _LEAVES_OF_FEW)
        used["min_data_in_leaf"] = min(_LEAF_ROWS, few)
    return used


def _of_task(rows: TrainingSet) -> dict[str, Any]:
    options: dict[str, Any] = {"num_class": len(rows.classes)} if rows.task == "multiclass" else {}
    if rows.monotone:
        options["monotone_constraints"] = [rows.monotone.get(name, 0) for name in rows.columns]
    return options


ALGORITHM = Algorithm(
    description="Gradient boosted trees",
    tasks=CLASSIFICATION | NUMERIC,
    kinds=frozenset({"lightgbm"}),
    fit=fit,
    defaults=DEFAULTS,
    space={
        "learning_rate": (0.02, 0.2),
        "num_leaves": (7, 127),
        "min_data_in_leaf": (0, 200),
        "feature_fraction": (0.4, 1.0),
        "bagging_fraction": (0.5, 1.0),
        "lambda_l2": (0.01, 100.0),
    },
    # without early stopping, as on shuffled labels it would stop at once and prove nothing
    quick={"max_rounds": 10, "early_stopping_rounds": 0},
    supports_monotone=True,
    supports_weights=True,
)
