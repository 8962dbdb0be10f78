"""The evaluation asset: reports, the best marked, the quality blessing, and the refusal when there is none."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import duckdb

from assets import ledger, plots
from assets.candidates.predictor import Predictor, load_predictor
from assets.definitions import HomeParam, batch_of, key_of, records_table, shown_errors, stage_asset
from assets.evaluation import checks
from assets.evaluation.judge import Verdict, judge
from assets.evaluation.metrics import calibration_curve
from assets.evaluation.report import write_classification_report
from assets.features.read import read_part, require_split
from assets.home import Home
from assets.live import read_live
from assets.records import Decision, SplitManifest
from assets.spec import ProductSpec


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
    candidates = {
        item.algorithm: load_predictor(models / manifests[item.algorithm].model_id, threads=threads)
        for item in spec.candidates
        if item.algorithm in manifests
    }
    champion = load_predictor(models / live.model_id, threads=threads) if live else None
    verdict = judge(spec, split, validation, test, candidates, champion)
    best = candidates[verdict.best.algorithm]
    path = home.report(spec.product, split.as_of, "classification.html")
    write_classification_report(path, spec, verdict.labels, verdict.probabilities[verdict.best.model_id])
    lake.transact(lambda con: _record(con, verdict, live.model_id if live else None))
    return verdict, _metadata(spec, verdict, best, home.report_url(path))


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


def _metadata(spec: ProductSpec, verdict: Verdict, best: Predictor, url: str) -> dict[str, Any]:
    scores = verdict.probabilities[verdict.best.model_id]
    predicted, observed, _ = calibration_curve(verdict.labels, scores)
    leaderboard = [
        {
            "model": item.model_id,
            "role": "best" if item.is_best else item.role,
            f"validation {spec.gates.primary}": item.validation.get(spec.gates.primary),
            **{name: item.test[name] for name in ("roc_auc", "average_precision", "log_loss", "brier", "f1")},
        }
        for item in sorted(verdict.reports, key=lambda item: -item.test[spec.gates.primary])
    ]
    by_algorithm = {
        f"{report.algorithm} ({report.model_id})": verdict.probabilities[report.model_id] for report in verdict.reports
    }
    best_name = f"{verdict.best.algorithm} ({verdict.best.model_id})"
    return {
        "leaderboard": records_table(leaderboard),
        "best": verdict.best.model_id,
        "blessing": verdict.blessing.verdict,
        "roc": dg.MetadataValue.md(plots.roc(verdict.labels, by_algorithm, best_name)),
        "calibration": dg.MetadataValue.md(plots.calibration(predicted, observed)),
        "confusion": dg.MetadataValue.md(plots.confusion(verdict.labels, scores, spec.decision_threshold)),
        "evidently_report": dg.MetadataValue.url(url),
        "features": len(best.manifest.features.columns),
        **{f"test_{name}": value for name, value in verdict.best.test.items()},
    }
