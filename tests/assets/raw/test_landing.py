"""Which files of a landing folder count, and how a file gets there."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.errors import HeadraceError
from assets.raw.landing import (
    REFERENCE_BATCH,
    deliver,
    find_batch,
    hash_file,
    identify,
    lacking,
    landed_files,
    stage_copy,
)
from assets.spec import ProductSpec


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("orders_2024-01.csv", ("toy", "2024-01")),
        ("kinds.csv", ("kinds", REFERENCE_BATCH)),
        ("orders_2024-1.csv", None),
        ("orders_2024-01.csv.part", None),
        ("xorders_2024-01.csv", None),
        ("orders_2024-01.csv\n", None),
        ("kinds2.csv", None),
        ("", None),
    ],
)
def test_the_whole_name_says_source_and_batch(toy: ProductSpec, name: str, identity: tuple[str, str] | None) -> None:
    assert identify(toy, name) == identity


def test_a_batch_that_could_not_be_a_partition_key_is_no_batch(spec_of: Callable[..., ProductSpec]) -> None:
    spec = spec_of({"source.files": "orders_(?P<batch>.*)\\.csv"})
    assert identify(spec, "orders_2024.csv") == ("toy", "2024")
    assert identify(spec, "orders_2024 01.csv") is None
    assert identify(spec, "orders_.csv") is None


def test_a_name_without_its_optional_batch_is_passed_over(spec_of: Callable[..., ProductSpec]) -> None:
    """Regression: it stopped the sensor with a TypeError."""
    spec = spec_of({"source.files": r"orders(_(?P<batch>\d+))?\.csv"})
    assert identify(spec, "orders.csv") is None


def test_links_pipes_folders_hidden_and_unfinished_files_are_passed_over(toy: ProductSpec, tmp_path: Path) -> None:
    """A link may lead anywhere, and reading a pipe may never end."""
    (tmp_path / "orders_2024-01.csv").write_text("a")
    (tmp_path / "orders_2024-02.csv").symlink_to(tmp_path / "orders_2024-01.csv")
    (tmp_path / "orders_2024-03.csv").symlink_to("/etc/passwd")
    (tmp_path / "orders_2024-04.csv").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "orders_2024-05.csv")
    (tmp_path / "orders_2024-06.csv").mkdir()
    for name in (".orders_2024-07.csv", "orders_2024-08.csv.part", "orders_2024-09.csv.tmp", "readme.txt"):
        (tmp_path / name).write_text("a")
    assert [file.path.name for file in landed_files(toy, tmp_path)] == ["orders_2024-01.csv"]


@pytest.mark.parametrize("ending", ["part", "tmp", "partial", "crdownload", "filepart", "swp"])
def test_a_file_under_a_copying_tools_name_waits_even_if_the_pattern_takes_it(
    spec_of: Callable[..., ProductSpec], tmp_path: Path, ending: str
) -> None:
    spec = spec_of({"source.files": r"orders_(?P<batch>\d{4})\..*"})
    (tmp_path / f"orders_2024.csv.{ending}").write_text("a")
    assert landed_files(spec, tmp_path) == []


def test_files_are_sorted_by_batch_and_say_size_and_time(toy: ProductSpec, tmp_path: Path) -> None:
    for month in ("2024-02", "2023-12", "2024-01"):
        (tmp_path / f"orders_{month}.csv").write_text(month * 2)
    found = landed_files(toy, tmp_path)
    assert [file.batch_id for file in found] == ["2023-12", "2024-01", "2024-02"]
    status = found[0].path.stat()
    assert (found[0].size_bytes, found[0].modified_ns) == (14, status.st_mtime_ns)


def test_a_batch_is_found_by_source_and_id(toy: ProductSpec, tmp_path: Path) -> None:
    (tmp_path / "orders_2024-01.csv").write_text("a")
    (tmp_path / "kinds.csv").write_text("b")
    assert find_batch(toy, tmp_path, "toy", "2024-01") == tmp_path / "orders_2024-01.csv"
    assert find_batch(toy, tmp_path, "kinds", REFERENCE_BATCH) == tmp_path / "kinds.csv"
    assert find_batch(toy, tmp_path, "toy", "2024-02") is None
    assert find_batch(toy, tmp_path, "kinds", "2024-01") is None


def test_a_delivered_file_appears_whole_and_alone(toy: ProductSpec, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    (tmp_path / "orders_2024-01.csv").write_bytes(b"order_id\n1\n")
    target = deliver(toy, landing, tmp_path / "orders_2024-01.csv")
    assert target.read_bytes() == b"order_id\n1\n"
    assert [path.name for path in landing.iterdir()] == ["orders_2024-01.csv"]


def test_a_second_delivery_of_the_same_content_touches_nothing(toy: ProductSpec, tmp_path: Path) -> None:
    """The sensor would otherwise take the file for a new one and wait for it to settle again."""
    landing = tmp_path / "landing"
    landing.mkdir()
    file = tmp_path / "orders_2024-01.csv"
    file.write_bytes(b"order_id\n1\n")
    before = deliver(toy, landing, file).stat()
    after = deliver(toy, landing, file).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    file.write_bytes(b"order_id\n2\n")
    assert deliver(toy, landing, file).read_bytes() == b"order_id\n2\n"


def test_a_file_may_be_delivered_from_the_landing_folder_itself(toy: ProductSpec, tmp_path: Path) -> None:
    file = tmp_path / "orders_2024-01.csv"
    file.write_bytes(b"order_id\n1\n")
    assert deliver(toy, tmp_path, file) == file
    assert file.read_bytes() == b"order_id\n1\n"


def test_a_foreign_name_is_refused_and_the_patterns_are_said(toy: ProductSpec, tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("a")
    with pytest.raises(HeadraceError, match="belongs to no source of this product") as caught:
        deliver(toy, tmp_path, tmp_path / "sales.csv")
    assert all(source.files in caught.value.expected for source in toy.sources.values())


@pytest.mark.parametrize("name", ["orders_2024-01.csv", "."])
def test_what_is_no_file_is_not_delivered(toy: ProductSpec, tmp_path: Path, name: str) -> None:
    with pytest.raises(HeadraceError, match="no such file"):
        deliver(toy, tmp_path, tmp_path / name)


def test_the_copy_is_hashed_not_the_file(tmp_path: Path) -> None:
    """What is read later is the copy, so nobody can exchange it between hashing and reading."""
    content = os.urandom(3_000_000)
    file = tmp_path / "orders_2024-01.csv"
    file.write_bytes(content)
    staging = tmp_path / "staging"
    staging.mkdir()
    copy, sha256, size_bytes = stage_copy(file, staging)
    file.write_bytes(b"exchanged")
    assert copy.read_bytes() == content
    assert (sha256, size_bytes) == (hashlib.sha256(content).hexdigest(), 3_000_000)
    assert hash_file(copy) == sha256


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "nothing"])
def test_only_a_regular_file_is_staged(tmp_path: Path, kind: str) -> None:
    file, staging = tmp_path / "orders_2024-01.csv", tmp_path / "staging"
    staging.mkdir()
    if kind == "link":
        (tmp_path / "secret").write_text("secret")
        file.symlink_to(tmp_path / "secret")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    with pytest.raises(HeadraceError, match="the file can't be read"):
        stage_copy(file, staging)
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize(
    ("landed", "loaded", "missing"),
    [
        ([], [], ["kinds", "prices"]),
        ([("kinds", REFERENCE_BATCH)], [("prices", "2024-01")], []),
        ([("kinds", REFERENCE_BATCH), ("prices", "2024-02")], [], ["prices"]),
        ([("prices", "2024-01")], [("kinds", "0a1b2c3d4e5f")], []),
    ],
)
def test_a_batch_waits_for_every_source_that_is_not_optional(
    spec_of: Callable[..., ProductSpec],
    landed: list[tuple[str, str]],
    loaded: list[tuple[str, str]],
    missing: list[str],
) -> None:
    """A register has to have come once, a source of batches for this very batch; whether landed or loaded."""
    columns = {"kind": "VARCHAR", "price": "DOUBLE"}
    spec = spec_of(
        {
            "references.prices": {"files": r"prices_(?P<batch>.+)\.csv", "columns": columns},
            "references.rates": {"files": r"rates\.csv", "columns": columns, "optional": True},
        }
    )
    assert lacking(spec, "2024-01", landed, loaded) == missing
