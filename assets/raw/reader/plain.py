"""The delivered bytes become a plain file of a known format: unpacked, and a text in UTF-8.

All of it streams: a file may be larger than memory. What a record of a text is, is in `records.py`.
"""

import codecs
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

import zstandard

from assets.raw.reader.protocol import ReadRequest, RefusedFileError

Format = Literal["csv", "parquet", "jsonl", "excel"]

_CHUNK = 8 << 20
# what one step of unpacking is fed: a bomb makes at most 128 KB of 4 bytes
_PACKED_CHUNK = 4 << 10
_MAGIC = {
    "gzip": b"\x1f\x8b",
    "Zstandard": b"\x28\xb5\x2f\xfd",
    "bzip2": b"BZh91AY&SY",
    "xz": b"\xfd7zXZ",
    "ZIP (Excel's .xlsx is one)": b"PK\x03\x04",
    "Parquet": b"PAR1",
    "old Excel (.xls)": b"\xd0\xcf\x11\xe0",
    "PDF": b"%PDF",
    "SQLite": b"SQLite format 3",
}
_OWN_MAGIC: dict[Format, tuple[str, ...]] = {
    "csv": (),
    "jsonl": (),
    "parquet": ("Parquet",),
    "excel": ("ZIP (Excel's .xlsx is one)", "old Excel (.xls)"),
}
_SUFFIXES: dict[Format, tuple[str, ...]] = {
    "parquet": (".parquet", ".pq"),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "excel": (".xlsx", ".xls", ".xlsm"),
}


def scratch_of(request: ReadRequest) -> Path:
    """The folder for what reading leaves behind; the worker and its client remove it."""
    folder = Path(request.folder) / "scratch"
    folder.mkdir(exist_ok=True)
    return folder


def format_of(file_name: str, declared: str = "auto") -> Format:
    """The format a file is read as: the declared one, or by the end of its name before `.gz` and `.zst`."""
    if declared != "auto":
        return declared  # type: ignore[return-value]
    name = file_name.lower().removesuffix(".gz").removesuffix(".zst")
    for kind, suffixes in _SUFFIXES.items():
        if name.endswith(suffixes):
            return kind
    return "csv"


def unpacked(path: Path, file_name: str, scratch: Path, most_bytes: int) -> Path:
    """The file itself, or what is packed in it.

    Args:
        path: the staged copy.
        file_name: as delivered; `.gz` and `.zst` say how it is packed.
        scratch: where the unpacked file goes.
        most_bytes: how large it may become.

    Raises:
        RefusedFileError: it is not packed as its name says, cut off, followed by something else, packed twice, or
            becomes too large.
    """
    name = file_name.lower()
    packing = "gzip" if name.endswith(".gz") else "Zstandard" if name.endswith(".zst") else ""
    if not packing:
        return path
    with path.open("rb") as file:
        if not file.read(8).startswith(_MAGIC[packing]):
            raise RefusedFileError(
                f"the file isn't packed with {packing}", expected=f"{packing} as its name says",
                fix="pack the file again, or name it without the ending",
            )  # fmt: skip
    target, size = scratch / "unpacked", 0
    with path.open("rb") as source, target.open("wb") as out:
        for piece in (_from_gzip if packing == "gzip" else _from_zstandard)(source):
            size += len(piece)
            if size > most_bytes:
                raise RefusedFileError(
                    "the packed file becomes too large",
                    expected=f"at most {most_bytes / 1e9:g} GB (HEADRACE_READ_UNPACKED_GIGABYTES)",
                    found=f"more, of {path.stat().st_size:,} bytes",
                    fix="deliver it in parts, or raise the limit if it is meant to be this large",
                )
            out.write(piece)
    with target.open("rb") as file:
        head = file.read(16)
    for kind in ("gzip", "Zstandard"):
        if head.startswith(_MAGIC[kind]):
            raise RefusedFileError("the file is packed twice", found=kind, fix="pack the file once")
    return target


