"""The feature set as it is defined right now: the spec and the SQL of the dbt project together."""

from assets.cleaned.dbt import feature_sql_hash, read_manifest
from assets.features.feature_set import feature_set_id
from assets.lake import Lake
from assets.spec import ProductSpec


def current_feature_set_id(lake: Lake, spec: ProductSpec) -> str:
    """The id under which a split made now would be recorded."""
    return feature_set_id(spec, feature_sql_hash(read_manifest(lake.settings), spec.product))
