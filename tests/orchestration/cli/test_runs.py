"""What `headrace run` finds to load: batches whose files bring content that the ledger does not have."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assets import ledger
from assets.home import Home
from assets.raw.places import content_of, landed_files
from assets.records import Batch
from assets.spec import ProductSpec
from orchestration.cli.runs import changed_batches


@pytest.fixture
def landing(home: Home) -> Path:
    """The toy's landing folder with two batches and the register."""
    folder = home.landing("toy")
    for name in ("orders_2024-01.csv", "orders_2024-02.csv", "kinds.csv"):
        write(folder / name, name)
    return folder


def write(path: Path, content: str) -> None:
    """Write a file that has long been quiet."""
    path.write_text(content)
    past = time.time() - 60
    os.utime(path, (past, past))


def load_all(home: Home, spec: ProductSpec) -> None:
    """Write into the ledger that all that has landed was loaded."""
    for file in landed_files(home, spec):
        event = Batch(
            source=file.source, batch_id=file.batch_id, file_name=file.name, sha256=content_of(file),
            size_bytes=file.size_bytes, status="LOADED", loaded_at=datetime.now(UTC),
        )  # fmt: skip
        home.lake(spec.product).transact(lambda con, event=event: ledger.append_batch(con, event))  # type: ignore[misc]


def test_batches_are_changed_until_the_ledger_has_the_content_of_their_files(
    toy: ProductSpec, home: Home, landing: Path
) -> None:
    """A new batch, a correction, a correction that is taken back, another register: each is one thing to load."""
    assert changed_batches(home, toy) == ({"2024-01", "2024-02"}, ())
    load_all(home, toy)
    assert changed_batches(home, toy) == (set(), ())
    for content in ("corrected", "orders_2024-01.csv"):
        write(landing / "orders_2024-01.csv", content)
        assert changed_batches(home, toy)[0] == {"2024-01"}
        load_all(home, toy)
        assert changed_batches(home, toy)[0] == set()
    write(landing / "kinds.csv", "other kinds")
    assert changed_batches(home, toy)[0] == {"2024-02"}, "a register goes with the newest batch"


def test_what_is_not_taken_is_said(toy: ProductSpec, home: Home, landing: Path) -> None:
    (landing / "orders_2024-03.csv").symlink_to(landing / "orders_2024-01.csv")
    assert changed_batches(home, toy)[1] == (("orders_2024-03.csv", "a symbolic link; only regular files are taken"),)


@pytest.mark.usefixtures("landing")
def test_a_hash_is_remembered_and_a_damaged_memory_costs_only_time(toy: ProductSpec, home: Home) -> None:
    first = changed_batches(home, toy)
    memory = home.settings.lake_folder("toy") / "seen.json"
    known = memory.read_text()
    assert changed_batches(home, toy) == first
    assert memory.read_text() == known
    memory.write_text("{")
    assert changed_batches(home, toy) == first
