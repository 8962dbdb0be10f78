"""Tamper and rot: of a thousand changed files none reaches a parser; each is refused by its hash, in words."""

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightgbm
import pytest

from assets.candidates.predictor import load_predictor
from assets.errors import HeadraceError
from assets.model_store import MANIFEST, SEAL, read_sealed, seal_of
from assets.records import Blessing, ModelManifest, Override
from bentos.build import packed_files
from bentos.door import BLESSINGS, check_words, packed_words
from bentos.schemas import Serving
from tests.words import words_of

MUTATIONS = 1_000


def flipped(content: bytes, dice: random.Random) -> bytes:
    """One bit is another one."""
    place = dice.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << dice.randrange(8))]) + content[place + 1 :]


def truncated(content: bytes, dice: random.Random) -> bytes:
    return content[: dice.randrange(len(content))]


def inserted(content: bytes, dice: random.Random) -> bytes:
    place = dice.randrange(len(content) + 1)
    return content[:place] + dice.randbytes(dice.randrange(1, 9)) + content[place:]


def digit_changed(content: bytes, dice: random.Random) -> bytes:
    """One digit is another one: still valid text, JSON and LightGBM, so only a hash can tell."""
    places = [place for place, byte in enumerate(content) if byte in b"0123456789"]
    place = dice.choice(places) if places else 0
    other = dice.choice([digit for digit in b"0123456789" if digit != content[place]])
    return content[:place] + bytes([other]) + content[place + 1 :]


HOW: tuple[Callable[[bytes, random.Random], bytes], ...] = (flipped, truncated, inserted, digit_changed)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a parser was given: every parser of models, manifests and blessings writes its name here."""
    seen: list[str] = []

    def watch(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            seen.append(f"{owner.__name__}.{name}")
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, called)

    watch(lightgbm, "Booster")
    for record in (ModelManifest, Blessing, Override, Serving):
        watch(record, "model_validate")
    watch(Serving, "model_validate_json")
    return seen


@pytest.fixture
def bento(tmp_path: Path, model: Path, example: dict[str, Any]) -> Path:
    """The files of a bento as they are packed."""
    packed = packed_files(model, example, product="parcels", as_of="2024-03", words=words_of(model))
    for path, content in packed.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return tmp_path


def open_bento(folder: Path) -> None:
    """What the service does before it is ready, in its order."""
    packed = read_sealed(folder)
    serving = Serving.model_validate_json(packed["serving.json"])
    check_words(packed[BLESSINGS], serving.model_id)
    load_predictor(folder / "model" / serving.model_id)


def test_a_thousand_changed_files_and_none_reaches_a_parser(bento: Path, model: Path, parsed: list[str]) -> None:
    """Model file, manifest, seal, blessings, code and example, in the bento and in the model store."""
    open_bento(bento)
    assert set(parsed) >= {"lightgbm.Booster", "ModelManifest.model_validate", "Override.model_validate"}
    store = bento / "store" / model.name
    store.mkdir(parents=True)
    for path in model.iterdir():
        (store / path.name).write_bytes(path.read_bytes())
    files = [path for path in bento.rglob("*") if path.is_file() and path.stat().st_size and store not in path.parents]
    own = [path for path in store.iterdir() if path.is_file()]
    parsed.clear()
    dice = random.Random(20130101)  # noqa: S311 - which byte is changed is no secret
    refused = 0
    for path, change in itertools.islice(zip(_turns(files, own), itertools.cycle(HOW), strict=False), MUTATIONS):
        content = path.read_bytes()
        changed = change(content, dice)
        assert changed != content
        path.write_bytes(changed)
        with pytest.raises(HeadraceError, match="not the ones that were saved"):
            load_predictor(store) if path in own else open_bento(bento)
        refused += 1
        path.write_bytes(content)
    assert (refused, parsed) == (MUTATIONS, [])
    open_bento(bento)  # and after the last repair all is well


def _turns(files: list[Path], own: list[Path]) -> Iterator[Path]:
    """The files by turns; those of the model store as often as all of the bento's."""
    for one, other in zip(itertools.cycle(files), itertools.cycle(own), strict=False):
        yield from (one, other)


def test_a_manifest_that_was_changed_with_its_seal_is_not_the_model_of_its_folder(bento: Path, model: Path) -> None:
    """Whoever can write both can forge both; the folder's name is made of the content, and the ledger has it, too."""
    folder = bento / "model" / model.name
    text = (folder / MANIFEST).read_bytes().replace(b'"decision_threshold": 0.4', b'"decision_threshold": 0.1')
    (folder / MANIFEST).write_bytes(text)
    (folder / SEAL).write_bytes(seal_of({MANIFEST: text}))
    with pytest.raises(HeadraceError, match="not the ones that were saved"):
        load_predictor(folder)


@pytest.mark.parametrize(
    "words",
    [b"", b"[]", b'{"blessings": [], "overrides": []}', b'{"blessings": [{}], "overrides": []}', packed_words([])],
)
def test_a_bento_without_words_does_not_serve(words: bytes) -> None:
    with pytest.raises(HeadraceError, match="isn't blessed"):
        check_words(words, "lightgbm-0123456789ab")


def test_words_about_another_model_are_none(model: Path) -> None:
    check_words(words_of(model), model.name)
    with pytest.raises(HeadraceError, match="isn't blessed"):
        check_words(words_of(model), "lightgbm-0123456789ab")
