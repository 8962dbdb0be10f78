"""Load time of 50 products over load time of one: what a workspace pays for growing.

Each side is a fresh process that does what Dagster does when it loads the code location: import, read the specs and
the parsed dbt project, build the definitions and resolve every asset, check and job. The products are copies of
flights (two references, three candidates), each with its own YAML and dbt folder in a temporary checkout. dbt has
parsed both projects before the clock runs, as on every start but the first after a change.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assets.settings import CHECKOUT

GOAL = 2.0
MANY = 50
_TEMPLATE = "flights"
# dbt's model names are one name space for all products; these don't have the product in them
_SHARED_MODELS = ("weather_cleaned", "planes_cleaned")
_LOAD = """
import json, time
start = time.process_time()
from orchestration.definitions import build_definitions
imported = time.process_time()
repository = build_definitions().get_repository_def()
assets = repository.asset_graph.get_all_asset_keys()
jobs = repository.get_all_jobs()
print(json.dumps({"import": imported - start, "build": time.process_time() - imported,
                  "assets": len(assets), "jobs": len(jobs)}))
"""


@dataclass(frozen=True)
class Load:
    """One load: CPU seconds of the process from start to end, those of its parts, and what was loaded."""

    products: int
    cpu_seconds: float
    import_seconds: float
    build_seconds: float
    assets: int
    jobs: int


def write_products(folder: Path, count: int) -> dict[str, str]:
    """Copies of the template in a folder of specs and a dbt project; the environment that points to them."""
    specs, project = folder / "products", folder / "dbt_project"
    specs.mkdir(parents=True)
    shutil.copytree(CHECKOUT / "dbt_project" / "macros", project / "macros")
    shutil.copy(CHECKOUT / "dbt_project" / "dbt_project.yml", project / "dbt_project.yml")
    for number in range(count):
        name = f"{_TEMPLATE}{number:02}"
        spec = CHECKOUT / "orchestration" / "products" / f"{_TEMPLATE}.yaml"
        (specs / f"{name}.yaml").write_text(_renamed(spec.read_text(), name))
        for layer in ("staging", "marts"):
            target = project / "models" / layer / name
            target.mkdir(parents=True)
            for file in (CHECKOUT / "dbt_project" / "models" / layer / _TEMPLATE).iterdir():
                (target / _renamed(file.name, name)).write_text(_renamed(file.read_text(), name))
        (project / "tests").mkdir(exist_ok=True)
        for file in (CHECKOUT / "dbt_project" / "tests").glob(f"*{_TEMPLATE}*.sql"):
            (project / "tests" / _renamed(file.name, name)).write_text(_renamed(file.read_text(), name))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "DAGSTER_"))}
    # without bytecode Dagster's import alone takes three times as long
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    return {
        **inherited,
        "HEADRACE_HOME": str(folder / "home"),
        "HEADRACE_PRODUCTS": str(specs),
        "HEADRACE_DBT_PROJECT": str(project),
    }


def _renamed(text: str, name: str) -> str:
    for model in _SHARED_MODELS:
        text = text.replace(model, f"{name}_{model}")
    return text.replace(_TEMPLATE, name)


def load(environment: dict[str, str], products: int, rounds: int) -> Load:
    """The cheapest of some loads after one that lets dbt parse.

    Raises:
        RuntimeError: a load failed; with its error output.
    """
    best: Load | None = None
    for place in range(rounds + 1):
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-c", _LOAD], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
        )
        after = os.times()
        if done.returncode:
            raise RuntimeError(f"loading {products} products failed:\n{done.stderr[-2000:]}")
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        if place and (best is None or spent < best.cpu_seconds):
            best = Load(products, spent, found["import"], found["build"], found["assets"], found["jobs"])
    if best is None:
        raise RuntimeError("no round was asked for")
    return best


def main() -> int:
    """Measure both and print the ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--products", type=int, default=MANY)
    parser.add_argument("--rounds", type=int, default=3, help="loads of each side; the cheapest counts")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        sides = [
            load(write_products(Path(folder) / str(count), count), count, wanted.rounds)
            for count in (1, wanted.products)
        ]
    one, many = sides
    ratio = many.cpu_seconds / one.cpu_seconds
    if wanted.json:
        print(json.dumps({"ratio": ratio, "goal": GOAL, "loads": [asdict(side) for side in sides]}, indent=2))
        return 0
    for side in sides:
        print(
            f"{side.products:>3} products  {side.cpu_seconds:6.2f} CPU s  (import {side.import_seconds:.2f}, "
            f"specs, manifest and definitions {side.build_seconds:.2f})  {side.assets:>5} assets, {side.jobs:>4} jobs"
        )
    print(f"{many.products} products / one: {ratio:.2f}; goal {GOAL:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
