"""Which of the fitted features a model sees: chosen on training rows, by a strategy that is chosen at run time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.errors import HeadraceError
from assets.records import FeatureSchema
from assets.spec import SelectSpec
from assets.tasks import CLASSIFICATION, Task

Matrix = NDArray[np.float64]

MAX_ROWS = 20_000
# nearest neighbours of every number column: with many columns fewer rows, or it would take minutes
_MAX_CELLS = 2_000_000
_MIN_ROWS = 2_000
_DISCRETE_VALUES = 20
_ROUNDS = 100
_WITHOUT_LABELS = ("all", "names")


def select_features(
    task: Task,
    schema: FeatureSchema,
    matrix: Matrix,
    labels: NDArray[Any],
    selection: Mapping[str, Any],
    *,
    seed: int,
    threads: int,
) -> FeatureSchema:
    """A new schema with the columns that a strategy chooses, in the order they had.

    Args:
        task: decides the objective.
        schema: fitted on the training rows; stays as it is.
        matrix: training rows encoded by it, shape (rows, columns).
        labels: of these rows, as `encode_labels` gives them, shape (rows,).
        selection: `strategy` (all, importance, mutual_information, names), `top` (how many columns) and `names` (model
            columns, or transforms, whose every column is meant); empty means all.
        seed: of samples and models.
        threads: of the model; part of what makes equal runs equal.

    Raises:
        HeadraceError: an unknown strategy or name, or a strategy that asks labels of a clustering.
    """
    strategy = selection.get("strategy", "all")
    if task == "clustering" and strategy not in _WITHOUT_LABELS:
        raise _refused(
            f"a clustering has no label to select features by {strategy}", strategy, " or ".join(_WITHOUT_LABELS)
        )
    if strategy == "all":
        return schema
    if strategy == "names":
        return _with_columns(schema, _named(schema, selection.get("names", ())))
    scores = _SCORES.get(strategy)
    if scores is None:
        raise _refused("there is no such selection of features", strategy, ", ".join(("all", "names", *_SCORES)))
    top = int(selection.get("top", SelectSpec().top))
    if top >= len(schema.columns):
        return schema
    found = scores(task, schema, matrix, labels, seed, threads)
    # ties by place, so that equal scores choose the same columns every time
    best = np.argsort(-found, kind="stable")[:top]
    return _with_columns(schema, {schema.column_names[place] for place in best})


def gains(
    task: Task, schema: FeatureSchema, matrix: Matrix, labels: NDArray[Any], seed: int, threads: int
) -> NDArray[np.float64]:
    """Total gain of each column in a small LightGBM model of at most 20,000 training rows, shape (columns,)."""
    import lightgbm as lgb

    rows = _sample(len(labels), MAX_ROWS, seed)
    classes = int(labels.max()) + 1 if task == "multiclass" and len(labels) else 1
    objective = {"binary": "binary", "multiclass": "multiclass"}.get(task, "regression")
    categorical = [place for place, (_, kind) in enumerate(schema.columns) if kind == "category"]
    booster = lgb.train(
        {
            "objective": objective,
            "num_class": classes,
            "num_leaves": 15,
            "min_data_in_leaf": max(1, min(20, len(rows) // 20)),
            "verbosity": -1,
            "seed": seed,
            "num_threads": threads,
            "deterministic": True,
            "force_row_wise": True,
        },
        lgb.Dataset(matrix[rows], labels[rows], categorical_feature=categorical),
        num_boost_round=max(10, _ROUNDS // classes),
    )
    return np.asarray(booster.feature_importance("gain"), dtype=np.float64)


def mutual_information(
    task: Task, schema: FeatureSchema, matrix: Matrix, labels: NDArray[Any], seed: int, _threads: int
) -> NDArray[np.float64]:
    """Mutual information of each column with the label, in nats, shape (columns,), on at most 20,000 training rows.

    Missing numbers count as the column's median, missing categories as a category. Source: Kraskov et al., Estimating
    mutual information (2004); Ross, between discrete and continuous data sets (2014), as in scikit-learn.
    """
    from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

    limit = min(MAX_ROWS, max(_MIN_ROWS, _MAX_CELLS // max(1, len(schema.columns))))
    rows = _sample(len(labels), limit, seed)
    filled = np.column_stack([_filled(matrix[rows, place], kind) for place, (_, kind) in enumerate(schema.columns)])
    discrete = np.array(
        [
            kind == "category" or len(np.unique(filled[:, place])) <= _DISCRETE_VALUES
            for place, (_, kind) in enumerate(schema.columns)
        ]
    )
    estimate = mutual_info_classif if task in CLASSIFICATION else mutual_info_regression
    found = estimate(filled, labels[rows], discrete_features=discrete, random_state=seed)
    return np.asarray(found, dtype=np.float64)


_SCORES = {"importance": gains, "mutual_information": mutual_information}


def _filled(column: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    known = column[~np.isnan(column)]
    fill = -1.0 if kind == "category" or not known.size else float(np.median(known))
    return np.nan_to_num(column, nan=fill)


def _sample(rows: int, at_most: int, seed: int) -> NDArray[np.int64]:
    """Places of a seeded sample, ascending."""
    if rows <= at_most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, at_most, replace=False))


def _named(schema: FeatureSchema, names: Any) -> set[str]:
    of_transforms = {item.name: set(item.columns) for item in schema.fitted}
    unknown = sorted(set(names) - set(schema.column_names) - set(of_transforms))
    if unknown or not names:
        raise _refused(
            "features are selected by names that there are not", ", ".join(unknown) or "no names",
            f"some of {', '.join([*schema.column_names, *of_transforms])}",
        )  # fmt: skip
    return set().union(*(of_transforms.get(name, {name}) for name in names))


def _with_columns(schema: FeatureSchema, chosen: set[str]) -> FeatureSchema:
    """The schema with these columns, and with what was fitted for them alone."""
    return schema.model_copy(
        update={
            "columns": tuple(column for column in schema.columns if column[0] in chosen),
            "fitted": tuple(item for item in schema.fitted if chosen & set(item.columns)),
            "categories": {name: values for name, values in schema.categories.items() if name in chosen},
        }
    )


def _refused(what: str, found: str, expected: str) -> HeadraceError:
    return HeadraceError(
        what, where="features.select", expected=expected, found=found,
        fix="change features.select in the product's spec, or the selection given to the split",
    )  # fmt: skip
