"""Which landed files are whole and new, and which runs they ask for: pure functions, no clock, no folder, no Dagster.

New is decided by content: the ledger's newest word about a file name is about other bytes, or there is none. Time only
says whether a file is still being written, and only as "unchanged between two looks": a file's own time may be wrong.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from assets.errors import HeadraceError
from assets.raw.commit import settled_duplicates
from assets.raw.places import LandedFile
from assets.records import Batch, content_hash
from assets.spec import ProductSpec

# What the ledger has no word about is asked for again so often when its runs fail; then a person has to look.
MAX_REQUESTS = 3


class Seen(BaseModel):
    """A file as it was at the last look, since when it has been so, and its hash once it was found whole."""

    model_config = ConfigDict(frozen=True)

    size_bytes: int
    modified_ns: int
    changed_ns: int = 0
    etag: str = ""
    since_ns: int
    sha256: str = ""

    def is_as(self, file: LandedFile) -> bool:
        """Whether a file looks as it did."""
        return (self.size_bytes, self.modified_ns, self.changed_ns, self.etag) == (
            file.size_bytes,
            file.modified_ns,
            file.changed_ns,
            file.etag,
        )


class Cursor(BaseModel):
    """What the sensor remembers between looks: source/name -> how it was. Losing it costs only time."""

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
    """A whole file whose content is not what the ledger last wrote about its name."""

    file: LandedFile
    sha256: str

    @property
    def key(self) -> str:
        """Names this content under this name, whenever it is seen."""
        return content_hash([self.file.source, self.file.name, self.sha256])[:16]


@dataclass(frozen=True)
class Inbox:
    """What one look found.

    Args:
        arrivals: whole and new, sorted as they were landed.
        waiting: not whole yet, or unreadable, with the reason.
        cursor: what to remember for the next look.
    """

    arrivals: tuple[Arrival, ...]
    waiting: tuple[tuple[LandedFile, str], ...]
    cursor: Cursor


def look(
    landed: Sequence[LandedFile],
    cursor: Cursor,
    *,
    now_ns: int,
    settle_seconds: Mapping[str, float],
    newest: Mapping[tuple[str, str], str],
    content_of: Callable[[LandedFile], str],
) -> Inbox:
    """Find arrivals.

    Args:
        landed: the files that lie there now.
        cursor: what was seen at the last look.
        now_ns: the present, nanoseconds since 1970; it may jump.
        settle_seconds: how long a file of a source must be unchanged; objects appear whole.
        newest: SHA-256 of the newest event in the ledger by source and file name.
        content_of: SHA-256 of a file, asked once for each whole file that changed since the last look.
    """
    arrivals: list[Arrival] = []
    waiting: list[tuple[LandedFile, str]] = []
    seen: dict[str, Seen] = {}
    for file in landed:
        place = f"{file.source}/{file.name}"
        remembered = cursor.files.get(place)
        before = _as_before(remembered, file, now_ns)
        sha256, why = before.sha256, ""
        if not sha256:
            whole = _is_whole(file, before, now_ns, settle_seconds[file.source], is_first=before != remembered)
            sha256, why = _content(file, content_of) if whole else ("", "still changing")
        if not why and file.expected_sha256 not in ("", sha256):
            why = "its content is not the one that its .done marker names"
        seen[place] = before.model_copy(update={"sha256": sha256})
        if why:
            waiting.append((file, why))
        elif newest.get((file.source, file.name)) != sha256:
            arrivals.append(Arrival(file, sha256))
    return Inbox(tuple(arrivals), tuple(waiting), Cursor(files=seen))


def newest_contents(written: Iterable[Batch]) -> dict[tuple[str, str], str]:
    """SHA-256 of the newest event of each source and file name, of all that was written, in the order of writing.

    Without those that were skipped as repeating a batch which has been corrected since: they are to be loaded now.
    """
    written = list(written)
    settled = {(item.source, item.file_name) for item in settled_duplicates(written)}
    newest = {(item.source, item.file_name): item for item in written}
    return {place: item.sha256 for place, item in newest.items() if item.status != "DUPLICATE" or place in settled}


@dataclass(frozen=True)
class Request:
    """A run that arrivals ask for: the batches it takes, whether models follow, and the arrivals it is about."""

    batches: tuple[str, ...]
    with_models: bool
    run_key: str
    arrivals: tuple[str, ...] = ()


def requests_for(
    spec: ProductSpec,
    arrivals: Sequence[Arrival],
    *,
    loaded: Sequence[Batch] = (),
    asked: Mapping[str, int] | None = None,
    partitions: Sequence[str] = (),
) -> list[Request]:
    """Runs for arrivals: batches are loaded, neighbours in one run, and the newest new one goes all the way.

    A correction is only loaded, and what it makes stale is rebuilt by the same run; that of the newest batch of all
    goes all the way. So does no file that repeats another batch's content: its run only writes that down.

    Args:
        spec: the product.
        arrivals: whole and new files whose batch lacks nothing, and which no run has been asked for that is under way.
        loaded: what counts now.
        asked: how often a run was asked for an arrival before, by its key: run keys never come again.
        partitions: the partitions that there are, in Dagster's order: a run takes neighbours among them.
    """
    by_batch = batches_of(spec, arrivals, loaded)
    if not by_batch:
        return []
    goal = _goal(spec, by_batch, loaded)
    # new partitions are added behind the known ones, in their order
    order = [*partitions, *sorted(by_batch.keys() - set(partitions))]
    groups = neighbours([batch for batch in sorted(by_batch) if batch != goal], order)
    return [
        _request(spec, group, by_batch, asked or {}, with_models=group == [goal])
        for group in [*groups, *([[goal]] if goal else [])]
    ]


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


def _as_before(before: Seen | None, file: LandedFile, now_ns: int) -> Seen:
    """What is known of a file that has not changed; a fresh record of one that has, or of a clock that was set back."""
    if before is not None and before.is_as(file):
        return before if before.since_ns <= now_ns else before.model_copy(update={"since_ns": now_ns})
    return Seen(
        size_bytes=file.size_bytes,
        modified_ns=file.modified_ns,
        changed_ns=file.changed_ns,
        etag=file.etag,
        since_ns=now_ns,
    )


def _is_whole(file: LandedFile, seen: Seen, now_ns: int, settle_seconds: float, *, is_first: bool) -> bool:
    """Whether nobody writes it any more: unchanged since the last look, and for the settling time.

    That time has passed by the file's own time, or, since that may be wrong, by when it was first seen as it is.
    """
    if file.etag or settle_seconds == 0:
        return True
    quiet_ns = max(now_ns - seen.since_ns, now_ns - file.modified_ns)
    return not is_first and quiet_ns >= settle_seconds * 1e9


def _content(file: LandedFile, content_of: Callable[[LandedFile], str]) -> tuple[str, str]:
    """SHA-256 of a file, or why it can't be said now."""
    try:
        return content_of(file), ""
    except HeadraceError as error:
        return "", error.what


