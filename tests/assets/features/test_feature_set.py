"""What names a feature set, and what is fitted of it on training rows."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from assets.features.feature_set import feature_set_id, fit_schema, unfitted_schema
from assets.features.fitting import MIN_CATEGORY_ROWS
from assets.spec import ProductSpec

Specs = Callable[..., ProductSpec]


def test_the_id_is_that_of_the_definitions(toy: ProductSpec, spec_of: Specs) -> None:
    assert feature_set_id(toy, "sql") == feature_set_id(spec_of(), "sql")
    assert len(feature_set_id(toy, "sql")) == 16


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Another title"},
        {"gates.min_improvement": 0.1},
        {"features.inputs.kind.description": "Other words"},
        {"features.inputs.size.description": "Words where there were none"},
        {"seed": 2},
    ],
)
def test_what_defines_no_feature_does_not_change_the_id(
    toy: ProductSpec, spec_of: Specs, changes: dict[str, Any]
) -> None:
    """Regression: other words for an input made every blessing of the same features stale."""
    assert feature_set_id(spec_of(changes), "sql") == feature_set_id(toy, "sql")


@pytest.mark.parametrize(
    "changes",
    [
        {"features.row.hour.sql": "CAST(EXTRACT(DAY FROM ordered_local_at) AS INT)"},
        {"features.row.hour.type": "category"},
        {"features.inputs.pieces.type": "number"},
        {"features.inputs.colour": {"type": "category"}},
        {"features.exclude": ["size"]},
        {"features.inputs.size.required": True},
        {"key": ["order_id", "kind"]},
        {"features.fitted": {"kind_share": {"kind": "frequency", "of": "kind"}}},
        {"features.select": {"strategy": "importance", "top": 3}},
    ],
)
def test_another_definition_changes_the_id(toy: ProductSpec, spec_of: Specs, changes: dict[str, Any]) -> None:
    assert feature_set_id(spec_of(changes), "sql") != feature_set_id(toy, "sql")


def test_other_sql_behind_the_tables_changes_the_id(toy: ProductSpec) -> None:
    assert feature_set_id(toy, "sql") != feature_set_id(toy, "other sql")


@pytest.mark.parametrize(
    "change",
    [{"kind": "one_hot"}, {"of": "pieces"}, {"terms": 3}, {"keep": True}],
    ids=lambda change: next(iter(change)),
)
def test_another_transform_changes_the_id(spec_of: Specs, change: dict[str, Any]) -> None:
    transform = {"kind": "frequency", "of": "kind"}
    specs = [spec_of({"features.fitted": {"made": fields}}) for fields in (transform, {**transform, **change})]
    assert feature_set_id(specs[0], "sql") != feature_set_id(specs[1], "sql")


def test_another_order_of_the_columns_changes_the_id(
    toy: ProductSpec, fields_of: Callable[..., dict[str, Any]]
) -> None:
    """A model's matrix has its columns in the spec's order, which a mapping in JSON doesn't keep."""
    fields = fields_of()
    fields["features"]["inputs"] = dict(reversed(fields["features"]["inputs"].items()))
    other = ProductSpec.model_validate(fields)
    assert other.spec_hash == toy.spec_hash
    assert feature_set_id(other, "sql") != feature_set_id(toy, "sql")


def test_categories_are_those_of_the_training_rows_sorted(toy: ProductSpec, orders: pl.DataFrame) -> None:
    schema = fit_schema(toy, orders.head(400))
    assert schema.categories == {"kind": ("books", "coats", "shoes")}
    assert "rare" in orders.head(400)["kind"].to_list()


def test_a_category_seen_too_seldom_counts_as_never_seen(toy: ProductSpec, orders: pl.DataFrame) -> None:
    def fitted(seldom: int, rows: int) -> tuple[str, ...]:
        kinds = pl.DataFrame({"kind": ["seldom"] * seldom + ["often"] * (rows - seldom)})
        others = orders.head(1).select(pl.exclude("kind"))
        return fit_schema(toy, kinds.join(others, how="cross")).categories["kind"]

    many = MIN_CATEGORY_ROWS * 200
    assert fitted(MIN_CATEGORY_ROWS - 1, many) == ("often",)
    assert fitted(MIN_CATEGORY_ROWS, many) == ("often", "seldom")
    assert fitted(1, 100) == ("often", "seldom")


def test_fitting_changes_categories_only(toy: ProductSpec, orders: pl.DataFrame) -> None:
    unfitted, fitted = unfitted_schema(toy), fit_schema(toy, orders)
    assert unfitted.categories == {"kind": ()}
    assert fitted.model_copy(update={"categories": unfitted.categories}) == unfitted
    assert unfitted.required == ("kind", "ordered_local_at")
