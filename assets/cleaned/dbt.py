"""Run dbt on a product's lake: profile, manifest, build. The models themselves are in `dbt_project/`.

One invocation builds and tests every model of a product for as many batches as are new. The project is parsed once for
all products, when its files change, never per run or at import.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from assets import ledger
from assets.errors import HeadraceError
from assets.files import spill_directory, write_file_atomically
from assets.lake import Lake
from assets.object_store import dbt_secret
from assets.records import Build
from assets.settings import Settings, prepare_process

PROFILE = "headrace"

# (folder, fingerprint) -> dbt's parsed project: a second build of a process saves 2.5 CPU seconds
_PARSED: dict[tuple[Path, str], Any] = {}


@dataclass(frozen=True)
class NodeResult:
    """What became of one model or test."""

    unique_id: str
    resource_type: str
    status: str
    message: str
    seconds: float
    failures: int
    depends_on: tuple[str, ...] = field(default=())

    @property
    def is_success(self) -> bool:
        """Whether the model was built or the test passed."""
        return self.status in ("success", "pass")


def dbt_folder(lake: Lake) -> Path:
    """Where a product's profile and dbt's run results are."""
    return lake.folder / "dbt"


def profile(lake: Lake) -> dict[str, Any]:
    """The dbt profile of a product's lake: the same attach, extensions and lock-down as `lake.py`."""
    target = {
        "extensions": lake.extension_names(),
        "config_options": {
            "extension_directory": str(lake.extensions),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "threads": str(lake.settings.threads),
            "temp_directory": spill_directory(lake.staging),
        },
        # read by the project's on-run-start hook: nothing but these can be touched from then on
        "external_root": json.dumps(lake.allowed_directories()),
        **({} if lake.is_local else {"secrets": [dbt_secret(lake.data_path)]}),
    }
    options = {name.lower(): value for name, value in lake.attach_options().items()}
    return _profile(lake.product, f"ducklake:{lake.catalog}", options, target)


