"""A home of its own for each whole journey, with the project's macros and no other product."""

import shutil
from collections.abc import Callable

import pytest

from assets.settings import CHECKOUT, Settings


@pytest.fixture(scope="session")
def empty_settings(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Settings]:
    """Settings of a new home without products."""

    def make(name: str) -> Settings:
        folder = tmp_path_factory.mktemp(name)
        shutil.copytree(
            CHECKOUT / "dbt_project",
            folder / "dbt_project",
            ignore=shutil.ignore_patterns("staging", "marts", "tests", "target", "logs"),
        )
        return Settings(home=folder / ".headrace", products=folder / "products", dbt_project=folder / "dbt_project")

    return make
