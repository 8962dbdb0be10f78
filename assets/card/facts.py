"""What the ledger holds about one model, gathered for its card: read once, nothing is written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import duckdb

from assets import ledger
from assets.errors import HeadraceError
from assets.evaluation.judge import baselines
from assets.promotion.withdrawn import withdrawn
from assets.records import (
    Batch,
    Blessing,
    BlessingKind,
    Comparison,
    DataValidation,
    Decision,
    DriftReport,
    EvaluationReport,
    LivePointer,
    ModelManifest,
    Override,
    PerformanceReport,
    SplitManifest,
    Training,
)
from assets.spec import ProductSpec

W = TypeVar("W", DriftReport, PerformanceReport)

KINDS: tuple[BlessingKind, ...] = ("data", "training", "quality", "infrastructure")


@dataclass(frozen=True)
class CardFacts:
    """The records behind a card; what is None or empty has not happened.

    Args:
        spec: the product as it is today; the model may have been trained under another.
        manifest: the model.
        live: what is served now.
        split: the split it was trained on.
        training: how that went.
        evaluations: of everyone on that split, the newest of each model and role.
        blessings: the newest word of each kind: about the model, and about the data of the batch it was tested on.
        decisions: about it as challenger or champion, oldest first, each with its moment.
        overrides: by persons, about it or about a batch that it has seen.
        comparisons: with a champion or a challenger, oldest first.
        batches: delivered files up to its batch, refused ones too.
        validations: the newest of each batch and kind up to its batch.
        withdrawn: why it was taken away, in words; empty when it was not.
        drift, performance: of the batches that it scored, in their order.
    """

    spec: ProductSpec
    manifest: ModelManifest
    live: LivePointer | None = None
    split: SplitManifest | None = None
    training: Training | None = None
    evaluations: Sequence[EvaluationReport] = ()
    blessings: dict[BlessingKind, Blessing] = field(default_factory=dict)
    decisions: Sequence[tuple[datetime, Decision]] = ()
    overrides: Sequence[tuple[datetime, Override]] = ()
    comparisons: Sequence[Comparison] = ()
    batches: Sequence[Batch] = ()
    validations: Sequence[DataValidation] = ()
    withdrawn: str = ""
    drift: Sequence[DriftReport] = ()
    performance: Sequence[PerformanceReport] = ()

    @property
    def model_id(self) -> str:
        """The model that the card is about."""
        return self.manifest.model_id

    @property
    def primary(self) -> str:
        """The metric that decides."""
        return self.spec.gates.primary

    @property
    def own(self) -> EvaluationReport | None:
        """Its evaluation on its own test rows."""
        found = [item for item in self.evaluations if item.model_id == self.model_id and item.role == "candidate"]
        return found[-1] if found else None

    @property
    def baseline(self) -> EvaluationReport | None:
        """The best of the baselines on the same rows."""
        judged = [item for item in self.evaluations if self.primary in item.test and item.model_id != self.model_id]
        return next(iter(baselines(judged, self.primary)), None)

    @property
    def champion(self) -> EvaluationReport | None:
        """The champion of then on the same rows, if it was another model and could be compared."""
        others = [item for item in self.evaluations if item.role == "champion" and item.model_id != self.model_id]
        return others[-1] if others else None

    @property
    def comparison(self) -> Comparison | None:
        """With the champion of then, as its challenger."""
        found = [item for item in self.comparisons if item.challenger_id == self.model_id]
        return found[-1] if found else None

    @property
    def own_decisions(self) -> list[tuple[datetime, Decision]]:
        """Those about it, not about its challengers."""
        return [(at, item) for at, item in self.decisions if item.model_id == self.model_id]

    @property
    def newest_decision(self) -> tuple[datetime, Decision] | None:
        """The newest verdict about it; going live is its consequence, not another one."""
        found = [(at, item) for at, item in self.own_decisions if item.verdict != "LIVE"]
        return found[-1] if found else None

    @property
    def model_overrides(self) -> list[tuple[datetime, Override]]:
        """What persons said about the model itself."""
        return [(at, item) for at, item in self.overrides if item.subject == self.model_id]

    @property
    def is_live(self) -> bool:
        """Whether it is served."""
        return self.live is not None and self.live.model_id == self.model_id

    @property
    def is_spec_changed(self) -> bool:
        """Whether today's spec is another than the one it was trained under."""
        return self.manifest.spec_hash != self.spec.spec_hash


