"""The records that stages write and read: what was loaded, split, trained, judged, decided, served and seen.

Each is a frozen pydantic model. A record that has an id is named by its content, so writing it twice is once.
Nothing here reads or writes.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from assets.tasks import Task

FORMAT_VERSION = 1


def content_hash(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


class Record(BaseModel):
    """A frozen record with a canonical JSON text."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, so equal records are equal texts."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


class Batch(Record):
    """What became of one delivery: a file, or changes of a table (`loaded` + `quarantined` = `rows_in`).

    A batch has one delivery, or several if it was corrected; `ledger.batches` gives the one that counts. When rows of
    its quarantine are replayed, the delivery gets another row in the ledger, and the newest counts.
    """

    source: str
    batch_id: str
    version: int = Field(
        default=1,
        description="1, then one more for each further delivery of the batch (of a register: of the source); 0 of a "
        "duplicate that was never loaded",
    )
    version_label: str = Field(default="", description="what the file's name says (group `version`); the greater wins")
    file_name: str
    sha256: str
    size_bytes: int
    status: Literal["LOADED", "SUPERSEDED", "REFUSED", "DUPLICATE"] = Field(
        description="SUPERSEDED: loaded beside the rows that count, since a greater version was there before it"
    )
    reason: str = ""
    rows_in: int = 0
    rows_loaded: int = 0
    rows_quarantined: int = 0
    loaded_at: datetime

    @property
    def delivery_id(self) -> str:
        """Names the delivery: its rows in raw and in quarantine carry it."""
        return f"{self.sha256[:16]}.{self.version}"

    @property
    def content_id(self) -> str:
        """Names what the batch's rows are now; another one after a correction or a replay of its quarantine."""
        return f"{self.delivery_id}-{self.rows_loaded}"


class SchemaChange(Record):
    """A difference between a delivery's columns and the contract that was accepted, not refused."""

    source: str
    batch_id: str
    delivery_id: str
    kind: Literal["added", "dropped", "renamed", "widened", "rescued"]
    column: str
    before: str = Field(default="", description="name or type in the contract")
    after: str = Field(default="", description="name or type in the delivery")

    @property
    def change_id(self) -> str:
        """Named by its content."""
        return content_hash(self.model_dump(mode="json"))[:16]


class SplitPart(Record):
    """One part of a split: how many rows, what their outcomes are like, and a hash of exactly these rows."""

    rows: int = 0
    unlabelled: int = Field(default=0, description="rows left out because they have no label, or none known in time")
    outcomes: dict[str, float] = Field(
        default_factory=dict, description="share of each class; of a number `mean` and `deviation`"
    )
    event_from: datetime | None = Field(default=None, description="first event; None where rows have no time")
    event_until: datetime | None = Field(default=None, description="exclusive")
    row_set_hash: str = Field(default="", description="order-free hash of keys, features and labels of this part")


class SplitManifest(Record):
    """Which rows train, validate and test as of a batch: a rule with its seed and hashes of what it gave, no copies."""

    product: str
    as_of: str
    strategy: str
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0
    options: dict[str, str | int | float | None] = Field(default_factory=dict, description="of the strategy")
    known_until: datetime | None = Field(
        default=None, description="training uses labels known before this moment only; None where rows have no time"
    )
    test_batch: str
    parts: dict[Literal["train", "validation", "test"], SplitPart]
    feature_set_id: str
    selection: dict[str, Any] = Field(default_factory=dict, description="which features a model may see, by strategy")
    data_snapshot: int = Field(description="DuckLake snapshot from which the rows can be read again as they were")
    warnings: tuple[str, ...] = ()

    @property
    def split_id(self) -> str:
        """Named by its rule and row-set hashes; the snapshot number is where to find them, not what they are."""
        return content_hash(self.model_dump(mode="json", exclude={"data_snapshot"}))[:16]


class FittedTransform(Record):
    """What one fitted transform of the spec has learned from the training rows; its columns are in `columns`."""

    name: str
    kind: str
    of: str
    columns: tuple[str, ...] = Field(description="the model columns it makes, in order")
    data: dict[str, Any] = Field(description="JSON values: terms and weights, counts, median, mean and deviation")


