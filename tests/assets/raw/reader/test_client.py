"""The process that reads files: it is kept, limited and replaced, and the platform stays up whatever becomes of it."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from assets.errors import HeadraceError
from assets.raw.reader import client
from assets.raw.reader.client import read_file
from assets.raw.reader.protocol import ReadReport, ReadRequest, RefusedFileError
from assets.settings import CHECKOUT, Settings

CONTENT = "id,size,name\n1,0.5,x\n"
WORKER = "assets.raw.reader.worker"


@pytest.fixture
def settings_of(tmp_path: Path) -> Callable[..., Settings]:
    return lambda **values: Settings(home=tmp_path / "home", **values)


@pytest.fixture
def asked(tmp_path: Path, request_of: Callable[..., ReadRequest]) -> Callable[..., ReadRequest]:
    def make(content: str = CONTENT, **changes: object) -> ReadRequest:
        path = tmp_path / "staged.csv"
        path.write_text(content)
        return request_of(path).model_copy(update=changes)

    return make


@pytest.fixture
def pipe(asked: Callable[..., ReadRequest], tmp_path: Path) -> Iterator[ReadRequest]:
    """A request for something that is opened and never read to its end: the process hangs."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    yield asked(path=str(path))
    os.close(writer)


def readers() -> list[psutil.Process]:
    """The reading processes that this process has started and that live."""
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and WORKER in child.cmdline()
    ]


def test_one_process_reads_many_files(settings_of: Callable[..., Settings], asked: Callable[..., ReadRequest]) -> None:
    reports: list[ReadReport] = [read_file(settings_of(), asked()) for _ in range(3)]
    assert [report.rows_loaded for report in reports] == [1, 1, 1]
    assert len(readers()) == 1


def test_a_refusal_comes_with_its_parts_and_the_process_goes_on(
    settings_of: Callable[..., Settings], asked: Callable[..., ReadRequest]
) -> None:
    read_file(settings_of(), asked())
    (before,) = readers()
    with pytest.raises(RefusedFileError) as caught:
        read_file(settings_of(), asked("id,size\n1,2\n"))
    assert (caught.value.where, caught.value.found) == ("header", "missing name")
    assert read_file(settings_of(), asked()).rows_loaded == 1
    assert readers() == [before]


def test_a_process_that_dies_refuses_its_file_and_the_next_file_gets_another(
    settings_of: Callable[..., Settings], asked: Callable[..., ReadRequest], pipe: ReadRequest
) -> None:
    read_file(settings_of(), asked())
    (doomed,) = readers()
    killer = threading.Timer(0.3, doomed.send_signal, [signal.SIGSEGV])
    killer.start()
    with pytest.raises(RefusedFileError, match="the process that read it died") as caught:
        read_file(settings_of(), pipe)
    killer.join()
    assert caught.value.found == "SIGSEGV"
    assert read_file(settings_of(), asked()).rows_loaded == 1
    assert readers() != [doomed]


def test_a_process_that_died_between_two_files_costs_nobody_a_file(
    settings_of: Callable[..., Settings], asked: Callable[..., ReadRequest]
) -> None:
    read_file(settings_of(), asked())
    (idle,) = readers()
    idle.kill()
    assert read_file(settings_of(), asked()).rows_loaded == 1


def test_a_file_that_takes_too_long_is_refused(
    settings_of: Callable[..., Settings], asked: Callable[..., ReadRequest], pipe: ReadRequest
) -> None:
    with pytest.raises(RefusedFileError, match="took too long") as caught:
        read_file(settings_of(read_timeout_seconds=0.5), pipe)
    assert "HEADRACE_READ_TIMEOUT_SECONDS" in caught.value.expected
    assert readers() == []
    assert read_file(settings_of(), asked()).rows_loaded == 1


def test_a_process_that_takes_too_much_memory_is_ended(
    settings_of: Callable[..., Settings],
    asked: Callable[..., ReadRequest],
    pipe: ReadRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the process holds without a file stands for one that holds too much."""
    monkeypatch.setattr(client, "_LOOK_SECONDS", 0.01)
    small = settings_of().model_copy(update={"read_memory_megabytes": 20})
    with pytest.raises(RefusedFileError, match="more memory than allowed"):
        read_file(small, pipe)
    assert readers() == []
    assert read_file(settings_of(), asked()).rows_loaded == 1


def test_what_reading_leaves_behind_is_removed(
    settings_of: Callable[..., Settings], asked: Callable[..., ReadRequest], pipe: ReadRequest
) -> None:
    with pytest.raises(RefusedFileError):
        read_file(settings_of(read_timeout_seconds=0.5), pipe)
    assert list(Path(pipe.folder).iterdir()) == []
    request = asked()
    read_file(settings_of(), request)
    assert [path.name for path in Path(request.folder).iterdir()] == ["rows.parquet"]


def test_a_folder_that_cannot_be_written_is_no_fault_of_the_file(
    settings_of: Callable[..., Settings], asked: Callable[..., ReadRequest], tmp_path: Path
) -> None:
    with pytest.raises(HeadraceError) as caught:
        read_file(settings_of(), asked(folder=str(tmp_path / "missing")))
    assert not isinstance(caught.value, RefusedFileError)


def test_the_reading_process_gets_no_credentials(
    settings_of: Callable[..., Settings], asked: Callable[..., ReadRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_POSTGRES", "password=secret")
    for reader in readers():
        reader.kill()
    read_file(settings_of(), asked())
    (reader,) = readers()
    assert "HEADRACE_POSTGRES" not in reader.environ()


def test_the_reading_process_dies_with_the_one_that_started_it(asked: Callable[..., ReadRequest]) -> None:
    """Also when that is killed while a file is being read."""
    request = asked()
    source = f"""
import os, signal
from assets.raw.reader import client
from assets.raw.reader.protocol import ReadRequest
from assets.settings import Settings
client.read_file(Settings(), ReadRequest.model_validate_json({request.model_dump_json()!r}))
print(client._KEPT[0]._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=60
    )
    try:
        orphan = os.pidfd_open(int(done.stdout))
    except ProcessLookupError:  # it has ended, and init has heard so
        return
    ended, _, _ = select.select([orphan], [], [], 10)
    os.close(orphan)
    assert ended


def test_a_plain_file_may_be_larger_than_what_a_packed_one_may_become(
    settings_of: Callable[..., Settings], asked: Callable[..., ReadRequest]
) -> None:
    """Regression: the copy that reading makes of it met the limit for archives, and the file was never loaded."""
    rows = "".join(f"{number},0.5,x{chr(13) * (number % 2)}\n" for number in range(5000))  # mixed ends: it is copied
    request = asked("id,size,name\n" + rows, unpacked_gigabytes=1e-5)
    assert read_file(settings_of(), request).rows_loaded == 5000
