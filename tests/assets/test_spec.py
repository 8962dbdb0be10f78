"""What a product's spec refuses, and how it says so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from assets.errors import HeadraceError
from assets.settings import Settings
from assets.spec import ProductSpec, load_specs, parse_spec

Fields = Callable[..., dict[str, Any]]
SHIPPED = sorted(Settings().products.glob("*.yaml"))


def refusal(fields: dict[str, Any]) -> str:
    """What the reader of a wrong spec is told."""
    with pytest.raises(HeadraceError) as caught:
        parse_spec(yaml.safe_dump(fields), origin="toy.yaml")
    assert caught.value.product == "toy"
    assert caught.value.where == "toy.yaml"
    assert caught.value.fix
    return str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_spec_loads(path: Path) -> None:
    spec = parse_spec(path.read_text(encoding="utf-8"), origin=path.name)
    assert spec.product == path.stem


def test_there_are_shipped_specs() -> None:
    """Otherwise the test above would hold of nothing."""
    assert load_specs(Settings().products).keys() == {path.stem for path in SHIPPED} != set()


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("titel", "title"),
        ("gates.primry", "primary"),
        ("label.delay_minute", "delay_minutes"),
        ("references.kinds.colums", "columns"),
        ("features.inputs.kind.requird", "required"),
        ("features.row.hour.sqll", "sql"),
        ("candidates.0.parms", "params"),
        ("gates.slices.min_row", "min_rows"),
    ],
)
def test_an_unknown_field_suggests_the_near_one(fields_of: Fields, path: str, near: str) -> None:
    """Regression: below a mapping or a list the neighbours were looked for among the fields of the part above."""
    said = refusal(fields_of({path: "x"}))
    assert f"{path}: unknown field; did you mean {near}?" in said


def test_an_unknown_field_without_a_near_one_is_to_be_removed(fields_of: Fields) -> None:
    assert "zzz: unknown field; remove it" in refusal(fields_of({"zzz": 1}))


@pytest.mark.parametrize(
    "path", ["title", "owner", "task", "source", "source.columns", "key", "time.event", "label.column", "candidates"]
)
def test_a_missing_field_is_named(fields_of: Fields, path: str) -> None:
    assert f"{path}: is missing; add it" in refusal(fields_of({path: ...}))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("owner", "nobody"),
        ("task", "ranking"),
        ("gates.beats_baseline_by", -1),
        ("monitoring.persist_batches", 0),
        ("label.delay_minutes", -1),
        ("label.column", "Is Returned"),
        ("split.min_train_rows", "many"),
        ("candidates", [{"algorithm": "baseline"}]),
        ("source.columns.size", "FLOAT"),
        ("source.files", "orders_("),
        ("key", []),
    ],
)
def test_an_invalid_value_is_named_with_its_field(fields_of: Fields, path: str, value: object) -> None:
    assert f"{path}: " in refusal(fields_of({path: value}))


def test_every_wrong_field_is_named_at_once(fields_of: Fields) -> None:
    said = refusal(fields_of({"owner": "nobody", "gates.smoke_rows": 0, "titel": "x"}))
    assert "3 fields are wrong" in said
    assert all(name in said for name in ("owner: ", "gates.smoke_rows: ", "titel: "))


@pytest.mark.parametrize("leak", ["refund", "is_returned", "returned_at"])
def test_an_outcome_among_the_inputs_is_refused(fields_of: Fields, leak: str) -> None:
    said = refusal(fields_of({f"features.inputs.{leak}": {"type": "number"}}))
    assert leak in said
    assert "known only after the event" in said


@pytest.mark.parametrize(
    "sql",
    [
        "EXTRACT(HOUR FROM ordered_local_at) * 60",
        "extract (day from ordered_local_at)",
        "CAST(EXTRACT(HOUR FROM ordered_local_at) AS INT) * 60 + EXTRACT(MINUTE FROM ordered_local_at)",
        "HOUR(ordered_local_at) * 60",
        "DATE_PART('hour', ordered_local_at) * 60",
    ],
)
def test_a_part_of_a_time_without_a_cast_is_refused(fields_of: Fields, sql: str) -> None:
    """Polars gives it as 8 bits, so that 14 * 60 is 72. Regression: HOUR and DATE_PART went through."""
    said = refusal(fields_of({"features.row.hour.sql": sql}))
    assert "features.row.hour.sql" in said
    assert "CAST(EXTRACT(HOUR FROM column) AS INT)" in said


@pytest.mark.parametrize(
    "sql",
    [
        "CAST(EXTRACT(HOUR FROM ordered_local_at) AS INT) * 60",
        "cast( extract (hour from ordered_local_at) as int)",
        "today + holiday(x)",
    ],
)
def test_a_part_of_a_time_with_a_cast_is_accepted(spec_of: Callable[..., ProductSpec], sql: str) -> None:
    assert spec_of({"features.row.hour.sql": sql}).features.row["hour"].sql == sql


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source.files": r"orders\.csv"}, "no group named batch"),
        ({"source.files": ...}, "either files or postgres"),
        ({"source.csv": {"delimiter": "\\", "escape": "\\"}}, "delimiter and escape are two different characters"),
        ({"source.csv": {"quote": "§"}}, "source.csv.quote: one ASCII character"),
        ({"source.csv": {"quote": '""'}}, "source.csv.quote: one ASCII character"),
        ({"source.csv": {"escape": "§"}}, "source.csv.escape: one ASCII character"),
        ({"source.csv": {"escape": "\\\\"}}, "source.csv.escape: one ASCII character"),
        ({"source.required": ["nothing"]}, "required names columns that are not in columns: nothing"),
        ({"references.toy": {"files": "x", "columns": {"a": "BIGINT"}}}, "the name is the product's own"),
        ({"candidates": [{"algorithm": "lightgbm"}, {"algorithm": "x"}]}, "`baseline` among them"),
        ({"candidates": [{"algorithm": "baseline"}, {"algorithm": "baseline"}]}, "each algorithm once"),
        ({"gates.slices.by": ["colour"]}, "colour is no input"),
        ({"features.row.size": {"sql": "1"}}, "size: two features have the same name"),
        ({"features.exclude": ["colour"]}, "exclude names unknown inputs: colour"),
        ({"features.fitted": {"size": {"kind": "scale", "of": "pieces"}}}, "size: two features have the same name"),
        ({"features.fitted": {"words": {"kind": "text", "of": "title"}}}, "of names title, which is no input"),
        ({"features.select": {"strategy": "names"}}, "strategy names needs names"),
        ({"features.select": {"strategy": "names", "names": ["colour"]}}, "colour is no feature that a model sees"),
        ({"gates.primary": "mape"}, "gates.primary: mape is no metric of binary"),
        ({"label": None}, "every task but clustering has one"),
        ({"task": "clustering"}, "remove it from a clustering"),
        ({"time": None}, "split temporal needs it"),
        ({"time": None, "split.strategy": "random"}, "without time nothing is known later"),
        ({"key": ["model_id"]}, "key: model_id is a column of our own"),
        ({"features.inputs.fold": {"type": "number"}}, "inputs: fold is read beside the inputs"),
        ({"split.strategy": "group", "split.group": "nobody"}, "split.group: nobody is neither key nor input"),
        ({"split.ratios": [0.5, 0.2, 0.2]}, "three positive shares that add up to 1"),
        ({"split.group": "kind"}, "strategy group needs it and no other does"),
        ({"split.strategy": "custom"}, "strategy custom needs it and no other does"),
        ({"task": "forecast"}, "a forecast is held against seasonal_naive and last_value"),
        (
            {"task": "regression", "candidates": [{"algorithm": "baseline"}, {"algorithm": "x", "resample": "over"}]},
            "regression has no classes to balance",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields_of: Fields, changes: dict[str, Any], said: str) -> None:
    assert said in refusal(fields_of(changes))


@pytest.mark.parametrize("name", ["batch_id", "ROW_NUMBER", "headrace_place", "Size"])
def test_a_column_that_the_raw_table_has_already_is_refused(fields_of: Fields, name: str) -> None:
    """Regression: the file's first load ended in DuckDB's own words; SQL knows no difference of case."""
    assert name in refusal(fields_of({f"source.columns.{name}": "VARCHAR"}))


def test_an_input_called_label_is_refused(fields_of: Fields) -> None:
    """Regression: rows are read with their `label` beside the inputs, so two columns had one name."""
    assert "rename the input" in refusal(fields_of({"features.inputs.label": {"type": "number"}}))


@pytest.mark.parametrize("name", ["quarantine", "labels"])
def test_a_source_with_the_name_of_our_own_table_is_refused(fields_of: Fields, name: str) -> None:
    said = refusal(fields_of({f"references.{name}": {"files": "x", "columns": {"a": "BIGINT"}}}))
    assert f"{name}: the lake has a table of that name" in said


def test_a_syntax_error_names_its_line() -> None:
    with pytest.raises(HeadraceError, match=r"toy: toy\.yaml, line 3: not valid YAML"):
        parse_spec("product: toy\ntask: binary\ntitle: Orders: sent back?\nowner: x\n", origin="toy.yaml")


@pytest.mark.parametrize("text", ["", "- a list", "only text"])
def test_yaml_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(HeadraceError, match="a product spec is a mapping of fields"):
        parse_spec(text, origin="toy.yaml")


def test_a_file_is_named_after_its_product(tmp_path: Path, fields_of: Fields) -> None:
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(fields_of()))
    with pytest.raises(HeadraceError, match=r"rename the file") as caught:
        load_specs(tmp_path)
    assert caught.value.expected == "toy.yaml"


def test_layout_comments_and_order_do_not_change_the_hash(fields_of: Fields, toy: ProductSpec) -> None:
    fields = fields_of()
    texts = [
        yaml.safe_dump(fields),
        "# a comment\n" + yaml.safe_dump(fields, default_flow_style=True, width=40),
        yaml.safe_dump(dict(reversed(fields.items())), sort_keys=False, indent=8),
    ]
    assert {parse_spec(text, origin="toy.yaml").spec_hash for text in texts} == {toy.spec_hash}


def test_a_default_that_is_written_out_does_not_change_the_hash(
    spec_of: Callable[..., ProductSpec], toy: ProductSpec
) -> None:
    assert spec_of({"gates.primary": "roc_auc"}).spec_hash == toy.spec_hash


@pytest.mark.parametrize("path", ["gates.min_improvement", "label.delay_minutes", "decision_threshold"])
def test_another_value_changes_the_hash(spec_of: Callable[..., ProductSpec], toy: ProductSpec, path: str) -> None:
    assert spec_of({path: 0.25}).spec_hash != toy.spec_hash


def test_the_model_sees_inputs_then_row_features_but_no_time_and_nothing_excluded(
    spec_of: Callable[..., ProductSpec],
) -> None:
    columns = spec_of({"features.exclude": ["size"]}).features.model_columns
    assert list(columns.items()) == [
        ("kind", "category"), ("pieces", "number"), ("hour", "number"), ("size_of_all", "number"),
    ]  # fmt: skip


def test_the_products_own_source_comes_first(toy: ProductSpec) -> None:
    assert list(toy.sources) == ["toy", "kinds"]
    assert [source.has_batch for source in toy.sources.values()] == [True, False]


def test_a_spec_cannot_be_changed(toy: ProductSpec) -> None:
    with pytest.raises(ValidationError):
        toy.title = "Another"  # type: ignore[misc]


def test_a_product_named_like_a_database_of_duckdb_is_refused(fields_of: Fields) -> None:
    with pytest.raises(HeadraceError, match="a database of DuckDB's own"):
        parse_spec(yaml.safe_dump(fields_of({"product": "temp"})), origin="temp.yaml")


@pytest.mark.parametrize(
    ("task", "primary", "beats_baseline_by"),
    [("binary", "roc_auc", 0.05), ("multiclass", "f1_macro", 0.05), ("regression", "r2", 0.05)],
)
def test_the_metric_that_decides_is_the_task_s_unless_the_spec_says(
    spec_of: Callable[..., ProductSpec], task: str, primary: str, beats_baseline_by: float
) -> None:
    spec = spec_of({"task": task})
    assert (spec.gates.primary, spec.gates.beats_baseline_by) == (primary, beats_baseline_by)
    assert spec_of({"gates.primary": "log_loss"}).gates.primary == "log_loss"


def test_a_transform_takes_the_place_of_its_column_unless_it_is_kept(spec_of: Callable[..., ProductSpec]) -> None:
    fitted = {"size_scaled": {"kind": "scale", "of": "size"}}
    assert "size" not in spec_of({"features.fitted": fitted}).features.model_columns
    fitted["size_scaled"]["keep"] = True  # type: ignore[assignment]
    assert "size" in spec_of({"features.fitted": fitted}).features.model_columns