class FeatureSchema(Record):
    """What a model needs to turn a row of inputs into numbers: inputs, expressions, categories, fitted transforms."""

    inputs: dict[str, str] = Field(description="input -> number, integer, boolean, category, timestamp or text")
    required: tuple[str, ...]
    descriptions: dict[str, str]
    row: dict[str, str] = Field(description="row feature -> Polars SQL expression")
    fitted: tuple[FittedTransform, ...] = ()
    # pairs, not a mapping: their order is the model's, and canonical JSON sorts the keys of mappings
    columns: tuple[tuple[str, str], ...] = Field(
        description="(model column, number or category), in order; only the selected ones"
    )
    categories: dict[str, tuple[str, ...]] = Field(description="category column -> known values, sorted; code = place")

    def can_score(self, columns: Iterable[str]) -> bool:
        """Whether rows with these columns have every input."""
        return set(self.inputs) <= set(columns)

    @property
    def column_names(self) -> list[str]:
        """Names of the model columns, in order."""
        return [name for name, _ in self.columns]

    @property
    def fitted_id(self) -> str:
        """Names definitions and fitted state together: what a row becomes."""
        return content_hash(self.model_dump(mode="json", exclude={"descriptions"}))[:16]


class Provenance(Record):
    """By which code, in which environment and at whose word something was made."""

    code_commit: str = Field(default="", description="git commit of the checkout; empty outside of one")
    code_changes: str = Field(default="", description="SHA-256 of what differs from it (kept in HOME/code); or empty")
    requirements: str = Field(default="", description="SHA-256 of requirements.lock")
    asked_by: str = Field(default="", description="the person, sensor, schedule, backfill or run that asked for it")


class Calibration(Record):
    """How raw probabilities become calibrated ones: by interpolation between points; chosen on validation rows.

    Points and two numbers are all there is, so that serving needs no library for them. Outside the ends the end counts.
    """

    method: Literal["isotonic", "platt"]
    raw: tuple[float, ...] = Field(default=(), description="isotonic: ascending raw probabilities")
    calibrated: tuple[float, ...] = Field(default=(), description="isotonic: what each becomes, never falling")
    slope: float = Field(default=1.0, description="platt: of the log odds")
    intercept: float = Field(default=0.0, description="platt: of the log odds")
    evidence: dict[str, float] = Field(default_factory=dict, description="method -> cross-validated log loss")


class ModelManifest(Record):
    """One trained model. Its id covers files, features and training data; timings are kept apart."""

    format_version: int = FORMAT_VERSION
    product: str
    algorithm: str
    task: Task
    as_of: str
    split_id: str
    training_row_set_hash: str
    data_snapshot: int = Field(description="DuckLake snapshot that the training set can be read from again")
    training_rows: int
    spec_hash: str
    feature_set_id: str = Field(description="of the definitions")
    fitted_features_id: str = Field(description="of definitions and fitted state; verified before scoring")
    features: FeatureSchema
    label: str = Field(default="", description="name of the outcome; empty for clustering")
    classes: tuple[str, ...] = Field(default=(), description="multiclass: in the order of the probabilities")
    positive_meaning: str = Field(default="", description="what the score speaks of, in words")
    decision_threshold: float
    params: dict[str, Any] = Field(description="as used, found by search or given")
    config: dict[str, Any] = Field(default_factory=dict, description="the candidate as in the spec")
    seed: int
    versions: dict[str, str]
    files: dict[str, str] = Field(description="file name -> SHA-256")
    model_file: str
    calibration: Calibration | None = Field(default=None, description="binary: applied to the file's scores")
    provenance: Provenance = Provenance()

    @property
    def model_id(self) -> str:
        """Algorithm and content hash: what the model is, not where its rows can be read again or who asked for it.

        The snapshot number is left out as the row-set hash already names the rows, and the code as the bytes that it
        made are in the hashes of the files: the same model trained by another commit is the same model.
        """
        content = self.model_dump(mode="json", exclude={"data_snapshot", "provenance"})
        return f"{self.algorithm.replace('_', '-')}-{content_hash(content)[:12]}"


class Training(Record):
    """How one training went: timings and history, which don't belong to what the model is."""

    model_id: str
    algorithm: str
    as_of: str
    seconds: dict[str, float] = Field(description="read, search, fit")
    trials: int = 0
    history: dict[str, Any] = Field(default_factory=dict)


class Notification(Record):
    """One completed feature batch that was made known, and through which channels."""

    product: str
    batch_id: str
    event: Literal["features"]
    rows: int
    row_set_hash: str = ""
    channels: tuple[str, ...] = ()

    @property
    def notification_id(self) -> str:
        """One notification per completed batch content."""
        return content_hash([self.product, self.batch_id, self.event, self.rows, self.row_set_hash])[:16]


class Gate(Record):
    """One verdict: what was observed, against which threshold."""

    name: str
    verdict: Literal["PASSED", "FAILED", "WARNED"]
    observed: float | str
    threshold: float | str
    detail: str = ""


