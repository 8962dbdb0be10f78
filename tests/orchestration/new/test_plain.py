"""Files as the raw stage reads them."""

import gzip
from pathlib import Path

import duckdb
import polars as pl
import pytest

from assets.errors import HeadraceError
from orchestration.new.plain import plain_file
from orchestration.new.profile import profile_files


def written(folder: Path, content: bytes | str, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_plain_file_is_left_alone(tmp_path: Path) -> None:
    for content in ("a,b\n1,2\n", "\ufeffa,b\r\n1,2\r\n", 'a,"b;c;d"\n1,"x;y;z"\n', 'a,b\n1,"two\nlines"\n'):
        file = written(tmp_path, content)
        assert plain_file(file, tmp_path / "copy").path == file
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (b"a;b\n1,5;x\n2;y,z\n", "data.csv", 'a,b\n1.5,x\n2,"y,z"\n'),
        (b"a\tb\n1\tx, y\n", "data.tsv", 'a,b\n1,"x, y"\n'),
        ("a,b\n1,é\n".encode("cp1252"), "data.csv", "a,b\n1,é\n"),
        ("a,b\n1,é\n".encode("utf-16"), "data.txt", "a,b\n1,é\n"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "data.csv.gz", "a,b\n1,2\n"),
        (b'"",b\n"1",2\n', "data.csv", 'column_1,b\n"1",2\n'),
        (b"a,A,a\n1,2,3\n", "data.csv", "a,A_2,a_3\n1,2,3\n"),
        (b"batch_id,headrace_x\n1,2\n", "data.csv", "batch_id_,x_headrace_x\n1,2\n"),
        (b'"two\nlines",b\n1,2\n', "data.csv", "two lines,b\n1,2\n"),
        (b"x,y\none,1,2\ntwo,3,4\n", "data.csv", "row_name,x,y\none,1,2\ntwo,3,4\n"),
    ],
)
def test_what_the_raw_stage_can_not_read_is_converted(content: bytes, name: str, expected: str, tmp_path: Path) -> None:
    file = written(tmp_path, content, name)
    plain = plain_file(file, tmp_path / "copy")
    assert plain.path == tmp_path / "copy" / "data.csv"
    assert plain.path.read_bytes().decode() == expected
    assert plain.changes
    assert file.read_bytes() == content
    assert plain_file(plain.path, tmp_path / "again").path == plain.path


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_mended_header_ends_as_the_rows_do(ending: str, tmp_path: Path) -> None:
    r"""Regression: the header got `\n` before rows with `\r\n`, which DuckDB refuses, so the copy didn't land."""
    file = written(tmp_path, ending.join(["a,A", "1,2", "3,4", ""]))
    copy = plain_file(file, tmp_path / "copy").path
    assert copy.read_bytes().decode() == ending.join(["a,A_2", "1,2", "3,4", ""])
    assert profile_files(duckdb.connect(), [copy]).rows == 2


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (["1,838", "12", "2,500"], ["1,838", "12", "2,500"]),
        (["1,838", "0,5"], ["1.838", "0.5"]),
        (["1.234,56", "7,5", "-12.000"], ["1234.56", "7.5", "-12000"]),
        (["0,123", "0,456"], ["0.123", "0.456"]),
        (["1,234.56", "2,000.00"], ["1,234.56", "2,000.00"]),
        (["1.5", "2,5"], ["1.5", "2,5"]),
    ],
)
def test_a_comma_is_decimal_only_where_it_can_not_be_for_thousands(
    values: list[str], read: list[str], tmp_path: Path
) -> None:
    """Regression: `1,838` of a US file with semicolons became 1.838; `1.234,56` was no number at all."""
    file = written(tmp_path, "a;b\n" + "".join(f"{value};x\n" for value in values))
    copy = plain_file(file, tmp_path / "copy").path
    assert pl.read_csv(copy, infer_schema=False)["a"].to_list() == read


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"), (b"1,2\n3,4\n", "numbers, not names"), (b"a\n1\n", "one column only"),
        (b"PK\x03\x04rest", "no text"),
        (b'[{"a": 1}]', "JSON"), (b"a,b\x00\n", "no text"), (b"a,b\n1,2,3,4\n5,6,7,8\n", "more fields"),
        (b"a;b;c\n1;2;3\n1;2;3\n1;2;3;4\n" + b"1;2;3\n" * 30, "doesn't fit"), (b"\x1f\x8bbroken", "unpacked"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_with_what_to_do(content: bytes, word: str, tmp_path: Path) -> None:
    with pytest.raises(HeadraceError, match=word) as refusal:
        plain_file(written(tmp_path, content), tmp_path / "copy")
    assert refusal.value.fix


def test_parquet_lands_as_it_is_or_is_refused(tmp_path: Path) -> None:
    right, wrong = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pl.DataFrame({"x": [1], "Y y": [2]}).write_parquet(right)
    assert plain_file(right, tmp_path).path == right
    pl.DataFrame({"x": [1], "row_number": [3]}).write_parquet(wrong)
    with pytest.raises(HeadraceError, match="row_number"):
        plain_file(wrong, tmp_path)
    with pytest.raises(HeadraceError, match=r"rename it to c\.parquet"):
        plain_file(written(tmp_path, right.read_bytes(), "c.csv"), tmp_path)
    for content in (b"PAR1 but no more", b"a,b"):
        with pytest.raises(HeadraceError, match="get the file again"):
            plain_file(written(tmp_path, content, "d.parquet"), tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HeadraceError, match="no such file"):
        plain_file(tmp_path / "none.csv", tmp_path)
