"""Model files are named by their content, and none is opened that isn't the one that was saved."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.candidates.predictor import load_predictor
from assets.errors import HeadraceError
from assets.model_store import MANIFEST, read_model, save_model, sha256_of
from assets.records import ModelManifest

CONTENT = b"tree\nversion=v4\n" + bytes(range(256)) * 4
Manifests = Callable[..., ModelManifest]


@pytest.fixture(scope="module")
def manifest(manifest_of: Manifests) -> ModelManifest:
    return manifest_of(CONTENT)


@pytest.fixture
def model(tmp_path: Path, manifest: ModelManifest) -> Path:
    return save_model(tmp_path / "toy", manifest, {"model.txt": CONTENT})


@pytest.fixture(scope="module")
def tampered(tmp_path_factory: pytest.TempPathFactory, manifest: ModelManifest) -> Path:
    """A model that each example of a property changes and mends again."""
    return save_model(tmp_path_factory.mktemp("tampered") / "toy", manifest, {"model.txt": CONTENT})


def test_a_saved_model_is_read_back(model: Path, manifest: ModelManifest) -> None:
    assert model.name == manifest.model_id
    assert read_model(model) == (manifest, {"model.txt": CONTENT})


def test_a_model_that_is_there_stays_as_it_is(model: Path, manifest: ModelManifest) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in model.iterdir()}
    assert save_model(model.parent, manifest, {"model.txt": CONTENT}) == model
    assert {path.name: path.stat().st_mtime_ns for path in model.iterdir()} == before
    assert [path.name for path in model.parent.iterdir()] == [manifest.model_id]


def test_a_damaged_model_is_written_again(model: Path, manifest: ModelManifest) -> None:
    (model / "model.txt").write_bytes(b"cut")
    save_model(model.parent, manifest, {"model.txt": CONTENT})
    assert read_model(model)[1] == {"model.txt": CONTENT}


def test_what_a_killed_writer_left_is_no_hindrance(model: Path, manifest: ModelManifest) -> None:
    shutil.move(model, model.with_name(f".{manifest.model_id}.1.part"))
    assert read_model(save_model(model.parent, manifest, {"model.txt": CONTENT}))[0] == manifest


@settings(max_examples=60)
@given(place=st.integers(0, len(CONTENT) - 1), flip=st.integers(1, 255))
def test_a_flipped_byte_of_the_model_file_is_found(tampered: Path, place: int, flip: int) -> None:
    changed = bytearray(CONTENT)
    changed[place] ^= flip
    (tampered / "model.txt").write_bytes(bytes(changed))
    with pytest.raises(HeadraceError, match="not the ones that were saved"):
        read_model(tampered)
    (tampered / "model.txt").write_bytes(CONTENT)
    read_model(tampered)


@settings(max_examples=200)
@given(share=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_flipped_byte_of_the_manifest_is_found_or_means_nothing(
    tampered: Path, manifest: ModelManifest, share: float, flip: int
) -> None:
    """A space may become a line end; and the snapshot number is where to find the rows, not what the model is."""
    path = tampered / MANIFEST
    original = path.read_bytes()
    changed = bytearray(original)
    changed[int(share * len(original))] ^= flip
    path.write_bytes(bytes(changed))
    try:
        found, files = read_model(tampered)
    except HeadraceError:
        pass
    else:
        assert found.model_copy(update={"data_snapshot": manifest.data_snapshot}) == manifest
        assert files == {"model.txt": CONTENT}
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize("name", ["model.txt", MANIFEST])
@pytest.mark.parametrize("damage", [b"", b"cut", None])
def test_a_cut_empty_or_missing_file_is_refused_before_any_parser_sees_it(
    model: Path, name: str, damage: bytes | None
) -> None:
    """LightGBM kills the process when it parses a truncated file (measured), so it must not get that far."""
    if damage is None:
        (model / name).unlink()
    else:
        (model / name).write_bytes(damage)
    with pytest.raises(HeadraceError, match="not the ones that were saved") as caught:
        load_predictor(model)
    assert caught.value.product == "toy"
    assert "it was not opened" in caught.value.fix


@pytest.mark.parametrize("text", [b"[]", b"null", b"{}", b"\xff\xfe", b'{"product": "toy"}', b"[" * 20])
def test_a_manifest_that_is_another_thing_is_refused(model: Path, text: bytes) -> None:
    (model / MANIFEST).write_bytes(text)
    with pytest.raises(HeadraceError):
        read_model(model)


def test_a_renamed_model_folder_is_refused(model: Path, manifest: ModelManifest) -> None:
    """Else a model could be put in the place of another one that was blessed."""
    renamed = model.rename(model.with_name("lightgbm-000000000000"))
    with pytest.raises(HeadraceError, match="not the ones that were saved") as caught:
        read_model(renamed)
    assert caught.value.found == f"that of {manifest.model_id}"


def test_a_manifest_cannot_name_a_file_outside_its_folder(tmp_path: Path, manifest_of: Manifests) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "outside.txt").write_bytes(b"secret")
    sneaky = manifest_of(files={"../outside.txt": sha256_of(b"secret")}, model_file="../outside.txt")
    folder = save_model(tmp_path / "toy", sneaky, {})
    with pytest.raises(HeadraceError):
        read_model(folder)


def test_the_id_covers_everything_but_where_the_rows_can_be_found(manifest_of: Manifests) -> None:
    base = manifest_of(CONTENT)
    assert manifest_of(CONTENT, data_snapshot=8).model_id == base.model_id
    others = [
        manifest_of(b"other"),
        manifest_of(CONTENT, decision_threshold=0.4),
        manifest_of(CONTENT, params={"num_leaves": 8}),
        manifest_of(CONTENT, feature_set_id="features-2"),
        manifest_of(CONTENT, training_row_set_hash="101-train"),
        manifest_of(CONTENT, algorithm="baseline"),
    ]
    assert len({base.model_id, *(other.model_id for other in others)}) == 7
