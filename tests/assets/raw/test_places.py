"""What is taken from a landing folder, what is passed over and why, and how a file gets there and is copied from it."""

import dataclasses
import hashlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assets.errors import HeadraceError
from assets.home import Home
from assets.raw.landing import REFERENCE_BATCH
from assets.raw.places import (
    LandedFile,
    NotWholeError,
    content_of,
    deliver,
    files_of,
    landed_files,
    look_twice,
    passed_over,
    stage,
)
from assets.spec import ProductSpec

JANUARY = "orders_2024-01.csv"
CONTENT = b"order_id\n1\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def landing(home: Home) -> Path:
    """The toy's landing folder."""
    return home.landing("toy")


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir()
    return folder


@pytest.fixture
def marked(spec_of: Callable[..., ProductSpec]) -> ProductSpec:
    """The toy, whose orders are whole when their marker is there."""
    return spec_of({"source.arrival": {"done_marker": True}})


def write(path: Path, content: bytes = CONTENT, *, seconds_ago: float = 60) -> Path:
    """Write a file that has long been quiet."""
    path.write_bytes(content)
    at = time.time() - seconds_ago
    os.utime(path, (at, at))
    return path


def names(files: list[LandedFile]) -> list[str]:
    return [file.name for file in files]


@contextmanager
def growing(path: Path) -> Iterator[None]:
    """Somebody writes the file all the time."""
    ended, begun = threading.Event(), threading.Event()

    def work() -> None:
        with path.open("ab", buffering=0) as file:
            while not ended.wait(0.0005):
                file.write(b"more\n")
                begun.set()

    writer = threading.Thread(target=work)
    writer.start()
    begun.wait()
    try:
        yield
    finally:
        ended.set()
        writer.join()


# --- what is taken --------------------------------------------------------------------------------------------------


def test_only_regular_files_are_taken_and_each_other_thing_is_named_with_its_reason(
    toy: ProductSpec, home: Home, landing: Path, tmp_path: Path
) -> None:
    """A link may lead anywhere, and reading a pipe may never end."""
    write(landing / JANUARY)
    (landing / "orders_2024-02.csv").symlink_to(landing / JANUARY)
    (landing / "orders_2024-03.csv").symlink_to("/etc/passwd")
    (landing / "orders_2024-04.csv").symlink_to(tmp_path / "nothing")
    os.mkfifo(landing / "orders_2024-05.csv")
    (landing / "orders_2024-06.csv").mkdir()
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "s"))
    (tmp_path / "s").rename(landing / "orders_2024-07.csv")
    for name in (".orders_2024-08.csv", "orders_2024-09.csv.part", "readme.txt"):
        write(landing / name)
    assert names(landed_files(home, toy)) == [JANUARY]
    assert passed_over(home, toy) == [
        (".orders_2024-08.csv", "a hidden name"),
        *[(f"orders_2024-0{day}.csv", "a symbolic link; only regular files are taken") for day in (2, 3, 4)],
        ("orders_2024-05.csv", "a pipe; only regular files are taken"),
        ("orders_2024-06.csv", "a folder; only regular files are taken"),
        ("orders_2024-07.csv", "a socket; only regular files are taken"),
        ("orders_2024-09.csv.part", "the name of an unfinished copy"),
        ("readme.txt", "its name belongs to no source"),
    ]


def test_a_hard_link_is_a_regular_file(
    toy: ProductSpec, home: Home, landing: Path, staging: Path, tmp_path: Path
) -> None:
    (landing / JANUARY).hardlink_to(write(tmp_path / "elsewhere.csv"))
    (file,) = landed_files(home, toy)
    assert stage(file, staging).sha256 == SHA256


@pytest.mark.parametrize("ending", ["part", "tmp", "partial", "crdownload", "filepart", "swp"])
def test_a_file_under_a_copying_tools_name_waits_even_if_the_pattern_takes_it(
    spec_of: Callable[..., ProductSpec], home: Home, landing: Path, ending: str
) -> None:
    spec = spec_of({"source.files": r"orders_(?P<batch>\d{4})\..*"})
    write(landing / f"orders_2024.csv.{ending}")
    assert landed_files(home, spec) == []
    assert passed_over(home, spec) == [(f"orders_2024.csv.{ending}", "the name of an unfinished copy")]


