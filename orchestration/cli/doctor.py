"""`headrace doctor`: what of the environment, the home and the lakes isn't as it should be."""

import importlib.metadata
import os
import re
import sys
from collections.abc import Callable
from typing import Any

import duckdb

from assets import ledger
from assets.errors import HeadraceError
from assets.home import Home
from assets.lake import extension_file
from assets.live import read_live
from assets.model_store import read_model
from assets.settings import CHECKOUT, Settings
from assets.spec import load_specs

PACKAGES = (
    "dagster",
    "dagster-webserver",
    "dagster-dbt",
    "dbt-core",
    "dbt-duckdb",
    "duckdb",
    "polars",
    "pandas",
    "evidently",
    "lightgbm",
    "scikit-learn",
    "onnxruntime",
    "bentoml",
)


def examine(settings: Settings) -> list[dict[str, Any]]:
    """Every finding: `check`, `ok`, `found` and, where something is wrong, `fix`."""
    findings = [
        _finding("python", _python),
        _finding("packages", _packages),
        _finding("duckdb extensions", _extensions),
        _finding("home", lambda: _home(settings)),
        _finding("specs", lambda: ", ".join(load_specs(settings.products)) or "none"),
    ]
    try:
        names = list(load_specs(settings.products))
    except HeadraceError:
        names = []
    for name in names:
        findings.append(_finding(f"lake of {name}", lambda name=name: _lake(settings, name)))  # type: ignore[misc]
        findings.append(_finding(f"champion of {name}", lambda name=name: _champion(settings, name)))  # type: ignore[misc]
    return findings


def _finding(check: str, look: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"check": check, "ok": True, "found": look(), "fix": ""}
    except HeadraceError as error:
        return {"check": check, "ok": False, "found": f"{error.what} {error.found}".strip(), "fix": error.fix}
    except (OSError, duckdb.Error) as error:
        return {"check": check, "ok": False, "found": str(error), "fix": "check the path and its permissions"}


def _python() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _packages() -> str:
    text = (CHECKOUT / "requirements.lock").read_text(encoding="utf-8")
    pinned = {name: set(re.findall(rf"^{name}==([^ ;\\]+)", text, re.MULTILINE)) for name in PACKAGES}
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    other = [
        f"{name} {found[name]} (pinned {', '.join(pinned[name])})"
        for name in PACKAGES
        if found[name] not in pinned[name]
    ]
    if other:
        raise HeadraceError("not as pinned:", found=", ".join(other), fix="make env")
    return f"{len(found)} as pinned, dagster {found['dagster']}, duckdb {found['duckdb']}, bentoml {found['bentoml']}"


def _extensions() -> str:
    return ", ".join(name for name in ("ducklake", "sqlite_scanner") if extension_file(name).exists())


def _home(settings: Settings) -> str:
    settings.home.mkdir(parents=True, exist_ok=True)
    if not os.access(settings.home, os.W_OK):
        raise HeadraceError("not writable:", found=str(settings.home), fix="set HEADRACE_HOME to a folder of yours")
    return str(settings.home)


def _lake(settings: Settings, product: str) -> str:
    with Home(settings).lake(product).connect() as con:
        loaded = [batch for batch in ledger.batches(con, product) if batch.status == "LOADED"]
    off = [b.batch_id for b in loaded if b.rows_in != b.rows_loaded + b.rows_quarantined]
    if off:
        raise HeadraceError("rows unaccounted for in", found=", ".join(off), fix="restore the lake from a backup")
    return f"{len(loaded)} batches, {sum(batch.rows_in for batch in loaded):,} rows, all accounted for"


def _champion(settings: Settings, product: str) -> str:
    live = read_live(settings.home, product)
    if live is None:
        return "none yet"
    read_model(settings.models / product / live.model_id)
    return f"{live.model_id}, files as saved"
