"""`headrace split`: the segregation service from the command."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from assets import ledger
from assets.errors import HeadraceError
from assets.features.current import current_feature_set_id
from assets.features.read import key_columns, read_part
from assets.files import write_file_atomically
from assets.home import Home
from assets.records import SplitManifest
from assets.settings import Settings
from assets.spec import ProductSpec, SplitSpec
from assets.splits.service import make_split
from orchestration.cli.console import out, table


def run_split(
    settings: Settings,
    spec: ProductSpec,
    as_of: str,
    strategy: str,
    *,
    ratios: str,
    group: str,
    seed: int | None,
    export: Path | None,
) -> SplitManifest:
    """Split a product's loaded rows, with what was typed instead of the spec's choices.

    Raises:
        HeadraceError: an option isn't one, nothing is loaded, or the rows are too few.
    """
    lake = Home(settings).lake(spec.product)
    changes = {"strategy": strategy, "ratios": ratios.split(",") if ratios else None, "group": group}
    given: dict[str, Any] = {name: value for name, value in changes.items() if value}
    if strategy and strategy != "group":
        given |= {"group": None, "function": spec.split.function if strategy == "custom" else ""}
    try:
        chosen = SplitSpec.model_validate({**spec.split.model_dump(), **given})
    except ValidationError as error:
        item = error.errors()[0]
        raise HeadraceError(
            "no such split",
            product=spec.product,
            where=".".join(str(part) for part in item["loc"]),
            found=str(given),
            fix=str(item["msg"]),
        ) from None
    with lake.connect() as con:
        loaded = ledger.loaded_batch_ids(con, spec.product)
        if not loaded or (as_of and as_of not in loaded):
            raise HeadraceError(
                "no such batch is loaded",
                product=spec.product,
                expected=", ".join(loaded) or "a loaded batch",
                found=as_of,
                fix=f"headrace land {spec.product} FILE, then headrace run {spec.product}",
            )
        manifest = make_split(
            con, spec, as_of or loaded[-1], current_feature_set_id(lake, spec), split=chosen, seed=seed
        )
        if export:
            export.mkdir(parents=True, exist_ok=True)
            for part in manifest.parts:
                rows = read_part(con, spec, manifest, part)
                label = [name for name in ("label",) if name in rows.columns]
                _write(export / f"{part}_features.parquet", rows.drop(label))
                if label:
                    _write(export / f"{part}_labels.parquet", rows.select(*key_columns(spec), *label))
    return manifest


def show_split(manifest: SplitManifest) -> None:
    """Sizes, outcomes and warnings."""
    rows = [
        (
            name,
            part.rows,
            ", ".join(f"{key} {value:.3g}" for key, value in list(part.outcomes.items())[:6]),
            part.unlabelled,
        )
        for name, part in manifest.parts.items()
    ]
    title = f"{manifest.product} as of {manifest.as_of}: {manifest.strategy}, seed {manifest.seed}"
    table(title, ("part", "rows", "outcomes", "left out"), rows)
    for warning in manifest.warnings:
        out.print(f"[yellow]warning[/] {warning}")
    out.print(f"split {manifest.split_id}, snapshot {manifest.data_snapshot}")


def _write(path: Path, frame: object) -> None:
    import io

    buffer = io.BytesIO()
    frame.write_parquet(buffer)  # type: ignore[attr-defined]
    write_file_atomically(path, buffer.getvalue())
