"""A product's spec: the one YAML file that says what its data, label, features, split, candidates and gates are.

Pure: it reads text and returns a frozen ``ProductSpec``, or raises a ``HeadraceError`` that names product, field
and fix. What a stage does with the spec is in the stage's folder.
"""

import codecs
import difflib
import hashlib
import json
import math
import re
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from assets.errors import HeadraceError
from assets.naming import IDENTIFIER
from assets.tasks import BEATS_BASELINE_BY, CLASSIFICATION, PRIMARIES, Task

ColumnType = Literal["BIGINT", "DOUBLE", "VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMPTZ"]
Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=f"^{IDENTIFIER.pattern}$")]
Strategy = Literal["temporal", "stratified", "random", "sequential", "group", "time_series_folds", "custom"]

# safe either way; the one in C takes a tenth of the time
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# columns of every raw table (those that start with headrace_ as well), and tables beside those of a product's sources
_OUR_COLUMNS = {"batch_id", "row_number"}
_OUR_SUFFIX = "_superseded"
_OUR_TABLES = {"quarantine", "labels"}
# columns that splits and the predictions table put beside the key
_OUR_KEYS = {
    *("label", "label_known_at", "part", "fold", "probability", "is_positive", "predicted", "probabilities", "cluster"),
    *("scores", "model_id", "model_as_of", "scored_at"),
}
# DuckDB's own databases: a product's lake is attached under the product's name
_DUCKDBS = {"memory", "system", "temp", "main"}
# Polars gives these parts of a time as 8 or 16 bits
_NARROW = r"(?:EXTRACT|DATE_PART|QUARTER|MONTH|WEEK|DAY|DAYOFWEEK|DAYOFYEAR|HOUR|MINUTE|SECOND)\s*\("
_PART_OF_TIME = re.compile(rf"\b{_NARROW}", re.IGNORECASE)
_WIDENED = re.compile(rf"\bCAST\s*\(\s*{_NARROW}", re.IGNORECASE)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def fold_name(name: str) -> str:
    """A column name as it is compared: Unicode spellings of one text, and upper and lower case, are the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class CsvSpec(_Part):
    """How a delimited text file is written."""

    delimiter: str = Field(default=",", min_length=1, max_length=1, description="one character; '\\t' is a tab")
    quote: str = Field(default='"', description="one ASCII character around fields; empty for none")
    escape: str = Field(default='"', description="one ASCII character before a quote inside a quoted field")
    encoding: str = Field(
        default="auto", description="a codec such as cp1252; auto is UTF-8, or UTF-16 where the file begins so"
    )
    header: bool = Field(default=True, description="without one, fields are the columns of the spec in their order")
    decimal: Literal[".", ","] = Field(default=".", description="before the decimals of a number")
    thousands: Literal["", ".", ",", " ", "'"] = Field(default="", description="between thousands of a number")
    date_format: str = Field(default="", description="of DATE columns as in strptime, '%d.%m.%Y'; ISO 8601 when empty")
    timestamp_format: str = Field(default="", description="of TIMESTAMP columns; ISO 8601 when empty")

    @field_validator("encoding")
    @classmethod
    def _is_codec(cls, value: str) -> str:
        if value != "auto":
            try:
                codecs.lookup(value)
            except LookupError:
                raise ValueError(f"no encoding is called {value}; write for example utf-8 or cp1252") from None
        return value

    @field_validator("quote", "escape")
    @classmethod
    def _is_one_byte(cls, value: str) -> str:
        if len(value) > 1 or not value.isascii():
            raise ValueError("one ASCII character, such as '\"', or empty for none; the parser takes no other")
        return value

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.escape == self.delimiter:
            raise ValueError("delimiter and escape are two different characters")
        signs = [self.delimiter, *([self.quote] if self.quote else [])]
        if len(set(signs)) < len(signs) or {"\n", "\r", "\x00"} & {*signs, self.escape}:
            raise ValueError("delimiter and quote are two different characters, no line ends")
        if self.thousands == self.decimal:
            raise ValueError("thousands and decimal are two different characters")
        return self


class ArrivalSpec(_Part):
    """When a landed file is whole."""

    settle_seconds: float = Field(default=4.0, ge=0, description="unchanged in size and time for so long")
    done_marker: bool = Field(
        default=False, description="wait for an empty file of the same name with .done behind it instead"
    )


# what a period has several of
COUNTED: dict[str, tuple[str, ...]] = {
    "day": ("hour",),
    "week": ("hour", "day"),
    "month": ("hour", "day"),
    "quarter": ("hour", "day", "month"),
    "year": ("hour", "day", "month"),
}


class CoverageSpec(_Part):
    """Which period a batch is, so that a part of one is noticed: a "year" of 38 days is not a year."""

    column: str = Field(description="a DATE or TIMESTAMP column of the source")
    period: Literal["day", "week", "month", "quarter", "year"] = Field(
        description="what a batch id names: 2013-03-01, 2013-W09, 2013-03, 2013-Q1, 2013"
    )
    every: Literal["hour", "day", "month"] = Field(default="day", description="what has at least one row")
    min_share: Share = Field(default=0.9, description="of the hours, days or months of the period")
    severity: Literal["warn", "block"] = "warn"

    @model_validator(mode="after")
    def _finer(self) -> Self:
        if self.every not in COUNTED[self.period]:
            raise ValueError(f"every: of a {self.period} count {' or '.join(COUNTED[self.period])}")
        return self


class PostgresSpec(_Part):
    """A table of a PostgreSQL database: one snapshot, then its changes."""

    connection: str = Field(
        default="HEADRACE_POSTGRES", pattern=r"^[A-Z][A-Z0-9_]*$",
        description="environment variable with the connection string; it never stands in a file",
    )  # fmt: skip
    table: str = Field(pattern=r"^[^.\x00]+(\.[^.\x00]+)?$", description="schema.table; schema public when left out")
    key: tuple[str, ...] = Field(default=(), description="columns that name a row; the primary key when left out")
    chunk_rows: int = Field(default=50_000, ge=1, description="rows of the snapshot fetched at a time")
    max_batch_changes: int = Field(default=100_000, ge=1, description="changes from which a batch ends")


class SourceSpec(_Part):
    """Files that land, or a table of a database: which columns they must hold and what happens if they don't."""

    files: str = Field(
        default="",
        description="regular expression of the whole file name; the group `batch` is the batch id, the optional group "
        "`version` says which of two files of a batch counts (the greater)",
    )
    postgres: PostgresSpec | None = Field(default=None, description="instead of files")
    location: str = Field(
        default="",
        pattern=r"^$|^s3://[^/\s]+(/\S*)?$",
        description="where files land: s3://bucket/prefix/, or the home's landing folder when empty",
    )
    format: Literal["auto", "csv", "parquet", "jsonl", "excel"] = Field(
        default="auto", description="auto: by the end of the name; .gz and .zst are unpacked"
    )
    csv: CsvSpec = CsvSpec()
    sheet: str = Field(default="", description="of an Excel workbook; the first when empty")
    columns: dict[str, ColumnType] = Field(min_length=1, description="column name as in the header -> DuckDB type")
    required: tuple[str, ...] = Field(default=(), description="columns that must not be empty in any row")
    nulls: tuple[str, ...] = Field(
        default=("",), description="texts that mean no value; with [] an empty text is a value"
    )
    contract: Literal["freeze", "rescue", "evolve"] = Field(
        default="rescue",
        description="freeze: any change quarantines the file; rescue: unknown fields are kept as JSON, rows with bad "
        "values quarantined; evolve: new columns are added, types widened, recorded",
    )
    arrival: ArrivalSpec = ArrivalSpec()
    coverage: CoverageSpec | None = None
    optional: bool = Field(default=False, description="of a reference: a batch doesn't wait for it")
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
    def _one_origin(self) -> Self:
        if bool(self.files) == bool(self.postgres):
            raise ValueError("a source has either files or postgres; name the files, or the table")
        if self.postgres and (self.location or self.coverage):
            raise ValueError("location and coverage are about files; remove them beside postgres")
        lost = sorted({*(self.postgres.key if self.postgres else ())} - set(self.columns))
        if lost:
            raise ValueError(f"postgres.key: {', '.join(lost)} is no column; add it to columns")
        return self

    @model_validator(mode="after")
    def _required_exist(self) -> Self:
        unknown = sorted(set(self.required) - set(self.columns))
        if unknown:
            raise ValueError(
                f"required names columns that are not in columns: {', '.join(unknown)}; add or remove them"
            )
        if self.coverage and self.columns.get(self.coverage.column) not in ("DATE", "TIMESTAMP", "TIMESTAMPTZ"):
            raise ValueError(f"coverage.column: {self.coverage.column} is no DATE or TIMESTAMP column; name one")
        return self

    @model_validator(mode="after")
    def _columns_are_free(self) -> Self:
        folded = [fold_name(name) for name in self.columns]  # SQL names are the same in upper and lower case
        taken = [n for n in self.columns if fold_name(n) in _OUR_COLUMNS or fold_name(n).startswith("headrace_")]
        twice = [name for name in self.columns if folded.count(fold_name(name)) > 1]
        if taken or twice:
            raise ValueError(
                f"columns: {', '.join(taken or twice)}: {'the lake has columns of' if taken else 'twice'} that name; "
                "have the file delivered with other column names"
            )
        return self

    @property
    def has_batch(self) -> bool:
        """Whether each file is a batch of its own (else each new content replaces the last)."""
        return self.postgres is not None or "(?P<batch>" in self.files


