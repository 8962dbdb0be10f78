"""The records of a delimited text, found by numpy apart from the parser that reads them.

A second opinion: how many records there are, where each begins, how its lines end, and where a quote was opened that is
never closed. All of it streams over UTF-8 bytes. What stands in the fields is not looked at here.
"""

import codecs
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from assets.raw.reader.plain import not_text
from assets.raw.reader.protocol import RefusedFileError
from assets.spec import CsvSpec

MOST_LINE_BYTES = 64 << 20
"""A longer line is refused: no row of a table is that long, but a file of another format may be one line."""

# what stays in a processor's cache while it is looked at again and again
_CHUNK = 1 << 18
_LF, _CR = 10, 13
_JOINED = re.compile(rb"[0-9]_[0-9]")
_NEARLY_WHOLE = re.compile(rb"[.](?:9{8}|0{8,}[1-9])")
# any run of fifteen nines or noughts holds one of these at a multiple of eight bytes
_RUNS = tuple(np.frombuffer(sign * 8, np.uint64)[0] for sign in (b"9", b"0"))
Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Cut:
    """A place between two records where the file may be cut, so that its parts are read side by side."""

    place: int
    """byte at which the next part begins"""
    records: int
    """before it, a header counted"""
    empty: int
    """lines before it, outside of quotes"""


@dataclass
class Survey:
    """What was found in one pass over a delimited text, apart from the parser that reads it."""

    records: int = 0
    """records that are not empty, a header counted"""
    empty: int = 0
    """empty lines outside of quotes"""
    line_ends: Literal["", "\n", "\r\n", "mixed"] = ""
    """outside of quotes; a CR alone counts as mixed"""
    odd_numbers: bool = False
    """somewhere digits are joined by an underscore, or have the sign +-: DuckDB's number scans pass over both"""
    nearly_whole: bool = False
    """somewhere is a number such as 0.9999999999999999, which may be a whole one as a double"""
    cuts: list[Cut] = field(default_factory=list)
    """fewer than asked for where a record is as long as a part, or begins with what looks like a byte order mark"""


@dataclass
class _State:
    """Where the scan is between two chunks."""

    inside: bool = False
    """of quotes"""
    continues: bool = False
    """the record began in an earlier chunk"""
    lines: int = 0
    """ended so far, also inside of quotes"""
    opened: int = 0
    """the line of the quote that opened last"""


def survey(path: Path, style: CsvSpec, *, parts: int = 1) -> Survey:
    """Count the records of a UTF-8 file and look at its line ends.

    Args:
        path: the file.
        style: how it is written.
        parts: into how many of about one size it is to be cut.

    Raises:
        RefusedFileError: it isn't UTF-8, a line is too long, or a quote is never closed.
    """
    found, state = Survey(), _State()
    size = path.stat().st_size
    place = len(codecs.BOM_UTF8) if _has_mark(path) else 0
    for chunk in _chunks(path):
        if not chunk.isascii():
            try:
                chunk.decode("utf-8")
            except UnicodeDecodeError as error:
                raise not_text(
                    "utf-8", state.lines + 1 + chunk.count(b"\n", 0, error.start),
                    f"byte {chunk[error.start]:#04x}: {error.reason}",
                ) from None  # fmt: skip
        found.odd_numbers = found.odd_numbers or _has_odd_number(chunk)
        found.nearly_whole = found.nearly_whole or _has_nearly_whole(chunk)
        if not _count_plain(chunk, style, state, found):
            _count_quoted(chunk, style, state, found)
        place += len(chunk)
        is_due = place * parts >= size * (len(found.cuts) + 1)
        may_cut = is_due and place < size and not (state.inside or state.continues)
        # DuckDB takes a mark at the start of each part for no part of the text
        if may_cut and not _has_mark(path, place):
            found.cuts.append(Cut(place, found.records, found.empty))
    if state.inside:
        raise RefusedFileError(
            "a quote is never closed",
            where=f"line {state.opened:,}",
            expected=f"a closing {style.quote} before the end of the file",
            found="the end of the file",
            fix="close the quote, or double it if it belongs to the text; nothing was loaded",
        )
    return found


