"""Find a trained model by what a person types: its id, the beginning of one, or a product for its live model."""

from dataclasses import dataclass

from assets.errors import HeadraceError
from assets.lake import Lake
from assets.ledger import record_table
from assets.live import read_live
from assets.records import ModelManifest, SplitManifest
from assets.settings import Settings
from assets.spec import ProductSpec, load_specs

_NEWEST_SHOWN = 3


@dataclass(frozen=True)
class RecordedModel:
    """A model of the ledger with its split.

    Args:
        spec: of its product, as it is today.
        lake: of its product.
        model_id: the id under which it was recorded.
        manifest, split: the records, as today's code reads them.
        manifest_json, split_json: the same as they were written: other code may know other fields.
    """

    spec: ProductSpec
    lake: Lake
    model_id: str
    manifest: ModelManifest
    split: SplitManifest
    manifest_json: str
    split_json: str


def find_model(settings: Settings, text: str, *, product: str = "") -> RecordedModel:
    """The one model of the ledgers that a text means.

    Args:
        settings: where the lakes and the products are.
        text: a model id, the beginning of one, or the name of a product: then its live model.
        product: look in this product only; all of them when empty.

    Raises:
        HeadraceError: there is no such model, or there are several; or nothing is live.
    """
    specs = load_specs(settings.products)
    if product and product not in specs:
        raise HeadraceError(
            "no such product", found=product, expected=", ".join(specs), fix="name one of these, or leave it out"
        )
    if text in specs:
        live = read_live(settings.home, text)
        if live is None:
            raise HeadraceError(
                "nothing is live, so it has no model to name",
                product=text,
                where=str(settings.home / "live"),
                fix=f"name a model by its id (headrace history {text}), or promote one first",
            )
        text, product = live.model_id, text
    found = [
        (spec, lake, *row)
        for spec in specs.values()
        if product in ("", spec.product) and (lake := _lake(settings, spec)) is not None
        for row in _models(lake, text)
    ]
    exact = [item for item in found if item[2] == text]
    if len(exact or found) != 1:
        raise _not_one(settings, specs, text, [item[2] for item in found])
    spec, lake, model_id, record = (exact or found)[0]
    manifest = ModelManifest.model_validate_json(record)
    split_record = _split(lake, manifest, model_id)
    split = SplitManifest.model_validate_json(split_record)
    return RecordedModel(spec, lake, model_id, manifest, split, record, split_record)


def _lake(settings: Settings, spec: ProductSpec) -> Lake | None:
    """A product's lake if it was ever used: to look for a model creates none."""
    lake = Lake(spec.product, settings)
    if not (lake.folder / "catalog.id").exists():
        return None
    lake.ensure()
    return lake


def _models(lake: Lake, beginning: str) -> list[tuple[str, str]]:
    """Id and record of the models whose id begins so, newest first."""
    with lake.connect() as con:
        return con.execute(
            f"select record_id, record from {record_table('models')} "
            "where starts_with(record_id, ?) order by recorded_at desc, record_id",
            [beginning],
        ).fetchall()


def _split(lake: Lake, manifest: ModelManifest, model_id: str) -> str:
    """The record of the split that a model was trained on."""
    with lake.connect() as con:
        row = con.execute(
            f"select record from {record_table('splits')} where record_id = ?", [manifest.split_id]
        ).fetchone()
    if row is None:
        raise HeadraceError(
            "the split that the model was trained on is not in the ledger",
            product=manifest.product,
            where=model_id,
            expected=f"split {manifest.split_id}",
            fix="restore the lake from a backup that has it; without it nobody can say which rows it saw",
        )
    return str(row[0])


def _not_one(settings: Settings, specs: dict[str, ProductSpec], text: str, found: list[str]) -> HeadraceError:
    """The refusal of a text that means no model or several, with what could be meant."""
    if found:
        return HeadraceError(
            "several models begin so",
            where=text or "model",
            found=", ".join(found[:10]) + (" and more" if len(found) > 10 else ""),  # noqa: PLR2004 - a readable few
            fix="type more of the id",
        )
    lakes = [lake for spec in specs.values() if (lake := _lake(settings, spec)) is not None]
    newest = [model_id for lake in lakes for model_id, _ in _models(lake, "")[:_NEWEST_SHOWN]]
    return HeadraceError(
        "no such model in any ledger",
        where=text,
        expected=f"a model id, the beginning of one, or a product; the newest: {', '.join(newest)}"
        if newest
        else "a trained model, but there is none yet",
        fix="headrace models PRODUCT lists them all",
    )
