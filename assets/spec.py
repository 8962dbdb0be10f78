"""A product's spec: the one YAML file that says what its data, label, features, split, candidates and gates are.

Pure: it reads text and returns a frozen ``ProductSpec``, or raises a ``HeadraceError`` that names product, field
and fix. What a stage does with the spec is in the stage's folder.
"""

import difflib
import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from assets.errors import HeadraceError
from assets.naming import IDENTIFIER

ColumnType = Literal["BIGINT", "DOUBLE", "VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMPTZ"]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=f"^{IDENTIFIER.pattern}$")]
PrimaryMetric = Literal["roc_auc", "average_precision"]

# columns of every raw table, and tables beside those of a product's sources
_OUR_COLUMNS = {"batch_id", "row_number"}
_OUR_TABLES = {"quarantine", "labels"}
# Polars gives these parts of a time as 8 or 16 bits
_NARROW = r"(?:EXTRACT|DATE_PART|QUARTER|MONTH|WEEK|DAY|DAYOFWEEK|DAYOFYEAR|HOUR|MINUTE|SECOND)\s*\("
_PART_OF_TIME = re.compile(rf"\b{_NARROW}", re.IGNORECASE)
_WIDENED = re.compile(rf"\bCAST\s*\(\s*{_NARROW}", re.IGNORECASE)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceSpec(_Part):
    """Files that land: which names they have and what columns they must hold."""

    files: str = Field(description="regular expression of the whole file name; the group `batch` is the batch id")
    columns: dict[str, ColumnType] = Field(min_length=1, description="column name as in the header -> DuckDB type")
    required: tuple[str, ...] = Field(default=(), description="columns that must not be empty in any row")
    nulls: tuple[str, ...] = Field(default=("",), description="texts that mean no value")
    description: str = ""

    @field_validator("files")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            msg = f"not a regular expression ({error}); write for example 'flights_(?P<batch>\\d{{4}}-\\d{{2}})\\.csv'"
            raise ValueError(msg) from None
        return value

    @model_validator(mode="after")
    def _required_exist(self) -> Self:
        unknown = sorted(set(self.required) - set(self.columns))
        if unknown:
            raise ValueError(
                f"required names columns that are not in columns: {', '.join(unknown)}; add or remove them"
            )
        return self

    @model_validator(mode="after")
    def _columns_are_free(self) -> Self:
        lower = [name.lower() for name in self.columns]  # SQL names are the same in upper and lower case
        taken = [n for n in self.columns if n.lower() in _OUR_COLUMNS or n.lower().startswith("headrace_")]
        twice = [name for name in self.columns if lower.count(name.lower()) > 1]
        if taken or twice:
            raise ValueError(
                f"columns: {', '.join(taken or twice)}: {'the lake has columns of' if taken else 'twice'} that name; "
                "have the file delivered with other column names"
            )
        return self

    @property
    def has_batch(self) -> bool:
        """Whether each file is a batch of its own (else each new content replaces the last)."""
        return "(?P<batch>" in self.files


class TimeSpec(_Part):
    """The times of a row in the feature table."""

    event: Name = Field(description="when the prediction is asked for")
    known_at: Name = Field(description="when the newest fact that the row was built from was known")


class LabelSpec(_Part):
    """What is predicted, and when it is known."""

    column: Name = Field(description="boolean column of the label table; null where there is no outcome")
    known_at: Name = Field(description="column of the label table: when the outcome happened")
    delay_minutes: float = Field(default=0, ge=0, description="how much later than that the label reaches us")
    outcomes: tuple[Name, ...] = Field(default=(), description="columns known only afterwards: never features")
    description: str = ""


class InputSpec(_Part):
    """One column of the feature table that a request carries."""

    type: Literal["number", "integer", "category", "timestamp"]
    required: bool = False
    description: str = ""


class RowFeatureSpec(_Part):
    """One feature computed from the row's own inputs by the same expression in training and serving."""

    sql: str = Field(min_length=1, description="Polars SQL expression over inputs")
    type: Literal["number", "category"] = "number"

    @field_validator("sql")
    @classmethod
    def _wide_enough(cls, value: str) -> str:
        narrow = _PART_OF_TIME.search(_WIDENED.sub("", value))
        if narrow:
            msg = (
                f"{narrow[0].rstrip('( ').upper()} gives an 8-bit integer that overflows silently in arithmetic; "
                "write CAST(EXTRACT(HOUR FROM column) AS INT)"
            )
            raise ValueError(msg)
        return value


