"""A value is loaded as it was written or goes to quarantine; what evolution adds and widens loses nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.naming import literal, quoted
from assets.raw.reader import plain, text_csv
from assets.raw.reader.columns import plan_columns
from assets.raw.reader.protocol import ReadReport, ReadRequest, RefusedFileError
from assets.raw.reader.typed import Written, as_type, does_not_fit, write_typed
from assets.spec import ColumnType

CHANGED: dict[ColumnType, tuple[str, ...]] = {
    "BIGINT": (
        "1.5", "1e-1", "4503599627370497.5", "9007199254740992.5", "9223372036854775808", "0x10", "true", "1,000", "  ",
        "4503599627370496.5", "-4503599627370496.5", "4503599627370496.4", "0.9999999999999999999",
        "-1.00000000000000000001", "4503599627370495.99999999999", "+-1",
    ),
    "DOUBLE": ("NaN", "inf", "-Infinity", "1e999", "1,5", "x", "0x10", "+-1"),
    "BOOLEAN": ("2", "perhaps"),
    "DATE": (
        "2024-02-30", "2024-02-03 10:00:00", "infinity", "2024-01-01 24:00:00", "2024-01-01 11:30 PM",
        "2024-01-01 23:30:00 CET", "2024-01-01x", "2024-01-1x", "2024-01-01/2024-01-31", "2024-1-1,5",
        "2024-01-01 (estimated)", "2024-01-01T", "2024-01-01 25:99", "300000-01-01x", "300000-01-01 10:00:00",
    ),
    "TIMESTAMP": (
        "2024-02-03 25:00:00", "2024-02-03T10:00:00+05:00", "2024-02-03 1:00:00+05", "infinity",
        "2024-02-03 10:00:00.123456789",
    ),
    "TIMESTAMPTZ": ("-infinity", "yesterday", "2024-02-03 10:00:00.1234567+00"),
    "VARCHAR": ("a\x00b",),
}  # fmt: skip
KEPT: dict[ColumnType, dict[str, str]] = {
    "BIGINT": {
        "9223372036854775807": "9223372036854775807", "-9223372036854775808": "-9223372036854775808", "12.0": "12",
        "1e3": "1000", "9007199254740993.0": "9007199254740993", "007": "7",
        "4503599627370496.0": "4503599627370496", "-4503599627370496": "-4503599627370496", "120e-1": "12",
        "1.000000000000000000e+00": "1", "0e5": "0", "-.0": "0", "1.0000000000000000000": "1",
        "1711967438940424.e0": "1711967438940424", "4.503599627370497000e+15": "4503599627370497", "1e18": str(10**18),
    },
    "DOUBLE": {"0.1": "0.1", "-1.7976931348623157e308": "-1.7976931348623157e+308"},
    "BOOLEAN": {"true": "true", "0": "false"},
    "DATE": {
        "2024-02-03": "2024-02-03", "2024-02-03 00:00:00": "2024-02-03", "2024-2-3": "2024-02-03",
        "2024/02/03": "2024-02-03", "2024-02-03T00:00:00Z": "2024-02-03", "300000-01-01": "300000-01-01",
        "5877642-06-25 (BC)": "5877642-06-25 (BC)", "44-03-15 (BC)": "0044-03-15 (BC)",
    },
    "TIMESTAMP": {
        "2024-02-03T10:00:00.123456": "2024-02-03 10:00:00.123456", "2024-02-03T10:00:00Z": "2024-02-03 10:00:00",
        "2024-02-03 10:00:00.123456000": "2024-02-03 10:00:00.123456",
    },
    "TIMESTAMPTZ": {"2024-02-03T10:00:00+05:00": "2024-02-03 05:00:00+00"},
    "VARCHAR": {" NaN ": " NaN ", "ä\u2028": "ä\u2028"},
}  # fmt: skip


@pytest.fixture
def load(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, request_of: Callable[..., ReadRequest], written: Callable[..., Any]
) -> Callable[..., tuple[ReadReport, list[Any], list[Any]]]:
    """Read a CSV file: the one format here whose values are texts from the start."""

    def read(content: str, columns: dict[str, str], **contract: Any) -> Any:
        path = tmp_path / "file.csv"
        path.write_text(content, newline="")
        request = request_of(path, columns=columns, **contract)
        try:
            report = text_csv.read(con, path, request)
        finally:
            shutil.rmtree(plain.scratch_of(request))
        return report, *written(request, report)

    return read


@pytest.mark.parametrize("kind", CHANGED)
def test_a_value_is_loaded_as_it_is_or_quarantined_never_changed(load: Callable[..., Any], kind: ColumnType) -> None:
    """Nothing is rounded, cut or moved in time; each text alone too, as a file of good values is read in one pass."""
    texts = [*CHANGED[kind], *KEPT[kind], ""]
    head = "field,id\n"
    _, _, bad = load(
        head + "".join(f'"{text}",{place}\n' for place, text in enumerate(texts)), {"field": kind, "id": "BIGINT"}
    )
    assert [(row[0], row[1], row[3]) for row in bad] == [
        (number, "field", text) for number, text in enumerate(CHANGED[kind], start=1)
    ]
    for text in CHANGED[kind]:
        assert load(f'{head}"{text}",1\n', {"field": kind, "id": "BIGINT"})[0].rows_quarantined == 1


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in KEPT.items() for text in texts])
@pytest.mark.parametrize("behind", ["", "bad,bad\n"])
def test_a_good_value_is_the_same_in_a_clean_file_and_beside_a_bad_one(
    load: Callable[..., Any], con: duckdb.DuckDBPyConnection, tmp_path: Path, kind: ColumnType, text: str, behind: str
) -> None:
    load(f'field,id\n"{text}",1\n{behind}', {"field": kind, "id": "BIGINT"})
    rows = con.execute(f"select field::varchar from read_parquet('{tmp_path}/written/rows.parquet')").fetchall()
    assert rows[0] == (KEPT[kind][text],)


def test_a_date_beyond_all_timestamps_refuses_no_file(load: Callable[..., Any]) -> None:
    """Regression: held against its timestamp, such a date ended the scan, and with it the rows beside it."""
    _, rows, bad = load("day,id\n300000-01-01,1\n2024-01-01,2\n5881580-07-12,3\n", {"day": "DATE", "id": "BIGINT"})
    assert [row[3] for row in rows] == [1, 2]
    assert [(row[0], row[3]) for row in bad] == [(3, "5881580-07-12")]


def test_a_date_written_as_the_spec_says_has_nothing_behind_it(load: Callable[..., Any]) -> None:
    style = {"date_format": "%d.%m.%Y"}
    _, rows, bad = load("day\n03.02.2024\n03.02.2024x\n2024-02-03\n", {"day": "DATE"}, csv=style)
    assert ([str(row[2]) for row in rows], [row[0] for row in bad]) == (["2024-02-03"], [2, 3])


@pytest.mark.parametrize("beside", ["", "x"])
def test_without_null_texts_an_empty_field_is_a_value(load: Callable[..., Any], beside: str) -> None:
    """Regression: DuckDB refused every file where `nulls: []` says that no text means no value."""
    columns = {"id": "BIGINT", "text": "VARCHAR"}
    _, rows, bad = load(f'id,text\n1,\n2,""\n3,NA\n{beside or 4},z\n', columns, nulls=(), required=("text",))
    assert [row[2:4] for row in rows] == [(1, ""), (2, ""), (3, "NA"), *([] if beside else [(4, "z")])]
    assert len(bad) == len(beside)


def test_an_empty_field_that_is_a_value_is_no_number(load: Callable[..., Any]) -> None:
    _, rows, bad = load("id,size\n1,\n2,1.5\n", {"id": "BIGINT", "size": "DOUBLE"}, nulls=())
    assert ([row[2:4] for row in rows], [row[:4] for row in bad]) == ([(2, 1.5)], [(1, "size", "DOUBLE", "")])


@pytest.mark.parametrize("kind", [kind for kind in KEPT if kind != "VARCHAR"])
def test_spaces_around_a_value_are_no_part_of_it(load: Callable[..., Any], kind: ColumnType) -> None:
    columns = {"field": kind, "id": "BIGINT"}
    bare = load("field,id\n" + "".join(f"{text},1\n" for text in KEPT[kind]), columns)
    spaced = load("field,id\n" + "".join(f" {text}  , 1\n" for text in KEPT[kind]), columns)
    assert spaced == bare


def test_an_empty_required_value_is_quarantined_and_an_optional_one_is_null(load: Callable[..., Any]) -> None:
    columns = {"id": "BIGINT", "text": "VARCHAR", "value": "DOUBLE"}
    _, rows, bad = load('id,text,value\n1,NA,1\n2,,1\n3,"",1\n4,x,NA\n', columns, required=("text",), nulls=("", "NA"))
    assert [row[1:5] for row in rows] == [(4, 4, "x", None)]
    assert [row[:4] for row in bad] == [(number, "text", "a value", None) for number in (1, 2, 3)]


def test_the_first_fault_in_the_order_of_the_contract_is_reported(load: Callable[..., Any]) -> None:
    _, _, bad = load("b,a\nx,y\n", {"a": "BIGINT", "b": "DOUBLE"})
    assert bad == [(1, "a", "BIGINT", "y", '{"a":"y","b":"x"}')]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-2", ""], "BIGINT"),
        (["9223372036854775807"], "BIGINT"),
        (["1", "1.5", "2e3"], "DOUBLE"),
        (["true", "False"], "BOOLEAN"),
        (["2024-02-03"], "DATE"),
        (["2024-02-03", "2024-02-03 10:00:00"], "TIMESTAMP"),
        (["007"], "VARCHAR"),
        (["12345678901234567890"], "VARCHAR"),
        (["0.12345678901234567890"], "VARCHAR"),
        (["yes", "no"], "VARCHAR"),
        (["1", "x"], "VARCHAR"),
        (["nan"], "VARCHAR"),
        (["", ""], "VARCHAR"),
    ],
)
def test_evolution_adds_a_column_of_a_type_that_keeps_all_its_texts(
    load: Callable[..., Any], texts: list[str], kind: str
) -> None:
    content = "id,new\n" + "".join(f"{place},{text}\n" for place, text in enumerate(texts))
    report, rows, bad = load(content, {"id": "BIGINT"}, contract="evolve")
    assert report.columns == {"id": "BIGINT", "new": kind}
    assert [(change.kind, change.column, change.after) for change in report.changes] == [("added", "new", kind)]
    assert (len(rows), bad) == (len(texts), [])


def test_evolution_widens_whole_numbers_only_when_none_would_change(load: Callable[..., Any]) -> None:
    report, rows, bad = load("id\n1\n2.5\nx\n", {"id": "BIGINT"}, contract="evolve")
    assert (report.columns, [row[2] for row in rows], bad[0][:2]) == ({"id": "DOUBLE"}, [1.0, 2.5], (3, "id"))
    report, rows, bad = load("id\n9007199254740993\n2.5\n", {"id": "BIGINT"}, contract="evolve")
    assert (report.columns, [row[2] for row in rows], bad[0][:2]) == (
        {"id": "BIGINT"}, [9007199254740993], (2, "id"),
    )  # fmt: skip


def test_a_frozen_contract_refuses_the_file_with_the_first_bad_value(load: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RefusedFileError) as caught:
        load("id\n1\nx\ny\n", {"id": "BIGINT"}, contract="freeze")
    assert (caught.value.where, caught.value.expected, caught.value.found) == ("row 2, column id", "BIGINT", "'x'")
    assert not (tmp_path / "written" / "quarantine.parquet").exists()


def test_names_and_values_with_quotes_and_sql_are_data(load: Callable[..., Any]) -> None:
    column = 'x"); drop table t; --'
    header = '"' + column.replace('"', '""') + '"'
    _, rows, bad = load(
        f"id,{header}\n1,'; drop\n2,\n", {"id": "BIGINT", column: "VARCHAR"}, required=(column,), nulls=("", "' or '")
    )
    assert (rows[0][1:4], bad[0][:2]) == ((1, 1, "'; drop"), (2, column))


def test_rejected_records_stand_among_the_bad_rows(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, request_of: Callable[..., ReadRequest]
) -> None:
    request = request_of(tmp_path / "x", columns={"id": "BIGINT"})
    texts = "select * from (values (1, '1'), (3, 'x')) as t(headrace_row, id)"
    rejected = "select 2 as row_number, null as column_name, 'e' as expected, 'f' as found, 'g' as raw_text"
    done = write_typed(con, texts, plan_columns(["id"], request), request, rejected=rejected)
    assert done == Written(1, 2, {"id": "BIGINT"}, ())
    path = literal(str(Path(request.folder) / "quarantine.parquet"))
    assert con.execute(f"select row_number, found from read_parquet({path})").fetchall() == [(2, "f"), (3, "x")]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.integers(-(2**70), 2**70), decimals=st.sampled_from(["", ".", ".0", ".5", ".01", ".4", f".{'9' * 25}"]))
def test_a_whole_number_is_kept_to_the_last_digit_or_not_at_all(
    con: duckdb.DuckDBPyConnection, value: int, decimals: str
) -> None:
    text, name = f"{value}{decimals}", quoted("text")
    query = f"select {does_not_fit(name, 'BIGINT')}, {as_type(name, 'BIGINT')} from (select ? as text)"
    misfit, kept = con.execute(query, [text]).fetchall()[0]
    fits = -(2**63) <= value < 2**63 and not decimals.strip(".0")
    assert (misfit, None if misfit else kept) == (not fits, value if fits else None)
