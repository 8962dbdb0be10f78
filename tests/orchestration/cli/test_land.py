"""What `land` delivers: a file as the raw stage reads it, and nothing else's doing is lost."""

import gzip
from pathlib import Path

import pytest

from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli.main import as_raw_reads_it

PLAIN = b"order_id,ordered_at,size,kind\n1,2024-01-01,2.5,shoes\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("orders_2024-01.csv", b"order_id;ordered_at;size;kind\n1;2024-01-01;2.5;shoes\n"),
        ("orders_2024-01.csv", PLAIN.decode().encode("utf-16")),
        ("orders_2024-01.csv.gz", gzip.compress(PLAIN, mtime=0)),
    ],
)
def test_another_delimiter_encoding_or_compression_is_converted_and_said(
    name: str, content: bytes, toy: ProductSpec, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    found, changes = as_raw_reads_it(Settings(home=tmp_path / "home"), toy, file)
    assert (found.name, found.read_bytes()) == ("orders_2024-01.csv", PLAIN)
    assert changes
    assert file.read_bytes() == content


@pytest.mark.parametrize("content", [PLAIN, b"", b"\x00\x01\x02", b'order_id,kind\n1,"shoes\n'])
def test_what_is_right_or_beyond_conversion_is_delivered_as_it_is(
    content: bytes, toy: ProductSpec, tmp_path: Path
) -> None:
    """The raw stage refuses it with its reason and keeps it; a delivery is never lost on the way."""
    file = tmp_path / "orders_2024-01.csv"
    file.write_bytes(content)
    found, changes = as_raw_reads_it(Settings(home=tmp_path / "home"), toy, file)
    assert found.read_bytes() == content
    assert not changes