class FeaturesSpec(_Part):
    """The one set of features: inputs from the feature table (SQL) and row expressions."""

    inputs: dict[Name, InputSpec] = Field(min_length=1)
    row: dict[Name, RowFeatureSpec] = Field(default_factory=dict)
    exclude: tuple[Name, ...] = Field(default=(), description="inputs the model does not see itself")

    @model_validator(mode="after")
    def _names(self) -> Self:
        both = sorted(set(self.inputs) & set(self.row))
        if both:
            raise ValueError(
                f"{', '.join(both)}: an input and a row feature have the same name; rename the row feature"
            )
        if "label" in self.inputs:
            raise ValueError("inputs: label is the name of what is predicted, when both are read; rename the input")
        unknown = sorted(set(self.exclude) - set(self.inputs))
        if unknown:
            raise ValueError(f"exclude names unknown inputs: {', '.join(unknown)}; remove them")
        return self

    @property
    def model_columns(self) -> dict[str, str]:
        """Feature name -> ``number`` or ``category``, in the order a model sees them."""
        columns = {
            name: "category" if item.type == "category" else "number"
            for name, item in self.inputs.items()
            if item.type != "timestamp" and name not in self.exclude
        }
        return columns | {name: item.type for name, item in self.row.items()}


class SplitSpec(_Part):
    """How rows become training, validation and test rows."""

    strategy: Literal["temporal"] = "temporal"
    validation_share: Share = Field(default=0.1, description="newest part of the rows before the test, for early stop")
    test_share_of_first: Share = Field(default=0.2, description="newest part of the only batch, when there is one")
    min_train_rows: int = Field(default=100, ge=1)
    max_balance_gap: Share = Field(default=0.15, description="gap of the positive share between parts that warns")


class CandidateSpec(_Part):
    """One algorithm and its parameters."""

    algorithm: Name
    params: dict[str, int | float | str | bool] = Field(default_factory=dict)


class SlicesGate(_Part):
    """A floor under the worst slice."""

    by: tuple[Name, ...] = ()
    min_metric: Share = 0.5
    min_rows: int = Field(default=500, ge=1)


class GatesSpec(_Part):
    """The thresholds that decide. Each is a check in the UI with what was observed."""

    primary: PrimaryMetric = "roc_auc"
    max_quarantined_share: Share = 0.01
    max_duplicate_share: Share = 0.01
    max_null_share: Share = Field(default=0.5, description="of a feature in a batch")
    max_single_feature_auc: Share = Field(default=0.85, description="a feature that alone predicts better is a leak")
    max_feature_psi: float = Field(default=0.25, gt=0, description="against the last training set (warns)")
    beats_baseline_by: Share = 0.05
    max_calibration_error: Share = 0.1
    positive_share: tuple[Share, Share] = Field(default=(0.001, 0.999), description="of predicted classes")
    slices: SlicesGate = SlicesGate()
    min_improvement: float = Field(default=0.0, description="of the primary metric over the champion's, same rows")
    max_latency_p99_ms: float = Field(default=100.0, gt=0)
    smoke_rows: int = Field(default=200, ge=1, le=5000, description="real rows that a new bento is asked for")


class MonitoringSpec(_Part):
    """What counts as drift and as degradation."""

    drift_psi: float = Field(default=0.2, gt=0, description="population stability index from which a column drifted")
    drift_share: Share = Field(default=0.5, description="share of drifted columns from which the batch drifted")
    prediction_psi: float = Field(default=0.2, gt=0, description="of the score distribution; enough alone")
    persist_batches: int = Field(default=2, ge=1, description="drifted batches in a row that ask for retraining")
    max_metric_drop: Share = Field(default=0.05, description="primary metric below the champion's test that alerts")
    report_rows: int = Field(default=5_000, ge=100, description="sample behind Evidently's pictures")
    report_columns: int = Field(default=8, ge=1, description="columns in its report: those that moved most")


class RetrainSpec(_Part):
    """When training starts besides on a new batch and on demand."""

    on_drift: bool = True
    schedule: str = Field(default="", description="cron expression, UTC; empty for none")


