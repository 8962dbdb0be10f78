"""The graph of what ships: a change of keys, dependencies, checks or jobs must be meant."""

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg

from assets.settings import Settings
from assets.spec import load_specs
from orchestration.definitions import build_definitions

SNAPSHOT = Path(__file__).parent / "graph.json"


def graph(definitions: dg.Definitions) -> dict[str, Any]:
    """Assets with dependencies, kinds and checks, and the names of jobs, sensors and schedules."""
    resolved = definitions.resolve_asset_graph()
    checks = sorted(resolved.asset_check_keys, key=lambda key: (key.asset_key.to_user_string(), key.name))
    return {
        "assets": {
            key.to_user_string(): {
                "deps": sorted(parent.to_user_string() for parent in resolved.get(key).parent_keys),
                "checks": [
                    f"{check.name}{' (blocking)' if resolved.get_check_spec(check).blocking else ''}"
                    for check in checks
                    if check.asset_key == key
                ],
                "group": resolved.get(key).group_name,
                "kinds": sorted(resolved.get(key).kinds),
                "owners": sorted(resolved.get(key).owners),
            }
            for key in sorted(resolved.materializable_asset_keys, key=lambda key: key.to_user_string())
        },
        "jobs": sorted(job.name for job in definitions.jobs or []),
        "sensors": sorted(sensor.name for sensor in definitions.sensors or []),
        "schedules": sorted(schedule.name for schedule in definitions.schedules or []),
    }


def test_the_graph_is_the_recorded_one(tmp_path: Path) -> None:
    """A product with labels and time and one without; after a meant change, write graph.json as the message says."""
    settings = Settings(home=tmp_path / "home")
    specs = load_specs(settings.products)
    found = graph(build_definitions(settings, {name: specs[name] for name in ("flights", "wines")}))
    if os.environ.get("HEADRACE_UPDATE_GRAPH"):
        SNAPSHOT.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(SNAPSHOT.read_text()), "if that is meant: run this test with HEADRACE_UPDATE_GRAPH=1"


def test_every_asset_has_group_owner_kind_and_a_check(tmp_path: Path) -> None:
    """In the UI nothing stands without a group, someone to ask, the tool that makes it, and a check."""
    found = graph(build_definitions(Settings(home=tmp_path / "home")))
    for name, asset in found["assets"].items():
        assert asset["group"] == name.partition("/")[0], name
        assert asset["owners"], name
        assert asset["kinds"], name
        assert asset["checks"], name
