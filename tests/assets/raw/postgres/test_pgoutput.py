"""The decoder gives back what was written as the protocol says, however the stream is cut into pieces."""

import itertools
import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.raw.postgres.pgoutput import (
    Decoder,
    Messages,
    ProtocolError,
    UnchangedValueError,
    copied_rows,
    read_copied,
)

OID, OTHER = 4711, 99
Row = Sequence[str | None]


def begin(lsn: int) -> bytes:
    return struct.pack(">cQQI", b"B", lsn, 0, 7)


def commit(lsn: int) -> bytes:
    return struct.pack(">cBQQQ", b"C", 0, lsn, lsn + 48, 0)


def relation(columns: Sequence[str], oid: int = OID) -> bytes:
    parts = [struct.pack(">cI", b"R", oid), b"public\0orders\0f", struct.pack(">H", len(columns))]
    parts += [b"\1" + name.encode() + b"\0" + struct.pack(">Ii", 25, -1) for name in columns]
    return b"".join(parts)


def values(row: Sequence[str | bytes | None]) -> bytes:
    """TupleData; a value given as bytes is a kind without a value, such as b'u'."""
    parts = [struct.pack(">H", len(row))]
    for value in row:
        if value is None or isinstance(value, bytes):
            parts.append(value or b"n")
        else:
            text = value.encode()
            parts.append(b"t" + struct.pack(">I", len(text)) + text)
    return b"".join(parts)


def insert(row: Row, oid: int = OID) -> bytes:
    return struct.pack(">cI", b"I", oid) + b"N" + values(row)


def update(new: Sequence[str | bytes | None], old: Row | None = None, kind: bytes = b"O") -> bytes:
    return struct.pack(">cI", b"U", OID) + (kind + values(old) if old else b"") + b"N" + values(new)


def delete(old: Row) -> bytes:
    return struct.pack(">cI", b"D", OID) + b"K" + values(old)


def truncate(*oids: int) -> bytes:
    return struct.pack(">cIB", b"T", len(oids), 0) + struct.pack(f">{len(oids)}I", *oids)


def decode(messages: Sequence[bytes], cuts: Sequence[int] = (), **limits: int) -> list[tuple[object, ...]]:
    """All changes by their number: what happened, place, number in its transaction, and the values by column."""
    decoder = Decoder(OID, ["id"], **{"skip_below": 0, "stop_at": 1 << 60, **limits})
    found: dict[int, tuple[object, ...]] = {}
    bounds = [0, *sorted(cuts), len(messages)]
    for start, end in itertools.pairwise(bounds):
        for changes in decoder.decode(Messages(messages[start:end])):
            for row in changes.rows.iter_rows(named=True):
                number, kind, lsn, sequence = (
                    row.pop(f"headrace_{name}") for name in ("row", "change", "lsn", "sequence")
                )
                assert number not in found
                found[number] = (kind, lsn, sequence, row)
    assert sorted(found) == list(range(1, len(found) + 1))
    assert decoder.rows == len(found)
    return [found[number] for number in sorted(found)]


TEXTS = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
KEYS = st.integers(-3, 3).map(str)
ROWS = st.tuples(KEYS, TEXTS)


@st.composite
def transactions(draw: st.DrawFn) -> tuple[list[bytes], list[tuple[object, ...]]]:
    """Messages of some transactions, and the changes that they are."""
    messages: list[bytes] = []
    expected: list[tuple[object, ...]] = []
    for lsn in range(100, 100 * draw(st.integers(1, 5)) + 1, 100):
        messages += [begin(lsn), *([relation(["id", "text"])] if lsn == 100 or draw(st.booleans()) else [])]
        sequence = 0
        for _ in range(draw(st.integers(0, 6))):
            kind = draw(st.sampled_from(["insert", "update", "key", "delete", "truncate", "other"]))
            old, new = draw(ROWS), draw(ROWS)
            row = {"id": new[0], "text": new[1]}
            changes: list[tuple[str, dict[str, str | None]]] = []
            if kind == "insert":
                messages.append(insert(new))
                changes = [("insert", row)]
            elif kind == "update":
                messages.append(update(new))
                changes = [("update", row)]
            elif kind == "key":
                messages.append(update(new, old))
                moved = old[0] != new[0]
                changes = [("delete", {"id": old[0]}), ("insert", row)] if moved else [("update", row)]
            elif kind == "delete":
                messages.append(delete((old[0], None)))
                changes = [("delete", {"id": old[0]})]
            elif kind == "truncate":
                messages.append(truncate(OTHER, OID))
                changes = [("truncate", {})]
            else:
                messages += [relation(["a"], OTHER), insert(["x"], OTHER), truncate(OTHER)]
            for what, content in changes:
                sequence += 1
                expected.append((what, lsn, sequence, content))
        messages.append(commit(lsn))
    return messages, expected