class ProductSpec(_Part):
    """One product, from files to a served model."""

    product: Name
    title: str
    description: str
    owner: str = Field(pattern=r"^(team:[A-Za-z0-9_-]+|[^@\s]+@[^@\s]+)$")
    task: Literal["binary"]
    source: SourceSpec
    references: dict[Name, SourceSpec] = Field(default_factory=dict)
    key: tuple[Name, ...] = Field(min_length=1, description="columns of the feature table that name a row")
    time: TimeSpec
    label: LabelSpec
    features: FeaturesSpec
    split: SplitSpec = SplitSpec()
    candidates: tuple[CandidateSpec, ...] = Field(min_length=2)
    seed: int = 20130101
    decision_threshold: Share = Field(default=0.5, description="probability from which the class is positive")
    gates: GatesSpec = GatesSpec()
    monitoring: MonitoringSpec = MonitoringSpec()
    retrain: RetrainSpec = RetrainSpec()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.source.has_batch:
            raise ValueError(
                "source.files has no group named batch; write for example 'flights_(?P<batch>\\d{4})\\.csv'"
            )
        if self.product in self.references:
            raise ValueError(f"references.{self.product}: the name is the product's own; rename the reference")
        taken = sorted(_OUR_TABLES & set(self.sources))
        if taken:
            raise ValueError(f"{', '.join(taken)}: the lake has a table of that name; rename product or reference")
        leaks = sorted(set(self.features.inputs) & {*self.label.outcomes, self.label.column, self.label.known_at})
        if leaks:
            raise ValueError(
                f"features.inputs: {', '.join(leaks)} is known only after the event (label); remove it from the inputs"
            )
        names = [candidate.algorithm for candidate in self.candidates]
        if len(set(names)) < len(names) or "baseline" not in names:
            raise ValueError("candidates: each algorithm once, `baseline` among them; every model is held against it")
        unknown = sorted(set(self.gates.slices.by) - set(self.features.model_columns))
        if unknown:
            raise ValueError(f"gates.slices.by: {', '.join(unknown)} is no feature; name categories of features")
        return self

    @property
    def sources(self) -> dict[str, SourceSpec]:
        """All sources by name, the product's own first (it has the product's name)."""
        return {self.product: self.source, **self.references}

    @property
    def spec_hash(self) -> str:
        """SHA-256 of the spec's content, whatever the YAML's layout and comments."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def parse_spec(text: str, *, origin: str) -> ProductSpec:
    """Read one product spec.

    Args:
        text: the YAML.
        origin: its file name, for messages.

    Raises:
        HeadraceError: the YAML is broken or a field is wrong; names product, field and fix.
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}" if mark else "somewhere"
        raise HeadraceError(
            "not valid YAML",
            product=Path(origin).stem,
            where=f"{origin}, {line}",
            found=str(getattr(error, "problem", error)),
            fix="check indentation, colons and quotes at that line",
        ) from None
    if not isinstance(data, dict):
        raise HeadraceError(
            "a product spec is a mapping of fields",
            product=Path(origin).stem,
            where=origin,
            found=type(data).__name__,
            fix="start from orchestration/products/flights.yaml",
        )
    product = str(data.get("product", Path(origin).stem))
    try:
        return ProductSpec.model_validate(data)
    except ValidationError as error:
        raise _readable(error, product=product, origin=origin) from None


def load_specs(folder: Path) -> dict[str, ProductSpec]:
    """All product specs of a folder, by product name.

    Raises:
        HeadraceError: a spec is wrong, its file isn't named after its product, or the folder has none.
    """
    specs: dict[str, ProductSpec] = {}
    for path in sorted(folder.glob("*.yaml")):
        spec = parse_spec(path.read_text(encoding="utf-8"), origin=path.name)
        if spec.product != path.stem:
            raise HeadraceError(
                "the file is named after its product",
                product=spec.product,
                where=path.name,
                expected=f"{spec.product}.yaml",
                found=path.name,
                fix="rename the file or change `product:`",
            )
        specs[spec.product] = spec
    return specs


def _readable(error: ValidationError, *, product: str, origin: str) -> HeadraceError:
    """Turn pydantic's findings into one message with each field's path, finding and fix."""
    lines = []
    for item in error.errors():
        field = ".".join(str(part) for part in item["loc"]) or "(whole file)"
        lines.append(f"{field}: {_finding(item)}")
    return HeadraceError(
        lines[0] if len(lines) == 1 else f"{len(lines)} fields are wrong:\n    " + "\n    ".join(lines),
        product=product,
        where=origin,
        fix="change the field above in that file; every field is described in docs/product-spec.md",
    )


def _finding(item: Any) -> str:
    """One finding of pydantic in words; an unknown field is answered with the nearest known one."""
    if item["type"] == "missing":
        return "is missing; add it"
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(item["loc"][-1]), _fields_at(item["loc"][:-1]), n=1)
        return "unknown field" + (f"; did you mean {near[0]}?" if near else "; remove it")
    found = f" (found {item['input']!r})" if not isinstance(item["input"], dict) else ""
    return str(item["msg"]).removeprefix("Value error, ") + found


def _fields_at(loc: tuple[int | str, ...]) -> list[str]:
    """The fields of the spec part at a path, as far as the path leads through parts."""
    part: type[BaseModel] = ProductSpec
    for step in loc:
        field = part.model_fields.get(str(step))
        part = (field and _part_in(field.annotation)) or part
    return list(part.model_fields)


def _part_in(annotation: Any) -> type[BaseModel] | None:
    """The spec part that an annotation holds, itself or as the items of a mapping or tuple."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((part for item in get_args(annotation) if (part := _part_in(item))), None)