def _chunks(path: Path) -> Iterator[bytes]:
    """The file without its byte order mark, in pieces that end with a line's end (but perhaps the last).

    Raises:
        RefusedFileError: a line is longer than `MOST_LINE_BYTES`.
    """
    begun: list[bytes] = []  # of a line whose end has not come
    begun_bytes = 0
    with path.open("rb") as file:
        file.seek(len(codecs.BOM_UTF8) if _has_mark(path) else 0)
        while piece := file.read(_CHUNK):
            end = piece.rfind(b"\n") + 1
            if not end:  # old line ends; the last sign may be half of a CRLF
                end = piece.rfind(b"\r", 0, -1) + 1
            if end:
                yield b"".join([*begun, piece[:end]])
                begun, begun_bytes = [], 0
            begun.append(piece[end:])
            begun_bytes += len(piece) - end
            if begun_bytes > MOST_LINE_BYTES:
                raise RefusedFileError(
                    "a line is too long",
                    where=f"line {_lines_before(path, file.tell() - begun_bytes) + 1:,}",
                    expected=f"at most {MOST_LINE_BYTES:,} bytes",
                    found="more",
                    fix="deliver a text with one record per line",
                )
    if begun_bytes:
        yield b"".join(begun)


def _lines_before(path: Path, place: int) -> int:
    """How many line feeds are before a byte of the file."""
    lines = 0
    with path.open("rb") as file:
        while piece := file.read(min(_CHUNK, place - file.tell())):
            lines += piece.count(b"\n")
    return lines


def _has_mark(path: Path, place: int = 0) -> bool:
    with path.open("rb") as file:
        file.seek(place)
        return file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8


def _has_odd_number(chunk: bytes) -> bool:
    if b"_" in chunk and _JOINED.search(chunk):
        return True
    if b"+" not in chunk:
        return False
    signs = np.frombuffer(chunk, np.uint8)  # a search for two bytes takes ten times as long
    return bool(((signs[:-1] == ord("+")) & (signs[1:] == ord("-"))).any())


def _has_nearly_whole(chunk: bytes) -> bool:
    words = np.frombuffer(chunk, np.uint64, len(chunk) // 8)
    return any((words == run).any() for run in _RUNS) and _NEARLY_WHOLE.search(chunk) is not None


def _count_plain(chunk: bytes, style: CsvSpec, state: _State, found: Survey) -> bool:
    """Count a chunk without quotes and with one kind of line end; False if it is not so simple."""
    if state.inside or state.continues or (style.quote and style.quote.encode() in chunk):
        return False
    end = b"\r\n" if b"\r" in chunk else b"\n"
    # numpy counts three times as fast as bytes do
    lines = int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == _LF))
    if end == b"\r\n" and not chunk.count(b"\r") == lines == chunk.count(end):
        return False
    if chunk.startswith(end) or _has_empty_line(chunk, end):
        return False
    found.records += lines + (not chunk.endswith(b"\n"))
    _note_ends(found, end.decode() if lines else "")
    state.lines += lines
    return True