HOSTILE = [
    (b"orders_01_line\nend.csv", "orders_01_line\\nend.csv"),
    (b"orders_01_\x1b[31mred.csv", "orders_01_\\x1b[31mred.csv"),
    (b"orders_01_\xff\xfe.csv", "orders_01_\\udcff\\udcfe.csv"),
    ("orders_01_\u2028.csv".encode(), "orders_01_\\u2028.csv"),
    (b"orders_01_\x7f.csv", "orders_01_\\x7f.csv"),
]


@pytest.mark.parametrize(("name", "said"), HOSTILE)
def test_a_name_that_cannot_be_printed_is_passed_over_and_said_with_escapes(
    spec_of: Callable[..., ProductSpec], home: Home, landing: Path, name: bytes, said: str
) -> None:
    spec = spec_of({"source.files": r"(?s:orders_(?P<batch>\d+)_.*)"})
    (landing / os.fsdecode(name)).write_bytes(CONTENT)
    assert landed_files(home, spec) == []
    assert passed_over(home, spec) == [(said, "its name has control characters or is no UTF-8")]


@pytest.mark.parametrize(
    "name",
    [
        "orders_01_'; drop table raw.toy; --.csv",
        "orders_01_<script>alert(1)<&script>.csv",
        'orders_01_"$(reboot)`.csv',
        "orders_01_" + "x" * 241 + ".csv",
        "orders_01_" + "ä" * 120 + ".csv",
        "orders_01_=cmd|' &C calc'!A0.csv",
    ],
)
def test_a_strange_name_is_only_a_name(
    spec_of: Callable[..., ProductSpec], home: Home, landing: Path, staging: Path, name: str
) -> None:
    """The batch is what the pattern's group says; the copy's own name comes from no file, so it can't be too long."""
    spec = spec_of({"source.files": r"orders_(?P<batch>\d+)_.*\.csv"})
    write(landing / name)
    (file,) = files_of(home, spec, "toy", "01")
    assert file.name == name
    copy = stage(file, staging).path
    assert copy.read_bytes() == CONTENT
    assert "orders" not in copy.name


def test_files_are_sorted_by_batch_version_and_name(
    spec_of: Callable[..., ProductSpec], home: Home, landing: Path
) -> None:
    spec = spec_of({"source.files": r"[a-z]*_(?P<batch>\d+)(_(?P<version>v\d+))?\.csv"})
    sorted_names = ["z_01.csv", "a_02.csv", "b_02.csv", "z_02_v2.csv", "a_02_v10.csv", "b_02_v10.csv", "a_03.csv"]
    for name in reversed(sorted_names):
        write(landing / name, name.encode())
    found = landed_files(home, spec)
    assert names(found) == sorted_names
    assert names(files_of(home, spec, "toy", "02")) == sorted_names[1:6]
    status = (landing / "z_01.csv").stat()
    assert (found[0].size_bytes, found[0].modified_ns) == (8, status.st_mtime_ns)


def test_a_batch_is_found_by_source_and_id(toy: ProductSpec, home: Home, landing: Path) -> None:
    write(landing / JANUARY)
    write(landing / "kinds.csv")
    assert names(files_of(home, toy, "toy", "2024-01")) == [JANUARY]
    assert names(files_of(home, toy, "kinds", REFERENCE_BATCH)) == ["kinds.csv"]
    assert files_of(home, toy, "toy", "2024-02") == files_of(home, toy, "kinds", "2024-01") == []


# --- what is whole --------------------------------------------------------------------------------------------------


def test_a_file_that_grows_is_passed_over_by_a_command(toy: ProductSpec, home: Home, landing: Path) -> None:
    write(landing / "kinds.csv")
    with growing(landing / JANUARY):
        found = look_twice(home, toy)
    assert names(list(found.files)) == ["kinds.csv"]
    assert found.passed == ((JANUARY, "still changing"),)


@pytest.mark.parametrize("seconds_ago", [0, -3600, -1e9])
def test_a_young_file_and_one_from_the_future_are_taken_after_a_second_look(
    toy: ProductSpec, home: Home, landing: Path, seconds_ago: float
) -> None:
    """A wrong clock must not make a file wait for ever."""
    write(landing / JANUARY, seconds_ago=seconds_ago)
    assert names(files_of(home, toy, "toy", "2024-01")) == [JANUARY]


