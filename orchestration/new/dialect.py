"""How a delimited text is written, told from its beginning: delimiter, header, and names that the raw table can have.

Pure; nothing here opens a file. What all of the rows say (decimal commas, dates) is told by the profile.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from assets.errors import HeadraceError
from assets.spec import CsvSpec, fold_name

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
LOOK_AT_CHARACTERS = 1 << 18
_OURS = {"batch_id", "row_number"}
_LOOK_AT_RECORDS = 200
_AGREEING = 0.9  # a few broken lines are quarantined later


@dataclass(frozen=True)
class Dialect:
    """How a text is written."""

    csv: CsvSpec
    header: tuple[str, ...]
    """as it stands in the text; empty where it has none"""
    names: tuple[str, ...]
    """the columns as the raw table can have them: as in the header, or mended"""
    rows_at: int = 0
    """characters before the first row"""

    @property
    def is_mended(self) -> bool:
        """Whether the header has to be written anew before the file can be read by it."""
        return bool(self.header) and self.header != self.names

    @property
    def changes(self) -> tuple[str, ...]:
        """What is mended, in words."""
        if not self.is_mended:
            return ()
        before = [""] * (len(self.names) - len(self.header)) + list(self.header)
        pairs = enumerate(zip(before, self.names, strict=True), start=1)
        return tuple(f"column {place} {old!r} is called {new}" for place, (old, new) in pairs if old != new)

    @property
    def header_line(self) -> str:
        """The mended names as the text's other lines are written."""
        stream = io.StringIO(newline="")
        csv.writer(stream, lineterminator="", **_options(self.csv)).writerow(self.names)
        return stream.getvalue()


def find_dialect(text: str, file_name: str) -> Dialect:
    """The dialect of a text of which nothing is known.

    Args:
        text: its beginning, without a byte order mark.
        file_name: for messages.

    Raises:
        HeadraceError: it is no table of text; says what to do.
    """
    written = CsvSpec(delimiter=_delimiter(text))
    header, rows_at = _first_record(text, written, file_name)
    if not any(header):
        raise HeadraceError(
            "the file has no header" if text.strip() else "the file is empty",
            where=file_name,
            expected="column names on the first line",
            fix="deliver it with a header",
        )
    found = _named(text, written, header, rows_at, file_name)
    if len(found.names) == 1:
        raise HeadraceError(
            "the file has one column only",
            where=file_name,
            expected=f"columns apart by one of {', '.join(DELIMITERS.values())}",
            found=repr(header[0][:60]),
            fix="save it as comma-separated CSV",
        )
    if all(_is_number(name) for name in header):
        names = tuple(f"column_{place}" for place in range(1, len(found.names) + 1))
        return Dialect(written.model_copy(update={"header": False}), (), names)
    return found


def read_dialect(text: str, written: CsvSpec, file_name: str) -> Dialect:
    """The header of a text of which a spec says how it is written.

    Raises:
        HeadraceError: its header is no header.
    """
    header, rows_at = _first_record(text, written, file_name)
    return _named(text, written, header, rows_at, file_name) if written.header else Dialect(written, (), ())


def free_names(names: Iterable[str]) -> list[str]:
    """Names that are there, once in whatever spelling, on one line, and not the platform's."""
    free: list[str] = []
    taken: set[str] = set()
    for place, raw in enumerate(names, start=1):
        name = raw if "\n" not in raw and "\r" not in raw else " ".join(raw.split())
        name = name if name.strip() else f"column_{place}"
        if fold_name(name) in _OURS or fold_name(name).startswith("headrace_"):
            name = f"{name}_" if fold_name(name) in _OURS else f"x_{name}"
        base, number = name, 2
        while fold_name(name) in taken:
            name, number = f"{base}_{number}", number + 1
        free.append(name)
        taken.add(fold_name(name))
    return free


def _options(written: CsvSpec) -> dict[str, Any]:
    """A dialect as Python's csv module takes it."""
    doubled = written.escape in (written.quote, "")
    return {
        "delimiter": written.delimiter,
        "quotechar": written.quote or None,
        "quoting": csv.QUOTE_MINIMAL if written.quote else csv.QUOTE_NONE,
        "doublequote": doubled,
        "escapechar": None if doubled else written.escape,
    }


def _records(text: str, written: CsvSpec) -> list[list[str]]:
    """The first records that aren't empty."""
    csv.field_size_limit(1 << 30)
    found: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), **_options(written)):
            if row:
                found.append(row)
            if len(found) == _LOOK_AT_RECORDS:
                break
    except csv.Error:
        pass  # what was read so far decides; the raw stage's own parser gives the message
    return found


def _whole(records: list[list[str]]) -> list[list[str]]:
    """Without the last one, which may be cut off, unless it is the only one."""
    return records[:-1] or records


def _delimiter(text: str) -> str:
    """Commas where they give columns in which the first records agree, else the delimiter that gives the most."""

    def columns(delimiter: str) -> float:
        sizes = [len(row) for row in _whole(_records(text, CsvSpec(delimiter=delimiter)))]
        if not sizes or sizes[0] < 2:  # noqa: PLR2004 - one column says nothing about a delimiter
            return 0
        agreeing = sum(size in (sizes[0], sizes[0] + 1) for size in sizes) / len(sizes)
        return agreeing * 1000 + sizes[0] / 1000 if agreeing > _AGREEING else 0

    return "," if columns(",") else max(DELIMITERS, key=columns)


def _first_record(text: str, written: CsvSpec, file_name: str) -> tuple[list[str], int]:
    """The first record, and where the second begins."""
    stream = io.StringIO(text, newline="")
    csv.field_size_limit(1 << 30)
    try:
        return next(csv.reader(stream, **_options(written)), []), stream.tell()
    except csv.Error as error:
        raise HeadraceError("the header can't be read", where=file_name, found=str(error), fix="mend line 1") from None


def _named(text: str, written: CsvSpec, header: Sequence[str], rows_at: int, file_name: str) -> Dialect:
    """Names for all columns: one more than the header has where rows begin with a name, as R writes them."""
    rows = _whole(_records(text, written)[1:])
    if len(header) > 1 and not header[-1] and not any(row[-1] for row in rows if len(row) >= len(header)):
        header = header[:-1]  # a delimiter behind the last name and the last value of each row; raw reads it so, too
        rows = [row[: len(header)] for row in rows]
    sizes = {len(row) for row in rows}
    names = ["row_name", *header] if sizes == {len(header) + 1} else list(header)
    if sizes and min(sizes) > len(names):
        raise HeadraceError(
            "the rows have more fields than the header has names",
            where=file_name,
            expected=f"{min(sizes)} names on the first line",
            found=f"{len(header)}: {', '.join(header[:5])}",
            fix="mend the first line of the file",
        )
    return Dialect(written, tuple(header), tuple(free_names(names)), rows_at)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