def _has_empty_line(chunk: bytes, end: bytes) -> bool:
    """Whether two of these line ends are side by side."""
    if len(end) > 1:
        return end * 2 in chunk
    pairs = (np.frombuffer(chunk, np.uint16, (len(chunk) - first) // 2, first) for first in (0, 1))
    return any((pair == (_LF << 8 | _LF)).any() for pair in pairs)


def _note_ends(found: Survey, end: str) -> None:
    if end and found.line_ends != end:
        found.line_ends = "mixed" if found.line_ends else end  # type: ignore[assignment]


def _count_quoted(chunk: bytes, style: CsvSpec, state: _State, found: Survey) -> None:
    """Count a chunk in which quotes, empty lines or other line ends are."""
    lines = _lines(chunk, style, state)
    begins = lines.begins(count_empty=False)
    ended = len(lines.first)
    found.records += int(begins.sum())
    found.empty += ended - int(lines.filled[:ended].sum())
    line_feed = lines.signs[lines.last] == _LF
    if (line_feed & (lines.first == lines.last)).any():
        _note_ends(found, "\n")
    if (lines.first != lines.last).any():
        _note_ends(found, "\r\n")
    if not line_feed.all():
        found.line_ends = "mixed"


@dataclass(frozen=True)
class _Lines:
    """The lines of a chunk, as far as they end or begin outside of quotes."""

    signs: Bytes
    first: Places
    """of each line end its first byte"""
    last: Places
    """and its last: another one for CRLF"""
    starts: Places
    """of each line, that behind the last line end too"""
    filled: Bools
    """whether something is in it"""
    continued: bool
    """the first line began in an earlier chunk"""

    def begins(self, *, count_empty: bool) -> Bools:
        """Whether a record begins at each start."""
        begins = self.filled.copy()
        if count_empty:
            begins[:-1] = True
        if self.continued:
            begins[0] = False
        return begins


def _lines(chunk: bytes, style: CsvSpec, state: _State) -> _Lines:
    """Look at a chunk, and move the state to its end."""
    signs = np.frombuffer(chunk, np.uint8)
    line_ends = np.flatnonzero((signs == _LF) | (signs == _CR))
    toggles = _toggles(chunk, signs, style, inside=state.inside)
    first, last = _ends(signs, line_ends[(np.searchsorted(toggles, line_ends) + state.inside) % 2 == 0])
    starts = np.concatenate(([0], last + 1))
    filled = np.concatenate((first, [len(chunk)])) > starts
    lines = _Lines(signs, first, last, starts, filled, state.continues)
    state.continues = bool(filled[-1]) or (state.continues and not len(first))
    state.inside = bool((len(toggles) + state.inside) % 2)
    if state.inside and len(toggles):
        state.opened = state.lines + chunk.count(b"\n", 0, int(toggles[-1])) + 1
    state.lines += chunk.count(b"\n")
    return lines


def _ends(signs: Bytes, outside: Places) -> tuple[Places, Places]:
    """First and last place of each line end: CR and LF side by side are one."""
    second = np.zeros(len(outside), bool)
    second[1:] = (np.diff(outside) == 1) & (signs[outside[1:]] == _LF) & (signs[outside[:-1]] == _CR)
    first = outside[~second]
    last = first.copy()
    last[np.flatnonzero(second) - np.cumsum(second)[second]] += 1
    return first, last


def _toggles(chunk: bytes, signs: Bytes, style: CsvSpec, *, inside: bool) -> Places:
    """Places of the quotes that open or close a field; pairs that mean one quote may be among them."""
    if not style.quote:
        return np.empty(0, np.int64)
    quotes = np.flatnonzero(signs == ord(style.quote))
    if not len(quotes):
        return quotes
    if style.escape == style.quote:
        closes = (np.arange(len(quotes)) + inside) % 2 == 1
        beside = np.diff(quotes) == 1
        apart = (_LF, _CR, *style.delimiter.encode())
        before = np.isin(signs[np.maximum(quotes - 1, 0)], apart) | (quotes == 0)
        after = np.isin(signs[np.minimum(quotes + 1, len(signs) - 1)], apart) | (quotes == len(signs) - 1)
        before[1:] |= beside
        after[:-1] |= beside
        if np.where(closes, after, before).all():
            return quotes
    return _toggles_one_by_one(chunk, quotes, style, inside=inside)


def _toggles_one_by_one(chunk: bytes, quotes: Places, style: CsvSpec, *, inside: bool) -> Places:
    """The same for texts with quotes where they don't belong, as DuckDB's strict reader takes them.

    A quote within a field without quotes is a sign as any other. One that closes before its field ends makes the
    record a bad one, which ends with its line.
    """
    quote, delimiter = style.quote.encode(), style.delimiter.encode()
    toggles: list[int] = []
    skip_to = 0
    for place in quotes.tolist():
        if place < skip_to:
            continue
        if not inside:
            before = chunk[max(place - 64, 0) : place].rstrip(b" ")
            inside = not before or before.endswith((delimiter, b"\n", b"\r"))
            if inside:
                toggles.append(place)
            continue
        if style.escape == style.quote:
            if chunk[place + 1 : place + 2] == quote:
                skip_to = place + 2
                continue
        elif style.escape and _is_escaped(chunk, place, style.escape.encode()):
            continue
        behind = chunk[place + 1 : place + 64].lstrip(b" ")
        if behind.startswith(quote):  # DuckDB takes spaces between two quotes for nothing
            skip_to = chunk.index(quote, place + 1) + 1
            continue
        toggles.append(place)
        inside = False
        if behind and not behind.startswith((delimiter, b"\n", b"\r")):
            ends = [end for end in (chunk.find(b"\n", place), chunk.find(b"\r", place)) if end >= 0]
            skip_to = min(ends, default=len(chunk))
    return np.array(toggles, np.int64)


def _is_escaped(chunk: bytes, place: int, escape: bytes) -> bool:
    before = chunk[max(place - 1024, 0) : place]
    return (len(before) - len(before.rstrip(escape))) % 2 == 1


def with_line_feeds(path: Path, style: CsvSpec, scratch: Path) -> Path:
    """A copy whose lines end with LF; what stands in quotes is as it was."""
    target, state = scratch / "lines", _State()
    with target.open("wb") as out:
        out.write(codecs.BOM_UTF8 if _has_mark(path) else b"")
        for chunk in _chunks(path):
            lines = _lines(chunk, style, state)
            plain = lines.signs.copy()
            plain[lines.last] = _LF
            out.write(np.delete(plain, lines.first[lines.first != lines.last]).tobytes())
    return target


def opens_quote(path: Path, style: CsvSpec) -> bool:
    """Whether the first line of a surveyed file that is not empty leaves a quote open."""
    state = _State()
    line = re.compile(rb"[\r\n]*([^\r\n]+[\r\n]?)").match(next(_chunks(path), b""))
    if line:
        _lines(line[1], style, state)
    return state.inside


def with_header(path: Path, style: CsvSpec, found: Survey, fields: int, scratch: Path) -> Path:
    """A copy with a header of nameless fields in front; the survey becomes that of the copy."""
    end = "\r\n" if found.line_ends == "\r\n" else "\n"
    header = (style.delimiter.join([style.quote * 2] * fields) + end).encode()
    target, mark = scratch / "headed", len(codecs.BOM_UTF8) if _has_mark(path) else 0
    with path.open("rb") as file, target.open("wb") as out:
        file.seek(mark)
        out.write(header)
        shutil.copyfileobj(file, out, _CHUNK)
    found.records += 1
    found.cuts = [Cut(cut.place - mark + len(header), cut.records + 1, cut.empty) for cut in found.cuts]
    return target


def record_numbers(path: Path, style: CsvSpec, places: Places, *, count_empty: bool) -> Places:
    """The numbers (from 1) of the records that begin at these places of a surveyed file, or behind, nothing between.

    Args:
        path: the file, as surveyed.
        style: how it is written.
        places: ascending; of the record's first byte or of the line ends before it.
        count_empty: whether an empty line is a record.
    """
    before = np.zeros(len(places), np.int64)
    offset = len(codecs.BOM_UTF8) if _has_mark(path) else 0
    state, begun = _State(), 0
    for chunk in _chunks(path):
        lines = _lines(chunk, style, state)
        starts = lines.starts[lines.begins(count_empty=count_empty)] + offset
        here = (places >= offset) & (places < offset + len(chunk))
        before[here] = begun + np.searchsorted(starts, places[here], side="left")
        begun += len(starts)
        offset += len(chunk)
    return before + 1
