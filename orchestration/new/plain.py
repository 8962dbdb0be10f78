"""Files as they land: which format they have and how they are written; what the raw stage can't take is mended.

The raw stage reads most files as they are. A header with names that are missing, there twice or the platform's own is
written anew, into a copy, by rules that depend on the file alone, so that a later delivery of the same kind becomes
the same columns. Nothing else is changed.
"""

import codecs
import gzip
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, cast

import zstandard

from assets.errors import HeadraceError
from assets.raw.reader.plain import Format, format_of
from assets.spec import CsvSpec, SourceSpec
from orchestration.new.dialect import LOOK_AT_CHARACTERS, Dialect, find_dialect, read_dialect

_PACKINGS = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}
_PIECE = 1 << 20
_BOMS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be", b"\xef\xbb\xbf": "utf-8"}
# as a spec says it -> codec, in the order of trial; what neither reads any of the last reads
_ENCODINGS = {"auto": "utf-8", "cp1252": "cp1252"}
_ANY = "iso8859-1"
_FORMATS: dict[bytes, Format] = {b"PAR1": "parquet", b"PK\x03\x04": "excel"}
_FOREIGN = {
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "save it as .xlsx or CSV (UTF-8)"),
    b"BZh": ("compressed by bzip2", "unpack it: bunzip2 FILE"),
    b"\xfd7zXZ": ("compressed by xz", "unpack it: unxz FILE"),
    b"SQLite format 3": ("an SQLite database", "export the table as CSV"),
    b"\x89HDF": ("an HDF5 file", "export the table as CSV"),
}


@dataclass(frozen=True)
class PlainFile:
    """A file that can land: itself, or its copy with a mended header; and how it is written."""

    path: Path
    format: Format
    csv: CsvSpec = field(default_factory=CsvSpec)
    columns: tuple[str, ...] = ()
    """of CSV only"""
    is_ascii: bool = True
    """whether any encoding reads it alike"""
    changes: tuple[str, ...] = ()

    @property
    def declared_format(self) -> Literal["auto"] | Format:
        """What a spec has to say of the format: nothing where the name's ending says it."""
        return "auto" if format_of(self.path.name) == self.format else self.format


def plain_file(file: Path, folder: Path) -> PlainFile:
    """What a file is of which nothing is known; a copy with another header below `folder` if it has to be mended.

    Raises:
        HeadraceError: there is no such file, or it is no table; says what to do.
    """
    head = _head(file)
    form = next((form for magic, form in _FORMATS.items() if head.startswith(magic)), None)
    if form is not None:
        return PlainFile(file, form)
    _check_is_text(head, file)
    encoding, is_ascii = _encoding(file, head)
    text, *_ = _decoded(head, encoding)
    if _is_json_lines(text, file.name):
        return PlainFile(file, "jsonl")
    found = find_dialect(text, file.name)
    written = found.csv.model_copy(update={"encoding": encoding})
    path = _mended(file, found, head, encoding, folder) if found.is_mended else file
    return PlainFile(path, "csv", written, found.names, is_ascii, found.changes)


def _is_json_lines(text: str, file_name: str) -> bool:
    """Whether there is an object a line; a column may well be called `{x}`."""
    if format_of(file_name) == "jsonl" or not text.lstrip().startswith("{"):
        return format_of(file_name) == "jsonl"
    try:
        return isinstance(json.loads(text.split("\n", maxsplit=1)[0]), dict)
    except ValueError:
        return False


def mended_file(file: Path, source: SourceSpec, folder: Path) -> tuple[Path, tuple[str, ...]]:
    """A delivery of a source as the raw stage can read it: itself, or its copy with a mended header, and what changed.

    Raises:
        HeadraceError: it can't be read as the spec says.
    """
    head = _head(file)
    if format_of(file.name, source.format) != "csv" or head[:4] in _FORMATS or not source.csv.header:
        return file, ()
    try:
        text, *_ = _decoded(head, source.csv.encoding)
    except UnicodeDecodeError as error:
        raise HeadraceError("the file isn't in the declared encoding", where=file.name, found=str(error)) from None
    found = read_dialect(text, source.csv, file.name)
    if not found.is_mended or "\x00" in text:  # no text at all
        return file, ()
    return _mended(file, found, head, source.csv.encoding, folder), found.changes


def _head(file: Path) -> bytes:
    """The beginning of a file's unpacked bytes."""
    try:
        with unpacked(file) as opened:
            return opened.read(4 * LOOK_AT_CHARACTERS)
    except (OSError, EOFError, zstandard.ZstdError) as error:
        raise HeadraceError(
            "the file can't be unpacked", where=file.name, found=str(error), fix="get the file again; it is broken"
        ) from None


