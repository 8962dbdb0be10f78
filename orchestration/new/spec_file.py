"""The spec of a new product as text: every field that isn't the default, the reasons as comments."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from assets.features.leaks import Leaks
from assets.spec import parse_spec
from assets.tasks import CLASSIFICATION
from orchestration.new.conclude import Conclusions
from orchestration.new.gates import gates, measured_leaks
from orchestration.new.models import LAST, SEASON, feature_columns, key_names, label_name, lag_columns
from orchestration.new.times import time_parts
from orchestration.new.wishes import shortened

_PARTS_SQL = {"year": "YEAR", "month": "MONTH", "weekday": "ISODOW", "hour": "HOUR"}
_MANY_CELLS, _MANY_ROWS = 3_000_000, 20_000
_BALANCED = (0.2, 0.8)
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}  # YAML reads them as other than text


def spec_text(found: Conclusions) -> str:
    """The product's YAML, with a comment where a choice was made.

    Raises:
        HeadraceError: what was concluded is no product; names the field.
    """
    without_leaks = parse_spec(_text(found, None), origin=f"{found.name}.yaml")
    text = _text(found, measured_leaks(found, without_leaks))
    parse_spec(text, origin=f"{found.name}.yaml")
    return text


def _text(found: Conclusions, leaks: Leaks | None) -> str:
    return "\n".join(_lines(found, leaks)) + "\n"


def text_of(value: Any) -> str:
    """A value as one line of YAML that can stand in a flow."""
    if isinstance(value, str):
        return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=2**20).strip()
    return yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=2**20).removesuffix("...\n").strip()


def _flow(fields: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {_scalar(value)}" for name, value in fields.items()) + "}"


def _scalar(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_scalar(item) for item in value) + "]"
    if isinstance(value, dict):
        return _flow(value)
    return _name(value) if isinstance(value, str) else text_of(value)


def _name(text: str) -> str:
    """A text without quotes where YAML needs none."""
    is_plain = text.replace("_", "a").isalnum() and text.isascii() and text[0].isalpha() and text.lower() not in _WORDS
    return text if is_plain else text_of(text)


def _pattern(text: str) -> str:
    """A text with backslashes as YAML reads it unchanged."""
    return f"'{text}'" if text.isascii() and text.isprintable() and "'" not in text else text_of(text)


def _remark(text: str) -> str:
    return f"   # {_comment(text)}" if text else ""


def _comment(text: str) -> str:
    """A text as the end of a comment line."""
    return " ".join(text_of(text)[1:-1].split())


def _lines(found: Conclusions, leaks: Leaks | None) -> Iterator[str]:
    files = shortened(found.profile.files, 3)
    yield f"# Written by `headrace new` from {_comment(files)} ({found.profile.rows:,} rows)."
    yield "# Every field is described in docs/product-spec.md; change what you know better."
    yield f"product: {found.name}"
    yield f"title: {text_of(found.label.title)}"
    yield f"description: {text_of(f'{found.label.title} Learned from {files}.')}"
    yield "owner: team:data"
    yield from _why(found, "task")
    yield f"task: {found.task}"
    yield ""
    yield from _source_lines(found)
    yield ""
    yield from _why(found, "key")
    yield f"key: [{', '.join(key_names(found))}]"
    yield ""
    yield from _time_lines(found)
    yield from _label_lines(found)
    yield from _feature_lines(found)
    yield ""
    yield "split:"
    yield from _why(found, "split", "  ")
    yield from (f"  {field}: {_scalar(value)}" for field, value in _split_fields(found).items())
    yield ""
    yield "candidates:"
    yield from (f"  - {_flow(candidate)}" for candidate in candidates(found))
    share = found.label.positive_share
    if found.task == "binary" and not _BALANCED[0] <= share <= _BALANCED[1]:
        yield ""
        yield f"decision_threshold: {round(min(max(share, 0.01), 0.99), 2)}   # the share of positives"
    limits = list(gates(found, leaks))
    if limits:
        yield ""
        yield "gates:"
    yield from (f"  {field}: {_scalar(value)}{_remark(why)}" for field, value, why in limits)


def _why(found: Conclusions, topic: str, indent: str = "") -> Iterable[str]:
    """The conclusions about a topic, as comments."""
    return (f"{indent}# {_comment(sentence)}" for about, sentence in found.said if about == topic)


def _source_lines(found: Conclusions) -> Iterator[str]:
    yield "source:"
    yield from _why(found, "files", "  ")
    yield f"  files: {_pattern(found.pattern)}"
    if found.profile.format != "auto":
        yield f"  format: {found.profile.format}"
    written = found.profile.csv.model_dump(exclude_defaults=True)
    if written:
        yield f"  csv: {_flow(written)}"
    yield f"  nulls: {_scalar(list(found.profile.nulls))}"
    yield "  columns:"
    yield from (f"    {_name(column.raw)}: {column.raw_type}" for column in found.profile.columns)
    needed = dict.fromkeys(column.raw for column in (*found.key, *([found.time] if found.time else [])))
    if needed:
        yield f"  required: {_scalar(list(needed))}"
    if found.coverage is not None:
        yield f"  coverage: {_flow(found.coverage.model_dump(exclude_defaults=True))}"


def _label_lines(found: Conclusions) -> Iterator[str]:
    if not found.label.sql:
        return
    yield "label:"
    yield from _why(found, "target", "  ")
    yield f"  column: {label_name(found)}"
    yield f"  description: {text_of(found.label.meaning)}"
    if found.series is not None:
        yield f"  known_at: outcome_known_at   # when its {found.series.step.step} is over"
    if found.leaks:
        yield "  # alone these nearly determine the target; one that is known before belongs to features.inputs"
        yield f"  outcomes: [{', '.join(found.leaks)}]"
    yield ""


def _time_lines(found: Conclusions) -> Iterator[str]:
    if found.time is None:
        return
    yield from _why(found, "time")
    yield "time:"
    yield f"  event: {found.time.name}"
    if found.series is None:
        yield f"  known_at: known_at   # a row is taken as it is at {found.time.name}"
    else:
        yield "  known_at: known_at"
        yield f"  asked_at: asked_at   # {found.series.step.horizon} ahead; the features model says so, too"
    yield ""


def _feature_lines(found: Conclusions) -> Iterator[str]:
    for name, reason in found.left_out.items():
        if name not in found.leaks:
            yield f"# left out: {name}: {_comment(reason)}"
    yield from _why(found, "leak")
    inputs, row = inputs_of(found), row_features(found)
    yield "features:"
    yield "  inputs:"
    yield from (f"    {name}: {_flow(fields)}" for name, fields in inputs.items())
    if row:
        yield "  row:"
        yield from (f"    {name}: {{sql: {_pattern(sql)}}}" for name, sql in row.items())
    fitted = fitted_features(found, {*inputs, *row})
    if fitted:
        yield "  fitted:"
        yield from (f"    {name}: {_flow(fields)}" for name, fields in fitted.items())


def inputs_of(found: Conclusions) -> dict[str, dict[str, Any]]:
    """Input -> its fields in the spec."""
    inputs: dict[str, dict[str, Any]] = {}
    if found.time is not None:
        inputs[found.time.name] = {"type": "timestamp", "required": True, "description": found.time.raw}
    for item in found.features:
        column = item.column
        fields: dict[str, Any] = {"type": column.kind}
        if column.raw != column.name:
            fields["description"] = column.raw
        inputs[column.name] = fields
    if found.series is not None:
        keys = {*key_names(found), "batch_id", "known_at", "asked_at", *inputs}
        for name in feature_columns(found):
            if name not in keys:
                inputs[name] = {"type": "number"}
    return inputs


def row_features(found: Conclusions) -> dict[str, str]:
    """Row feature -> Polars SQL: the parts of times."""
    times = [(item.column.name, item.parts) for item in found.features if item.parts]
    if found.time is not None:
        if found.series is not None:
            times.append((found.time.name, found.series.step.calendar))
        else:
            times.append((found.time.name, time_parts(found.profile, found.time, is_event=True)))
    rows = {
        f"{name[:54]}_{part}": f'CAST(EXTRACT({_PARTS_SQL[part]} FROM "{name}") AS INT)'
        for name, parts in times
        for part in parts
    }
    if found.series is not None:
        at = found.series.time.name
        # a trend that a line can follow beyond the training rows
        rows[f"{at[:54]}_years"] = (
            f'CAST(EXTRACT(YEAR FROM "{at}") AS INT) + (CAST(EXTRACT(MONTH FROM "{at}") AS INT) - 1) / 12.0'
        )
    taken = set(feature_columns(found))
    return {(f"{name}_part" if name in taken else name): sql for name, sql in rows.items()}


def fitted_features(found: Conclusions, taken: set[str]) -> dict[str, dict[str, Any]]:
    """Fitted transform -> its fields: words of texts, how frequent a value of many is."""
    fitted: dict[str, dict[str, Any]] = {}
    for item in found.features:
        if not item.fitted:
            continue
        name = f"{item.column.name[:50]}_{'words' if item.fitted == 'text' else 'share'}"
        while name in taken or name in fitted:
            name += "_"
        fields: dict[str, Any] = {"kind": item.fitted, "of": item.column.name}
        if item.fitted == "text":
            fields["terms"] = 20 if found.is_tiny else 50
        elif item.keep:
            fields["keep"] = True
        fitted[name] = fields
    return fitted


def _split_fields(found: Conclusions) -> dict[str, Any]:
    fields: dict[str, Any] = {"strategy": found.strategy}
    if found.strategy == "temporal":
        fields["validation_share"] = 0.2 if found.is_tiny else 0.1
        fields["test_share_of_first"] = 0.2
    elif found.is_tiny:
        fields["ratios"] = [0.6, 0.2, 0.2]  # of few rows a tenth judges nothing
    fields["min_train_rows"] = max(10, min(100, found.label.rows // 4))
    return fields


def candidates(found: Conclusions) -> list[dict[str, Any]]:
    """Algorithms and parameters that fit the size of the data, so that all of them train within a few minutes."""
    rows, columns = found.label.rows, max(len(feature_columns(found)), 1)
    heavy = rows * columns > _MANY_CELLS or rows > _MANY_ROWS
    boosted = {
        "algorithm": "lightgbm",
        "params": {
            "max_rounds": 200 if heavy or found.label.classes > 5 else 300,  # noqa: PLR2004 - a tree per class and round
            "early_stopping_rounds": 20,
            "learning_rate": 0.1 if rows >= 2000 else 0.05,  # noqa: PLR2004
            "num_leaves": 7 if rows < 500 else 15 if rows < 5000 else 31,  # noqa: PLR2004
            "min_data_in_leaf": max(3, min(50, rows // 50)),
            "feature_fraction": 0.3 if found.is_wide else 0.8,
        },
    }
    baseline = {"algorithm": "baseline"}
    if found.task == "clustering":
        return [baseline, {"algorithm": "kmeans"}, {"algorithm": "gaussian_mixture"}]
    linear = {"algorithm": "logistic_regression" if found.task in CLASSIFICATION else "linear_regression"}
    if found.task == "forecast" and found.series is not None and found.target is not None:
        lags = {kind: name for name, kind in lag_columns(found, found.series, found.target).items()}
        return [
            baseline,
            {"algorithm": "seasonal_naive", "params": {"column": lags.get(SEASON, lags[LAST])}},
            {"algorithm": "last_value", "params": {"column": lags[LAST]}},
            linear,
            boosted,
        ]
    return [baseline, linear, boosted] if heavy else [baseline, linear, boosted, {"algorithm": "random_forest"}]