class TimeSpec(_Part):
    """The times of a row in the feature table."""

    event: Name = Field(description="when what is predicted happens, and the prediction is asked for")
    known_at: Name = Field(description="when the newest fact that the row was built from was known")
    asked_at: Name | None = Field(default=None, description="when the prediction is asked for, if before the event")


class LabelSpec(_Part):
    """What is predicted, and when it is known."""

    column: Name = Field(
        description="column of the label table: boolean, text (multiclass) or number; null: no outcome"
    )
    known_at: Name | None = Field(default=None, description="column of the label table: when the outcome happened")
    delay_minutes: float = Field(default=0, ge=0, description="how much later than that the label reaches us")
    outcomes: tuple[Name, ...] = Field(default=(), description="columns known only afterwards: never features")
    description: str = ""


class InputSpec(_Part):
    """One column of the feature table that a request carries."""

    type: Literal["number", "integer", "boolean", "category", "timestamp", "text"]
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


class FittedSpec(_Part):
    """One transform fitted on training rows only; what was fitted is saved with the model as data."""

    kind: Literal["text", "frequency", "one_hot", "impute", "scale"]
    of: Name = Field(description="the input or row feature that it is made of")
    terms: int = Field(default=50, ge=1, le=500, description="of text and one_hot: at most so many columns")
    keep: bool = Field(default=False, description="whether the model sees the untransformed column, too")