@contextmanager
def unpacked(file: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked as the ending of its name says; the raw stage goes by that, too."""
    if not file.is_file():
        raise HeadraceError("no such file", where=str(file), fix="check the path")
    with file.open("rb") as opened:
        _check_packing(file, opened.read(4))
        opened.seek(0)
        if file.suffix.lower() == ".gz":
            with gzip.open(opened, "rb") as reader:
                yield cast("BinaryIO", reader)
        elif file.suffix.lower() == ".zst":
            with zstandard.ZstdDecompressor().stream_reader(opened, read_across_frames=True) as frames:
                yield cast("BinaryIO", frames)
        else:
            yield opened


def _check_packing(file: Path, magic: bytes) -> None:
    ending = next((ending for ending, own in _PACKINGS.items() if magic.startswith(own)), "")
    named = file.suffix.lower() if file.suffix.lower() in _PACKINGS else ""
    if ending != named:
        right = f"{file.stem if named else file.name}{ending}"
        raise HeadraceError(
            "the file's name doesn't say how it is packed",
            where=file.name,
            expected=".gz or .zst at the end of the name of a packed file, and of no other",
            found=f"packed as {ending}" if ending else "not packed so",
            fix=f"rename it to {right}",
        )


def _check_is_text(head: bytes, file: Path) -> None:
    """Refuse what other programs write, each with what to do."""
    found, fix = next((words for magic, words in _FOREIGN.items() if head.startswith(magic)), ("", ""))
    if head.lstrip()[:1] == b"[":
        found = "one JSON array"
        fix = "write one object a line, for example in Python: polars.read_json(FILE).write_ndjson(FILE)"
    elif not found and b"\x00" in head and head[:2] not in _BOMS:
        found, fix = "NUL bytes", "save it as CSV (UTF-8)"
    if found:
        raise HeadraceError(
            "the file is no table that can be read",
            where=file.name,
            expected="CSV, Parquet, JSON lines or Excel (.xlsx)",
            found=found,
            fix=fix,
        )


def _encoding(file: Path, head: bytes) -> tuple[str, bool]:
    """The encoding as a spec says it, told from all bytes, and whether there is nothing but ASCII."""
    if head[:2] in _BOMS:
        return "auto", False
    is_ascii = True
    decoders = {name: codecs.getincrementaldecoder(codec)() for name, codec in _ENCODINGS.items()}
    with unpacked(file) as opened:
        while piece := opened.read(_PIECE):
            is_ascii = is_ascii and piece.isascii()
            decoders = {name: decoder for name, decoder in decoders.items() if _decodes(decoder, piece)}
    return next((name for name, decoder in decoders.items() if _decodes(decoder, b"", final=True)), _ANY), is_ascii


def _decodes(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        return False
    return True


def _decoded(head: bytes, encoding: str) -> tuple[str, str, bytes]:
    """Text, codec and byte order mark of the beginning of a file.

    Raises:
        UnicodeDecodeError: it is in another encoding.
    """
    bom, codec = b"", encoding
    if encoding == "auto" or codecs.lookup(encoding).name in ("utf-8", "utf-8-sig", "utf-16"):
        bom, codec = next(((bom, codec) for bom, codec in _BOMS.items() if head.startswith(bom)), (b"", "utf-8"))
    text = codecs.getincrementaldecoder(codec)().decode(head[len(bom) :])
    return text[:LOOK_AT_CHARACTERS], codec, bom


def _mended(file: Path, found: Dialect, head: bytes, encoding: str, folder: Path) -> Path:
    """Write a copy with the mended header, packed as the file is; it appears whole."""
    text, codec, bom = _decoded(head, encoding)
    before = text[: found.rows_at]
    ending = next((ending for ending in ("\r\n", "\n", "\r") if before.endswith(ending)), "\n")
    header, size = bom + (found.header_line + ending).encode(codec), len(bom) + len(before.encode(codec))
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / file.name
    temporary = folder / f".{file.name}.{os.getpid()}.part"
    with unpacked(file) as source, temporary.open("wb") as raw:
        source.read(size)
        with _packed(raw, file) as target:
            target.write(header)
            shutil.copyfileobj(source, target, _PIECE)
        raw.flush()
        os.fsync(raw.fileno())
    temporary.replace(copy)
    return copy


@contextmanager
def _packed(target: BinaryIO, like: Path) -> Iterator[BinaryIO]:
    """Write as a file is packed; the same bytes each time, so that a copy made again is the same delivery."""
    if like.suffix.lower() == ".gz":
        with gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=0) as packed:
            yield cast("BinaryIO", packed)
    elif like.suffix.lower() == ".zst":
        with zstandard.ZstdCompressor().stream_writer(target, closefd=False) as writer:
            yield cast("BinaryIO", writer)
    else:
        yield target