def test_a_file_that_changes_while_it_is_copied_is_not_taken(
    toy: ProductSpec, home: Home, landing: Path, staging: Path
) -> None:
    write(landing / JANUARY, os.urandom(20_000_000))
    (file,) = landed_files(home, toy)
    with growing(landing / JANUARY), pytest.raises(NotWholeError, match="changed while it was read"):
        stage(file, staging)
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize("said", [b"", b" \n", SHA256.encode(), f"{SHA256.upper()}  {JANUARY}\n".encode()])
def test_a_file_with_its_marker_is_whole_at_once(
    marked: ProductSpec, home: Home, landing: Path, staging: Path, said: bytes
) -> None:
    """The marker is empty, or holds the SHA-256 as `sha256sum` writes it."""
    write(landing / JANUARY, seconds_ago=0)
    assert landed_files(home, marked) == []
    assert passed_over(home, marked) == [(JANUARY, f"waits for {JANUARY}.done")]
    (landing / f"{JANUARY}.done").write_bytes(said)
    (file,) = files_of(home, marked, "toy", "2024-01")
    assert passed_over(home, marked) == []
    assert stage(file, staging).sha256 == SHA256


def test_a_file_that_is_not_what_its_marker_says_waits(
    marked: ProductSpec, home: Home, landing: Path, staging: Path
) -> None:
    write(landing / JANUARY, CONTENT[:-3])
    (landing / f"{JANUARY}.done").write_text(SHA256)
    (half,) = landed_files(home, marked)
    with pytest.raises(NotWholeError, match=r"not the one that its marker names") as caught:
        stage(half, staging)
    assert SHA256 in caught.value.expected
    assert list(staging.iterdir()) == []
    write(landing / JANUARY, CONTENT)
    (whole,) = landed_files(home, marked)
    assert stage(whole, staging).sha256 == SHA256


@pytest.mark.parametrize("said", [b"done", b"0" * 63, b"\xff" * 64, b"0" * 5000])
def test_a_marker_with_something_else_in_it_is_no_marker(
    marked: ProductSpec, home: Home, landing: Path, said: bytes
) -> None:
    write(landing / JANUARY)
    (landing / f"{JANUARY}.done").write_bytes(said)
    assert landed_files(home, marked) == []
    assert passed_over(home, marked) == [(JANUARY, "its .done marker is neither empty nor a SHA-256")]


def test_a_marker_is_a_regular_file_and_has_its_file(marked: ProductSpec, home: Home, landing: Path) -> None:
    write(landing / JANUARY)
    (landing / f"{JANUARY}.done").symlink_to("/dev/null")
    (landing / "orders_2024-02.csv.done").touch()
    write(landing / "kinds.csv")
    write(landing / "kinds.csv.done")
    assert names(landed_files(home, marked)) == ["kinds.csv"]
    assert passed_over(home, marked) == [
        ("kinds.csv.done", "its name belongs to no source"),
        (JANUARY, f"waits for {JANUARY}.done"),
        ("orders_2024-02.csv.done", "the marker of a file that is not there"),
    ]


# --- copying --------------------------------------------------------------------------------------------------------


def test_the_copy_is_hashed_not_the_file(toy: ProductSpec, home: Home, landing: Path, staging: Path) -> None:
    """What is read later is the copy, so nobody can exchange it between hashing and reading."""
    content = os.urandom(3_000_000)
    write(landing / JANUARY, content)
    (file,) = landed_files(home, toy)
    staged = stage(file, staging)
    (landing / JANUARY).write_bytes(b"exchanged")
    assert staged.path.read_bytes() == content
    assert (staged.sha256, staged.size_bytes) == (hashlib.sha256(content).hexdigest(), 3_000_000)
    assert content_of(file) == hashlib.sha256(b"exchanged").hexdigest()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "nothing"])
def test_what_has_become_something_else_since_the_look_is_not_staged(
    toy: ProductSpec, home: Home, landing: Path, staging: Path, tmp_path: Path, kind: str
) -> None:
    path = write(landing / JANUARY)
    (file,) = landed_files(home, toy)
    path.unlink()
    if kind == "link":
        path.symlink_to(write(tmp_path / "secret"))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(HeadraceError, match="the file can't be read"):
        stage(file, staging)
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize("name", ["../secret", "sub/secret", "/etc/hostname", "..", ".", "", "sub/../../secret"])
def test_no_name_leaves_the_landing_folder(
    toy: ProductSpec, home: Home, landing: Path, staging: Path, name: str
) -> None:
    write(landing.parent / "secret")
    (landing / "sub").mkdir()
    write(landing / "sub" / "secret")
    write(landing / JANUARY)
    (file,) = landed_files(home, toy)
    with pytest.raises(HeadraceError, match="the file can't be read"):
        stage(dataclasses.replace(file, name=name), staging)


