"""Train a recorded model again by the code of whichever checkout is on the path: `python -P retrain.py JOB.json`.

`assets.candidates.replay` starts it in a process of its own, so that nothing comes from memory; `assets` may be an
older one than this file's, so it leans on little: settings, spec, lake, split, training set and `train`. Each line it
prints says how far it is; what came of it is in the job's result file.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


def retrain(job: dict[str, Any]) -> dict[str, Any]:
    """Read the recorded rows again and train as it was recorded, into the job's folder.

    Args:
        job: `manifest` and `split` (the records), `folder` (where the model is saved), `search` (whether a search is
            made again; else the recorded parameters are what it found).

    Returns:
        `model_id`, `manifest`, `folder`, `row_set_hashes` by part, and `seconds` of read and train.

    Raises:
        HeadraceError: the spec is not the one it was trained under, or the rows can't be read any more.
    """
    from assets.candidates.registry import algorithm
    from assets.candidates.training import train
    from assets.candidates.training_set import load_training_set
    from assets.lake import Lake
    from assets.records import SplitManifest
    from assets.settings import Settings

    settings, recorded = Settings(), job["manifest"]
    spec = _spec(settings, recorded)
    split = SplitManifest.model_validate(job["split"])
    lake = Lake(spec.product, settings)
    if not lake.extensions.exists():  # a version of DuckDB that this home hasn't met
        lake.ensure()
    started = time.perf_counter()
    _say(f"reading the rows of snapshot {split.data_snapshot}")
    hashes = _row_set_hashes(lake, spec, split)
    rows = load_training_set(lake, spec, split)
    read_seconds = time.perf_counter() - started
    candidate = next(item for item in spec.candidates if item.algorithm == recorded["algorithm"])
    found = algorithm(candidate.algorithm, product=spec.product, task=spec.task)
    asked = candidate
    if candidate.search is not None and not job["search"]:
        params = {name: value for name, value in recorded["params"].items() if name in found.defaults}
        asked = candidate.model_copy(update={"search": None, "params": params})
    _say(f"training {candidate.algorithm} on {len(rows.train_labels):,} rows")
    trained = train(
        found, asked, spec=spec, split=split, rows=rows, folder=Path(job["folder"]), threads=settings.threads,
        progress=_say,
    )  # fmt: skip
    manifest = trained.manifest.model_copy(update={"config": candidate.model_dump(mode="json")})
    return {
        "model_id": manifest.model_id,
        "manifest": manifest.model_dump(mode="json"),
        "folder": str(trained.folder),
        "row_set_hashes": hashes,
        "seconds": {"read": read_seconds, "train": time.perf_counter() - started - read_seconds},
    }


def _spec(settings: Any, recorded: dict[str, Any]) -> Any:
    """The product's spec if it is the one under which the model was trained."""
    from assets.errors import HeadraceError
    from assets.spec import parse_spec

    product, path = recorded["product"], settings.products / f"{recorded['product']}.yaml"
    try:
        spec = parse_spec(path.read_text(encoding="utf-8"), origin=path.name)
    except FileNotFoundError:
        raise HeadraceError(
            "the recorded code has no spec of this product", product=product, where=str(path), fix="put it back there"
        ) from None
    if spec.spec_hash != recorded["spec_hash"]:
        raise HeadraceError(
            "the spec is not the one that the model was trained under",
            product=product,
            where=str(path),
            expected=f"spec {recorded['spec_hash'][:16]}",
            found=f"spec {spec.spec_hash[:16]}",
            fix="put the spec of then back there: it was kept with no model and is not in the recorded code",
        )
    return spec


def _row_set_hashes(lake: Any, spec: Any, split: Any) -> dict[str, str]:
    """The hash of each part's rows as they are now in the recorded snapshot, by the code's own definition."""
    import duckdb

    from assets.errors import HeadraceError
    from assets.splits import service

    try:
        with lake.connect() as con:
            chosen = service.assigned(con, spec, split)
            return dict(service._hashes(con, spec, split, chosen))  # noqa: SLF001 - the code's own definition
    except duckdb.Error as error:
        raise HeadraceError(
            "the rows that the model was trained on can't be read any more",
            product=spec.product,
            where=f"snapshot {split.data_snapshot} of {lake.data_path}",
            expected="the tables as they were when it was trained",
            found=str(error).splitlines()[0],
            fix="restore the lake from a backup from before the snapshot was expired or its files were removed",
        ) from None


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the parent shows it


def main(job_file: Path) -> int:
    """Do the job of a file; a mistake that a person can mend is written into the result, in its parts."""
    from assets.settings import prepare_process

    prepare_process()
    from assets.errors import HeadraceError

    job = json.loads(job_file.read_text(encoding="utf-8"))
    try:
        result = retrain(job)
    except HeadraceError as error:
        parts = ("what", "product", "where", "expected", "found", "fix")
        result = {"error": {name: getattr(error, name) for name in parts}}
    Path(job["result"]).write_text(json.dumps(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
