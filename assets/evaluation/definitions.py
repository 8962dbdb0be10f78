"""The evaluation asset: reports, the best marked, the quality blessing, and the refusal when there is none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl

from assets import ledger, plots
from assets.candidates.predictor import Predictor, load_predictor
from assets.definitions import HomeParam, batch_of, key_of, records_table, shown_errors, stage_asset
from assets.evaluation import checks
from assets.evaluation.backtest import backtest_rows, backtest_series
from assets.evaluation.comparable import why_not_comparable
from assets.evaluation.judge import Verdict, is_baseline, judge
from assets.evaluation.metrics import SHOWN
from assets.evaluation.pictures import cluster_profile, pictures
from assets.evaluation.report import write_classification_report, write_drift_report, write_regression_report
from assets.features.read import read_part, require_split
from assets.home import Home
from assets.live import read_live
from assets.records import Decision, SplitManifest, Training
from assets.spec import ProductSpec
from assets.tasks import CLASSIFICATION, DIRECTIONS, NUMERIC, watched_series


def build(spec: ProductSpec) -> list[dg.AssetsDefinition]:
    """The evaluation of a product."""

    @stage_asset(
        spec,
        checks.STAGE,
        description="Every candidate and the champion on the batch none of them has seen.",
        kinds={"evidently", "scikitlearn"},
        deps=[key_of(spec, "candidates", item.algorithm) for item in spec.candidates],
        checks=checks.specs(spec),
        one_run_per_batch=True,
    )
    def evaluation(context: dg.AssetExecutionContext, home: HomeParam) -> Iterator[Any]:
        with shown_errors():
            split = require_split(home.lake(spec.product), spec, batch_of(context))
            verdict, metadata = evaluate(home, spec, split)
        yield dg.MaterializeResult(key_of(spec, checks.STAGE), metadata=metadata)
        yield from checks.results(spec, verdict)

    return [evaluation]


def evaluate(home: Home, spec: ProductSpec, split: SplitManifest) -> tuple[Verdict, dict[str, Any]]:
    """Judge the candidates of a split, write what was found to the ledger and the report; returns it with metadata."""
    lake, models, threads = home.lake(spec.product), home.models(spec.product), home.settings.threads
    live = read_live(home.settings.home, spec.product)
    with lake.connect() as con:
        manifests = ledger.models_of(con, split.split_id)
        validation, test = read_part(con, spec, split, "validation"), read_part(con, spec, split, "test")
        champion_manifest = ledger.model(con, live.model_id) if live else None
        why_not = why_not_comparable(con, spec, split, champion_manifest) if champion_manifest else "no champion"
    candidates = {
        item.algorithm: load_predictor(models / manifests[item.algorithm].model_id, threads=threads)
        for item in spec.candidates
        if item.algorithm in manifests
    }
    champion = load_predictor(models / live.model_id, threads=threads) if live and not why_not else None
    verdict = judge(spec, split, validation, test, candidates, champion)
    best = candidates[verdict.best.algorithm]
    path = _write_report(home, spec, split, verdict, test, best)
    lake.transact(lambda con: _record(con, verdict, live.model_id if live else None))
    with lake.connect() as con:
        curve = backtest_rows(con, spec)
        trainings = [item for _, item in ledger.records(con, "trainings", Training)]
    return verdict, {
        **_metadata(spec, verdict, test, best),
        **_tried_clusters(verdict, trainings),
        **_backtest(spec, curve),
        "champion": live.model_id if champion and live else why_not,
        "evidently_report": dg.MetadataValue.url(home.report_url(path)),
    }


def _write_report(
    home: Home, spec: ProductSpec, split: SplitManifest, verdict: Verdict, test: pl.DataFrame, best: Predictor
) -> Path:
    """Evidently's HTML in the way of the task; of a clustering the test rows beside the training rows."""
    scores = verdict.scores[verdict.best.model_id]
    if spec.task in CLASSIFICATION:
        path = home.report(spec.product, split.as_of, "classification.html")
        return write_classification_report(path, spec, verdict.labels, scores, best.manifest.classes)
    if spec.task in NUMERIC:
        path = home.report(spec.product, split.as_of, "regression.html")
        return write_regression_report(path, spec, verdict.labels, scores)
    with home.lake(spec.product).connect() as con:
        training = read_part(con, spec, split, "train")
    frames = [
        best.encoder.columns(rows)
        .select(best.manifest.features.column_names[: spec.monitoring.report_columns])
        .with_columns(watched_series(spec.task, given, ()).alias("cluster"))
        for rows, given in ((training, best.scores(training)), (test, scores))
    ]
    return write_drift_report(home.report(spec.product, split.as_of, "clustering.html"), spec, *frames)


