"""What goes into a bento and how it is named, without building one."""

from pathlib import Path
from typing import Any

import pytest

from assets.errors import HeadraceError
from assets.settings import Settings
from bentos.build import (
    PACKED_CODE,
    bento_path,
    build_file,
    content_hash_of,
    is_whole,
    model_id_of,
    packed_files,
    requirements,
)
from bentos.smoke import serve_command, serve_environment
from tests.words import words_of

TAG = "parcels:logistic-regression-0123456789ab-89abcdef"


def test_a_tag_names_folder_and_model(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert model_id_of(TAG) == "logistic-regression-0123456789ab"
    assert bento_path(settings, TAG) == tmp_path / "bentos/bentos/parcels/logistic-regression-0123456789ab-89abcdef"


@pytest.mark.parametrize("tag", ["parcels", "parcels:latest", "../parcels:a-89abcdef", "parcels:../x-89abcdef", ""])
def test_what_is_no_tag_of_ours_is_refused(tmp_path: Path, tag: str) -> None:
    with pytest.raises(HeadraceError, match="not the tag of a bento"):
        bento_path(Settings(home=tmp_path), tag)


def test_a_bento_holds_the_model_the_example_and_the_code_that_serves(model: Path, example: dict[str, Any]) -> None:
    packed = packed_files(model, example, product="parcels", as_of="2024-03", words=words_of(model))
    folder = f"model/{model.name}"
    of_model = {f"{folder}/{name}" for name in ("model.txt", "manifest.json", "seal.json")}
    others = {*of_model, "blessings.json", "example.json", "requirements.txt", "seal.json", "serving.json"}
    assert set(packed) == {*PACKED_CODE, *others}
    assert b"parcel_id" not in packed["example.json"]


def test_any_changed_byte_is_another_bento(model: Path, example: dict[str, Any]) -> None:
    """Same content, same tag; a changed service, example or batch is a new one."""
    packed = packed_files(model, example, product="parcels", as_of="2024-03", words=words_of(model))
    again = packed_files(model, example, product="parcels", as_of="2024-03", words=words_of(model))
    assert content_hash_of(packed) == content_hash_of(dict(reversed(again.items())))
    others = [
        packed_files(model, example, product="parcels", as_of="2024-04", words=words_of(model)),
        packed_files(model, {**example, "stops": 99}, product="parcels", as_of="2024-03", words=words_of(model)),
        {**packed, "bentos/service.py": packed["bentos/service.py"] + b"\n"},
    ]
    assert len({content_hash_of(item) for item in [packed, *others]}) == 4


@pytest.mark.parametrize(("change", "field"), [({"stops": "many"}, "stops"), ({"copy": None}, "copy")])
def test_an_example_that_the_model_refuses_is_not_packed(
    model: Path, example: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    with pytest.raises(HeadraceError, match=f"parcels: {field}: the example row"):
        packed_files(model, {**example, **change}, product="parcels", as_of="2024-03", words=words_of(model))


def test_a_bento_with_a_missing_or_cut_file_is_not_whole(tmp_path: Path) -> None:
    packed = {"a": b"one", "b/c": b"two"}
    (tmp_path / "src/b").mkdir(parents=True)
    assert not is_whole(tmp_path, packed)
    (tmp_path / "src/a").write_bytes(b"one")
    (tmp_path / "src/b/c").write_bytes(b"two")
    assert not is_whole(tmp_path, packed)
    (tmp_path / "bento.yaml").write_text("")
    assert is_whole(tmp_path, packed)
    (tmp_path / "src/b/c").write_bytes(b"tw")
    assert not is_whole(tmp_path, packed)


def test_nothing_is_locked_when_building_and_everything_is_pinned() -> None:
    """Locking would ask a package registry."""
    assert build_file(TAG)["python"] == {"requirements_txt": "requirements.txt", "lock_packages": False}
    assert all("==" in line for line in requirements())


def test_a_bento_is_served_from_its_folder_on_loopback(tmp_path: Path) -> None:
    command = serve_command(Settings(home=tmp_path), TAG, 3100)
    assert command[1:4] == ["-m", "bentoml", "serve"]
    assert command[4] == str(bento_path(Settings(home=tmp_path), TAG))
    assert command[5:] == ["--host", "127.0.0.1", "--port", "3100"]


def test_each_server_has_its_own_metrics(tmp_path: Path) -> None:
    """BentoML empties the metrics folder of its home when it starts."""
    homes = {serve_environment(Settings(home=tmp_path), port)["BENTOML_HOME"] for port in (3100, 3101)}
    assert len(homes) == 2
