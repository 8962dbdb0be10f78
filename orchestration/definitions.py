"""Load the specs, build the products, merge, bind resources. No business code."""

import warnings
from collections.abc import Mapping

import dagster as dg

from assets.cleaned.dbt import manifest_of, read_manifest
from assets.settings import Settings, prepare_process
from assets.spec import ProductSpec, load_specs
from orchestration import resources
from orchestration.product import build_product


def build_definitions(
    settings: Settings | None = None, products: Mapping[str, ProductSpec] | None = None
) -> dg.Definitions:
    """The code location: every product of the products folder, or the given ones.

    Args:
        settings: where the home is; from the environment when left out.
        products: specs by name, for tests; those of the settings' folder when left out.
    """
    prepare_process()
    # intended: tables take many batches in one run, models one; a backfill of a whole journey goes batch by batch
    warnings.filterwarnings("ignore", message="Asset job .* varying BackfillPolicies")
    settings = settings or Settings()
    specs = load_specs(settings.products) if products is None else products
    manifest = read_manifest(settings)
    built = [build_product(spec, manifest_of(manifest, name)) for name, spec in specs.items()]
    shared = dg.Definitions(
        resources=resources.build(settings),
        # processes are expensive: a run is one, and parallelism is several runs
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(*built, shared)


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads."""
    return build_definitions()