class EvaluationReport(Record):
    """The metrics of one model on rows it has not seen."""

    model_id: str
    algorithm: str
    role: Literal["candidate", "champion"]
    split_id: str
    validation: dict[str, float]
    test: dict[str, float]
    slices: dict[str, dict[str, float]] = Field(default_factory=dict)
    classes: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="class -> precision, recall, f1, rows on the test rows"
    )
    intervals: dict[str, tuple[float, float]] = Field(
        default_factory=dict, description="metric -> 95% bootstrap interval on the test rows, of the best candidate"
    )
    groups: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="declared group column -> group -> the fairness measure"
    )
    is_best: bool = False


class Comparison(Record):
    """Challenger and champion on the same unseen rows: how much better, and how sure that is."""

    challenger_id: str
    champion_id: str
    split_id: str
    metric: str
    challenger: float
    champion: float
    improvement: float = Field(description="positive: the challenger is better, whichever way the metric goes")
    low: float = Field(description="of the two-sided confidence interval of the improvement")
    high: float
    confidence: float = 0.95
    method: Literal["DELONG", "OBUCHOWSKI", "PAIRED_BOOTSTRAP"]
    rows: int
    replicates: int = Field(default=0, description="of the bootstrap")

    @property
    def how(self) -> str:
        """The method of the interval in words."""
        named = {"DELONG": "DeLong", "OBUCHOWSKI": "DeLong by days (Obuchowski)"}
        return named.get(self.method, f"paired bootstrap, {self.replicates:,} replicates")

    @property
    def comparison_id(self) -> str:
        """Named by what it says."""
        return content_hash(self.model_dump(mode="json"))[:16]


class ColumnFinding(Record):
    """What one data check saw of one column of a batch."""

    check: str = Field(description="range, outliers, nulls, psi, type, ...")
    column: str
    verdict: Literal["PASSED", "FAILED", "WARNED"]
    observed: float | str
    threshold: float | str
    detail: str = ""


class DataValidation(Record):
    """One of the three data verdicts about a batch, column by column."""

    product: str
    batch_id: str
    kind: Literal["anomalies", "schema", "statistics"]
    verdict: Literal["PASSED", "FAILED", "WARNED"]
    reference: str = Field(default="", description="what it was held against: the champion's id, a batch, or nothing")
    rows: int
    columns: tuple[ColumnFinding, ...]
    report: str = Field(default="", description="path of Evidently's HTML below the reports folder")

    @property
    def validation_id(self) -> str:
        """Named by what it says."""
        return content_hash(self.model_dump(mode="json"))[:16]


OverrideAction = Literal["promote", "block", "accept"]


class Override(Record):
    """A person's word that stands above a gate, or takes a model or batch away."""

    product: str
    action: OverrideAction
    subject: str = Field(description="a model id; for accept a batch")
    reason: str
    asked_by: str
    at: datetime

    @property
    def override_id(self) -> str:
        """Named by what it says."""
        return content_hash(self.model_dump(mode="json"))[:16]


BlessingKind = Literal["data", "training", "quality", "infrastructure"]


class Blessing(Record):
    """A gate's word about exactly this model and this data, by this code; missing means no."""

    kind: BlessingKind
    verdict: Literal["BLESSED", "NOT_BLESSED"]
    product: str
    as_of: str
    model_id: str = Field(default="", description="data: the champion that the batch was held against, or empty")
    split_id: str = Field(default="", description="empty for data")
    row_set_hash: str = Field(description="of the rows it speaks of: the delivered file, training or test rows")
    data_snapshot: int = Field(default=0, description="DuckLake snapshot in which these rows are")
    feature_set_id: str
    spec_hash: str
    rules_hash: str = Field(description="of the part of the spec that decides; another one makes the blessing stale")
    provenance: Provenance = Provenance()
    gates: tuple[Gate, ...]

    @property
    def blessing_id(self) -> str:
        """Named by what it says, whoever asked for it."""
        return content_hash(self.model_dump(mode="json", exclude={"provenance": {"asked_by"}}))[:16]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Each failed gate in words: what it says itself, and what was observed if it doesn't say that."""
        return tuple(f"{gate.name}: {_sentence(gate)}" for gate in self.gates if gate.verdict == "FAILED")


