"""Decode what PostgreSQL sends, column by column: pgoutput messages (protocol version 1) and rows of a binary COPY.

Pure: bytes in, columns of text out. Values are text as the server writes it; no loop here runs over rows or values,
but for messages that are rare by nature (a table's description, a truncate).
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Numbers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

BEGIN, COMMIT, RELATION, INSERT, UPDATE, DELETE, TRUNCATE = (ord(kind) for kind in "BCRIUDT")
_OLD, _OLD_KEY, _TEXT, _NULL, _UNCHANGED = (ord(kind) for kind in "OKtnu")
# so much is decoded at a time; gathering the values takes several times as much memory
MOST_BYTES = 8 << 20
# kind and relation
_TUPLE_AT = 6
# so that a look beyond the last value reads zeros
_PADDING = bytes(8)
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"


class ProtocolError(Exception):
    """What came is not what the protocol says."""


class UnchangedValueError(Exception):
    """An update left out a long value that it did not change, and the replica identity doesn't tell it either."""


class Messages:
    """A number of messages (or rows) in one piece of memory."""

    def __init__(self, messages: Sequence[bytes]) -> None:
        self.size_bytes = sum(map(len, messages))
        self.bytes: Bytes = np.frombuffer(b"".join([*messages, _PADDING]), np.uint8)
        sizes = np.fromiter(map(len, messages), np.int64, len(messages))
        self.ends: Numbers = np.cumsum(sizes)
        self.starts: Numbers = self.ends - sizes
        self.kinds: Numbers = self.bytes[self.starts].astype(np.int64)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def content(self) -> bytes:
        """The bytes of all messages."""
        return self.bytes[: self.size_bytes].tobytes()

    def big_endian(self, at: Numbers, size: int) -> Numbers:
        """Unsigned numbers of `size` bytes at these places (of four bytes and fewer never negative)."""
        found = np.zeros(len(at), np.int64)
        for place in range(size):
            found = (found << 8) | self.bytes[at + place]
        return found

    def message(self, number: int) -> bytes:
        """One message."""
        return self.bytes[self.starts[number] : self.ends[number]].tobytes()


class Column(NamedTuple):
    """A column as a Relation message describes it: its type and that type's modifier (-1 without one)."""

    name: str
    type_oid: int
    modifier: int


@dataclass(frozen=True)
class Shape:
    """A table's columns as a Relation message describes them."""

    oid: int
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Tuples:
    """Values of some rows: for each column the kind, place and length of each row's value."""

    kinds: list[Numbers]
    places: list[Numbers]
    lengths: list[Numbers]
    ends: Numbers

    def texts(self, messages: Messages, column: int) -> pl.Series:
        """One column as text."""
        return _texts(messages.bytes, self.kinds[column] == _TEXT, self.places[column], self.lengths[column])

    def completed(self, old: "Tuples | None") -> "Tuples":
        """With values that an update left out taken from the old row.

        Raises:
            UnchangedValueError: the old row isn't there or doesn't have them.
        """
        left_out = [kinds == _UNCHANGED for kinds in self.kinds]
        if not any(mask.any() for mask in left_out):
            return self
        if old is None or any((mask & (was != _TEXT)).any() for mask, was in zip(left_out, old.kinds, strict=True)):
            raise UnchangedValueError

        def chosen(was: list[Numbers], now: list[Numbers]) -> list[Numbers]:
            return [np.where(mask, *pair) for mask, pair in zip(left_out, zip(was, now, strict=True), strict=True)]

        return Tuples(
            chosen(old.kinds, self.kinds),
            chosen(old.places, self.places),
            chosen(old.lengths, self.lengths),
            self.ends,
        )


def relation_of(message: bytes) -> Shape:
    """Read a Relation message."""
    (oid,) = struct.unpack_from(">I", message, 1)
    at = message.index(b"\0", message.index(b"\0", 5) + 1) + 2  # behind schema, table and replica identity
    (count,) = struct.unpack_from(">H", message, at)
    at += 2
    columns = []
    for _ in range(count):
        end = message.index(b"\0", at + 1)
        columns.append(Column(message[at + 1 : end].decode(), *struct.unpack_from(">Ii", message, end + 1)))
        at = end + 9
    return Shape(oid, tuple(columns))


