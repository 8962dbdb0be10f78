"""The candidate assets: one per algorithm of the spec."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from assets import ledger, plots
from assets.candidates import checks
from assets.candidates.registry import algorithm
from assets.candidates.training import Trained, train
from assets.candidates.training_set import load_training_set
from assets.definitions import HomeParam, batch_of, key_of, records_table, shown_errors, stage_asset
from assets.features.read import require_split
from assets.records import Training
from assets.spec import CandidateSpec, ProductSpec


def build(spec: ProductSpec) -> list[dg.AssetsDefinition]:
    """One asset per candidate, in the order of the spec."""
    return [_build_candidate(spec, candidate) for candidate in spec.candidates]


def _build_candidate(spec: ProductSpec, candidate: CandidateSpec) -> dg.AssetsDefinition:
    found = algorithm(candidate.algorithm, product=spec.product, task=spec.task)

    @stage_asset(
        spec,
        checks.STAGE,
        candidate.algorithm,
        description=f"{found.description}, trained as of this batch.",
        kinds=set(found.kinds),
        deps=[key_of(spec, "split")],
        checks=checks.specs(spec, candidate.algorithm),
        one_run_per_batch=True,
    )
    def trained_candidate(context: dg.AssetExecutionContext, home: HomeParam) -> Iterator[Any]:
        lake, threads = home.lake(spec.product), home.settings.threads
        with shown_errors():
            started = time.perf_counter()
            split = require_split(lake, spec, batch_of(context))
            rows = load_training_set(lake, spec, split)
            read_seconds = time.perf_counter() - started
            trained = train(
                found,
                candidate,
                spec=spec,
                split=split,
                rows=rows,
                folder=home.models(spec.product),
                threads=threads,
                progress=context.log.info,
            )
        manifest = trained.manifest
        training = Training(
            model_id=manifest.model_id,
            algorithm=manifest.algorithm,
            as_of=split.as_of,
            seconds={"read": read_seconds, **trained.seconds},
            trials=trained.trials,
            history=dict(trained.history),
        )
        ledger.append_to_lake(lake, "models", [(manifest.model_id, split.as_of, manifest)])
        ledger.append_to_lake(lake, "trainings", [(training.model_id, split.as_of, training)])
        yield dg.MaterializeResult(
            key_of(spec, checks.STAGE, candidate.algorithm), metadata=_metadata(spec, trained, training)
        )
        yield from checks.results(spec, candidate, found, trained, rows, threads)

    return trained_candidate


def _metadata(spec: ProductSpec, trained: Trained, training: Training) -> dict[str, Any]:
    manifest, history = trained.manifest, trained.history
    shown: dict[str, Any] = {name: value for name, value in history.items() if isinstance(value, int | float)}
    if history.get("importance"):
        shown["importance"] = dg.MetadataValue.md(plots.importance(history["importance"]))
    if history.get("validation_loss"):
        losses = history["validation_loss"]
        rounds = [str(place + 1) for place in range(len(losses))]
        curve = plots.over_batches(rounds, {"validation": losses}, f"{history['validation_metric']} by round", every=25)
        shown["learning_curve"] = dg.MetadataValue.md(curve)
    if history.get("trials"):
        shown |= _search(spec.gates.primary, history["trials"])
    return {
        "model_id": manifest.model_id,
        "training_rows": manifest.training_rows,
        "training_seconds": sum(training.seconds.values()),
        "seconds": dg.MetadataValue.json(training.seconds),
        "columns": len(manifest.features.columns),
        "params": dg.MetadataValue.json(manifest.params),
        "versions": dg.MetadataValue.json(manifest.versions),
        "folder": dg.MetadataValue.path(str(trained.folder)),
        **shown,
    }


def _search(metric: str, trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The history of a search: its trials as a table, and how the metric went."""
    numbers = [str(trial["trial"]) for trial in trials]
    lines = {name: [trial[key] for trial in trials] for name, key in (("best so far", "best"), ("trial", metric))}
    plot = plots.over_batches(numbers, lines, f"{metric} on the validation rows", every=max(1, len(trials) // 20))
    return {
        "trials": len(trials),
        "best_value": trials[-1]["best"],
        "search_trials": records_table(trials),
        "search": dg.MetadataValue.md(plot),
    }