DecisionVerdict = Literal[
    "PROMOTED_FIRST_CHAMPION",
    "PROMOTED_BETTER_THAN_CHAMPION",
    "PROMOTED_NOT_INFERIOR",
    "PROMOTED_CHAMPION_NOT_COMPARABLE",
    "PROMOTED_BY_PERSON",
    "KEPT_CHAMPION_TIE",
    "KEPT_CHAMPION_CHALLENGER_WORSE",
    "KEPT_CHAMPION_BACKTEST_TOO_SHORT",
    "KEPT_CHAMPION_SAME_MODEL",
    "KEPT_CHAMPION_IS_NEWER",
    "REFUSED_NOT_BLESSED",
    "REFUSED_INFRASTRUCTURE",
    "REFUSED_WITHDRAWN",
    "BLOCKED_BY_PERSON",
    "ROLLED_BACK",
    "LIVE",
]


class Decision(Record):
    """What was decided about a challenger, and why. Append-only; the id makes a repetition one row."""

    product: str
    as_of: str
    verdict: DecisionVerdict
    model_id: str
    champion_id: str | None
    split_id: str
    reason: str
    evidence: dict[str, float] = Field(default_factory=dict)
    comparison: Comparison | None = Field(default=None, description="with the champion, where there was one to compare")
    rule: str = Field(default="", description="the declared rule that decided, in words")
    asked_by: str = ""
    at: datetime | None = Field(default=None, description="of a person's decisions, each of which counts anew")

    @property
    def decision_id(self) -> str:
        """Named by what it says, whoever asked for it."""
        return content_hash(self.model_dump(mode="json", exclude={"asked_by"}))[:16]

    @classmethod
    def refusing(cls, blessing: Blessing, champion_id: str | None) -> Self:
        """The written refusal of a model that its gates did not bless."""
        return cls(
            product=blessing.product,
            as_of=blessing.as_of,
            verdict="REFUSED_NOT_BLESSED" if blessing.kind == "quality" else "REFUSED_INFRASTRUCTURE",
            model_id=blessing.model_id,
            champion_id=champion_id,
            split_id=blessing.split_id,
            reason="; ".join(blessing.reasons),
            rule="every gate has to pass",
            asked_by=blessing.provenance.asked_by,
        )

    @property
    def is_promotion(self) -> bool:
        """Whether the challenger won."""
        return self.verdict.startswith("PROMOTED_")


class LivePointer(Record):
    """Which bento is served. One file per product, replaced by one rename, last of all."""

    product: str
    as_of: str
    model_id: str
    bento: str
    decision_id: str
    offline_parity: str
    latency_p50_ms: float
    latency_p99_ms: float
    blessings: tuple[str, ...] = Field(default=(), description="ids of the blessings under which it went live")
    seal: str = Field(default="", description="SHA-256 of every packed file of the bento; checked before it is served")

    @property
    def pointer_id(self) -> str:
        """Named by what it says; each decision that flips the pointer has one of its own."""
        return content_hash(self.model_dump(mode="json"))[:16]


class DriftReport(Record):
    """How far a batch is from the champion's training set, column by column, on all rows."""

    product: str
    batch_id: str
    model_id: str
    verdict: Literal["STABLE", "DRIFTED"]
    column_psi: dict[str, float]
    drifted: tuple[str, ...]
    share_drifted: float
    prediction_psi: float
    persisted_batches: int = Field(description="drifted batches in a row, this one included")
    report: str = Field(default="", description="path of Evidently's HTML below the reports folder")


class PerformanceReport(Record):
    """What the champion's earlier predictions turned out to be worth once labels were known."""

    product: str
    batch_id: str
    model_id: str
    verdict: Literal["OK", "DEGRADED"]
    rows_scored: int
    rows_labelled: int
    metrics: dict[str, float]
    baseline_metrics: dict[str, float]
    reference: float = Field(description="primary metric of the champion on its own test rows")


class Build(Record):
    """A build of the tables by dbt: with which SQL the rows that are there were made."""

    product: str
    sql_hash: str


class Retrain(Record):
    """A retraining run that was asked for, once per cause."""

    product: str
    cause: str
    batch_id: str


class Alert(Record):
    """Something a person should see."""

    product: str
    kind: Literal["drift", "degradation", "refused_file", "correction", "gate", "notification"]
    batch_id: str
    cause: str
    message: str

    @property
    def alert_id(self) -> str:
        """One alert per cause."""
        return content_hash([self.product, self.kind, self.batch_id, self.cause])[:16]


def _sentence(gate: Gate) -> str:
    observed = _short(gate.observed)
    said = f"observed {observed}, threshold {_short(gate.threshold)}"
    if not gate.detail:
        return said
    return gate.detail if observed.lstrip("-") in gate.detail else f"{gate.detail} ({said})"


def _short(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
