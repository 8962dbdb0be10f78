"""Homes whose only product is the toy shop; hidden folders, as the default home is (BentoML is shy of them)."""

import shutil
from collections.abc import Callable

import pytest

from assets.cleaned.dbt import ensure_manifest
from assets.lake import Lake
from assets.settings import CHECKOUT, Settings
from assets.spec import ProductSpec, load_specs
from orchestration.cli.runs import Runner
from tests.toy.shop import TOY, drop


@pytest.fixture(scope="session")
def toy_settings(
    tmp_path_factory: pytest.TempPathFactory, settings_at: Callable[..., Settings]
) -> Callable[..., Settings]:
    """Settings of a new home whose products are the toy shop alone."""
    project = tmp_path_factory.mktemp("project") / "dbt_project"
    shutil.copytree(
        CHECKOUT / "dbt_project", project, ignore=shutil.ignore_patterns("models", "tests", "target", "logs")
    )
    shutil.copytree(TOY / "models", project / "models", dirs_exist_ok=True)
    products = tmp_path_factory.mktemp("products")
    shutil.copy(TOY / "shop.yaml", products)

    def settings_of(name: str, at: Callable[..., Settings] = settings_at) -> Settings:
        return at(tmp_path_factory.mktemp(name) / ".headrace", products=products, dbt_project=project)

    parsed = ensure_manifest(settings_of("parsed")).parent.parent

    def make(name: str, at: Callable[..., Settings] = settings_at) -> Settings:
        settings = settings_of(name, at)
        shutil.copytree(parsed, settings.home / "dbt")  # parsing again would cost each home seconds
        return settings

    return make


@pytest.fixture(scope="session")
def loaded_settings(toy_settings: Callable[[str], Settings], shop: ProductSpec) -> Callable[[str], Settings]:
    """The same with two batches landed and loaded, and no model yet; a copy of one home, as homes can move.

    In a shared deployment a home's lake is elsewhere and is not copied with it, so each home loads for itself.
    """

    def loaded(name: str) -> Settings:
        settings = toy_settings(name)
        drop(settings, [1, 2])
        Runner(settings, shop).load(["01", "02"], cause="test")
        return settings

    template = loaded("loaded")

    def make(name: str) -> Settings:
        if Lake(shop.product, template).is_shared:
            return loaded(name)
        settings = toy_settings(name)
        shutil.copytree(template.home, settings.home, dirs_exist_ok=True)
        return settings

    return make


@pytest.fixture(scope="session")
def shop(toy_settings: Callable[[str], Settings]) -> ProductSpec:
    """The toy product."""
    return load_specs(toy_settings("spec").products)["shop"]
