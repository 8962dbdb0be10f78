"""JSON lines are read as text, each line a record: it becomes a row or goes to quarantine with its number and text."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.raw.reader import jsonl
from assets.raw.reader.protocol import ReadRequest, RefusedFileError

Rows = list[tuple[Any, ...]]


@pytest.fixture
def read(
    con: duckdb.DuckDBPyConnection, request_of: Callable[..., ReadRequest], written: Callable[..., Any], tmp_path: Path
) -> Callable[..., tuple[Rows, Rows]]:
    """Rows without their leading and trailing columns but the number, and the quarantined ones."""

    def get(content: bytes | str, **contract: Any) -> tuple[Rows, Rows]:
        path = tmp_path / "file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        request = request_of(path, **contract)
        rows, bad = written(request, jsonl.read(con, path, request))
        return [(*row[1:-2], row[-1]) for row in rows], bad

    return get


def test_keys_of_all_lines_are_the_columns_and_a_line_may_lack_some(read: Callable[..., tuple[Rows, Rows]]) -> None:
    rows, bad = read('{"name": "a", "id": 1}\n{"size": 2.5, "id": 2}\r\n\n  \n{"id": 3, "name": null, "more": true}')
    assert rows == [
        (1, 1, None, "a", None),
        (2, 2, 2.5, None, None),
        (3, 3, None, None, '{"more":"true"}'),
    ]
    assert not bad


def test_a_line_that_is_no_object_goes_to_quarantine_with_its_number_and_text(
    read: Callable[..., tuple[Rows, Rows]],
) -> None:
    good = b'{"id": 1, "size": 1, "name": "a"}'
    lines = [good, b"[1]", b"", b"broken {", b'{"id": 2, "name": "\xff"}', b'{"id": 1, "id": 2}', b"null", good]
    rows, bad = read(b"\n".join(lines))
    assert [row[0] for row in rows] == [1, 7]
    assert [(number, expected, raw) for number, _, expected, _, raw in bad] == [
        (2, "a JSON object, not array", "[1]"),
        (3, "a JSON object on one line", "broken {"),
        (4, "UTF-8 text", r"{\x22id\x22: 2, \x22name\x22: \x22\xFF\x22}\x0A"),
        (5, "each key once", '{"id": 1, "id": 2}'),
        (6, "a JSON object, not null", "null"),
    ]


def test_numbers_keep_their_digits(read: Callable[..., tuple[Rows, Rows]]) -> None:
    content = '{"id": 9007199254740993, "name": 12345678901234567890123}\n{"id": 2, "name": 1.10}\n'
    content += (
        '{"id": 3, "name": 0.12345678901234567890}\n{"id": 4, "name": "1.20"}\n{"id": 18446744073709551616, "size": 1}'
    )
    rows, bad = read(content)
    assert [(row[1], row[3]) for row in rows] == [
        (9007199254740993, "12345678901234567890123"),
        (2, "1.10"),
        (3, "0.12345678901234567890"),
        (4, "1.20"),
    ]
    assert [(row[0], row[1], row[3]) for row in bad] == [(5, "id", "18446744073709551616")]


def test_whole_numbers_with_a_point_keep_their_digits_or_are_none(read: Callable[..., tuple[Rows, Rows]]) -> None:
    """Regression: they are doubles to the parser, which rounded them to others before anyone looked."""
    good = ["9007199254740993.0", "123456789012345678.0", "-4503599627370497.0", "1e3", "-0.0"]
    rounded = ["4503599627370497.5", "0.99999999999999999999", "1e400"]
    rows, bad = read("\n".join(f'{{"id": {number}, "size": 1, "name": "a"}}' for number in good + rounded))
    assert [row[1] for row in rows] == [9007199254740993, 123456789012345678, -4503599627370497, 1000, 0]
    assert [row[1:4] for row in bad] == [("id", "BIGINT", number) for number in rounded]


def test_digits_of_a_whole_number_are_those_behind_its_own_key(read: Callable[..., tuple[Rows, Rows]]) -> None:
    """A key may be spelled in codes or stand in a nested object, too; what can't be told apart is not loaded."""
    rows, bad = read(
        '{"größe": 9007199254740993.0}\n{"gr\\u00f6\\u00dfe": 9007199254740993.0}\n{"gr\\u00F6\\u00DFe": 1.0}\n'
        '{"größe": 1.0, "in": {"größe": 1}}\n{"größe": 2.0, "in": {"größe": 3.0}}\n'
        '{"in": {"größe": 4503599627370498.0}, "größe": 4503599627370497.5}\n{"gr\\u00f6\\u00DFe": 1.0}\n',
        columns={"größe": "BIGINT"},
    )
    assert [row[1] for row in rows] == [9007199254740993, 9007199254740993, 1, 1, 2]
    assert [(row[0], row[3]) for row in bad] == [
        (6, "4503599627370497.5 or 4503599627370498"), (7, "1.0 as a double"),
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e400", "true", '"0x1F"', '"1_000"', "[1]", '{"a": 1}'])
def test_a_value_that_is_no_finite_number_is_quarantined_in_its_place(
    read: Callable[..., tuple[Rows, Rows]], value: str
) -> None:
    rows, bad = read(f'{{"id": 1, "size": {value}, "name": "a"}}\n{{"id": 2, "size": 2, "name": "b"}}')
    assert [row[0] for row in rows] == [2]
    assert bad[0][:3] == (1, "size", "DOUBLE")


def test_nested_values_are_kept_as_json_text(read: Callable[..., tuple[Rows, Rows]]) -> None:
    rows, _ = read('{"id": 1, "size": 1, "name": {"a": [1, 12345678901234567890123, null]}, "tags": ["x"]}')
    assert json.loads(rows[0][3]) == {"a": [1, 12345678901234567890123, None]}
    assert json.loads(json.loads(rows[0][4])["tags"]) == ["x"]


def test_strange_keys_are_columns_like_others(read: Callable[..., tuple[Rows, Rows]]) -> None:
    keys = ["a.b", "a/b~c", 'q"uote', "*", "$", "'; drop table x; --", "<b>", "é", "\u202e", "0", "a\\b"]
    rows, _ = read(json.dumps({"id": 1, "size": 1, "name": "n", **{key: key for key in keys}}))
    assert json.loads(rows[0][4]) == {key: key for key in keys}


def test_keys_have_no_order_so_a_frozen_contract_takes_any(read: Callable[..., tuple[Rows, Rows]]) -> None:
    rows, _ = read('{"name": "a", "size": 1, "id": 1}', contract="freeze")
    assert rows[0][1:4] == (1, 1.0, "a")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "an empty file"),
        (" \n\n", "no line of the file is a JSON object"),
        ('[{"id": 1},\n{"id": 2}]', "an array of objects is one document"),
        ('{"id": 1}'.encode("utf-16"), "no line of the file is a JSON object"),
        ("id,size,name\n1,2,3\n", "no line of the file is a JSON object"),
        ('{"id": 1, "size": 1, "name": "a", "NAME": "b"}', "two columns have the same name"),
        ('{"id": 1, "size": 1, "naem": "a"}', "name is now naem"),
        ('{"id": 1, "size": 1, "name": "' + "x" * (17 << 20) + '"}', "begins at byte 0"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    read: Callable[..., tuple[Rows, Rows]], content: str | bytes, said: str
) -> None:
    with pytest.raises(RefusedFileError) as refusal:
        read(content)
    assert said in str(refusal.value)


