"""What `land` delivers: a file as it is, or with a header that the raw stage can have; nothing is lost on the way."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.settings import Settings
from assets.spec import ProductSpec
from orchestration.cli.main import as_raw_reads_it

PLAIN = b"order_id,ordered_at,size,kind\n1,2024-01-01,2.5,shoes\n"
TWICE = PLAIN.replace(b",kind", b",kind,KIND").replace(b",shoes", b",shoes,red")


@pytest.mark.parametrize(
    ("name", "content", "mended"),
    [
        ("orders_2024-01.csv", TWICE, TWICE.replace(b"KIND", b"KIND_2")),
        (
            "orders_2024-01.csv.gz",
            gzip.compress(TWICE, mtime=0),
            gzip.compress(TWICE.replace(b"KIND", b"KIND_2"), mtime=0),
        ),
    ],
)
def test_a_header_that_the_raw_table_can_not_have_is_mended_and_said(
    name: str, content: bytes, mended: bytes, spec_of: Callable[..., ProductSpec], tmp_path: Path
) -> None:
    spec = spec_of({"source.files": r"orders_(?P<batch>\d{4}-\d{2})\.csv(\.gz)?"})
    file = tmp_path / name
    file.write_bytes(content)
    found, changes = as_raw_reads_it(Settings(home=tmp_path / "home"), spec, file)
    unpack = gzip.decompress if name.endswith(".gz") else bytes
    assert (found.name, unpack(found.read_bytes())) == (name, unpack(mended))
    assert changes == ("column 5 'KIND' is called KIND_2",)
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(b",", b";"),
        PLAIN.decode().encode("utf-16"),
        b"",
        b"\x00\x01\x02",
        b'order_id,kind\n1,"shoes\n',
    ],
)
def test_what_is_right_or_beyond_mending_is_delivered_as_it_is(
    content: bytes, toy: ProductSpec, tmp_path: Path
) -> None:
    """The raw stage reads it, or refuses it with its reason and keeps it."""
    file = tmp_path / "orders_2024-01.csv"
    file.write_bytes(content)
    assert as_raw_reads_it(Settings(home=tmp_path / "home"), toy, file) == (file, ())


def test_a_file_of_no_source_is_left_to_who_delivers_it(toy: ProductSpec, tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_bytes(TWICE)
    assert as_raw_reads_it(Settings(home=tmp_path / "home"), toy, file) == (file, ())