class SelectSpec(_Part):
    """Which of the features a model sees; chosen on training rows."""

    strategy: Literal["all", "importance", "mutual_information", "names"] = "all"
    top: int = Field(default=20, ge=1, description="how many, of importance and mutual_information")
    names: tuple[Name, ...] = ()


class FeaturesSpec(_Part):
    """The one set of features: inputs from the feature table (SQL), row expressions, fitted transforms."""

    inputs: dict[Name, InputSpec] = Field(min_length=1)
    row: dict[Name, RowFeatureSpec] = Field(default_factory=dict)
    fitted: dict[Name, FittedSpec] = Field(default_factory=dict)
    exclude: tuple[Name, ...] = Field(default=(), description="inputs the model does not see itself")
    select: SelectSpec = SelectSpec()

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [*self.inputs, *self.row, *self.fitted]
        both = sorted({name for name in names if names.count(name) > 1})
        if both:
            raise ValueError(f"{', '.join(both)}: two features have the same name; rename the row or fitted feature")
        taken = sorted({"label", "fold"} & set(self.inputs))
        if taken:
            raise ValueError(f"inputs: {', '.join(taken)} is read beside the inputs under that name; rename the input")
        unknown = sorted(set(self.exclude) - set(self.inputs))
        if unknown:
            raise ValueError(f"exclude names unknown inputs: {', '.join(unknown)}; remove them")
        lost = sorted({item.of for item in self.fitted.values()} - {*self.inputs, *self.row})
        if lost:
            raise ValueError(f"fitted: of names {', '.join(lost)}, which is no input or row feature; correct the name")
        if self.select.strategy == "names" and not self.select.names:
            raise ValueError("select: strategy names needs names; list the features to keep")
        unknown = sorted(set(self.select.names) - {*self.model_columns, *self.fitted})
        if unknown:
            raise ValueError(f"select.names: {', '.join(unknown)} is no feature that a model sees; correct the names")
        return self

    @property
    def model_columns(self) -> dict[str, str]:
        """Feature name -> ``number`` or ``category``, before fitted transforms, in the order a model sees them."""
        replaced = {item.of for item in self.fitted.values() if not item.keep}
        columns = {
            name: "category" if item.type == "category" else "number"
            for name, item in self.inputs.items()
            if item.type not in ("timestamp", "text") and name not in self.exclude
        } | {name: item.type for name, item in self.row.items()}
        return {name: kind for name, kind in columns.items() if name not in replaced}