@pytest.mark.parametrize("work", ["stage", "deliver"])
def test_copies_that_a_killed_process_left_are_removed_by_the_next(
    toy: ProductSpec, home: Home, landing: Path, staging: Path, tmp_path: Path, work: str
) -> None:
    """Those of a process that lives are its own."""
    folder, purpose = (staging, "staged") if work == "stage" else (landing, ".landing")
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    dead, living = (
        write(folder / f"{purpose}-{socket.gethostname()}-{process}-0") for process in (ended.pid, os.getppid())
    )
    if work == "stage":
        write(landing / JANUARY)
        stage(landed_files(home, toy)[0], staging)
    else:
        deliver(home, toy, write(tmp_path / JANUARY))
    assert (dead.exists(), living.exists()) == (False, True)


# --- delivering -----------------------------------------------------------------------------------------------------


def test_a_delivered_file_appears_whole_and_alone(toy: ProductSpec, home: Home, landing: Path, tmp_path: Path) -> None:
    target = deliver(home, toy, write(tmp_path / JANUARY))
    assert Path(target).read_bytes() == CONTENT
    assert [path.name for path in landing.iterdir()] == [JANUARY]


def test_a_marker_that_the_spec_wants_follows_with_the_hash(
    marked: ProductSpec, home: Home, landing: Path, tmp_path: Path
) -> None:
    deliver(home, marked, write(tmp_path / JANUARY))
    assert (landing / f"{JANUARY}.done").read_text() == SHA256
    assert names(landed_files(home, marked)) == [JANUARY]


def test_a_corrected_file_with_a_marker_is_never_taken_for_whole_before_the_new_marker(
    marked: ProductSpec, home: Home, landing: Path, staging: Path, tmp_path: Path
) -> None:
    """Between the two writes the old marker names the old content."""
    deliver(home, marked, write(tmp_path / JANUARY))
    old_marker = (landing / f"{JANUARY}.done").read_text()
    deliver(home, marked, write(tmp_path / JANUARY, b"order_id\n2\n"))
    (landing / f"{JANUARY}.done").write_text(old_marker)  # as a kill between them would leave it
    with pytest.raises(NotWholeError):
        stage(landed_files(home, marked)[0], staging)
    deliver(home, marked, tmp_path / JANUARY)
    assert stage(landed_files(home, marked)[0], staging).path.read_bytes() == b"order_id\n2\n"


def test_a_second_delivery_of_the_same_content_touches_nothing(toy: ProductSpec, home: Home, tmp_path: Path) -> None:
    """The sensor would otherwise take the file for a new one and wait for it to settle again."""
    file = write(tmp_path / JANUARY)
    before = Path(deliver(home, toy, file)).stat()
    after = Path(deliver(home, toy, file)).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    write(file, b"order_id\n2\n")
    assert Path(deliver(home, toy, file)).read_bytes() == b"order_id\n2\n"


def test_a_file_may_be_delivered_from_the_landing_folder_itself(toy: ProductSpec, home: Home, landing: Path) -> None:
    file = write(landing / JANUARY)
    assert deliver(home, toy, file) == str(file)
    assert file.read_bytes() == CONTENT


def test_a_delivery_replaces_a_link_instead_of_following_it(
    toy: ProductSpec, home: Home, landing: Path, tmp_path: Path
) -> None:
    secret = write(tmp_path / "secret", b"secret")
    (landing / JANUARY).symlink_to(secret)
    deliver(home, toy, write(tmp_path / JANUARY))
    assert secret.read_bytes() == b"secret"
    assert not (landing / JANUARY).is_symlink()


def test_a_foreign_name_is_refused_and_the_patterns_are_said(toy: ProductSpec, home: Home, tmp_path: Path) -> None:
    with pytest.raises(HeadraceError, match="belongs to no source of this product") as caught:
        deliver(home, toy, write(tmp_path / "sales.csv"))
    assert all(source.files in caught.value.expected for source in toy.sources.values())


@pytest.mark.parametrize("name", [JANUARY, "."])
def test_what_is_no_file_is_not_delivered(toy: ProductSpec, home: Home, tmp_path: Path, name: str) -> None:
    with pytest.raises(HeadraceError, match="no such file"):
        deliver(home, toy, tmp_path / name)