def read_facts(con: duckdb.DuckDBPyConnection, spec: ProductSpec, model_id: str, live: LivePointer | None) -> CardFacts:
    """Everything that the ledger holds about a model.

    Raises:
        HeadraceError: the ledger has no such model.
    """
    manifest = ledger.model(con, model_id)
    if manifest is None:
        raise HeadraceError(
            "there is no such model",
            product=spec.product,
            where="model card",
            expected="the id of a model in the ledger",
            found=model_id,
            fix=f'headrace sql --product {spec.product} "select record_id from ledger.models"',
        )
    splits = [item for _, item in ledger.records(con, "splits", SplitManifest) if item.split_id == manifest.split_id]
    trainings = [item for _, item in ledger.records(con, "trainings", Training) if item.model_id == model_id]
    every = ledger.decisions(con)
    decisions = [pair for pair in every if model_id in (pair[1].model_id, pair[1].champion_id)]
    batches = [item for item in ledger.batches(con, spec.product) if item.batch_id <= manifest.as_of]
    seen = {model_id, *(item.batch_id for item in batches)}
    tested_on = splits[-1].test_batch if splits else manifest.as_of
    return CardFacts(
        spec=spec,
        manifest=manifest,
        live=live,
        split=splits[-1] if splits else None,
        training=trainings[-1] if trainings else None,
        evaluations=ledger.evaluations_of(con, manifest.split_id),
        blessings=newest_blessings(ledger.all_blessings(con), model_id, tested_on),
        decisions=decisions,
        overrides=[pair for pair in ledger.records(con, "overrides", Override) if pair[1].subject in seen],
        comparisons=_comparisons(con, model_id, decisions),
        batches=batches,
        validations=newest_validations(con, until=manifest.as_of),
        withdrawn=withdrawn(item for _, item in every).get(model_id, ""),
        drift=newest_by_batch(
            item for _, item in ledger.records(con, "drift", DriftReport) if item.model_id == model_id
        ),
        performance=newest_by_batch(
            item for _, item in ledger.records(con, "performance", PerformanceReport) if item.model_id == model_id
        ),
    )


def newest_blessings(found: Iterable[Blessing], model_id: str, batch_id: str) -> dict[BlessingKind, Blessing]:
    """The newest word of each kind: data about the batch, the others about the model."""
    return {
        item.kind: item
        for item in found
        if (item.kind == "data" and item.as_of == batch_id) or (item.kind != "data" and item.model_id == model_id)
    }


def newest_validations(con: duckdb.DuckDBPyConnection, *, until: str) -> list[DataValidation]:
    """The newest of each batch and kind, in the order of batches."""
    found = {
        (item.batch_id, item.kind): item
        for _, item in ledger.records(con, "validations", DataValidation)
        if item.batch_id <= until
    }
    return [found[key] for key in sorted(found)]


def newest_by_batch(found: Iterable[W]) -> list[W]:
    """The newest report of each batch, in the order of batches."""
    newest = {item.batch_id: item for item in found}
    return [newest[batch_id] for batch_id in sorted(newest)]


def _comparisons(
    con: duckdb.DuckDBPyConnection, model_id: str, decisions: Sequence[tuple[datetime, Decision]]
) -> list[Comparison]:
    """Those of the table, else those that decisions carry."""
    written = [item for _, item in ledger.records(con, "comparisons", Comparison)]
    carried = [item.comparison for _, item in decisions if item.comparison is not None]
    both = {item.comparison_id: item for item in (*carried, *written)}
    return [item for item in both.values() if model_id in (item.challenger_id, item.champion_id)]
