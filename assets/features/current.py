"""The feature set as it is defined right now: the spec and the SQL of the dbt project together."""

import json

from assets.cleaned.dbt import ensure_manifest, feature_sql_hash
from assets.features.feature_set import feature_set_id
from assets.lake import Lake
from assets.spec import ProductSpec


def current_feature_set_id(lake: Lake, spec: ProductSpec) -> str:
    """The id under which a split made now would be recorded."""
    manifest = json.loads(ensure_manifest(lake).read_text())
    return feature_set_id(spec, feature_sql_hash(manifest, spec.product))