def _profile(alias: str, path: str, options: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    lake = {
        "type": "duckdb",
        "path": ":memory:",
        "database": alias,
        "schema": "cleaned",
        "threads": 1,  # DuckDB is parallel inside a statement; two writers of one lake would conflict
        "attach": [{"path": path, "alias": alias, "is_ducklake": True, "options": options}],
        **target,
    }
    return {PROFILE: {"target": "lake", "outputs": {"lake": lake}}}


# what parsing needs: one for all products, and nothing is opened
_PARSE_PROFILE = yaml.safe_dump(_profile("lake", "ducklake:sqlite:none", {}, {"external_root": "[]"}))


def fingerprint(project: Path) -> str:
    """A hash over every file of the dbt project: what a parse depends on."""
    digest = hashlib.sha256(_PARSE_PROFILE.encode())
    for path in sorted(project.rglob("*")):
        if path.is_file() and path.suffix in {".sql", ".yml", ".yaml", ".csv", ".md"}:
            digest.update(str(path.relative_to(project)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def ensure_manifest(settings: Settings) -> Path:
    """The path of the project's manifest, parsed again only when the project has changed."""
    folder = settings.home / "dbt"
    folder.mkdir(parents=True, exist_ok=True)
    manifest, mark = folder / "target" / "manifest.json", folder / "fingerprint"
    wanted = fingerprint(settings.dbt_project)
    if manifest.exists() and mark.exists() and mark.read_text() == wanted:
        return manifest
    with FileLock(folder / "parse.lock", is_singleton=True):
        if manifest.exists() and mark.exists() and mark.read_text() == wanted:
            return manifest
        mark.unlink(missing_ok=True)
        write_file_atomically(folder / "profiles.yml", _PARSE_PROFILE.encode())
        _PARSED[(folder, wanted)] = _invoke(settings, folder, ["parse"]).result
        write_file_atomically(mark, wanted.encode())
    return manifest


def read_manifest(settings: Settings) -> dict[str, Any]:
    """The project's manifest; read once per process and change."""
    folder = ensure_manifest(settings).parent.parent
    with FileLock(folder / "parse.lock", is_singleton=True):  # another process may just parse a change
        path = ensure_manifest(settings)
        return _read_manifest(path, (folder / "fingerprint").read_text())


@lru_cache(maxsize=1)
def _read_manifest(path: Path, _fingerprint: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def manifest_of(whole: dict[str, Any], product: str) -> dict[str, Any]:
    """The part of the manifest that is a product's, so that many products load in time proportional to their number."""
    models = {
        unique_id: node
        for unique_id, node in whole["nodes"].items()
        if node["resource_type"] == "model" and node["fqn"][2:3] == [product]
    }
    tests = {
        unique_id: node
        for unique_id, node in whole["nodes"].items()
        if node["resource_type"] == "test" and not models.keys().isdisjoint(node["depends_on"]["nodes"])
    }
    used = {parent for node in (*models.values(), *tests.values()) for parent in node["depends_on"]["nodes"]}
    nodes = {**{name: whole["nodes"][name] for name in used if name in whole["nodes"]}, **models, **tests}
    sources = {unique_id: whole["sources"][unique_id] for unique_id in used if unique_id in whole["sources"]}
    known = {*nodes, *sources}
    maps = {
        name: {
            unique_id: [other for other in others if other in known]
            for unique_id, others in whole[name].items()
            if unique_id in known
        }
        for name in ("parent_map", "child_map")
    }
    return {**whole, "nodes": nodes, "sources": sources, "macros": {}, **maps}


def feature_sql_hash(manifest: dict[str, Any], product: str) -> str:
    """A hash over the SQL and macros that make a product's cleaned and feature tables."""
    nodes = sorted(
        (unique_id, node["checksum"]["checksum"])
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] == "model" and node["fqn"][2:3] == [product]
    )
    macros = sorted(
        (unique_id, macro["macro_sql"])
        for unique_id, macro in manifest["macros"].items()
        if macro["package_name"] == PROFILE
    )
    return hashlib.sha256(json.dumps([nodes, macros]).encode()).hexdigest()


def build(lake: Lake) -> list[NodeResult]:
    """Build and test all models of a product, for every new batch, in one invocation under the write lock.

    Raises:
        HeadraceError: dbt could not run at all (a model's or test's failure is in the results).
    """
    parsed = _parsed(lake.settings)
    sql_hash = feature_sql_hash(read_manifest(lake.settings), lake.product)
    folder = dbt_folder(lake)
    write_file_atomically(folder / "profiles.yml", yaml.safe_dump(profile(lake), sort_keys=True).encode())
    command = ["build", "--select", f"staging.{lake.product}", f"marts.{lake.product}"]
    if _built_with(lake) != sql_hash:
        # incremental models would keep the rows that other SQL made
        command.append("--full-refresh")
    with lake.write_lock():
        outcome = _invoke(lake.settings, folder, command, parsed)
    results = [
        NodeResult(
            unique_id=item.node.unique_id,
            resource_type=str(item.node.resource_type),
            status=str(item.status),
            message=str(item.message or ""),
            seconds=float(item.execution_time),
            failures=int(item.failures or 0),
            depends_on=tuple(item.node.depends_on.nodes),
        )
        for item in getattr(outcome.result, "results", [])
        if str(item.node.resource_type) in ("model", "test")
    ]
    if not results:
        raise HeadraceError(
            "dbt built nothing",
            product=lake.product,
            where="dbt_project",
            found=str(outcome.exception or "no model selected"),
            fix=f"add models below dbt_project/models/staging/{lake.product} and marts/{lake.product}",
        )
    if all(result.is_success for result in results if result.resource_type == "model"):
        _record_build(lake, sql_hash)
    return results


def _built_with(lake: Lake) -> str:
    """The hash of the SQL that the newest whole build was made with."""
    with lake.connect() as con:
        found = ledger.records(con, "builds", Build)
    return found[-1][1].sql_hash if found else ""


def _record_build(lake: Lake, sql_hash: str) -> None:
    """Write down a build with SQL that is not the last one's (a return to older SQL is a new row)."""
    if _built_with(lake) != sql_hash:
        record_id = f"{sql_hash[:16]}-{ledger.now().isoformat()}"
        ledger.append_to_lake(lake, "builds", [(record_id, "", Build(product=lake.product, sql_hash=sql_hash))])


def _parsed(settings: Settings) -> Any:
    """The project as dbt has parsed it, from this process's memory if it is still that project."""
    folder = ensure_manifest(settings).parent.parent
    with FileLock(folder / "parse.lock", is_singleton=True):
        ensure_manifest(settings)
        key = (folder, (folder / "fingerprint").read_text())
        if key not in _PARSED:
            _PARSED[key] = _invoke(settings, folder, ["parse"]).result
        return _PARSED[key]


def _invoke(settings: Settings, folder: Path, command: list[str], manifest: Any = None) -> Any:
    """One in-process invocation, silent; connections are closed, so that the lake is free again."""
    prepare_process()
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    arguments = [
        "--quiet",
        "--no-use-colors",
        "--log-level",
        "none",
        "--log-level-file",
        "info",
        "--log-path",
        str(folder / "logs"),
        *command,
        "--project-dir",
        str(settings.dbt_project),
        "--profiles-dir",
        str(folder),
        "--target-path",
        str(folder / "target"),
    ]
    try:
        with _kept_logging():
            outcome = dbtRunner(manifest=manifest).invoke(arguments)
    finally:
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
    if outcome.exception is not None:
        raise HeadraceError(
            f"dbt {command[0]} failed",
            where=str(settings.dbt_project),
            found=str(outcome.exception).strip(),
            fix="mend the file that the message names, then run again",
        )
    return outcome


@contextmanager
def _kept_logging() -> Iterator[None]:
    """Keep the process's warning filters as they were: dbt changes them for everyone."""
    import warnings

    with warnings.catch_warnings():
        yield