def _from_gzip(source: IO[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    packed = source.read(_CHUNK)
    try:
        while packed:
            yield unpacker.decompress(packed, _CHUNK)
            packed = unpacker.unconsumed_tail
            if unpacker.eof:  # a file may be several packed ones, one behind the other
                packed = unpacker.unused_data or source.read(_CHUNK)
                if packed:
                    unpacker = zlib.decompressobj(wbits=31)
            packed = packed or source.read(_CHUNK)
        yield unpacker.flush()
    except zlib.error as error:
        raise _damaged(str(error)) from None
    if not unpacker.eof:
        raise _damaged("it ends too early")


def _from_zstandard(source: IO[bytes]) -> Iterator[bytes]:
    context = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    unpacker, begun = context.decompressobj(), False
    try:
        while packed := source.read(_PACKED_CHUNK):
            while packed:
                begun = True
                yield unpacker.decompress(packed)
                packed = unpacker.unused_data if unpacker.eof else b""
                if unpacker.eof:
                    unpacker, begun = context.decompressobj(), False
    except zstandard.ZstdError as error:
        raise _damaged(str(error)) from None
    if begun:
        raise _damaged("it ends too early")


def _damaged(found: str) -> RefusedFileError:
    return RefusedFileError(
        "the packed file is damaged", expected="a whole one, and nothing behind it", found=found,
        fix="pack the file again and deliver it whole",
    )  # fmt: skip


def check_magic(path: Path, kind: Format) -> None:
    """Refuse a file that by its first bytes is plainly of another format.

    Raises:
        RefusedFileError: it says which one it seems to be.
    """
    with path.open("rb") as file:
        head = file.read(16)
    for name, magic in _MAGIC.items():
        if head.startswith(magic) and name not in _OWN_MAGIC[kind]:
            raise RefusedFileError(
                "the file is of another format than its name or the spec says",
                expected=kind,
                found=name,
                fix="deliver it under the name of its format (.csv, .csv.gz, .csv.zst, .parquet, .jsonl, .xlsx)",
            )


def as_utf8(path: Path, encoding: str, scratch: Path) -> Path:
    """The text file itself when it is UTF-8 by its first bytes or the spec, else a copy in UTF-8.

    Raises:
        RefusedFileError: its bytes are no text in the declared or found encoding.
    """
    codec = _codec_of(path, encoding)
    if codecs.lookup(codec).name in ("utf-8", "utf-8-sig"):
        return path
    target = scratch / "utf8"
    decoder = codecs.getincrementaldecoder(codec)("strict")
    lines = 1
    with path.open("rb") as source, target.open("w", encoding="utf-8", newline="") as out:
        try:
            while piece := source.read(_CHUNK):
                text = decoder.decode(piece)
                lines += text.count("\n")
                out.write(text)
            out.write(decoder.decode(b"", final=True))
        except (UnicodeError, ValueError) as error:
            raise not_text(codec, lines, str(error)) from None
    return target


def _codec_of(path: Path, encoding: str) -> str:
    if encoding != "auto":
        try:
            "a".encode(encoding)
        except (LookupError, UnicodeError):  # Python knows codecs that are no encodings of text, such as zlib
            raise RefusedFileError(
                f"source.csv.encoding is {encoding}, which is no encoding of text", fix="write for example cp1252"
            ) from None
        return encoding
    with path.open("rb") as file:
        head = file.read(4)
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"


def not_text(codec: str, line: int, found: str) -> RefusedFileError:
    """The refusal of a file that isn't text in an encoding."""
    return RefusedFileError(
        f"the file isn't {codec.upper()} text",
        where=f"line {line:,} or after" if line else "",
        expected=codec,
        found=found[:200],
        fix="set source.csv.encoding in the spec (cp1252, latin-1, utf-16-le, ...), or save the file as UTF-8",
    )
