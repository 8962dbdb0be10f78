"""Bytes become a plain text or file: unpacked, decoded, and its records counted apart from the parser."""

import codecs
import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.raw.reader import plain, records
from assets.raw.reader.protocol import RefusedFileError
from assets.spec import CsvSpec

STYLE = CsvSpec()
CONTENT = b"id,text\n1,x\n"
PACKED = {"gz": gzip.compress(CONTENT, mtime=0), "zst": zstandard.compress(CONTENT)}


def file_of(folder: Path, content: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "declared", "found"),
    [
        ("a.csv", "auto", "csv"), ("a.CSV.gz", "auto", "csv"), ("a.txt", "auto", "csv"), ("a", "auto", "csv"),
        ("a.parquet", "auto", "parquet"), ("a.pq", "auto", "parquet"), ("a.jsonl.zst", "auto", "jsonl"),
        ("a.ndjson", "auto", "jsonl"), ("a.xlsx", "auto", "excel"), ("a.dat", "jsonl", "jsonl"),
    ],
)  # fmt: skip
def test_the_format_is_declared_or_by_the_end_of_the_name(name: str, declared: str, found: str) -> None:
    assert plain.format_of(name, declared) == found


@pytest.mark.parametrize("ending", PACKED)
@pytest.mark.parametrize("times", [1, 3])
def test_a_packed_file_is_unpacked_also_when_it_is_several(tmp_path: Path, ending: str, times: int) -> None:
    path = plain.unpacked(file_of(tmp_path, PACKED[ending] * times), f"a.csv.{ending}", tmp_path, 10_000)
    assert path.read_bytes() == CONTENT * times


@pytest.mark.parametrize("ending", PACKED)
def test_a_damaged_packed_file_is_refused(tmp_path: Path, ending: str) -> None:
    whole = PACKED[ending]
    for content in (whole[:-3], whole + b"behind it", whole[:6], CONTENT, b""):
        with pytest.raises(RefusedFileError, match=r"damaged|isn't packed") as caught:
            plain.unpacked(file_of(tmp_path, content), f"a.csv.{ending}", tmp_path, 10_000)
        assert caught.value.fix


@pytest.mark.parametrize("ending", PACKED)
def test_a_file_that_explodes_is_refused_before_it_fills_the_disk(tmp_path: Path, ending: str) -> None:
    zeros = bytes(64 << 20)
    packed = gzip.compress(zeros) if ending == "gz" else zstandard.compress(zeros)
    with pytest.raises(RefusedFileError, match="becomes too large"):
        plain.unpacked(file_of(tmp_path, packed), f"a.csv.{ending}", tmp_path, 1 << 20)
    assert (tmp_path / "unpacked").stat().st_size <= 1 << 20


def test_a_file_that_is_packed_twice_is_refused(tmp_path: Path) -> None:
    for inner in PACKED.values():
        with pytest.raises(RefusedFileError, match="packed twice"):
            plain.unpacked(file_of(tmp_path, gzip.compress(inner)), "a.csv.gz", tmp_path, 10_000)


@pytest.mark.parametrize("content", [b"PAR1....", b"PK\x03\x04....", b"\x1f\x8b....", b"%PDF-1.7"])
def test_content_of_another_format_is_refused_by_its_first_bytes(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RefusedFileError, match="another format"):
        plain.check_magic(file_of(tmp_path, content), "csv")


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("ä,b\n".encode(), "auto"),
        ("ä,b\n".encode("utf-8-sig"), "auto"),
        ("ä,b\n".encode("utf-16"), "auto"),
        (codecs.BOM_UTF16_BE + "ä,b\n".encode("utf-16-be"), "auto"),
        ("ä,b\n".encode("utf-32"), "auto"),
        ("ä,b\n".encode("cp1252"), "cp1252"),
        ("ä,b\n".encode("utf-16-le"), "utf-16-le"),
    ],
)
def test_text_becomes_utf8(tmp_path: Path, content: bytes, encoding: str) -> None:
    path = plain.as_utf8(file_of(tmp_path, content), encoding, tmp_path)
    assert path.read_text(encoding="utf-8-sig") == "ä,b\n"


@pytest.mark.parametrize(
    ("content", "encoding"), [(b"\xff\xfea", "auto"), (b"a\n\x81", "cp1252"), (b"a", "zlib"), (b"\xe4", "utf-8")]
)
def test_bytes_that_are_no_text_are_refused_with_what_to_set(tmp_path: Path, content: bytes, encoding: str) -> None:
    with pytest.raises(RefusedFileError, match=r"encoding") as caught:
        records.survey(plain.as_utf8(file_of(tmp_path, content), encoding, tmp_path), STYLE)
    assert caught.value.fix


TEXTS = st.text('ab,"\n\r ä', min_size=1, max_size=6)


def as_csv(rows: list[list[str]], line_end: str) -> str:
    out = io.StringIO(newline="")
    # Python writes a CR without quotes around it, which ends a line for every reader
    quoting = csv.QUOTE_ALL if any("\r" in text for row in rows for text in row) else csv.QUOTE_MINIMAL
    csv.writer(out, lineterminator=line_end, quoting=quoting).writerows(rows)
    return out.getvalue()


@pytest.mark.parametrize("chunk", [7, 1 << 20])
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(TEXTS, min_size=2, max_size=3), max_size=8), line_end=st.sampled_from(["\n", "\r\n"]))
def test_records_are_counted_and_found_as_another_parser_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, rows: list[list[str]], line_end: str
) -> None:
    """Whatever is in the fields, and wherever a chunk ends."""
    monkeypatch.setattr(records, "_CHUNK", chunk)
    path = file_of(tmp_path, as_csv(rows, line_end).encode())
    assert records.survey(path, STYLE).records == len(rows)
    ends = [len(as_csv(rows[:count], line_end).encode()) for count in range(len(rows))]
    starts = np.array(ends, np.int64)
    numbers = records.record_numbers(path, STYLE, starts, count_empty=False)
    assert numbers.tolist() == list(range(1, len(rows) + 1))


@pytest.mark.parametrize("chunk", [5, 1 << 20])
def test_line_ends_become_one_kind_and_values_stay_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(records, "_CHUNK", chunk)
    path = file_of(tmp_path, b'id,text\r\n1,"a\r\nb\rc"\r2,x\n\r\n3,"d\ne"')
    found = records.survey(path, STYLE)
    assert (found.records, found.empty, found.line_ends) == (4, 1, "mixed")
    mended = records.with_line_feeds(path, STYLE, tmp_path)
    assert mended.read_bytes() == b'id,text\n1,"a\r\nb\rc"\n2,x\n\n3,"d\ne"'


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_file_with_one_kind_of_line_end_needs_no_mending(tmp_path: Path, line_end: str) -> None:
    for content in ("a,b\n1,2\n", 'a,b\n1,"2"\n\n', "a,b\n1,2"):
        path = file_of(tmp_path, content.replace("\n", line_end).encode())
        assert records.survey(path, STYLE).line_ends == line_end


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_CHUNK", 100)
    monkeypatch.setattr(records, "MOST_LINE_BYTES", 1000)
    with pytest.raises(RefusedFileError, match="a line is too long"):
        records.survey(file_of(tmp_path, b"a,b\n" + b"x" * 5000), STYLE)
