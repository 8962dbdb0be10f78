"""Find features that know the outcome: one that predicts too well alone, or all that together predict too well.

Suspicion, not proof: what is measured stands beside its threshold, and a person who knows better raises it. A column
that is known too late but says little of the outcome can't be seen in numbers; `label.outcomes` names those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.features.feature_set import fit_schema
from assets.features.row import RowEncoder
from assets.features.statistics import class_aucs
from assets.records import Gate
from assets.spec import ProductSpec
from assets.tasks import CLASSIFICATION, Task, classes_of, encode_labels

Matrix = NDArray[np.float64]

# One model on half of the rows, judged on the others. With fewer rows easy data and a leak look alike.
MIN_JOINT_ROWS = 1_000
MAX_JOINT_ROWS = 20_000
# Ceilings of a joint model for products that say none
MAX_JOINT_AUC = 0.995
MAX_JOINT_R2 = 0.999
# A class or a column's values with fewer rows say nothing for sure
MIN_ROWS = 20
_MAX_CLASSES = 10
_ROUNDS = 50
_SUSPECTS = 5


@dataclass(frozen=True)
class Leaks:
    """How well features predict the outcome.

    Args:
        metric: roc_auc of classification (multiclass: the largest of one class against the rest), spearman of numbers.
        alone: column -> metric, whichever direction is better.
        joint: roc_auc (multiclass: mean over classes) or r2 of a small model of all columns on rows it has not seen;
            None with too few rows.
        suspects: what that model gained most by, the most first.
    """

    metric: str
    alone: dict[str, float]
    joint: float | None
    suspects: tuple[str, ...]

    @property
    def strongest(self) -> str:
        """The column that predicts best alone, empty if there is none."""
        return max(self.alone, key=lambda name: self.alone[name], default="")


def judge_leaks(spec: ProductSpec, inputs: pl.DataFrame, labels: pl.Series | None) -> tuple[Gate, Leaks | None]:
    """Whether the features of some rows know more of the outcome than they should.

    Args:
        spec: the product.
        inputs: rows of the feature table, shape (rows, inputs).
        labels: raw labels of these rows, null where there is no outcome; None for a clustering.
    """
    if spec.label is None or labels is None:
        return Gate(name="leak", verdict="PASSED", observed="no label", threshold="no label to be known"), None
    schema = fit_schema(spec, inputs)
    forbidden = sorted({*spec.label.outcomes, spec.label.column} & {*schema.column_names, *schema.row})
    known = labels.is_not_null() & labels.cast(pl.String).ne_missing("NaN")
    rows, outcomes = inputs.filter(known), labels.filter(known)
    encoder = RowEncoder(schema)
    found = find_leaks(
        spec.task,
        encoder.columns(rows),
        encoder.matrix(rows),
        [kind for _, kind in schema.columns],
        encode_labels(spec.task, outcomes, classes_of(spec.task, outcomes)),
        seed=spec.seed,
    )
    return _gate(spec, found, forbidden), found


def _gate(spec: ProductSpec, found: Leaks, forbidden: Sequence[str]) -> Gate:
    gates, is_class = spec.gates, spec.task in CLASSIFICATION
    ceiling = gates.max_single_feature_auc if is_class else gates.max_single_feature_correlation
    joint_ceiling = gates.max_joint_auc if is_class else gates.max_joint_r2
    strongest = found.strongest
    observed = found.alone.get(strongest, 0.5 if is_class else 0.0)
    joint = "too few rows" if found.joint is None else f"{found.joint:.3f}"
    said = f"strongest alone: {strongest or 'none'}; all together {joint} of at most {joint_ceiling:g}"
    if forbidden:
        return Gate(
            name="leak", verdict="FAILED", observed=observed, threshold=ceiling,
            detail=f"outcomes among the features: {', '.join(forbidden)}; remove them",
        )  # fmt: skip
    if observed > ceiling:
        ranked = sorted(found.alone, key=lambda name: -found.alone[name])
        too_good = [name for name in ranked if found.alone[name] > ceiling][:_SUSPECTS]
        said = f"{', '.join(too_good)}: known only after the event? If not, raise the gate in the spec. {said}"
        return Gate(name="leak", verdict="FAILED", observed=observed, threshold=ceiling, detail=said)
    if found.joint is not None and found.joint > joint_ceiling:
        said = (
            f"together {', '.join(found.suspects)} predict better than is plausible: is one of them known only "
            f"after the event? If not, raise the gate in the spec. {said}"
        )
        return Gate(name="leak", verdict="FAILED", observed=found.joint, threshold=joint_ceiling, detail=said)
    return Gate(name="leak", verdict="PASSED", observed=observed, threshold=ceiling, detail=said)


def find_leaks(
    task: Task, columns: pl.DataFrame, matrix: Matrix, kinds: Sequence[str], labels: NDArray[Any], *, seed: int
) -> Leaks:
    """Measure each column alone and all together; rows without a label must have been left out.

    Args:
        task: classification or a number.
        columns: model columns before encoding, shape (rows, columns).
        matrix: the same encoded.
        kinds: `number` or `category` of each column.
        labels: by `encode_labels`, shape (rows,).
        seed: which half of the rows judges.
    """
    judged = np.random.default_rng(seed).random(len(labels)) < 0.5  # noqa: PLR2004 - a half
    targets = _targets(task, labels)
    alone = _numbers_alone(task, columns, matrix, kinds, targets) | {
        name: _category_alone(task, columns[name], targets, judged)
        for name, kind in zip(columns.columns, kinds, strict=True)
        if kind == "category"
    }
    joint, gains = _joint(task, matrix, kinds, labels, targets, judged, seed=seed)
    order = np.argsort(-gains, kind="stable")[:_SUSPECTS]
    return Leaks(
        metric="roc_auc" if task in CLASSIFICATION else "spearman",
        alone={name: alone[name] for name in columns.columns},
        joint=joint,
        suspects=tuple(columns.columns[place] for place in order if gains[place] > 0),
    )


def _targets(task: Task, labels: NDArray[Any]) -> NDArray[Any]:
    """What is predicted, shape (rows, targets): 0 and 1 of each class with enough rows, or the numbers."""
    if task != "multiclass":
        return labels[:, None].astype(np.float64)
    classes, counts = np.unique(labels, return_counts=True)
    often = classes[np.argsort(-counts, kind="stable")][:_MAX_CLASSES]
    enough = np.array([code for code in often if np.sum(labels == code) >= MIN_ROWS], dtype=np.int64)
    targets: NDArray[np.float64] = np.equal(labels[:, None], enough[None, :]).astype(np.float64)
    return targets


def _numbers_alone(
    task: Task, columns: pl.DataFrame, matrix: Matrix, kinds: Sequence[str], targets: NDArray[Any]
) -> dict[str, float]:
    places = [place for place, kind in enumerate(kinds) if kind != "category"]
    numbers = matrix[:, places]
    if task in CLASSIFICATION:
        found = class_aucs(numbers, targets).max(axis=0, initial=0.5)
    else:
        found = np.array([spearman(column, targets[:, 0]) for column in numbers.T])
    return {columns.columns[place]: float(value) for place, value in zip(places, found, strict=True)}


def spearman(values: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    """Magnitude of Spearman's rank correlation on the rows that have a value; 0 with too few, or with a constant."""
    there = ~np.isnan(values)
    if np.sum(there) < MIN_ROWS:
        return 0.0
    ranks = pl.DataFrame({"values": values[there], "target": target[there]}).select(pl.all().rank("average")).to_numpy()
    deviations = ranks.std(axis=0)
    if not deviations.all():
        return 0.0
    centred = ranks - ranks.mean(axis=0)
    return float(abs(np.mean(centred[:, 0] * centred[:, 1]) / deviations.prod()))


