"""The dbt models of a new product, as text: sources, cleaned, features with their contract, labels."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from assets.naming import quoted
from orchestration.new.conclude import Conclusions
from orchestration.new.profile import Column
from orchestration.new.series import Series

_MOST_ACCEPTED = 12
_PLAIN = re.compile(r"[\w .,/+&:<>=()-]+")  # dbt puts accepted values into SQL as they are
RECENT, LAST, SEASON, SEASON_2 = "recent_mean", "last_known", "season_ago", "two_seasons_ago"


def models(found: Conclusions) -> dict[str, str]:
    """Path below `models/` -> text."""
    name = found.name
    staging, marts = f"staging/{name}", f"marts/{name}"
    texts = {
        f"{staging}/_{name}__sources.yml": _yaml(_sources(name)),
        f"{staging}/_{name}__models.yml": _yaml(_cleaned_tests(found)),
        f"{staging}/{name}_cleaned.sql": _cleaned(found),
        f"{marts}/_{name}__models.yml": _yaml(_contracts(found)),
        f"{marts}/{name}_features.sql": _features(found),
    }
    if found.task != "clustering":
        texts[f"{marts}/{name}_labels.sql"] = _labels(found)
    return texts


def key_names(found: Conclusions) -> tuple[str, ...]:
    """The columns that name a row."""
    return tuple(column.name for column in found.key) or ("batch_id", "row_number")


def lag_columns(found: Conclusions, series: Series, target: Column) -> dict[str, str]:
    """What a forecast knows of its target: column of the feature table -> which lag or mean it is."""
    base = _lag_bases(found)[target.name]
    kinds = [LAST, RECENT, *([SEASON] if series.has_season else [])]
    if series.has_season and series.dates >= 3 * series.step.per_season + 10:
        kinds.append(SEASON_2)
    return {f"{base}_{kind}": kind for kind in kinds}


def other_lags(found: Conclusions) -> dict[str, Column]:
    """Of the other numbers of a forecast, the last value that is known: feature -> column."""
    bases = _lag_bases(found)
    return {f"{bases[column.name]}_{LAST}": column for column in found.lagged}


def _lag_bases(found: Conclusions) -> dict[str, str]:
    """Column -> what its lags' names begin with: its own, shortened, and numbered where a name would be twice."""
    target = [found.target] if found.target is not None else []
    others = {item.column.name for item in found.features} | {column.name for column in found.key}
    bases: dict[str, str] = {}
    for column in (*target, *found.lagged):
        short = base = column.name[:42]
        number = 2
        while base in bases.values() or others & {f"{base}_{kind}" for kind in (LAST, RECENT, SEASON, SEASON_2)}:
            base, number = f"{short}_{number}", number + 1
        bases[column.name] = base
    return bases


def jinja(sql: str) -> str:
    """SQL that Jinja leaves as it is, whatever names and values are in it."""
    if not re.search(r"[{}]", sql):
        return sql
    return "{{ " + json.dumps(sql, ensure_ascii=False) + " }}"


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=110)


def _sources(name: str) -> dict[str, Any]:
    table = {"name": name, "config": {"meta": {"dagster": {"asset_key": [name, "raw"]}}}}
    source = {
        "name": f"{name}_raw", "database": "lake", "schema": "raw",
        "description": "Rows as they were delivered, immutable, each with its batch and row number.", "tables": [table],
    }  # fmt: skip
    return {"version": 2, "sources": [source]}


def _cleaned_tests(found: Conclusions) -> dict[str, Any]:
    keys = [column.name for column in found.key]
    columns = []
    for column in found.columns:
        tests: list[Any] = []
        if column.name in keys:
            tests.append("not_null")
            if len(keys) == 1:
                tests.append("unique")
        values = _values(column, found)
        if values:
            tests.append({"accepted_values": {"arguments": {"values": values}, "config": {"severity": "warn"}}})
        if tests:
            columns.append({"name": column.name, "data_tests": tests})
    model: dict[str, Any] = {
        "name": f"{found.name}_cleaned",
        "description": "One row per key: typed, renamed, the first delivery counts." if keys else "Typed and renamed.",
        "config": {"meta": {"dagster": {"asset_key": [found.name, "cleaned"]}}},
        "columns": [{"name": "batch_id", "data_tests": ["not_null"]}, *columns],
    }
    return {"version": 2, "models": [model]}


