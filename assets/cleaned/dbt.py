"""Run dbt on a product's lake: profile, manifest, build. The models themselves are in `dbt_project/`.

One invocation builds and tests every model of a product for as many batches as are new. The manifest is parsed when
the project's files change, never per run or at import.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from assets import ledger
from assets.errors import HeadraceError
from assets.lake import Lake, write_file_atomically
from assets.records import Build
from assets.settings import prepare_process

PROFILE = "headrace"

# (target folder, fingerprint) -> dbt's parsed project: a second build of a process saves 2.5 CPU seconds
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
    """Where a product's profile, manifest and parse state are."""
    return lake.folder / "dbt"


def profile(lake: Lake) -> dict[str, Any]:
    """The dbt profile of a product's lake: the same attach, extensions and lock-down as `lake.py`."""
    return {
        PROFILE: {
            "target": "lake",
            "outputs": {
                "lake": {
                    "type": "duckdb",
                    "path": ":memory:",
                    "database": "lake",
                    "schema": "cleaned",
                    "threads": 1,  # DuckDB is parallel inside a statement; two writers of one lake would conflict
                    "extensions": lake.extension_names(),
                    "config_options": {
                        "extension_directory": str(lake.extensions),
                        "autoinstall_known_extensions": "false",
                        "autoload_known_extensions": "false",
                        "threads": str(lake.settings.threads),
                    },
                    # read by the project's on-run-start hook: nothing but these can be touched from then on
                    "external_root": json.dumps(lake.allowed_directories()),
                    "attach": [
                        {
                            "path": f"ducklake:{lake.catalog}",
                            "alias": "lake",
                            "is_ducklake": True,
                            "options": {name.lower(): value for name, value in lake.attach_options().items()},
                        }
                    ],
                }
            },
        }
    }


def fingerprint(project: Path, profile_text: str) -> str:
    """A hash over every file of the dbt project and the profile: what a parse depends on."""
    digest = hashlib.sha256(profile_text.encode())
    for path in sorted(project.rglob("*")):
        if path.is_file() and path.suffix in {".sql", ".yml", ".yaml", ".csv", ".md"}:
            digest.update(str(path.relative_to(project)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def ensure_manifest(lake: Lake) -> Path:
    """The path of the product's manifest, parsed again only when the project or profile has changed."""
    folder = dbt_folder(lake)
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(profile(lake), sort_keys=True)
    manifest, mark = folder / "target" / "manifest.json", folder / "fingerprint"
    wanted = fingerprint(lake.settings.dbt_project, text)
    with FileLock(folder / "parse.lock", is_singleton=True):
        if manifest.exists() and mark.exists() and mark.read_text() == wanted:
            return manifest
        mark.unlink(missing_ok=True)
        write_file_atomically(folder / "profiles.yml", text.encode())
        _PARSED[(folder, wanted)] = _invoke(lake, ["parse"]).result
        write_file_atomically(mark, wanted.encode())
    return manifest


def feature_sql_hash(manifest: dict[str, Any], product: str) -> str:
    """A hash over the SQL and macros that make a product's cleaned and feature tables."""
    nodes = sorted(
        (unique_id, node["checksum"]["checksum"])
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] == "model" and product in node["fqn"]
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
    parsed = _parsed(lake)
    sql_hash = feature_sql_hash(json.loads(ensure_manifest(lake).read_text()), lake.product)
    command = ["build", "--select", f"staging.{lake.product}", f"marts.{lake.product}"]
    if _built_with(lake) != sql_hash:
        # incremental models would keep the rows that other SQL made
        command.append("--full-refresh")
    with lake.write_lock():
        outcome = _invoke(lake, command, parsed)
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


def _parsed(lake: Lake) -> Any:
    """The project as dbt has parsed it, from this process's memory if it is still that project."""
    ensure_manifest(lake)
    key = (dbt_folder(lake), (dbt_folder(lake) / "fingerprint").read_text())
    if key not in _PARSED:
        _PARSED[key] = _invoke(lake, ["parse"]).result
    return _PARSED[key]


def _invoke(lake: Lake, command: list[str], manifest: Any = None) -> Any:
    """One in-process invocation, silent; connections are closed, so that the lake is free again."""
    prepare_process()
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    folder = dbt_folder(lake)
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
        str(lake.settings.dbt_project),
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
            product=lake.product,
            where="dbt_project",
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
