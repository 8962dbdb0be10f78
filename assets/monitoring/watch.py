"""Watch a scored batch: measure drift and performance, write reports and alerts to the lake once."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from assets import ledger
from assets.candidates.predictor import load_predictor
from assets.evaluation.judge import categorical_places, is_baseline, permuted
from assets.evaluation.report import write_drift_report
from assets.features.read import batch_inputs, batch_labels, read_part
from assets.features.validate import split_of, training_profile
from assets.home import Home
from assets.monitoring.drift import drift_alert, measure_drift
from assets.monitoring.performance import degradation_alert, measure_clusters, measure_performance
from assets.predictions.score import read_scores, scored_frame
from assets.records import (
    Alert,
    DataValidation,
    DriftReport,
    EvaluationReport,
    PerformanceReport,
    content_hash,
)
from assets.spec import ProductSpec
from assets.tasks import scores_of, watched_series


def watch_drift(home: Home, spec: ProductSpec, batch_id: str) -> DriftReport | None:
    """Compare a scored batch with the training set of the model that scored it; None when it was not scored."""
    lake = home.lake(spec.product)
    scores = read_scores(lake, spec, batch_id)
    if scores is None:
        return None
    predictor = load_predictor(home.models(spec.product) / str(scores["model_id"][0]), threads=home.settings.threads)
    model_id = predictor.manifest.model_id
    with lake.connect() as con:
        profile = training_profile(con, spec, predictor.manifest)
        # the champion's own inputs: its snapshot may lack what was added since
        inputs = predictor.manifest.features.inputs
        test = read_part(con, spec, split_of(con, predictor.manifest), "test", inputs=inputs)
        earlier = drift_reports(con, model_id, before=batch_id)
        page = _page_of_validation(con, home, batch_id, model_id)
    classes = predictor.manifest.classes
    current = predictor.encoder.columns(batch_inputs(lake, spec, batch_id))
    report = measure_drift(
        spec,
        batch_id=batch_id,
        model_id=model_id,
        reference=profile.columns,
        current=current,
        reference_scores=watched_series(spec.task, predictor.scores(test), classes),
        current_scores=watched_series(spec.task, scores_of(spec.task, scores), classes),
        earlier=earlier,
    )
    if page is None:
        moved = sorted(report.column_psi, key=lambda name: -report.column_psi[name])[: spec.monitoring.report_columns]
        page = home.report(spec.product, batch_id, "drift.html")
        write_drift_report(page, spec, profile.sample.select(moved), current.select(moved))
    report = report.model_copy(update={"report": page.relative_to(home.settings.reports).as_posix()})
    alert = drift_alert(spec, report)
    lake.transact(lambda con: _record(con, "drift", batch_id, report, [alert] if alert else []))
    return report


def watch_performance(home: Home, spec: ProductSpec, batch_id: str) -> PerformanceReport | None:
    """Hold a scored batch against its labels that are known by now; None when it was not scored."""
    lake = home.lake(spec.product)
    scores = read_scores(lake, spec, batch_id)
    if scores is None:
        return None
    model_id = str(scores["model_id"][0])
    with lake.connect() as con:
        manifest = ledger.model(con, model_id)
        tested = _own_test(con, model_id)
        trained = ledger.models_of(con, manifest.split_id) if manifest else {}
    if manifest is None or tested is None:
        return None
    baselines = [
        load_predictor(home.models(spec.product) / item.model_id, threads=home.settings.threads)
        for name, item in sorted(trained.items())
        if is_baseline(name)
    ]
    inputs, reference = batch_inputs(lake, spec, batch_id), tested.test[spec.gates.primary]
    if spec.label is None:
        champion = load_predictor(home.models(spec.product) / model_id, threads=home.settings.threads)
        matrix = champion.encoder.matrix(inputs)
        shuffled = permuted(matrix, spec.seed)
        null = (shuffled, baselines[0].scores_of_matrix(shuffled)) if baselines else None
        report = measure_clusters(
            spec,
            batch_id=batch_id,
            scores=scores,
            matrix=matrix,
            categorical=categorical_places(manifest.features),
            null=null,
            reference=reference,
        )
    else:
        report = measure_performance(
            spec,
            batch_id=batch_id,
            scores=scores,
            labels=batch_labels(lake, spec, batch_id),
            known_until=ledger.now(),
            baselines=[
                scored_frame(spec, inputs, baseline, batch_id=batch_id, scored_at=ledger.now())
                for baseline in baselines
                if baseline.manifest.features.can_score(inputs.columns)
            ],
            classes=manifest.classes,
            reference=reference,
        )
    alert = degradation_alert(spec, report)
    lake.transact(lambda con: _record(con, "performance", batch_id, report, [alert] if alert else []))
    return report


def drift_reports(con: duckdb.DuckDBPyConnection, model_id: str, before: str | None = None) -> list[DriftReport]:
    """A champion's newest drift report of each batch, in the order of batches."""
    found = {
        report.batch_id: report
        for _, report in ledger.records(con, "drift", DriftReport)
        if report.model_id == model_id and (before is None or report.batch_id < before)
    }
    return [found[batch_id] for batch_id in sorted(found)]


def performance_reports(con: duckdb.DuckDBPyConnection) -> list[PerformanceReport]:
    """The newest performance report of each batch, in the order of batches."""
    found = {report.batch_id: report for _, report in ledger.records(con, "performance", PerformanceReport)}
    return [found[batch_id] for batch_id in sorted(found)]


def _record(
    con: duckdb.DuckDBPyConnection,
    name: str,
    batch_id: str,
    report: DriftReport | PerformanceReport,
    alerts: Sequence[Alert],
) -> None:
    ledger.append_once(con, name, content_hash(report.model_dump(mode="json"))[:16], batch_id, report)
    ledger.append_alerts(con, alerts)


def _page_of_validation(con: duckdb.DuckDBPyConnection, home: Home, batch_id: str, model_id: str) -> Path | None:
    """Evidently's page of this batch against this champion, if data validation has drawn it: a second one costs 3 s."""
    found = [
        home.settings.reports / item.report
        for _, item in ledger.records(con, "validations", DataValidation, batch_id=batch_id)
        if item.kind == "statistics" and item.reference == model_id and item.report
    ]
    return found[-1] if found and found[-1].exists() else None


def _own_test(con: duckdb.DuckDBPyConnection, model_id: str) -> EvaluationReport | None:
    found = [item for _, item in ledger.records(con, "evaluations", EvaluationReport) if item.model_id == model_id]
    return next((item for item in found if item.role == "candidate"), None)


def evidently_path(home: Home, report: DriftReport) -> Path:
    """Where a drift report's HTML is."""
    return home.settings.reports / report.report