def _values(column: Column, found: Conclusions) -> list[str]:
    """The values of a category that has few: another one is worth a warning."""
    if column.kind != "category" or not 1 < column.distinct <= _MOST_ACCEPTED or column.name in found.left_out:
        return []
    rows = found.profile.con.execute(
        f"select distinct {quoted(column.name)} from typed where {quoted(column.name)} is not null order by 1"
    ).fetchall()
    values = [str(value) for (value,) in rows]
    return values if all(_PLAIN.fullmatch(value) for value in values) else []


def _cleaned(found: Conclusions) -> str:
    name = found.name
    lines = ["batch_id", "row_number"]
    for column in found.columns:
        sql = jinja(column.sql)
        lines.append(sql if sql == quoted(column.name) else f"{sql} as {quoted(column.name)}")
    notes = [f"-- {column.name}: {_remark(note)}" for column in found.columns for note in column.notes]
    remarks = "\n".join(notes) + "\n\n" if notes else ""
    keys = [quoted(column.name) for column in found.key]
    end = (
        "-- the first delivery of a key counts, whatever the order in which batches arrived\n"
        "{{ first_of_key('renamed', [" + ", ".join(f"'{key}'" for key in keys) + "]) }}"
        if keys
        else "select * from renamed"
    )
    selected = ",\n".join(f"        {line}" for line in lines)
    return f"""{{{{ config(alias='{name}') }}}}

{remarks}with source as (

    select * from {{{{ source('{name}_raw', '{name}') }}}}
    where {{{{ new_batches('{name}') }}}}

),

renamed as (

    select
{selected}
    from source

)

{end}
"""


def _remark(text: str) -> str:
    """A text that can stand in a comment of a dbt model."""
    return re.sub(r"[{}\r\n]", " ", text)


def feature_columns(found: Conclusions) -> dict[str, str]:
    """Column of the feature table -> DuckDB type, in order."""
    columns = {"batch_id": "VARCHAR"}
    if not found.key:
        columns["row_number"] = "BIGINT"
    columns |= {column.name: column.data_type for column in found.key}
    if found.time is not None:
        columns |= {found.time.name: "TIMESTAMP"}
    if found.series is not None:
        columns["asked_at"] = "TIMESTAMP"
    if found.time is not None:
        columns["known_at"] = "TIMESTAMP"
    columns |= {item.column.name: item.column.data_type for item in found.features}
    if found.series is not None and found.target is not None:
        columns |= dict.fromkeys([*lag_columns(found, found.series, found.target), *other_lags(found)], "DOUBLE")
    return columns


def label_columns(found: Conclusions) -> dict[str, str]:
    """Column of the label table -> DuckDB type, in order."""
    types = {"binary": "BOOLEAN", "multiclass": "VARCHAR"}
    columns = {"batch_id": "VARCHAR"}
    if not found.key:
        columns["row_number"] = "BIGINT"
    columns |= {column.name: column.data_type for column in found.key}
    if found.time is not None:
        columns |= {found.time.name: "TIMESTAMP"}
    if found.series is not None:
        columns["outcome_known_at"] = "TIMESTAMP"
    return columns | {label_name(found): types.get(found.task, "DOUBLE")}


def label_name(found: Conclusions) -> str:
    """The label's column: the target's name."""
    return found.target.name if found.target is not None else ""


def _contracts(found: Conclusions) -> dict[str, Any]:
    keys = key_names(found)
    name = found.name

    def model(suffix: str, asset: Sequence[str], description: str, columns: Mapping[str, str]) -> dict[str, Any]:
        return {
            "name": f"{name}_{suffix}",
            "description": description,
            "config": {"meta": {"dagster": {"asset_key": list(asset)}}},
            "columns": [
                {"name": column, "quote": True, "data_type": kind.lower()}
                | ({"data_tests": ["not_null"]} if column in keys else {})
                for column, kind in columns.items()
            ],
        }

    listed = [model("features", [name, "features"], "One row per key; it holds no outcome.", feature_columns(found))]
    if found.task != "clustering":
        listed.append(
            model(
                "labels",
                [name, "features", "labels"],
                "The outcome of each row; null where none is known.",
                label_columns(found),
            )
        )
    return {"version": 2, "models": listed}


