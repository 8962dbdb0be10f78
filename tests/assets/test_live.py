"""The live pointer: one small file per product, replaced whole."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.errors import HeadraceError
from assets.live import flip_live, pointer_path, read_live
from assets.records import LivePointer


@pytest.fixture
def pointer() -> Callable[[str, str], LivePointer]:
    return lambda product, model_id: LivePointer(
        product=product, as_of="2024-03", model_id=model_id, bento=f"{product}:{model_id}", decision_id="d",
        offline_parity="200/200", latency_p50_ms=1.5, latency_p99_ms=4.0,
    )  # fmt: skip


def test_before_the_first_promotion_nothing_is_live(tmp_path: Path) -> None:
    assert read_live(tmp_path, "toy") is None


def test_the_last_flip_is_live_and_leaves_nothing_beside_it(
    tmp_path: Path, pointer: Callable[[str, str], LivePointer]
) -> None:
    for model_id in ("first", "second"):
        flip_live(tmp_path, pointer("toy", model_id))
        assert read_live(tmp_path, "toy") == pointer("toy", model_id)
    assert os.listdir(pointer_path(tmp_path, "toy").parent) == ["toy.json"]


def test_products_go_live_apart(tmp_path: Path, pointer: Callable[[str, str], LivePointer]) -> None:
    flip_live(tmp_path, pointer("toy", "one"))
    flip_live(tmp_path, pointer("other", "two"))
    assert [read_live(tmp_path, product).model_id for product in ("toy", "other")] == ["one", "two"]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"product": "toy", "model_id"'])
def test_a_damaged_pointer_is_no_first_promotion(tmp_path: Path, content: bytes) -> None:
    """Taken for "nothing is live", it would let any model become the first champion."""
    path = pointer_path(tmp_path, "toy")
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(HeadraceError, match="pointer is damaged"):
        read_live(tmp_path, "toy")