class SplitSpec(_Part):
    """How rows become training, validation and test rows."""

    strategy: Strategy = "temporal"
    ratios: tuple[Share, Share, Share] = Field(
        default=(0.8, 0.1, 0.1), description="training, validation, test; of temporal only for the first batch"
    )
    validation_share: Share = Field(default=0.1, description="temporal: newest part of the rows before the test")
    test_share_of_first: Share = Field(default=0.2, description="temporal: newest part of the only batch")
    group: Name | None = Field(default=None, description="group: input or key whose values stay together")
    folds: int = Field(default=4, ge=2, le=20, description="time_series_folds: how many; the newest is the test")
    function: str = Field(default="", description="custom: module in assets/splits/custom with `assign`")
    min_train_rows: int = Field(default=100, ge=1)
    min_test_rows: int = Field(default=1, ge=1, description="fewer rows judge nothing: the batch is refused as a test")
    max_balance_gap: Share = Field(
        default=0.15, description="gap of a class's share between parts (of numbers: of means in deviations) that warns"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not math.isclose(sum(self.ratios), 1) or min(self.ratios) <= 0:
            raise ValueError(f"ratios: {self.ratios} must be three positive shares that add up to 1")
        if (self.strategy == "group") != (self.group is not None):
            raise ValueError(
                "group: strategy group needs it and no other does; name the column whose values stay together"
            )
        if (self.strategy == "custom") != bool(self.function):
            raise ValueError(
                "function: strategy custom needs it and no other does; name a module of assets/splits/custom"
            )
        return self


class SearchSpec(_Part):
    """A search for parameters on the validation rows: seeded, with a budget, resumed where it was stopped."""

    trials: int = Field(default=20, ge=1, le=1000)
    max_seconds: float = Field(default=0, ge=0, description="no further trial after so long; 0 is no limit")
    space: dict[str, tuple[int | float | str | bool, ...]] = Field(
        default_factory=dict,
        description="parameter -> (low, high) of numbers or the choices; the algorithm's own when empty",
    )


class CandidateSpec(_Part):
    """One algorithm and its parameters."""

    algorithm: Name
    params: dict[str, int | float | str | bool] = Field(default_factory=dict)
    search: SearchSpec | None = Field(default=None, description="search what params doesn't fix")
    resample: Literal["none", "over", "under", "smote"] = Field(default="none", description="of training rows only")
    class_weight: Literal["none", "balanced"] = "none"
    monotone: dict[Name, Literal[-1, 1]] = Field(
        default_factory=dict, description="feature -> 1: the score never falls with it, -1: never rises"
    )
    calibrate: Literal["auto", "none", "isotonic", "platt"] = Field(
        default="auto", description="binary: what makes probabilities true; auto takes the best on validation rows"
    )


Severity = Literal["warn", "block"]


class AnomaliesSpec(_Part):
    """Values and counts of a delivery that can't be right."""

    severity: Severity = "block"
    ranges: dict[str, tuple[Finite | None, Finite | None]] = Field(
        default_factory=dict, description="source column -> least and most; null is no limit"
    )
    max_out_of_range_share: Share = Field(default=0.0, description="of a column's rows")
    outlier_fences: Finite = Field(
        default=6.0, gt=0, description="interquartile ranges beyond which a number is far out"
    )
    max_outlier_share: Share = Field(default=0.05, description="of rows far out, above the share of earlier batches")
    max_duplicate_share: Share = Field(default=0.01, description="of rows that are there twice in all columns")
    usual_count: tuple[Finite, Finite] = Field(
        default=(0.2, 5.0), description="rows of a batch as a multiple of the median batch"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        spans = {**{f"ranges.{name}": span for name, span in self.ranges.items()}, "usual_count": self.usual_count}
        wrong = [name for name, (low, high) in spans.items() if low is not None and high is not None and low > high]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: the first number is the least; write them in order")
        return self


class StatisticsGate(_Part):
    """Distributions of the features against the champion's training rows."""

    severity: Severity = "warn"
    max_psi: float = Field(default=0.25, gt=0, description="population stability index of a column")
    max_null_gap: Share = Field(default=0.1, description="of a column's share of nulls")
    max_new_category_share: Share = Field(
        default=0.05, description="of rows with a category that training has not seen"
    )
    max_failed_share: Share = Field(default=0.5, description="of columns that moved, from which the batch fails")


class ValidationSpec(_Part):
    """Three verdicts about the data of each batch; a batch that is blocked is held back from every later stage."""

    anomalies: AnomaliesSpec = AnomaliesSpec()
    schema_severity: Severity = Field(default="block", description="of columns and types unlike those last accepted")
    statistics: StatisticsGate = StatisticsGate()


class TrainingGate(_Part):
    """What a candidate has to show before it is judged."""

    shuffled_control: bool = Field(default=True, description="fit on shuffled labels, too: it must score at chance")
    max_identical_share: Share = Field(
        default=0.05, description="of test rows that are training rows in all features and the label"
    )
    identical_severity: Severity = "warn"
    beats_linear: Severity = Field(default="warn", description="what happens when a linear model is as good")


class FairnessGate(_Part):
    """How far apart declared groups may be."""

    by: tuple[Name, ...] = Field(default=(), description="inputs whose values are the groups")
    measure: Literal["positive_rate", "true_positive_rate", "metric"] = Field(
        default="true_positive_rate", description="what is compared; `metric` is the primary one, all that numbers have"
    )
    max_gap: float = Field(default=0.1, ge=0, description="between the best and the worst group")
    min_rows: int = Field(default=100, ge=1, description="smaller groups are not judged")


class ComparisonSpec(_Part):
    """The declared rule by which a challenger replaces the champion, both on the same unseen rows."""

    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    replicates: int = Field(default=1000, ge=200, le=20_000, description="of the paired bootstrap")
    resample: Literal["rows", "days"] = Field(
        default="rows", description="what counts as independent: days where rows of a day share their luck"
    )
    margin: float = Field(
        default=0.0, ge=0, description="how much worse a challenger may be when the champion is stale or drifted"
    )
    stale_after_batches: int = Field(default=0, ge=0, description="a champion older than so many batches; 0: never")
    backtest_batches: int = Field(
        default=0, ge=0, description="so many earlier batches on which the algorithm must have beaten the baseline"
    )


class SlicesGate(_Part):
    """A floor under the worst slice."""

    by: tuple[Name, ...] = ()
    min_metric: float = Field(default=0.5, description="of the primary metric; a ceiling where less is better")
    min_rows: int = Field(default=500, ge=1)


class GatesSpec(_Part):
    """The thresholds that decide. Each is a check in the UI with what was observed."""

    primary: str = Field(default="", description="the metric that decides; by task when empty")
    max_quarantined_share: Share = 0.01
    max_duplicate_share: Share = 0.01
    max_null_share: Share = Field(default=0.5, description="of a feature in a batch")
    max_single_feature_auc: Share = Field(default=0.85, description="a feature that alone predicts better is a leak")
    max_single_feature_correlation: Share = Field(
        default=0.98, description="the same where the outcome is a number: Spearman's, of magnitudes"
    )
    max_joint_auc: Share = Field(default=0.995, description="a small model of all features that is better is a leak")
    max_joint_r2: Share = Field(default=0.999, description="the same where the outcome is a number")
    beats_baseline_by: float = Field(
        default=0.0, ge=0, description="in the primary metric's unit; by task when left out"
    )
    max_calibration_error: Share = 0.1
    min_class_recall: Share = Field(default=0.0, description="of the worst class with min_rows of slices")
    max_prediction_bias: float = Field(
        default=0.25, ge=0, description="gap of mean prediction and mean outcome; of numbers in deviations"
    )
    fairness: FairnessGate = FairnessGate()
    input_noise: Share = Field(default=0.01, description="of each number's deviation, for max_noise_effect")
    max_noise_effect: float = Field(
        default=0.2, ge=0, description="how far scores move under such noise, in their own deviations"
    )
    max_model_megabytes: float = Field(default=100.0, gt=0)
    training: TrainingGate = TrainingGate()
    comparison: ComparisonSpec = ComparisonSpec()
    positive_share: tuple[Share, Share] = Field(
        default=(0.001, 0.999), description="binary: of rows predicted positive"
    )
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
    max_metric_drop: float = Field(
        default=0.05, ge=0, description="how much worse than on the champion's own test alerts; of errors a share of it"
    )
    report_rows: int = Field(default=5_000, ge=100, description="sample behind Evidently's pictures")
    report_columns: int = Field(default=8, ge=1, description="columns in its report: those that moved most")


class RetrainSpec(_Part):
    """When training starts besides on a new batch and on demand."""

    on_drift: bool = True
    schedule: str = Field(default="", description="cron expression, UTC; empty for none")


class RetentionSpec(_Part):
    """What is kept of models that were never live."""

    loser_batches: int = Field(
        default=24, ge=1, description="files of losers as of earlier batches than so many are deleted; manifests stay"
    )


class ProductSpec(_Part):
    """One product, from files to a served model."""

    product: Name
    title: str
    description: str
    owner: str = Field(pattern=r"^(team:[A-Za-z0-9_-]+|[^@\s]+@[^@\s]+)$")
    task: Task
    source: SourceSpec
    references: dict[Name, SourceSpec] = Field(default_factory=dict)
    key: tuple[Name, ...] = Field(min_length=1, description="columns of the feature table that name a row")
    time: TimeSpec | None = Field(default=None, description="left out where rows have no time")
    label: LabelSpec | None = Field(default=None, description="left out for clustering alone")
    features: FeaturesSpec
    split: SplitSpec = SplitSpec()
    candidates: tuple[CandidateSpec, ...] = Field(min_length=2)
    seed: int = 20130101
    decision_threshold: Share = Field(default=0.5, description="probability from which the class is positive")
    validation: ValidationSpec = ValidationSpec()
    gates: GatesSpec = GatesSpec()
    monitoring: MonitoringSpec = MonitoringSpec()
    retrain: RetrainSpec = RetrainSpec()
    retention: RetentionSpec = RetentionSpec()

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_task(cls, data: Any) -> Any:
        """Fill in what depends on the task, so that everyone reads one value."""
        if not isinstance(data, dict) or data.get("task") not in PRIMARIES:
            return data
        gates = data.get("gates", {})
        if isinstance(gates, dict):
            defaults = {"primary": PRIMARIES[data["task"]][0], "beats_baseline_by": BEATS_BASELINE_BY[data["task"]]}
            data = {**data, "gates": {**defaults, **gates}}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.source.has_batch:
            raise ValueError(
                "source.files has no group named batch; write for example 'flights_(?P<batch>\\d{4})\\.csv'"
            )
        if self.product in _DUCKDBS:
            raise ValueError(f"product: {self.product} is a database of DuckDB's own; choose another name")
        if self.product in self.references:
            raise ValueError(f"references.{self.product}: the name is the product's own; rename the reference")
        taken = sorted(_OUR_TABLES & set(self.sources))
        taken += [name for name in self.sources if name.endswith(_OUR_SUFFIX)]
        if taken:
            raise ValueError(f"{', '.join(taken)}: the lake has a table of that name; rename product or reference")
        if any(item.postgres for item in self.references.values()):
            raise ValueError("references: postgres is for the product's own source; deliver references as files")
        if self.source.postgres and any(item.has_batch for item in self.references.values()):
            raise ValueError("references: beside postgres no file is of a batch; deliver registers, without `batch`")
        reserved = sorted(_OUR_KEYS & set(self.key))
        if reserved:
            raise ValueError(
                f"key: {', '.join(reserved)} is a column of our own beside the key; rename it in the dbt models"
            )
        if self.split.group is not None and self.split.group not in {*self.key, *self.features.inputs}:
            raise ValueError(f"split.group: {self.split.group} is neither key nor input; name one of these columns")
        if self.gates.primary not in PRIMARIES[self.task]:
            known = ", ".join(PRIMARIES[self.task])
            raise ValueError(f"gates.primary: {self.gates.primary} is no metric of {self.task}; choose one of {known}")
        self._check_label()
        self._check_candidates()
        self._check_gates()
        return self

    def _check_gates(self) -> None:
        """Gates name columns that there are."""
        if self.gates.comparison.resample == "days" and self.time is None:
            raise ValueError("gates.comparison.resample: days need time; add it, or write rows")
        for field, names in (("slices", self.gates.slices.by), ("fairness", self.gates.fairness.by)):
            unknown = sorted(set(names) - set(self.features.inputs))
            if unknown:
                raise ValueError(
                    f"gates.{field}.by: {', '.join(unknown)} is no input; name categories of features.inputs"
                )
        unknown = sorted(set(self.validation.anomalies.ranges) - set(self.source.columns))
        if unknown:
            raise ValueError(
                f"validation.anomalies.ranges: {', '.join(unknown)} is no column of source; correct the names"
            )

    def _check_label(self) -> None:
        """Label and time fit the task and the split."""
        if (self.label is None) != (self.task == "clustering"):
            raise ValueError("label: every task but clustering has one; add it, or remove it from a clustering")
        needs_time = self.task == "forecast" or self.split.strategy in ("temporal", "time_series_folds")
        if needs_time and self.time is None:
            raise ValueError(
                f"time: {self.task} with split {self.split.strategy} needs it; add it or choose another strategy"
            )
        if self.split.strategy == "stratified" and self.task == "clustering":
            raise ValueError("split.strategy: without a label nothing can be stratified; choose random")
        if self.label is None:
            return
        if self.time is None and self.label.known_at is not None:
            raise ValueError("label.known_at: without time nothing is known later; remove it")
        leaks = sorted(set(self.features.inputs) & {*self.label.outcomes, self.label.column, self.label.known_at or ""})
        if leaks:
            raise ValueError(
                f"features.inputs: {', '.join(leaks)} is known only after the event (label); remove it from the inputs"
            )

    def _check_candidates(self) -> None:
        """Each algorithm once, the baseline among them, options where they mean something."""
        names = [candidate.algorithm for candidate in self.candidates]
        if len(set(names)) < len(names) or "baseline" not in names:
            raise ValueError("candidates: each algorithm once, `baseline` among them; every model is held against it")
        lacking = [name for name in ("seasonal_naive", "last_value") if self.task == "forecast" and name not in names]
        if lacking:
            raise ValueError(f"candidates: a forecast is held against {' and '.join(lacking)}, too; add them")
        for candidate in self.candidates:
            weighted = candidate.resample != "none" or candidate.class_weight != "none"
            if weighted and self.task not in CLASSIFICATION:
                raise ValueError(f"candidates.{candidate.algorithm}: {self.task} has no classes to balance; remove it")

    @property
    def sources(self) -> dict[str, SourceSpec]:
        """All sources by name, the product's own first (it has the product's name)."""
        return {self.product: self.source, **self.references}

    @property
    def wants_label(self) -> LabelSpec:
        """The label of a task that has one."""
        if self.label is None:
            raise ValueError(f"{self.product} is a {self.task}: it has no label")
        return self.label

    @property
    def spec_hash(self) -> str:
        """SHA-256 of the spec's content, whatever the YAML's layout and comments."""
        return _hash(self.model_dump(mode="json"))

    @property
    def data_rules_hash(self) -> str:
        """SHA-256 of what decides about data: another one makes data blessings stale, other candidates don't."""
        return _hash([self.validation.model_dump(mode="json"), self.source.model_dump(mode="json"), self.seed])


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def parse_spec(text: str, *, origin: str) -> ProductSpec:
    """Read one product spec.

    Args:
        text: the YAML.
        origin: its file name, for messages.

    Raises:
        HeadraceError: the YAML is broken or a field is wrong; names product, field and fix.
    """
    try:
        data = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe one
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