def _listed(lines: Sequence[str]) -> str:
    return ",\n".join(lines)


def _features(found: Conclusions) -> str:
    if found.series is not None:
        return _forecast_features(found, found.series)
    lines = []
    for name, kind in feature_columns(found).items():
        source = found.time.name if name == "known_at" and found.time is not None else name
        lines.append(f"    {quoted(source)}::{kind.lower()} as {quoted(name)}")
    return f"""{{{{ config(alias='{found.name}') }}}}

select
{_listed(lines)}
from {{{{ ref('{found.name}_cleaned') }}}}
where {{{{ new_batches('{found.name}') }}}}
"""


def _labels(found: Conclusions) -> str:
    lines = []
    for name, kind in label_columns(found).items():
        sql = quoted(name)
        if name == label_name(found):
            sql = jinja(f"({found.label.sql})")
        elif name == "outcome_known_at" and found.series is not None and found.time is not None:
            sql = f"({quoted(found.time.name)} + interval '{found.series.step.step}')"
        lines.append(f"    {sql}::{kind.lower()} as {quoted(name)}")
    return f"""{{{{ config(alias='labels') }}}}

select
{_listed(lines)}
from {{{{ ref('{found.name}_cleaned') }}}}
where {{{{ new_batches('{found.name}') }}}}
"""


def _forecast_features(found: Conclusions, series: Series) -> str:
    """Lags at least a horizon long, found by ASOF joins on the date: what was known when the forecast is asked for."""
    target = found.target
    if target is None:
        raise ValueError("a forecast has a target")
    step, at = series.step, quoted(series.time.name)
    entities = [quoted(item.name) for item in series.entities]
    y = quoted(target.name)
    others = other_lags(found)
    kept = list(dict.fromkeys([*entities, at, y, *(quoted(item.name) for item in others.values())]))
    over = f"partition by {', '.join(entities)} " if entities else ""
    sources = {
        LAST: ("last_known", y),
        RECENT: ("last_known", "headrace_recent"),
        SEASON: ("season", y),
        SEASON_2: ("season_2", y),
    }
    lags = lag_columns(found, series, target)
    joins = {"last_known": step.horizon}
    if SEASON in lags.values():
        joins["season"] = step.season
    if SEASON_2 in lags.values():
        joins["season_2"] = f"{step.season}' - interval '{step.season}"
    lines = []
    for name, kind in feature_columns(found).items():
        if name in lags:
            alias, column = sources[lags[name]]
            sql = f"{alias}.{column}"
        elif name in others:
            sql = f"last_known.{quoted(others[name].name)}"
        elif name == "known_at":
            sql = "last_known.headrace_known_at"
        elif name == "asked_at":
            sql = f"(spine.{at} - interval '{step.horizon}' + interval '{step.step}')"
        else:
            sql = f"spine.{quoted(name)}"
        lines.append(f"    {sql}::{kind.lower()} as {quoted(name)}")
    joined = "\n".join(
        f"asof left join series as {alias}\n    on "
        + "".join(f"spine.{entity} = {alias}.{entity} and " for entity in entities)
        + f"spine.{at} - interval '{lag}' >= {alias}.{at}"
        for alias, lag in joins.items()
    )
    return f"""{{{{ config(alias='{found.name}') }}}}

-- Asked for {step.horizon} ahead: every lag is at least that long, so nothing is used that wasn't known then.
-- A value is known when its {step.step} is over.
with spine as (

    select * from {{{{ ref('{found.name}_cleaned') }}}}
    where {{{{ new_batches('{found.name}') }}}}

),

series as (

    select
        {", ".join(kept)},
        {at} + interval '{step.step}' as headrace_known_at,
        avg({y}) over (
            {over}order by {at} range between interval '{step.recent}' preceding and current row
        ) as headrace_recent
    from {{{{ ref('{found.name}_cleaned') }}}}
    where {y} is not null

)

select
{_listed(lines)}
from spine
{joined}
"""
