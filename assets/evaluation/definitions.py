"""The evaluation asset: reports, the best marked, the quality blessing, and the refusal when there is none."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl

from assets import blessings, ledger, plots
from assets.candidates.predictor import Predictor, load_predictor
from assets.card.card import write_card
from assets.definitions import HomeParam, batch_of, key_of, provenance, records_table, shown_errors, stage_asset
from assets.errors import HeadraceError
from assets.evaluation import checks
from assets.evaluation.backtest import backtest_rows, backtest_series
from assets.evaluation.comparable import why_not_comparable
from assets.evaluation.explanations import explanations
from assets.evaluation.groups import measure_name
from assets.evaluation.judge import Verdict, is_baseline, judge
from assets.evaluation.metrics import SHOWN
from assets.evaluation.pictures import cluster_profile, explaining, pictures
from assets.evaluation.report import write_classification_report, write_drift_report, write_regression_report
from assets.features.read import read_part, require_split
from assets.home import Home
from assets.live import read_live
from assets.records import (
    Comparison,
    Decision,
    EvaluationReport,
    ModelManifest,
    Provenance,
    SplitManifest,
    Training,
)
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
            verdict, metadata, plots_of_gates = evaluate(home, spec, split, provenance(context, home))
        yield dg.MaterializeResult(key_of(spec, checks.STAGE), metadata=metadata)
        yield from checks.results(spec, verdict, plots_of_gates)

    return [evaluation]


def evaluate(
    home: Home, spec: ProductSpec, split: SplitManifest, asked: Provenance
) -> tuple[Verdict, dict[str, Any], dict[str, str]]:
    """Judge the candidates of a split, write what was found to the ledger and the report.

    Returns:
        the verdict, the asset's metadata, and the pictures that explain gates: gate name -> markdown.

    Raises:
        HeadraceError: candidates are missing, or none is blessed by its training.
    """
    lake, models, threads = home.lake(spec.product), home.models(spec.product), home.settings.threads
    live = read_live(home.settings.home, spec.product)
    with lake.connect() as con:
        manifests = ledger.models_of(con, split.split_id, spec_hash=spec.spec_hash)
        validation, test = read_part(con, spec, split, "validation"), read_part(con, spec, split, "test")
        champion_manifest = ledger.model(con, live.model_id) if live else None
        why_not = why_not_comparable(con, spec, split, champion_manifest) if champion_manifest else "no champion"
        chosen = {item.algorithm: manifests[item.algorithm] for item in spec.candidates if item.algorithm in manifests}
        unblessed = _unblessed(con, spec, split, chosen)
    folders = {name: models / manifest.model_id for name, manifest in chosen.items()}
    candidates = {name: load_predictor(folder, threads=threads) for name, folder in folders.items()}
    champion = load_predictor(models / live.model_id, threads=threads) if live and not why_not else None
    verdict = judge(
        spec,
        split,
        validation,
        test,
        candidates,
        champion,
        provenance=asked,
        megabytes={
            name: sum(file.stat().st_size for file in folder.iterdir()) / 1e6 for name, folder in folders.items()
        },
        unblessed=unblessed,
    )
    best = candidates[verdict.best.algorithm]
    path = _write_report(home, spec, split, verdict, test, best)
    lake.transact(lambda con: _record(con, verdict, live.model_id if live else None))
    # a refused model gets no further than here, and its card says why; promotion writes the card of a blessed one
    page = write_card(home, spec, verdict.best.model_id)[0] if verdict.blessing.verdict == "NOT_BLESSED" else None
    with lake.connect() as con:
        curve = backtest_rows(con, spec)
        trainings = [item for _, item in ledger.records(con, "trainings", Training)]
    drawn = pictures(spec, verdict, test, best.manifest)
    explained = explanations(best, test, spec.seed)
    metadata = {
        **_metadata(spec, verdict, best),
        **_tables(spec, verdict, best),
        **{name: dg.MetadataValue.md(picture) for name, picture in {**drawn, **explained}.items()},
        **_tried_clusters(verdict, trainings),
        **_backtest(spec, curve),
        "champion": live.model_id if champion and live else why_not,
        "evidently_report": dg.MetadataValue.url(home.report_url(path)),
        **({"model_card": dg.MetadataValue.url(home.report_url(page))} if page else {}),
    }
    return verdict, metadata, explaining(spec, drawn)


def _unblessed(
    con: duckdb.DuckDBPyConnection, spec: ProductSpec, split: SplitManifest, manifests: Mapping[str, ModelManifest]
) -> dict[str, str]:
    """The learners that training did not bless, with the reason; baselines only stand for not having learned."""
    found = {}
    for name, manifest in manifests.items():
        if is_baseline(name):
            continue
        try:
            blessings.require_model(
                con,
                "training",
                spec,
                split,
                manifest.model_id,
                feature_set_id=split.feature_set_id,
                where=f"evaluation as of {split.as_of}",
            )
        except HeadraceError as error:
            found[name] = f"{error.what.removeprefix('refused: ')} ({error.found})"
    return found


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
    if verdict.comparison:
        record_id = verdict.comparison.comparison_id
        ledger.append_once(con, "comparisons", record_id, blessing.as_of, verdict.comparison)
    blessings.write(con, blessing)
    if blessing.verdict == "NOT_BLESSED":
        # The failed check below stops this run before promotion, so the refusal is written here.
        decision = Decision.refusing(blessing, champion_id)
        ledger.append_once(con, "decisions", decision.decision_id, decision.as_of, decision)


def _metadata(spec: ProductSpec, verdict: Verdict, best: Predictor) -> dict[str, Any]:
    primary = spec.gates.primary
    return {
        "best": verdict.best.model_id,
        "baseline": f"{verdict.baseline.algorithm} ({primary} {verdict.baseline.test[primary]:.4f})",
        "blessing": verdict.blessing.verdict,
        **({"compared": compared(verdict.comparison)} if verdict.comparison else {}),
        "features": len(best.manifest.features.columns),
        "model_megabytes": verdict.megabytes,
        **{f"test_{name}": value for name, value in verdict.best.test.items()},
    }


def compared(found: Comparison) -> str:
    """Best and champion in one sentence."""
    clearly = "better than" if found.low > 0 else "worse than" if found.high < 0 else ""
    said = clearly or "not clearly different from"
    return (
        f"{found.challenger_id} ({found.metric} {found.challenger:.4f}) is {said} the champion {found.champion_id} "
        f"({found.champion:.4f}) on the same {found.rows:,} rows: improvement {found.improvement:+.4f}, "
        f"{found.confidence:.0%} interval {found.low:+.4f} to {found.high:+.4f} ({found.how})"
    )


def _tables(spec: ProductSpec, verdict: Verdict, best: Predictor) -> dict[str, Any]:
    """What is shown in place: gates in words, leaderboard, intervals, and the parts that the task has."""
    primary, intervals = spec.gates.primary, verdict.best.intervals
    tables: dict[str, list[dict[str, Any]]] = {
        "gates": [
            {
                "gate": gate.name,
                "verdict": gate.verdict,
                "observed": _number(gate.observed),
                "threshold": _number(gate.threshold),
                "in words": gate.detail,
            }
            for gate in verdict.blessing.gates
        ],
        "leaderboard": leaderboard(spec, verdict),
        "intervals": [
            {"metric": name, "value": verdict.best.test[name], "95% from": low, "to": high}
            for name, (low, high) in intervals.items()
        ],
        "per_class": [{"class": name, **values} for name, values in verdict.best.classes.items()],
        "clusters": cluster_profile(verdict, best.manifest.features),
        "slices": [
            {"slice": f"{column} = {value}", primary: metric}
            for column, part in verdict.best.slices.items()
            for value, metric in part.items()
        ],
        "groups": [
            {
                "group": f"{item.column} = {item.name}",
                "rows": item.rows,
                measure_name(spec): "too few rows" if item.value is None else item.value,
            }
            for item in verdict.groups
        ],
    }
    return {name: records_table(rows) for name, rows in tables.items() if rows}


def leaderboard(spec: ProductSpec, verdict: Verdict) -> list[dict[str, Any]]:
    """Everyone who was judged, the best on the test rows first; of who may not be the best it says why."""
    primary = spec.gates.primary
    ranked = sorted(verdict.reports, key=lambda item: -DIRECTIONS[primary] * item.test[primary])
    return [
        {
            "model": item.model_id,
            "role": _role(verdict, item),
            f"validation {primary}": item.validation.get(primary),
            **{name: item.test.get(name) for name in dict.fromkeys((primary, *SHOWN[spec.task]))},
        }
        for item in ranked
    ]


def _role(verdict: Verdict, report: EvaluationReport) -> str:
    if report.is_best:
        return "best"
    if is_baseline(report.algorithm):
        return "baseline"
    if report.role == "candidate" and report.algorithm in verdict.unblessed:
        return f"candidate, can't be the best: {verdict.unblessed[report.algorithm]}"
    return report.role


def _number(value: float | str) -> str:
    """Of a column that has words, too."""
    return f"{value:.4g}" if isinstance(value, float) else value


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
