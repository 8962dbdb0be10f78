"""What a LightGBM model has learned, as pictures: how much each feature moves its scores, and which way.

Exact SHAP values (Lundberg et al. 2020) of a seeded sample of the test rows, summed by feature as in `explain.py`.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets import plots
from assets.candidates.explain import by_feature, can_explain, feature_places
from assets.candidates.predictor import Predictor

# an exact value costs some 0.4 us a leaf: a quarter of a second for a model, and never fewer rows than say something
_LEAF_ROWS, _FEWEST_ROWS, _MOST_ROWS = 600_000, 100, 2_000
_SHOWN = 12
_SPREAD = 0.35  # of the points of a feature, of the height between two


def explanations(best: Predictor, test: pl.DataFrame, seed: int) -> dict[str, str]:
    """Pictures of a model's SHAP values on a sample of rows, name -> markdown; none of models that have no values.

    Args:
        best: the model.
        test: rows of inputs; at most 2,000 are explained, fewer for a large model.
        seed: of the sample.
    """
    manifest = best.manifest
    if not can_explain(manifest) or not test.height:
        return {}
    rows = int(np.clip(_LEAF_ROWS // max(best.leaves, 1), _FEWEST_ROWS, _MOST_ROWS))
    places = np.sort(np.random.default_rng(seed).permutation(test.height)[:rows])
    sample = test[places.tolist()]
    found = by_feature(manifest.features, best.contributions(sample))
    names = list(feature_places(manifest.features))
    several = manifest.task == "multiclass"
    sizes = np.abs(found).mean(axis=(0, 1) if several else 0)
    shown = np.argsort(-sizes, kind="stable")[:_SHOWN]
    unit = {"binary": "log odds", "multiclass": "score before softmax"}.get(manifest.task, manifest.label)
    pictures = {"shap": _bars([names[place] for place in shown], sizes[shown], f"mean |SHAP|, {unit}", len(sample))}
    if not several:
        values = best.encoder.matrix(sample)
        # the codes of categories are in no order
        values[:, [place for place, (_, kind) in enumerate(manifest.features.columns) if kind == "category"]] = np.nan
        firsts = [feature_places(manifest.features)[names[place]][0] for place in shown]
        pictures["shap_rows"] = _swarm(
            [names[place] for place in shown], found[:, shown], values[:, firsts], f"SHAP, {unit}", seed
        )
    return pictures


def _bars(names: list[str], sizes: NDArray[np.float64], unit: str, rows: int) -> str:
    figure, axes = plots.figure(f"What moves the scores ({rows:,} test rows)", unit, "", height=3.6)
    axes.barh(names[::-1], sizes[::-1], color=plots.ACCENT)
    axes.tick_params(labelsize=7)
    return plots.markdown(figure, "SHAP")


def _swarm(names: list[str], found: NDArray[np.float64], values: NDArray[np.float64], unit: str, seed: int) -> str:
    """A point per row and feature, from blue for low values to red; grey where there is none, or a category.

    Args:
        names: of the features, the one that moves most first.
        found: their contributions, shape (rows, features).
        values: of the first column of each feature, shape (rows, features).
        unit: of the contributions.
        seed: of the vertical spread.
    """
    figure, axes = plots.figure("Which way: red high, blue low values", unit, "", height=3.6)
    heights = np.arange(len(names))[::-1] + np.random.default_rng(seed).uniform(-_SPREAD, _SPREAD, found.shape)
    shades = np.column_stack([_shades(column) for column in values.T])
    is_known = ~np.isnan(shades)
    axes.axvline(0, color=plots.QUIET, linewidth=1)
    axes.scatter(found[~is_known], heights[~is_known], color=plots.QUIET, s=5, linewidths=0)
    axes.scatter(
        found[is_known], heights[is_known], c=shades[is_known], cmap="coolwarm", vmin=0, vmax=1, s=5, linewidths=0
    )
    axes.set_yticks(range(len(names)), names[::-1])
    axes.tick_params(labelsize=7)
    return plots.markdown(figure, "SHAP by row")


def _shades(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where each value lies between the low and the high ones, 0 to 1, shape (rows,); NaN stays."""
    known = column[~np.isnan(column)]
    low, high = np.percentile(known, (5, 95)) if len(known) else (0.0, 0.0)
    return np.clip((column - low) / (high - low or 1.0), 0, 1)