def _record(con: duckdb.DuckDBPyConnection, verdict: Verdict, champion_id: str | None) -> None:
    blessing = verdict.blessing
    for report in verdict.reports:
        record_id = f"{report.split_id}-{report.model_id}-{report.role}-{blessing.blessing_id}"
        ledger.append_once(con, "evaluations", record_id, blessing.as_of, report)
    ledger.append_once(con, "blessings", blessing.blessing_id, blessing.as_of, blessing)
    if blessing.verdict == "NOT_BLESSED":
        # The failed check below stops this run before promotion, so the refusal is written here.
        decision = Decision.refusing(blessing, champion_id)
        ledger.append_once(con, "decisions", decision.decision_id, decision.as_of, decision)


def _metadata(spec: ProductSpec, verdict: Verdict, test: pl.DataFrame, best: Predictor) -> dict[str, Any]:
    primary = spec.gates.primary
    ranked = sorted(verdict.reports, key=lambda item: -DIRECTIONS[primary] * item.test[primary])
    leaderboard = [
        {
            "model": item.model_id,
            "role": "best" if item.is_best else "baseline" if is_baseline(item.algorithm) else item.role,
            f"validation {primary}": item.validation.get(primary),
            **{name: item.test.get(name) for name in dict.fromkeys((primary, *SHOWN[spec.task]))},
        }
        for item in ranked
    ]
    tables = {
        "per_class": [{"class": name, **values} for name, values in verdict.best.classes.items()],
        "clusters": cluster_profile(verdict, best.manifest.features),
        "slices": [
            {"slice": f"{column} = {value}", primary: metric}
            for column, part in verdict.best.slices.items()
            for value, metric in part.items()
        ],
    }
    drawn = pictures(spec, verdict, test, best.manifest)
    return {
        "leaderboard": records_table(leaderboard),
        "best": verdict.best.model_id,
        "baseline": f"{verdict.baseline.algorithm} ({primary} {verdict.baseline.test[primary]:.4f})",
        "blessing": verdict.blessing.verdict,
        **{name: records_table(rows) for name, rows in tables.items() if rows},
        **{name: dg.MetadataValue.md(picture) for name, picture in drawn.items()},
        "features": len(best.manifest.features.columns),
        **{f"test_{name}": value for name, value in verdict.best.test.items()},
    }


def _tried_clusters(verdict: Verdict, trainings: list[Training]) -> dict[str, Any]:
    """The silhouette of each number of clusters that the best model's training tried, if it tried several."""
    own = [item.history for item in trainings if item.model_id == verdict.best.model_id]
    tried: dict[str, float] = own[-1].get("silhouette_by_clusters", {}) if own else {}
    if len(tried) < 2:  # noqa: PLR2004 - one point is no curve
        return {}
    counts = sorted(tried, key=int)
    plot = plots.over_batches(
        counts, {"silhouette": [tried[count] for count in counts]}, "Silhouette by clusters tried"
    )
    return {"silhouette_by_clusters": dg.MetadataValue.md(plot)}


def _backtest(spec: ProductSpec, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole curve so far as a table and a plot: after a backfill over partitions this is the backtest."""
    plot = plots.over_batches(
        [row["as_of"] for row in rows], backtest_series(spec, rows), f"{spec.gates.primary} on rows after the training"
    )
    return {"backtest": records_table(rows), "backtest_plot": dg.MetadataValue.md(plot)}
