"""Files as they land: told apart, described, and mended only where the raw stage could not read them."""

import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from assets.errors import HeadraceError
from assets.spec import SourceSpec
from orchestration.new.dialect import find_dialect, free_names
from orchestration.new.plain import PlainFile, mended_file, plain_file
from tests.profiles import profile_of


def written(folder: Path, content: bytes | str, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def source(**fields: Any) -> SourceSpec:
    return SourceSpec.model_validate({"files": ".*", "columns": {"a": "VARCHAR"}, **fields})


AS_THEY_ARE: dict[str, tuple[bytes, str, dict[str, Any], tuple[str, ...]]] = {
    "commas": (b"a,b\n1,2\n", "data.csv", {}, ("a", "b")),
    "a byte order mark": ("\ufeffa,b\r\n1,2\r\n".encode(), "data.csv", {}, ("a", "b")),
    "quoted delimiters": (b'a,"b;c;d"\n1,"x;y;z"\n', "data.csv", {}, ("a", "b;c;d")),
    "quoted line ends": (b'a,b\n1,"two\nlines"\n', "data.csv", {}, ("a", "b")),
    "semicolons": (b"a;b\n1,5;y,z\n", "data.csv", {"delimiter": ";"}, ("a", "b")),
    "tabs": (b"a\tb\n1\tx, y\n", "data.tsv", {"delimiter": "\t"}, ("a", "b")),
    "bars": (b"a|b\n1|2\n", "data.txt", {"delimiter": "|"}, ("a", "b")),
    "Windows-1252": ("a,b\n1,é\n".encode("cp1252"), "data.csv", {"encoding": "cp1252"}, ("a", "b")),
    "bytes that Windows-1252 has not": (b"a,b\n\x81,\xe9\n", "data.csv", {"encoding": "iso8859-1"}, ("a", "b")),
    "UTF-16": ("a,b\n1,é\n".encode("utf-16"), "data.txt", {}, ("a", "b")),
    "gzip": (gzip.compress(b"a;b\n1;2\n", mtime=0), "data.csv.gz", {"delimiter": ";"}, ("a", "b")),
    "Zstandard": (zstandard.compress(b"a,b\n1,2\n"), "data.csv.zst", {}, ("a", "b")),
    "a delimiter at each end of a line": (b"a,b,\n1,2,\n", "data.csv", {}, ("a", "b")),
    "no header": (b"1,2\n3,4\n", "data.csv", {"header": False}, ("column_1", "column_2")),
    "JSON lines": (b'{"a": 1, "b": 2}\n', "data.jsonl", {}, ()),
    "JSON lines by content": (b'{"a": 1, "b": 2}\n', "data.txt", {}, ()),
    "a column called as JSON begins": (b"{{ x }},b\n1,2\n", "data.csv", {}, ("{{ x }}", "b")),
}


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_what_the_raw_stage_reads_lands_as_it_is_and_is_described(name: str, tmp_path: Path) -> None:
    content, file_name, dialect, columns = AS_THEY_ARE[name]
    file = written(tmp_path, content, file_name)
    found = plain_file(file, tmp_path / "copy")
    assert (found.path, found.changes) == (file, ())
    assert (found.csv.model_dump(exclude_defaults=True), found.columns) == (dialect, columns)
    assert not (tmp_path / "copy").exists()
    assert profile_of(tmp_path, file).rows == (2 if name == "no header" else 1)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('"",b\n"1",2\n', 'column_1,b\n"1",2\n'),
        ("a,A,a\n1,2,3\n", "a,A_2,a_3\n1,2,3\n"),
        ("é;e\u0301\n1;2\n", "é;e\u0301_2\n1;2\n"),
        ("batch_id,headrace_x\n1,2\n", "batch_id_,x_headrace_x\n1,2\n"),
        ('"two\nlines",b\n1,2\n', "two lines,b\n1,2\n"),
        ("x,y\none,1,2\ntwo,3,4\n", "row_name,x,y\none,1,2\ntwo,3,4\n"),
        ('a;"x;y";A\r\n1;2;3\r\n', 'a;"x;y";A_2\r\n1;2;3\r\n'),
        ("a\tA\r1\t2\r", "a\tA_2\r1\t2\r"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_header_that_the_lake_can_not_have_is_mended_and_nothing_else(
    content: str, expected: str, encoding: str, tmp_path: Path
) -> None:
    bom = "\ufeff" * (encoding == "utf-16-be")
    file = written(tmp_path, (bom + content).encode(encoding))
    found = plain_file(file, tmp_path / "copy")
    assert found.path == tmp_path / "copy" / "data.csv"
    assert found.path.read_bytes() == (bom + expected).encode(encoding)
    assert found.changes
    assert file.read_bytes() == (bom + content).encode(encoding)
    again = plain_file(found.path, tmp_path / "again")
    assert (again.path, again.csv, again.columns) == (found.path, found.csv, found.columns)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_mended_header_ends_as_the_rows_do(ending: str, tmp_path: Path) -> None:
    r"""Regression: the header got `\n` before rows with `\r\n`, which DuckDB refuses, so the copy didn't land."""
    file = written(tmp_path, ending.join(["a,A", "1,2", "3,4", ""]))
    assert plain_file(file, tmp_path / "copy").path.read_bytes().decode() == ending.join(["a,A_2", "1,2", "3,4", ""])
    assert profile_of(tmp_path, file).rows == 2


@pytest.mark.parametrize(("ending", "pack", "unpack"), [
    (".gz", gzip.compress, gzip.decompress),
    (".zst", zstandard.compress, lambda packed: zstandard.ZstdDecompressor().decompressobj().decompress(packed)),
])  # fmt: skip
def test_a_packed_file_is_mended_packed_and_twice_the_same(ending: str, pack: Any, unpack: Any, tmp_path: Path) -> None:
    """The copy's bytes are what is known of a delivery: made again, it must be the same one."""
    rows = b"".join(b"%d,%d\n" % (n, n * n) for n in range(300_000))
    file = written(tmp_path, pack(b"a,A\n" + rows), f"data.csv{ending}")
    copies = [plain_file(file, tmp_path / name).path.read_bytes() for name in ("one", "two")]
    assert copies[0] == copies[1]
    assert unpack(copies[0]) == b"a,A_2\n" + rows


def test_a_later_delivery_is_mended_as_the_spec_says_it_is_written(tmp_path: Path) -> None:
    """In a cp1252 file with semicolons, and none of it guessed."""
    content = "größe;Größe;\n1,5;2,5;3\n".encode("cp1252")
    file = written(tmp_path, content)
    declared = source(csv={"delimiter": ";", "encoding": "cp1252", "decimal": ","})
    path, changes = mended_file(file, declared, tmp_path / "copy")
    assert path.read_bytes() == "größe;Größe_2;column_3\n1,5;2,5;3\n".encode("cp1252")
    assert changes == ("column 2 'Größe' is called Größe_2", "column 3 '' is called column_3")
    assert path.read_bytes() == plain_file(file, tmp_path / "new").path.read_bytes(), "`new` mends it alike"


@pytest.mark.parametrize(
    ("content", "name", "fields"),
    [
        (b"a;b\n1;2\n", "data.csv", {}),
        (b"a,a\n1,2\n", "data.csv", {"csv": {"header": False}}),
        (b"PAR1 and so on,,", "data.csv", {}),
        (b'{"a": 1, "A": 2, "A": 2}\n', "data.dat", {"format": "jsonl"}),
        (b'{"a": 1, "A": 2, "A": 2}\n', "data.jsonl", {}),
        (b"1,2\n3,4\n", "data.csv", {}),
    ],
)
def test_a_later_delivery_that_is_right_or_not_ours_to_mend_is_left_alone(
    content: bytes, name: str, fields: dict[str, Any], tmp_path: Path
) -> None:
    file = written(tmp_path, content, name)
    assert mended_file(file, source(**fields), tmp_path / "copy") == (file, ())


@pytest.mark.parametrize(
    ("content", "name", "word"),
    [
        (b"", "data.csv", "empty"), (b"a\n1\n", "data.csv", "one column only"),
        (b"\xd0\xcf\x11\xe0rest", "data.xls", "old Excel"), (b"SQLite format 3\x00", "data.db", "SQLite"),
        (b'[{"a": 1}]', "data.json", "one JSON array"), (b"a,b\x00\n", "data.csv", "NUL bytes"),
        (b"a,b\n1,2,3,4\n5,6,7,8\n", "data.csv", "more fields"),
        (b"\x1f\x8bbroken", "data.csv.gz", "unpacked"), (b"\x28\xb5\x2f\xfdbroken", "data.csv.zst", "unpacked"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "data.csv", r"rename it to data\.csv\.gz"),
        (b"a,b\n1,2\n", "data.csv.gz", r"rename it to data\.csv$"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_with_what_to_do(content: bytes, name: str, word: str, tmp_path: Path) -> None:
    with pytest.raises(HeadraceError, match=word) as refusal:
        plain_file(written(tmp_path, content, name), tmp_path / "copy")
    assert refusal.value.fix


def test_the_format_is_declared_only_where_the_name_does_not_say_it(tmp_path: Path) -> None:
    table = pl.DataFrame({"x": [1, 2], "Y y": [2, 3]})
    table.write_parquet(tmp_path / "a.parquet")
    table.write_ndjson(tmp_path / "a.jsonl")
    found = {name: plain_file(tmp_path / name, tmp_path) for name in ("a.parquet", "a.jsonl")}
    assert {item.declared_format for item in found.values()} == {"auto"}
    odd = written(tmp_path, (tmp_path / "a.parquet").read_bytes(), "a.dat")
    assert plain_file(odd, tmp_path) == PlainFile(odd, "parquet")
    assert plain_file(odd, tmp_path).declared_format == "parquet"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HeadraceError, match="no such file"):
        plain_file(tmp_path / "none.csv", tmp_path)


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=8
    )
)
def test_mended_names_are_names_and_mending_them_again_changes_nothing(names: list[str]) -> None:
    free = free_names(names)
    assert free_names(free) == free
    assert source(columns=dict.fromkeys(free, "VARCHAR")).columns.keys() == set(free)


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=8),
        min_size=2,
        max_size=5,
    ),
    st.sampled_from([",", ";", "\t", "|"]),
)
def test_a_mended_header_line_is_read_as_its_names(names: list[str], delimiter: str) -> None:
    quoted = delimiter.join('"' + name.replace('"', '""') + '"' for name in ["a name", *names])
    found = find_dialect(f"{quoted}\n", "data.csv")
    if found.csv.delimiter == delimiter and found.is_mended:
        again = find_dialect(f"{found.header_line}\n", "data.csv")
        assert again.header == found.names