def truncated_relations(message: bytes) -> tuple[int, ...]:
    """The tables that a Truncate message is about."""
    (count,) = struct.unpack_from(">I", message, 1)
    return struct.unpack_from(f">{count}I", message, _TUPLE_AT)


def read_tuples(messages: Messages, at: Numbers, columns: int) -> Tuples:
    """Read the TupleData that begin at these places.

    Raises:
        ProtocolError: they have another number of columns.
    """
    _same(messages.big_endian(at, 2), columns)
    at = at + 2
    kinds, places, lengths = [], [], []
    for _ in range(columns):
        kind = messages.bytes[at].astype(np.int64)
        is_text = kind == _TEXT
        length = np.where(is_text, messages.big_endian(at + 1, 4), 0)
        kinds.append(kind)
        places.append(at + 5)
        lengths.append(length)
        at = at + 1 + np.where(is_text, 4 + length, 0)
    return Tuples(kinds, places, lengths, at)


def read_copied(messages: Messages, columns: int) -> Tuples:
    """Read rows of a binary COPY of text columns, one row per message.

    Raises:
        ProtocolError: a message is not one row of so many columns.
    """
    _same(messages.big_endian(messages.starts, 2), columns)
    at = messages.starts + 2
    kinds, places, lengths = [], [], []
    for _ in range(columns):
        size = messages.big_endian(at, 4)
        is_null = size == 0xFFFFFFFF  # noqa: PLR2004 - a length of -1
        kinds.append(np.where(is_null, _NULL, _TEXT))
        places.append(at + 4)
        lengths.append(np.where(is_null, 0, size))
        at = at + 4 + lengths[-1]
    if not np.array_equal(at, messages.ends):
        raise ProtocolError("COPY sent something else than one row per message")
    return Tuples(kinds, places, lengths, at)


def copied_rows(blocks: Sequence[bytes]) -> list[bytes]:
    """The rows among what a binary COPY sent: without its header and end."""
    if blocks and blocks[0].startswith(_COPY_HEADER):
        blocks = [blocks[0][len(_COPY_HEADER) :], *blocks[1:]]
    return [block for block in blocks if block and block != _COPY_END]


def _same(counts: Numbers, columns: int) -> None:
    if (counts != columns).any():
        raise ProtocolError(f"a row has {int(counts[counts != columns][0])} columns, not {columns}")


def _texts(buffer: Bytes, is_text: npt.NDArray[np.bool_], places: Numbers, lengths: Numbers) -> pl.Series:
    """Pieces of a buffer as a column of text; null where there is none."""
    lengths = np.where(is_text, lengths, 0)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    gathered = buffer[np.repeat(places - starts, lengths) + np.arange(ends[-1] if len(ends) else 0)]
    column = pa.LargeStringArray.from_buffers(
        len(lengths),
        pa.py_buffer(np.concatenate([[0], ends]).astype(np.int64)),
        pa.py_buffer(gathered),
        pa.py_buffer(np.packbits(is_text, bitorder="little")),
    )
    found = pl.from_arrow(column)
    assert isinstance(found, pl.Series)  # noqa: S101 - says to mypy what an array becomes
    return found


@dataclass(frozen=True)
class Changes:
    """Changes of one kind of row in a piece of the stream: values and, for each, where it stands.

    `rows` has one text column per column of the table (of a delete the key alone, of a truncate none), then
    `headrace_row` (the change's number in the batch, from 1), `headrace_change`, `headrace_lsn` (where its transaction
    was committed) and `headrace_sequence` (its number in the transaction, from 1).
    """

    columns: tuple[Column, ...]
    rows: pl.DataFrame
    is_key_alone: bool