def test_a_byte_order_mark_is_no_part_of_the_first_line(read: Callable[..., tuple[Rows, Rows]]) -> None:
    rows, bad = read(b'\xef\xbb\xbf{"id": 1, "size": 1, "name": "a"}\n')
    assert (len(rows), bad) == (1, [])


def test_lines_longer_than_a_chunk_are_whole(
    read: Callable[..., tuple[Rows, Rows]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "_CHUNK_BYTES", 7)
    lines = [json.dumps({"id": n, "size": n / 3, "name": "n" * n}) for n in range(40)]
    rows, bad = read("\n\n".join(lines) + "\r\n ")
    assert [row[:4] for row in rows] == [(n + 1, n, n / 3, "n" * n if n else None) for n in range(40)]
    assert not bad


@given(pieces=st.lists(st.sampled_from([b"{}", b" ", b"\t", b"\r", b"\n", b"\n\n", b"\r\n", b"\xef\xbb\xbf", b"x"])))
def test_records_are_counted_as_they_are_split(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(b"".join(pieces))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "_CHUNK_BYTES", 5)
        batches = [len(batch) for batch in jsonl._batches(path)]  # noqa: SLF001 - held against each other
        counted = jsonl.count_records(path)
    blank = b" \t\r\n"
    expected = sum(1 for line in b"".join(pieces).removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip(blank))
    assert counted == sum(batches) == expected
