"""What the platform has recorded about a product, gathered for its ML Test Score: read once, nothing is written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import dagster as dg
import duckdb

from assets import ledger
from assets.home import Home
from assets.live import read_live
from assets.monitoring.watch import performance_reports
from assets.naming import asset_key
from assets.records import (
    Blessing,
    BlessingKind,
    Comparison,
    DataValidation,
    Decision,
    EvaluationReport,
    Gate,
    LivePointer,
    ModelManifest,
    Override,
    PerformanceReport,
    Record,
    SplitManifest,
    Training,
)
from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.instance import open_instance

R = TypeVar("R", bound=Record)
Dated = tuple[datetime, R]

# checks that are in no blessing: Dagster's log says what they saw last
CHECKS = (("features", "point_in_time"), ("features", "leak"), ("predictions", "counts"), ("predictions", "range"))
# executions of a check among which its last outcome is: the newest may be of a run that is under way
_LOOKED_AT = 10


@dataclass(frozen=True)
class Seen:
    """What one check or gate observed last."""

    name: str
    verdict: str
    observed: Any
    threshold: Any
    at: datetime | None = None

    @property
    def passed(self) -> bool:
        """Whether it was content."""
        return self.verdict == "PASSED"

    @property
    def told(self) -> str:
        """The check in a line: name, verdict, observed against threshold, when."""
        when = f", {self.at:%Y-%m-%d}" if self.at else ""
        return f"{self.name} {self.verdict.lower()}: {_short(self.observed)} (threshold {_short(self.threshold)}){when}"


@dataclass(frozen=True)
class Evidence:
    """A product as its records show it.

    Args:
        spec, settings: the product and the installation.
        batches: ids of the loaded batches, sorted.
        live: the pointer; None before the first promotion.
        pointers: every pointer there was, oldest first.
        manifest, training, report: of the live model; its report is on its own test rows.
        blessings: all, oldest first, with their moments.
        validations: of the newest batch by kind.
        splits, trainings, decisions, overrides, comparisons, performance: all there are, oldest first.
        checks: `stage.check` -> what it saw last.
    """

    spec: ProductSpec
    settings: Settings
    batches: Sequence[str] = ()
    live: LivePointer | None = None
    pointers: Sequence[LivePointer] = ()
    manifest: ModelManifest | None = None
    training: Training | None = None
    report: EvaluationReport | None = None
    blessings: Sequence[Dated[Blessing]] = ()
    validations: dict[str, Dated[DataValidation]] = field(default_factory=dict)
    splits: Sequence[Dated[SplitManifest]] = ()
    trainings: Sequence[Dated[Training]] = ()
    decisions: Sequence[Dated[Decision]] = ()
    overrides: Sequence[Dated[Override]] = ()
    comparisons: Sequence[Comparison] = ()
    performance: Sequence[PerformanceReport] = ()
    checks: dict[str, Seen] = field(default_factory=dict)

    @property
    def product(self) -> str:
        """The product's name."""
        return self.spec.product

    @property
    def newest_batch(self) -> str:
        """The newest loaded batch, empty before the first."""
        return self.batches[-1] if self.batches else ""

    def blessing(self, kind: BlessingKind) -> Dated[Blessing] | None:
        """The newest word of a kind about the live model; of data about the newest batch."""
        wanted = self.newest_batch if kind == "data" else self.live.model_id if self.live else ""
        about = [
            (at, item)
            for at, item in self.blessings
            if item.kind == kind and wanted and (item.as_of if kind == "data" else item.model_id) == wanted
        ]
        return about[-1] if about else None

    def gate(self, kind: BlessingKind, name: str) -> Seen | None:
        """One gate of that blessing."""
        found = self.blessing(kind)
        if found is None:
            return None
        at, blessing = found
        return next((_seen(gate, at) for gate in blessing.gates if gate.name == name), None)

    def check(self, stage: str, name: str) -> Seen | None:
        """A check as it was last seen: in the newest batch's data blessing, else in Dagster's log."""
        return self.gate("data", name) or self.checks.get(f"{stage}.{name}")


def read_evidence(settings: Settings, spec: ProductSpec) -> Evidence:
    """Read ledger, live pointer and Dagster's log; an empty home gives evidence of nothing."""
    live = read_live(settings.home, spec.product)
    with Home(settings).lake(spec.product).connect() as con:
        con.execute("begin")  # one snapshot for all queries
        found = _from_ledger(con, settings, spec, live)
        con.execute("commit")
    return found


def _from_ledger(
    con: duckdb.DuckDBPyConnection, settings: Settings, spec: ProductSpec, live: LivePointer | None
) -> Evidence:
    batches = ledger.loaded_batch_ids(con, spec.product)
    live_id = live.model_id if live else ""
    trainings = ledger.records(con, "trainings", Training)
    reports = [item for _, item in ledger.records(con, "evaluations", EvaluationReport)]
    validations = ledger.records(con, "validations", DataValidation, batch_id=batches[-1]) if batches else []
    return Evidence(
        spec=spec,
        settings=settings,
        batches=batches,
        live=live,
        pointers=[item for _, item in ledger.records(con, "live", LivePointer)],
        manifest=ledger.model(con, live_id) if live else None,
        training=_last(item for _, item in trainings if item.model_id == live_id),
        report=_last(item for item in reports if (item.model_id, item.role) == (live_id, "candidate")),
        blessings=ledger.records(con, "blessings", Blessing),
        validations={item.kind: (at, item) for at, item in validations},
        splits=ledger.records(con, "splits", SplitManifest),
        trainings=trainings,
        decisions=ledger.decisions(con),
        overrides=ledger.records(con, "overrides", Override),
        comparisons=[item for _, item in ledger.records(con, "comparisons", Comparison)],
        performance=performance_reports(con),
        checks=_checks(settings, spec),
    )


def _checks(settings: Settings, spec: ProductSpec) -> dict[str, Seen]:
    """The last outcome of those checks that no blessing holds; one that is only planned has none yet."""
    if not (settings.dagster / "dagster.yaml").exists():  # nothing ever ran here
        return {}
    found = {}
    with open_instance(settings) as instance:
        for stage, name in CHECKS:
            key = dg.AssetCheckKey(dg.AssetKey(asset_key(spec.product, stage)), name)
            history = instance.event_log_storage.get_asset_check_execution_history(key, limit=_LOOKED_AT)
            outcomes = [seen for item in history if (seen := _outcome(name, item.event))]
            if outcomes:
                found[f"{stage}.{name}"] = outcomes[0]
    return found


def _outcome(name: str, entry: dg.EventLogEntry | None) -> Seen | None:
    event = entry.dagster_event if entry else None
    if entry is None or event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return None
    said: Any = event.event_specific_data
    values = {label: value.value for label, value in said.metadata.items()}
    failed = "WARNED" if said.severity == dg.AssetCheckSeverity.WARN else "FAILED"
    at = datetime.fromtimestamp(entry.timestamp, tz=UTC)
    verdict = "PASSED" if said.passed else failed
    return Seen(name, verdict, values.get("observed", ""), values.get("threshold", ""), at)


def counted(number: int, name: str) -> str:
    """A number of things, in words."""
    return f"{number:,} {name}" + ("" if number == 1 else "es" if name.endswith("ch") else "s")


def _seen(gate: Gate, at: datetime) -> Seen:
    return Seen(gate.name, gate.verdict, gate.observed, gate.threshold, at)


def _last(found: Iterable[R]) -> R | None:
    items = list(found)
    return items[-1] if items else None


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 80 else text[:79] + "…"  # noqa: PLR2004 - a line of a table
