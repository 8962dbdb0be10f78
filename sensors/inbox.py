"""Which landed files are whole and new: pure functions over what was seen last time and what is seen now."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from assets.raw.landing import LandedFile


class Seen(BaseModel):
    """A file as it was at the last look; its hash once it was found whole."""

    model_config = ConfigDict(frozen=True)

    size_bytes: int
    modified_ns: int
    sha256: str = ""


class Cursor(BaseModel):
    """What the sensor remembers between looks: file name -> how it was. Losing it costs only time."""

    model_config = ConfigDict(frozen=True)

    files: dict[str, Seen] = {}

    @staticmethod
    def parse(text: str | None) -> "Cursor":
        """Read a cursor; one that can't be read is an empty one."""
        try:
            return Cursor.model_validate_json(text) if text else Cursor()
        except ValueError:
            return Cursor()


@dataclass(frozen=True)
class Arrival:
    """A whole file whose content is in no ledger."""

    file: LandedFile
    sha256: str


def look(
    landed: Sequence[LandedFile],
    cursor: Cursor,
    *,
    now_ns: int,
    settle_seconds: float,
    known_hashes: Collection[str],
    hash_file: Callable[[Path], str],
) -> tuple[list[Arrival], list[LandedFile], Cursor]:
    """Find arrivals.

    A file is whole when its size and time are as at the last look and it was quiet for `settle_seconds`; a half
    written one waits. A content that the ledger has (loaded or refused) is not an arrival, whatever its name; of two
    new files with the same content the first by name counts.

    Args:
        landed: the files of the landing folder now.
        cursor: what was seen at the last look.
        now_ns: the present, nanoseconds since 1970.
        settle_seconds: how long a file must be unchanged.
        known_hashes: SHA-256 of every content in the ledger.
        hash_file: called once for each whole file that changed since the last look.

    Returns:
        arrivals sorted by batch, files that wait, and the next cursor.
    """
    arrivals: list[Arrival] = []
    waiting: list[LandedFile] = []
    seen: dict[str, Seen] = {}
    taken = set(known_hashes)
    for file in landed:
        before = cursor.files.get(file.path.name)
        same = before is not None and (before.size_bytes, before.modified_ns) == (file.size_bytes, file.modified_ns)
        quiet = now_ns - file.modified_ns >= settle_seconds * 1e9
        sha256 = before.sha256 if same and before else ""
        if same and quiet and not sha256:
            try:
                sha256 = hash_file(file.path)
            except FileNotFoundError:
                continue
        seen[file.path.name] = Seen(size_bytes=file.size_bytes, modified_ns=file.modified_ns, sha256=sha256)
        if not sha256:
            waiting.append(file)
        elif sha256 not in taken:
            taken.add(sha256)
            arrivals.append(Arrival(file, sha256))
    return arrivals, waiting, Cursor(files=seen)


@dataclass(frozen=True)
class Request:
    """A run that arrivals ask for: the batches it takes, and whether models follow."""

    batches: tuple[str, ...]
    with_models: bool
    run_key: str


def requests_for(arrivals: Mapping[str, str], *, product: str, known: Sequence[str] = ()) -> list[Request]:
    """Runs for newly arrived batches: all but the newest are only loaded, neighbours in one run; the newest goes on.

    Args:
        arrivals: batch id -> SHA-256 of its file.
        known: the partitions that there are, in Dagster's order: a run takes neighbours among them.
        product: for the run keys, which are made of content so that a restart or a lost cursor asks nothing twice.
    """
    batches = sorted(arrivals)
    if not batches:
        return []
    newest = batches[-1]
    # new partitions are added behind the known ones, in their order
    order = [*known, *(batch for batch in batches if batch not in known)]
    requests = []
    for group in neighbours(batches[:-1], order):
        key = "-".join((product, "load", *(arrivals[batch][:12] for batch in group)))
        requests.append(Request(tuple(group), with_models=False, run_key=key))
    key = "-".join((product, "journey", arrivals[newest][:24]))
    requests.append(Request((newest,), with_models=True, run_key=key))
    return requests


def neighbours(batches: Sequence[str], known: Sequence[str]) -> list[list[str]]:
    """Group batches that stand next to each other in Dagster's order of partitions: one run can take a range."""
    places = {batch: place for place, batch in enumerate(known)}
    groups: list[list[str]] = []
    for batch in sorted(batches, key=lambda item: places[item]):
        if groups and places[batch] == places[groups[-1][-1]] + 1:
            groups[-1].append(batch)
        else:
            groups.append([batch])
    return groups
