"""The feature set of a product: its identity, and what is fitted of it on training rows only."""

import polars as pl

from assets.features.fitting import fit_transform, floor_of
from assets.features.row import RowEncoder
from assets.records import FeatureSchema, FittedTransform, content_hash
from assets.spec import ProductSpec


def feature_set_id(spec: ProductSpec, sql_hash: str) -> str:
    """Names the definitions of all features: SQL of the tables, inputs, row expressions, transforms, order of columns.

    Args:
        spec: the product.
        sql_hash: hash of the dbt models and macros that make the feature table.
    """
    features = spec.features.model_dump(mode="json", exclude={"inputs": {"__all__": {"description"}}})
    order = [*spec.features.model_columns, *spec.features.fitted]
    return content_hash({"features": features, "order": order, "sql": sql_hash, "key": spec.key})[:16]


def unfitted_schema(spec: ProductSpec) -> FeatureSchema:
    """The schema before anything is fitted: enough to compute the columns that need no fitting."""
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
    """Fit transforms and category lists on training rows; a category's code is its place in the sorted list.

    Args:
        spec: the product.
        training_rows: inputs, shape (rows, inputs); no other row may be among them.

    Raises:
        HeadraceError: a transform means nothing on the column it is made of, or an input is missing.
    """
    unfitted = unfitted_schema(spec)
    fitted = _fit_transforms(spec, unfitted, training_rows)
    columns = (*unfitted.columns, *((name, _kind_of(item)) for item in fitted for name in item.columns))
    named = [name for name, kind in columns if kind == "category"]
    schema = unfitted.model_copy(update={"fitted": fitted, "columns": columns, "categories": dict.fromkeys(named, ())})
    if not named:
        return schema
    model_columns = RowEncoder(schema).columns(training_rows)
    return schema.model_copy(update={"categories": {name: _categories(model_columns[name]) for name in named}})


def _fit_transforms(
    spec: ProductSpec, unfitted: FeatureSchema, training_rows: pl.DataFrame
) -> tuple[FittedTransform, ...]:
    features = spec.features
    if not features.fitted:
        return ()
    # every row feature, also those that only a transform sees
    sources = tuple((name, item.type) for name, item in features.row.items())
    everything = unfitted.model_copy(update={"columns": sources, "categories": {name: () for name, _ in sources}})
    values = RowEncoder(everything).values(training_rows)
    kinds = {name: item.type for name, item in features.inputs.items()} | dict(sources)
    taken = {*features.inputs, *features.row, *features.fitted}
    return tuple(
        fit_transform(name, item, kinds[item.of], values[item.of], taken) for name, item in features.fitted.items()
    )


def _kind_of(item: FittedTransform) -> str:
    return "category" if item.kind == "impute" and isinstance(item.data["fill"], str) else "number"


def _categories(column: pl.Series) -> tuple[str, ...]:
    counts = column.alias("value").value_counts()
    known = counts.filter(pl.col("count") >= floor_of(len(column)))["value"].drop_nulls()
    return tuple(known.sort().to_list())