def batches_of(spec: ProductSpec, arrivals: Sequence[Arrival], loaded: Sequence[Batch]) -> dict[str, list[Arrival]]:
    """Arrivals by the batch whose run loads them.

    A file of a reference comes with its batch's own file, so by itself it asks for a run only once that was loaded;
    a register belongs to every batch and goes with the first that is asked for, else with the newest that was loaded.
    """
    there = {item.batch_id for item in loaded if item.source == spec.product}
    own = {item.file.batch_id for item in arrivals if item.file.source == spec.product}
    first = min(own, default="") or max(there, default="")
    found: dict[str, list[Arrival]] = {}
    for arrival in arrivals:
        batch_id = arrival.file.batch_id if spec.sources[arrival.file.source].has_batch else first
        if batch_id in own or batch_id in there:
            found.setdefault(batch_id, []).append(arrival)
    return found


def _goal(spec: ProductSpec, by_batch: Mapping[str, Sequence[Arrival]], loaded: Sequence[Batch]) -> str:
    """The batch that goes all the way: the newest that is new, or the newest of all if it is corrected; else none."""
    there = {item.batch_id for item in loaded if item.source == spec.product}
    batch_of = {(item.source, item.sha256): item.batch_id for item in loaded}
    new = []
    for batch_id in sorted(by_batch):
        contents = {(item.file.source, item.sha256) for item in by_batch[batch_id]}
        if any(batch_of.setdefault(content, batch_id) == batch_id for content in contents):
            new.append(batch_id)
    newest = max((*there, *new), default="")
    return max((batch_id for batch_id in new if batch_id not in there or batch_id == newest), default="")


def _request(
    spec: ProductSpec,
    group: Sequence[str],
    by_batch: Mapping[str, Sequence[Arrival]],
    asked: Mapping[str, int],
    *,
    with_models: bool,
) -> Request:
    keys = [arrival.key for batch_id in group for arrival in by_batch[batch_id]]
    attempts = [asked.get(key, 0) for key in keys]
    kind = "journey" if with_models else "load"
    return Request(
        tuple(group), with_models, f"{spec.product}-{kind}-{content_hash([keys, attempts])[:24]}", tuple(keys)
    )