class Decoder:
    """Turns the messages of one look at a slot into changes of one table, piece by piece.

    Args:
        oid: the table.
        key: its key columns.
        skip_below: transactions committed before this place were loaded before.
        stop_at: transactions committed at or after it belong to later batches.
    """

    def __init__(self, oid: int, key: Sequence[str], *, skip_below: int, stop_at: int) -> None:
        self._oid = oid
        self._key = tuple(key)
        self._skip_below = skip_below
        self._stop_at = stop_at
        self._shape: Shape | None = None
        self._commit = 0
        self._is_begun = False
        self._sequence = 0
        self.rows = 0
        self.newest_end = 0

    def decode(self, messages: Messages) -> Iterator[Changes]:
        """The changes of the next messages, by columns and kind.

        Raises:
            ProtocolError: a message is not what the protocol says.
            UnchangedValueError: an update doesn't tell the whole row.
        """
        taken, commits = self._transactions(messages)
        shapes, shape_of = self._shapes(messages)
        oids = messages.big_endian(messages.starts + 1, 4)
        of_table = taken & (oids == self._oid)
        if (of_table & np.isin(messages.kinds, (INSERT, UPDATE, DELETE)) & (shape_of < 0)).any():
            raise ProtocolError("a change came before its table's description")
        by_kind = {kind: of_table & (messages.kinds == kind) for kind in (INSERT, UPDATE, DELETE)}
        updates = self._updates(messages, by_kind[UPDATE], shapes, shape_of)
        truncates = self._truncates(messages, taken)
        counts = (by_kind[INSERT] | by_kind[UPDATE] | by_kind[DELETE] | truncates).astype(np.int64)
        for update in updates:
            counts[update.numbers[update.is_key_changed]] += 1
        place = self._places(messages, counts, commits)
        for number, shape in enumerate(shapes):
            here = shape_of == number
            inserts = np.flatnonzero(by_kind[INSERT] & here)
            if len(inserts):
                values = read_tuples(messages, messages.starts[inserts] + _TUPLE_AT, len(shape.columns))
                values = values.completed(None)
                yield place.changes(messages, shape.columns, values, inserts, "insert")
            deletes = np.flatnonzero(by_kind[DELETE] & here)
            if len(deletes):
                values = read_tuples(messages, messages.starts[deletes] + _TUPLE_AT, len(shape.columns))
                yield place.changes(messages, shape.columns, values, deletes, "delete", key=self._key)
        for update in updates:
            yield from update.changes(messages, place, self._key)
        if truncates.any():
            yield place.changes(messages, (), None, np.flatnonzero(truncates), "truncate", key=())

    def ended(self) -> bool:
        """Whether the last transaction that was begun has ended, too."""
        return not self._is_begun

    def _transactions(self, messages: Messages) -> tuple[npt.NDArray[np.bool_], Numbers]:
        """Which messages are of transactions of this batch, and where each one's transaction was committed."""
        begins = np.flatnonzero(messages.kinds == BEGIN)
        ends = np.flatnonzero(messages.kinds == COMMIT)
        begun = messages.big_endian(messages.starts[begins] + 1, 8)
        number = np.cumsum(messages.kinds == BEGIN)
        commits = np.concatenate([[self._commit], begun])[number]
        if len(messages):
            self._commit = int(commits[-1])
            self._is_begun = bool(messages.kinds[-1] != COMMIT)
        taken = (commits >= self._skip_below) & (commits < self._stop_at)
        ended = messages.big_endian(messages.starts[ends] + 10, 8)[taken[ends]]
        self.newest_end = max([self.newest_end, *ended[-1:].tolist()])
        return taken, commits

    def _shapes(self, messages: Messages) -> tuple[list[Shape], Numbers]:
        """The descriptions of the table that hold in these messages, and the number of the one for each message."""
        numbers = np.flatnonzero(messages.kinds == RELATION)
        found = [(number, relation_of(messages.message(number))) for number in numbers.tolist()]
        own = [(number, shape) for number, shape in found if shape.oid == self._oid]
        shapes = [*([self._shape] if self._shape else []), *(shape for _, shape in own)]
        shape_of = np.searchsorted([number for number, _ in own], np.arange(len(messages)), side="right")
        if shapes:
            self._shape = shapes[-1]
        return shapes, shape_of - (0 if len(shapes) > len(own) else 1)

    def _truncates(self, messages: Messages, taken: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        found = np.zeros(len(messages), bool)
        for number in np.flatnonzero(taken & (messages.kinds == TRUNCATE)).tolist():
            found[number] = self._oid in truncated_relations(messages.message(number))
        return found

    def _updates(
        self, messages: Messages, is_update: npt.NDArray[np.bool_], shapes: list[Shape], shape_of: Numbers
    ) -> list["_Updates"]:
        found = []
        has_old = np.isin(messages.bytes[messages.starts + 5], (_OLD, _OLD_KEY))
        for number, shape in enumerate(shapes):
            for with_old in (True, False):
                numbers = np.flatnonzero(is_update & (shape_of == number) & (has_old == with_old))
                if len(numbers):
                    found.append(_Updates.read(messages, numbers, shape, self._key, with_old=with_old))
        return found

    def _places(self, messages: Messages, counts: Numbers, commits: Numbers) -> "_Places":
        """Number the changes in the batch and in their transactions."""
        before = np.cumsum(counts) - counts
        is_begin = messages.kinds == BEGIN
        # rows before the transaction of each message: what was there at its begin, or before these messages
        at_begin = np.maximum.accumulate(np.where(is_begin, before, -self._sequence)) if len(counts) else before
        place = _Places(self.rows + before + 1, before - at_begin + 1, commits)
        if len(counts):
            self._sequence = int(before[-1] + counts[-1] - at_begin[-1])
        self.rows += int(counts.sum())
        return place


@dataclass(frozen=True)
class _Places:
    """For each message: the number of its first change in the batch and in its transaction, and the commit."""

    rows: Numbers
    sequences: Numbers
    commits: Numbers

    def changes(
        self, messages: Messages, columns: tuple[Column, ...], values: Tuples | None, numbers: Numbers, change: str,
        *, key: Sequence[str] | None = None, later: Numbers | int = 0,
    ) -> Changes:  # fmt: skip
        """Changes of these messages.

        Args:
            messages: what the values are read from.
            columns: the table's columns.
            values: their values; None of a truncate.
            numbers: the messages.
            change: the kind.
            key: the columns to take, instead of all.
            later: 1 for the second change of a message.
        """
        taken = [(place, item) for place, item in enumerate(columns) if key is None or item.name in key]
        texts = {} if values is None else {item.name: values.texts(messages, place) for place, item in taken}
        rows = pl.DataFrame(
            {
                **texts,
                "headrace_row": self.rows[numbers] + later,
                "headrace_change": pl.Series([change], dtype=pl.String).new_from_index(0, len(numbers)),
                "headrace_lsn": self.commits[numbers].astype(np.uint64),
                "headrace_sequence": self.sequences[numbers] + later,
            }
        )
        return Changes(tuple(item for _, item in taken), rows, is_key_alone=key is not None)


@dataclass(frozen=True)
class _Updates:
    """Updates of rows of one shape; one that changes the key is a delete and an insert."""

    numbers: Numbers
    shape: Shape
    old: Tuples | None
    new: Tuples
    is_key_changed: npt.NDArray[np.bool_]

    @staticmethod
    def read(messages: Messages, numbers: Numbers, shape: Shape, key: Sequence[str], *, with_old: bool) -> "_Updates":
        at = messages.starts[numbers] + _TUPLE_AT
        if not with_old:
            new = read_tuples(messages, at, len(shape.columns)).completed(None)
            return _Updates(numbers, shape, None, new, np.zeros(len(numbers), bool))
        old = read_tuples(messages, at, len(shape.columns))
        new = read_tuples(messages, old.ends + 1, len(shape.columns)).completed(old)
        changed = np.zeros(len(numbers), bool)
        for column, item in enumerate(shape.columns):
            if item.name in key:
                changed |= old.texts(messages, column).ne_missing(new.texts(messages, column)).to_numpy()
        return _Updates(numbers, shape, old, new, changed)

    def changes(self, messages: Messages, place: _Places, key: Sequence[str]) -> Iterator[Changes]:
        columns = self.shape.columns
        whole = place.changes(
            messages, columns, self.new, self.numbers, "update", later=self.is_key_changed.astype(int)
        )
        if not self.is_key_changed.any() or self.old is None:
            yield whole
            return
        moved = pl.Series(self.is_key_changed)
        label = pl.when(moved).then(pl.lit("insert")).otherwise(pl.col("headrace_change")).alias("headrace_change")
        yield Changes(columns, whole.rows.with_columns(label), is_key_alone=False)
        left = place.changes(messages, columns, self.old, self.numbers, "delete", key=key)
        yield Changes(left.columns, left.rows.filter(moved), is_key_alone=True)
