"""Homes whose only product is the toy shop; hidden folders, as the default home is (BentoML is shy of them)."""

import shutil
from collections.abc import Callable

import pytest

from assets.settings import CHECKOUT, Settings
from assets.spec import ProductSpec, load_specs
from tests.toy.shop import TOY


@pytest.fixture(scope="session")
def toy_settings(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Settings]:
    """Settings of a new home whose products are the toy shop alone."""
    project = tmp_path_factory.mktemp("project") / "dbt_project"
    shutil.copytree(
        CHECKOUT / "dbt_project", project, ignore=shutil.ignore_patterns("models", "tests", "target", "logs")
    )
    shutil.copytree(TOY / "models", project / "models", dirs_exist_ok=True)
    products = tmp_path_factory.mktemp("products")
    shutil.copy(TOY / "shop.yaml", products)

    def make(name: str) -> Settings:
        return Settings(home=tmp_path_factory.mktemp(name) / ".headrace", products=products, dbt_project=project)

    return make


@pytest.fixture(scope="session")
def shop(toy_settings: Callable[[str], Settings]) -> ProductSpec:
    """The toy product."""
    return load_specs(toy_settings("spec").products)["shop"]
