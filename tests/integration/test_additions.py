"""A product is added by one YAML file and one dbt folder, an algorithm by one module: in a copy of the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assets.home import Home
from assets.live import read_live
from assets.settings import CHECKOUT, Settings
from tests.toy.shop import TOY, drop

pytestmark = pytest.mark.journey
CODE = ("orchestration", "assets", "sensors", "bentos", "dbt_project")
ALGORITHM = '''"""Few, small trees: an algorithm that somebody added."""

from dataclasses import replace

from assets.candidates.algorithms import lightgbm


def fit(rows, params, seed, threads, progress):
    """Boost a little."""
    few = {**params, "max_rounds": 15, "num_leaves": 5, "min_data_in_leaf": 10}
    return lightgbm.fit(rows, few, seed, threads, progress)


ALGORITHM = replace(lightgbm.ALGORITHM, description="Few, small trees", fit=fit)
'''


def contents(folder: Path) -> dict[str, bytes]:
    """Every source file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix in (".py", ".yaml", ".yml", ".sql"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_product_and_an_algorithm_are_added_without_touching_another_file(tmp_path: Path) -> None:
    """The copy, with these files and nothing else, takes the new product with the new algorithm all the way."""
    copy = tmp_path / "checkout"
    for name in CODE:
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "target", "logs"))
    before = contents(copy)

    spec = (TOY / "shop.yaml").read_text().replace("algorithm: lightgbm", "algorithm: small_trees")
    params = "    params: {max_rounds: 30, num_leaves: 7, min_data_in_leaf: 10}\n"
    assert params in spec
    (copy / "orchestration" / "products" / "shop.yaml").write_text(spec.replace(params, ""))
    shutil.copytree(TOY / "models", copy / "dbt_project" / "models", dirs_exist_ok=True)
    (copy / "assets" / "candidates" / "algorithms" / "small_trees.py").write_text(ALGORITHM)

    added = {path for path, content in contents(copy).items() if before.get(path) != content}
    assert {path for path in added if not path.startswith("dbt_project/models/")} == {
        "orchestration/products/shop.yaml",
        "assets/candidates/algorithms/small_trees.py",
    }
    assert all(Path(path).parent.name == "shop" for path in added if path.startswith("dbt_project/"))

    settings = Settings(home=tmp_path / ".home")
    drop(settings, [1, 2, 3])
    done = subprocess.run(
        [sys.executable, "-m", "orchestration.cli.main", "run", "shop"],
        cwd=copy,
        env={**os.environ, "HEADRACE_HOME": str(settings.home), "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    live = read_live(Home(settings).settings.home, "shop")
    assert live is not None
    assert live.model_id.startswith("small-trees-")
