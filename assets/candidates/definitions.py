"""The candidate assets: one per algorithm of the spec."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets import ledger, plots
from assets.candidates import checks
from assets.candidates.registry import algorithm
from assets.candidates.training import Trained, train
from assets.candidates.training_set import load_training_set
from assets.definitions import HomeParam, batch_of, key_of, shown_errors, stage_asset
from assets.features.read import require_split
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
            split = require_split(lake, spec, batch_of(context))
            rows = load_training_set(lake, spec, split)
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
        ledger.append_to_lake(lake, "models", [(trained.manifest.model_id, split.as_of, trained.manifest)])
        yield dg.MaterializeResult(key_of(spec, checks.STAGE, candidate.algorithm), metadata=_metadata(trained))
        yield from checks.results(spec, candidate, found, trained, rows, threads)

    return trained_candidate


def _metadata(trained: Trained) -> dict[str, Any]:
    manifest, history = trained.manifest, trained.history
    shown: dict[str, Any] = {name: value for name, value in history.items() if isinstance(value, int | float)}
    if history.get("importance"):
        shown["importance"] = dg.MetadataValue.md(plots.importance(history["importance"]))
    if history.get("validation_log_loss"):
        losses = history["validation_log_loss"]
        rounds = [str(place + 1) for place in range(len(losses))]
        curve = plots.over_batches(rounds, {"validation": losses}, "Log loss by round", every=25)
        shown["learning_curve"] = dg.MetadataValue.md(curve)
    return {
        "model_id": manifest.model_id,
        "training_rows": manifest.training_rows,
        "training_seconds": trained.seconds,
        "columns": len(manifest.features.columns),
        "params": dg.MetadataValue.json(manifest.params),
        "versions": dg.MetadataValue.json(manifest.versions),
        "folder": dg.MetadataValue.path(str(trained.folder)),
        **shown,
    }