@given(transactions(), st.data())
def test_every_change_comes_once_in_its_order_however_the_stream_is_cut(
    written: tuple[list[bytes], list[tuple[object, ...]]], data: st.DataObject
) -> None:
    messages, expected = written
    cuts = data.draw(st.lists(st.integers(0, len(messages)), max_size=4))
    assert decode(messages, cuts) == expected


@given(transactions(), st.integers(0, 6), st.integers(0, 6))
def test_transactions_outside_of_the_batch_leave_no_trace(
    written: tuple[list[bytes], list[tuple[object, ...]]], first: int, last: int
) -> None:
    messages, expected = written
    taken = [item for item in expected if first * 100 <= int(str(item[1])) < last * 100]
    assert decode(messages, skip_below=first * 100, stop_at=last * 100) == taken


def test_a_value_that_an_update_left_out_is_the_old_one() -> None:
    messages = [begin(1), relation(["id", "text"]), update(["2", b"u"], ["1", "long"]), commit(1)]
    assert decode(messages) == [("delete", 1, 1, {"id": "1"}), ("insert", 1, 2, {"id": "2", "text": "long"})]


@pytest.mark.parametrize("message", [update(["1", b"u"]), update(["2", b"u"], ["1", None], b"K")])
def test_a_value_that_is_left_out_and_not_known_is_never_guessed(message: bytes) -> None:
    with pytest.raises(UnchangedValueError):
        decode([begin(1), relation(["id", "text"]), message, commit(1)])


def test_columns_may_change_within_a_transaction() -> None:
    messages = [
        begin(1), relation(["id", "text"]), insert(["1", "a"]), relation(["id"]), insert(["2"]),
        relation(["id", "more", "text"]), insert(["3", "b", None]), commit(1),
    ]  # fmt: skip
    assert [item[3] for item in decode(messages, cuts=[5])] == [
        {"id": "1", "text": "a"}, {"id": "2"}, {"id": "3", "more": "b", "text": None},
    ]  # fmt: skip


@pytest.mark.parametrize("messages", [[begin(1), insert(["1"])], [begin(1), relation(["id", "text"]), insert(["1"])]])
def test_what_is_not_the_protocol_is_no_change(messages: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        decode(messages)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=8))
def test_rows_of_a_copy_come_back(rows: list[tuple[str | None, str | None]]) -> None:
    """Empty text and no value stay two things."""
    header = b"PGCOPY\n\xff\r\n\0" + bytes(8)
    blocks = [
        struct.pack(">H", 2)
        + b"".join(
            struct.pack(">i", -1) if value is None else struct.pack(">I", len(value.encode())) + value.encode()
            for value in row
        )
        for row in rows
    ]
    blocks = [header + (blocks[0] if blocks else b""), *blocks[1:], b"\xff\xff"]
    messages = Messages(copied_rows(blocks))
    found = read_copied(messages, 2)
    assert list(zip(found.texts(messages, 0), found.texts(messages, 1), strict=True)) == rows


def test_a_block_that_is_no_row_is_refused() -> None:
    row = struct.pack(">HI", 1, 3) + b"abc"
    with pytest.raises(ProtocolError, match="one row per message"):
        read_copied(Messages([row + row]), 1)
    assert np.array_equal(Messages([row]).ends, [9])