def _category_alone(task: Task, column: pl.Series, targets: NDArray[Any], judged: NDArray[np.bool_]) -> float:
    """How well the mean outcome of each value ranks rows that the means were not made of.

    The order of names means nothing, and means of the same rows would know the outcome of every rare value. So rates
    come from one half of the rows, drawn to the overall mean as if by one more row, and judge the other, both ways.
    Source: Micci-Barreca, A preprocessing scheme for high-cardinality categorical attributes (2001).
    """
    found = [0.5 if task in CLASSIFICATION else 0.0]
    for target in targets.T:
        values = pl.DataFrame({"value": column, "target": target.astype(np.float64), "judged": judged})
        both = [_rate_score(task, values, judges=judges) for judges in (True, False)]
        found.append(float(np.mean(both)))
    return max(found)


def _rate_score(task: Task, values: pl.DataFrame, *, judges: bool) -> float:
    rates_of, scored = values.filter(pl.col("judged") != judges), values.filter(pl.col("judged") == judges)
    if rates_of.is_empty() or scored.is_empty():
        return 0.5 if task in CLASSIFICATION else 0.0
    overall = float(rates_of["target"].to_numpy().mean())
    rates = rates_of.group_by("value").agg(((pl.col("target").sum() + overall) / (pl.len() + 1)).alias("rate"))
    joined = scored.join(rates, on="value", how="left", nulls_equal=True, maintain_order="left")
    rate, target = joined["rate"].fill_null(overall).to_numpy(), joined["target"].to_numpy()
    if task in CLASSIFICATION:
        return float(class_aucs(rate[:, None], target[:, None])[0, 0])
    return spearman(rate, target)


