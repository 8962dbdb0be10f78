"""The features stage in Dagster: its tables are dbt models (see cleaned/definitions.py), its checks are here."""

import dagster as dg

from assets.features import checks
from assets.spec import ProductSpec


def build(spec: ProductSpec) -> list[dg.AssetChecksDefinition]:
    """The feature table's own checks, beside dbt's tests."""
    return [checks.build(spec)]
