"""The candidate assets: one per algorithm of the spec, each with its training blessing."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import duckdb

from assets import blessings, ledger, plots
from assets.candidates import checks
from assets.candidates.gates import gates_of, training_gates
from assets.candidates.registry import algorithm
from assets.candidates.training import Trained, train
from assets.candidates.training_set import load_training_set
from assets.definitions import HomeParam, batch_of, key_of, provenance, records_table, shown_errors, stage_asset
from assets.features.read import require_split
from assets.records import Blessing, ModelManifest, Training
from assets.spec import CandidateSpec, ProductSpec
from assets.splits.identical import identical_gate, identical_rows


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
            by = provenance(context, home)
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
                provenance=by,
            )
            of_split = []
            if "identical_rows" in gates_of(spec):
                with lake.connect() as con:
                    of_split.append(identical_gate(spec, identical_rows(con, spec, split)))
            gates = training_gates(spec, candidate, found, trained, rows, threads=threads, of_split=of_split)
        manifest = trained.manifest
        training = Training(
            model_id=manifest.model_id,
            algorithm=manifest.algorithm,
            as_of=split.as_of,
            seconds={"read": read_seconds, **trained.seconds},
            trials=trained.trials,
            history=dict(trained.history),
        )
        blessing = blessings.bless_model("training", spec, split, manifest.model_id, gates, provenance=by)
        lake.transact(lambda con: record(con, manifest, training, blessing))
        pictures = {"converged": curve} if (curve := learning_curve(trained.history)) else {}
        yield dg.MaterializeResult(
            key_of(spec, checks.STAGE, candidate.algorithm), metadata=_metadata(spec, trained, training, blessing)
        )
        yield from checks.results(spec, candidate.algorithm, gates, pictures)

    return trained_candidate


def record(con: duckdb.DuckDBPyConnection, manifest: ModelManifest, training: Training, blessing: Blessing) -> None:
    """Write a model, how its training went and what its gates say, in the caller's transaction: all or nothing."""
    ledger.append_once(con, "models", manifest.model_id, manifest.as_of, manifest)
    ledger.append_once(con, "trainings", training.model_id, training.as_of, training)
    blessings.write(con, blessing)


def learning_curve(history: Mapping[str, Any]) -> str:
    """The validation loss by round as a picture; empty where the fit reports none."""
    losses = history.get("validation_loss", [])
    if not losses:
        return ""
    rounds = [str(place + 1) for place in range(len(losses))]
    return plots.over_batches(rounds, {"validation": losses}, f"{history['validation_metric']} by round", every=25)


def _metadata(spec: ProductSpec, trained: Trained, training: Training, blessing: Blessing) -> dict[str, Any]:
    manifest, history = trained.manifest, trained.history
    shown: dict[str, Any] = {name: value for name, value in history.items() if isinstance(value, int | float)}
    if history.get("importance"):
        shown["importance"] = dg.MetadataValue.md(plots.importance(history["importance"]))
    if history.get("trials"):
        shown |= _search(spec.gates.primary, history["trials"])
    return {
        "model_id": manifest.model_id,
        "training_blessing": blessing.verdict,
        "why": "; ".join(blessing.reasons) or "every gate passed or only warned",
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
