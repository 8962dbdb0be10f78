"""The feature set of a product: its identity, and what is fitted of it on training rows only."""

import polars as pl

from assets.features.row import RowEncoder
from assets.records import FeatureSchema, content_hash
from assets.spec import ProductSpec

# A category seen fewer times than this in training is treated like one never seen: it has taught nothing.
MIN_CATEGORY_ROWS = 20


def feature_set_id(spec: ProductSpec, sql_hash: str) -> str:
    """Names the definitions of all features: SQL of the tables, inputs, row expressions, order of columns.

    Args:
        spec: the product.
        sql_hash: hash of the dbt models and macros that make the feature table.
    """
    features = spec.features.model_dump(mode="json", exclude={"inputs": {"__all__": {"description"}}})
    order = list(spec.features.model_columns)
    return content_hash({"features": features, "order": order, "sql": sql_hash, "key": spec.key})[:16]


def unfitted_schema(spec: ProductSpec) -> FeatureSchema:
    """The schema before categories are known: enough to compute model columns."""
    inputs = spec.features.inputs
    return FeatureSchema(
        inputs={name: item.type for name, item in inputs.items()},
        required=tuple(name for name, item in inputs.items() if item.required),
        descriptions={name: item.description for name, item in inputs.items()},
        row={name: item.sql for name, item in spec.features.row.items()},
        columns=tuple(spec.features.model_columns.items()),
        categories={name: () for name, kind in spec.features.model_columns.items() if kind == "category"},
    )


def fit_schema(spec: ProductSpec, training_rows: pl.DataFrame) -> FeatureSchema:
    """Fit the category lists on training rows; codes are places in the sorted list.

    Args:
        spec: the product.
        training_rows: inputs, shape (rows, inputs); no other row may be among them.
    """
    schema = unfitted_schema(spec)
    columns = RowEncoder(schema).columns(training_rows)
    categories = {}
    for name in schema.categories:
        counts = columns.select(pl.col(name).cast(pl.String)).to_series().value_counts()
        floor = min(MIN_CATEGORY_ROWS, max(1, columns.height // 100))
        known = counts.filter(pl.col("count") >= floor).get_column(name).drop_nulls()
        categories[name] = tuple(known.sort().to_list())
    return schema.model_copy(update={"categories": categories})