def _joint(
    task: Task,
    matrix: Matrix,
    kinds: Sequence[str],
    labels: NDArray[Any],
    targets: NDArray[Any],
    judged: NDArray[np.bool_],
    *,
    seed: int,
) -> tuple[float | None, NDArray[np.float64]]:
    """A small LightGBM model of one half of at most 20,000 rows: its metric on the other, and gains (columns,)."""
    nothing = np.zeros(len(kinds))
    if len(labels) < MIN_JOINT_ROWS or not kinds or not targets.size or len(np.unique(labels)) == 1:
        return None, nothing
    import lightgbm as lgb

    random = np.random.default_rng(seed)
    rows = np.sort(random.permutation(len(labels))[:MAX_JOINT_ROWS])
    fitted_on, scored = rows[~judged[rows]], rows[judged[rows]]
    classes = int(labels.max()) + 1 if task == "multiclass" else 1
    booster = lgb.train(
        {
            "objective": {"binary": "binary", "multiclass": "multiclass"}.get(task, "regression"),
            "num_class": classes,
            "num_leaves": 15,
            "verbosity": -1,
            "seed": seed,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
        },
        lgb.Dataset(
            matrix[fitted_on],
            labels[fitted_on],
            categorical_feature=[place for place, kind in enumerate(kinds) if kind == "category"],
        ),
        num_boost_round=max(10, _ROUNDS // classes),
    )
    found = np.asarray(booster.predict(matrix[scored], num_threads=1)).reshape(len(scored), -1)
    gains = np.asarray(booster.feature_importance("gain"), dtype=np.float64)
    if task not in CLASSIFICATION:
        truth = labels[scored].astype(np.float64)
        spread = float(np.sum((truth - truth.mean()) ** 2))
        return (1 - float(np.sum((truth - found[:, 0]) ** 2)) / spread if spread else None), gains
    # a class's own score, of the classes with enough rows
    own = [0] if task == "binary" else [int(labels[np.argmax(target)]) for target in targets.T]
    aucs = [class_aucs(found[:, [place]], targets[scored][:, [at]])[0, 0] for at, place in enumerate(own)]
    return float(np.mean(aucs)), gains
