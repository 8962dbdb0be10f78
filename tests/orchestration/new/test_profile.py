"""Profiles of columns as people write them."""

import gzip
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
import zstandard

from assets.errors import HeadraceError
from orchestration.new.profile import Column, Profile, span
from tests import workbooks
from tests.profiles import profile_of, profile_of_columns

MOMENT = datetime.fromisoformat


def profiled(folder: Path, **columns: list[str | None]) -> Profile:
    return profile_of_columns(folder, columns)


def read(profile: Profile, name: str) -> tuple[Column, list[object]]:
    """A column, and its cleaned values in the file's order."""
    column = profile.column(name)
    assert column is not None
    rows = profile.con.execute(f'select "{column.name}" from typed order by headrace_row').fetchall()
    return column, [value for (value,) in rows]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("12/31/20", MOMENT("2020-12-31")), ("12/31/2020", MOMENT("2020-12-31")),
        ("31/12/20", MOMENT("2020-12-31")), ("31.12.20", MOMENT("2020-12-31")),
        ("31-12-99", MOMENT("1999-12-31")), ("31-Dec-20", MOMENT("2020-12-31")),
        ("Dec 31, 20", MOMENT("2020-12-31")), ("12/31/20 17:05", MOMENT("2020-12-31 17:05")),
        ("12/31/2020 05:06 PM", MOMENT("2020-12-31 17:06")), ("31/12/2020 5:06 am", MOMENT("2020-12-31 05:06")),
        ("2020/12/31", MOMENT("2020-12-31")),
    ],
)  # fmt: skip
def test_a_date_is_of_our_time(text: str, moment: datetime, tmp_path: Path) -> None:
    """Regression: `%Y` took `12/31/20` for a day in the year 20."""
    column, values = read(profiled(tmp_path, at=[text, text], x=["a", "b"]), "at")
    assert (column.kind, values) == ("timestamp", [moment, moment])


def test_fractions_and_mixed_years_are_no_dates_of_the_first_century(tmp_path: Path) -> None:
    profile = profiled(tmp_path, share=["3/4", "1/20"], day=["12/31/20", "12/31/2020"])
    assert {column.kind for column in profile.columns} == {"category"}


def test_years_that_python_has_not_count_as_missing_in_a_span(tmp_path: Path) -> None:
    """Regression: such a moment comes from DuckDB as text, and the arithmetic on it ended in a stack trace."""
    profile = profiled(tmp_path, at=["0000-01-01", "2020-01-01", "2021-01-01"], x=["a", "b", "c"])
    column = profile.column("at")
    assert column is not None
    assert column.kind == "timestamp"
    assert span(profile.con, column) == (MOMENT("2020-01-01"), MOMENT("2021-01-01"))
    profile = profiled(tmp_path, at=["0000-01-01", "0000-02-01"], x=["a", "b"])
    assert span(profile.con, profile.columns[0]) == (None, None)


def test_whole_numbers_are_dates_if_nearly_all_are(tmp_path: Path) -> None:
    """Regression: one impossible day among dates such as 20130105 ended in DuckDB's error."""
    days = [f"202001{day:02}" for day in range(1, 31)]
    column, values = read(profiled(tmp_path, order_date=[*days, "20201301"]), "order_date")
    assert (column.kind, column.raw_type, column.nulls) == ("timestamp", "BIGINT", 1)
    assert (values[0], values[-1]) == (MOMENT("2020-01-01"), None)
    assert "1 read as missing" in " ".join(column.notes)
    column, _ = read(profiled(tmp_path, order_date=["20201301", "20209999", "20200101"]), "order_date")
    assert column.kind == "integer"


def test_spaces_around_values_are_no_part_of_them(tmp_path: Path) -> None:
    """Regression: the type was decided on trimmed texts, and the untrimmed ones didn't cast: all was missing."""
    moments = [" 2024-01-01 10:00:00", "2024-01-02 10:00:00 "]
    profile = profiled(tmp_path, flag=[" True", "False "], at=moments, n=[" 1", "2 "])
    assert [(column.raw_type, column.nulls) for column in profile.columns] == [
        ("BOOLEAN", 0), ("TIMESTAMP", 0), ("BIGINT", 0),
    ]  # fmt: skip
    assert read(profile, "flag")[1] == [True, False]


def test_zero_before_a_comma_is_no_thousand(tmp_path: Path) -> None:
    """Regression: `0,123` was read as 123."""
    profile = profiled(tmp_path, fraction=["0,123", "0,456"], amount=["1,123", "$2,456.50"])
    assert profile.columns[0].kind == "category"
    assert read(profile, "amount")[1] == [1123.0, 2456.5]


def test_spreadsheets_and_databases_spell_nothing_in_their_ways(tmp_path: Path) -> None:
    nothing = ["\\N", "na", "N.A.", "#VALUE!", "#DIV/0!"]
    profile = profiled(tmp_path, x=["1", *nothing, "2"])
    assert (profile.columns[0].raw_type, profile.columns[0].nulls) == ("BIGINT", 5)
    assert set(nothing) < set(profile.nulls)


def test_yes_and_no_are_two_values_however_they_are_written(tmp_path: Path) -> None:
    """Regression: `Yes`, `YES` and `yes` with a tab were three categories."""
    texts = ["Yes", "YES", "yes\t", "no", "No"]
    column, values = read(profiled(tmp_path, member=texts, size=["S", "s", "M", "L", "XL"]), "member")
    assert (column.distinct, values) == (2, ["yes", "yes", "yes", "no", "no"])
    assert "one value" in " ".join(column.notes)
    # other texts may mean something by their case
    assert read(profiled(tmp_path, size=["S", "s", "M"], x=["1", "2", "3"]), "size")[1] == ["S", "s", "M"]


# --- how files are written -------------------------------------------------------------------------------------------


def of_semicolons(folder: Path, **columns: list[str]) -> Profile:
    """A file whose fields are apart by semicolons."""
    pl.DataFrame(columns).write_csv(folder / "data.csv", separator=";")
    return profile_of(folder, folder / "data.csv")


@pytest.mark.parametrize(
    ("texts", "style", "values"),
    [
        (["0,5", "1,838"], {"decimal": ","}, [0.5, 1.838]),
        (["0,123", "0,456"], {"decimal": ","}, [0.123, 0.456]),
        (["1.234,56", "7,5", "-12.000"], {"decimal": ",", "thousands": "."}, [1234.56, 7.5, -12000.0]),
        (["1 234,5", "7,25"], {"decimal": ",", "thousands": " "}, [1234.5, 7.25]),
        (["1'234,5", "7,25"], {"decimal": ",", "thousands": "'"}, [1234.5, 7.25]),
        (["1,838", "12", "2,500"], {}, [1838.0, 12.0, 2500.0]),
        (["1,234.56", "2,000.00"], {}, [1234.56, 2000.0]),
    ],
)
def test_a_comma_is_decimal_only_where_it_can_not_be_for_thousands(
    texts: list[str], style: dict[str, str], values: list[float], tmp_path: Path
) -> None:
    """Regression: `1,838` of a US file with semicolons became 1.838; `1.234,56` was no number at all."""
    profile = of_semicolons(tmp_path, a=texts, b=["x"] * len(texts))
    assert profile.csv.model_dump(exclude_defaults=True) == {"delimiter": ";", **style}
    assert read(profile, "a")[1] == values
    assert (profile.columns[0].raw_type == "DOUBLE") == bool(style)


def test_one_column_with_decimal_commas_speaks_for_all_others(tmp_path: Path) -> None:
    """`2.500` alone could be two and a half; in a file with `0,5` it is two thousand five hundred. A code is none."""
    profile = of_semicolons(
        tmp_path, a=["0,5", "-"], b=["2.500", "1.000"], c=["007", "008"], d=["-", "1,5"], e=["12,0", "3"]
    )
    assert profile.csv.thousands == "."
    kinds = {column.name: (column.raw_type, column.kind) for column in profile.columns}
    assert kinds == {
        "a": ("VARCHAR", "number"), "b": ("BIGINT", "integer"), "c": ("VARCHAR", "category"),
        "d": ("VARCHAR", "number"), "e": ("DOUBLE", "number"),
    }  # fmt: skip
    assert [read(profile, name)[1] for name in "abde"] == [[0.5, None], [2500, 1000], [None, 1.5], [12.0, 3.0]]


def test_where_decimal_points_are_sure_commas_stay_text(tmp_path: Path) -> None:
    profile = of_semicolons(tmp_path, a=["0,5", "7,25"], b=["1.5", "0.25"])
    assert profile.csv.decimal == "."
    assert [column.kind for column in profile.columns] == ["category", "number"]


def test_dates_of_one_format_are_dates_in_the_raw_table(tmp_path: Path) -> None:
    profile = of_semicolons(
        tmp_path, day=["31.12.2020", "01.02.2021"], due=["01.01.2021", "02.01.2021"],
        at=["31.12.2020 17:05", "01.02.2021 00:00"],
    )  # fmt: skip
    assert (profile.csv.date_format, profile.csv.timestamp_format) == ("%d.%m.%Y", "%d.%m.%Y %H:%M")
    assert [column.raw_type for column in profile.columns] == ["DATE", "DATE", "TIMESTAMP"]
    assert read(profile, "day")[1] == [MOMENT("2020-12-31"), MOMENT("2021-02-01")]
    assert read(profile, "at")[1] == [MOMENT("2020-12-31 17:05"), MOMENT("2021-02-01 00:00")]


def test_dates_of_several_formats_or_with_words_between_them_are_read_behind_the_raw_table(tmp_path: Path) -> None:
    profile = of_semicolons(
        tmp_path, day=["31.12.2020", "01.02.2021"], iso=["2020-12-31", "2021-02-01"], due=["-", "02.01.2021"]
    )
    assert profile.csv.date_format == ""
    assert [column.raw_type for column in profile.columns] == ["VARCHAR", "DATE", "VARCHAR"]
    assert read(profile, "due")[1] == [None, MOMENT("2021-01-02")]


TABLE = pl.DataFrame(
    {"id": [1, 2], "ratio": [0.5, None], "name": ["é", "b"], "day": [date(2020, 1, 1), date(2021, 1, 1)]}
)

SHEET = workbooks.cells(
    [
        [workbooks.text(name) for name in TABLE.columns],
        [workbooks.number(1), workbooks.number(0.5), workbooks.text("é"), workbooks.number(43831, workbooks.DATE)],
        [workbooks.number(2), None, workbooks.text("b"), workbooks.number(44197, workbooks.DATE)],
    ]
)


@pytest.mark.parametrize(
    "name", ["t.csv", "t.csv.gz", "t.csv.zst", "t.tsv", "t.parquet", "t.jsonl", "t.jsonl.gz", "t.xlsx"]
)
def test_every_format_has_the_same_profile(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    writers: dict[str, Callable[[], None]] = {
        "csv": lambda: TABLE.write_csv(file),
        "csv.gz": lambda: file.write_bytes(gzip.compress(TABLE.write_csv().encode("utf-16"))) and None,
        "csv.zst": lambda: file.write_bytes(zstandard.compress(TABLE.write_csv().encode("cp1252"))) and None,
        "tsv": lambda: TABLE.write_csv(file, separator="\t"),
        "parquet": lambda: TABLE.write_parquet(file),
        "jsonl": lambda: TABLE.write_ndjson(file),
        "jsonl.gz": lambda: file.write_bytes(gzip.compress(TABLE.write_ndjson().encode())) and None,
        "xlsx": lambda: workbooks.write(file, {"Sheet": SHEET}) and None,
    }
    writers[name.removeprefix("t.")]()
    profile = profile_of(tmp_path, file)
    kinds = {column.name: (column.raw_type, column.kind) for column in profile.columns}
    assert (profile.format, profile.rows) == ("auto", 2)
    assert kinds == {
        "id": ("BIGINT", "integer"), "ratio": ("DOUBLE", "number"), "name": ("VARCHAR", "category"),
        "day": ("TIMESTAMP" if name == "t.xlsx" else "DATE", "timestamp"),
    }  # fmt: skip
    rows = profile.con.execute(
        "select * exclude (headrace_file, headrace_row) from typed order by headrace_row"
    ).fetchall()
    assert rows == [(1, 0.5, "é", MOMENT("2020-01-01")), (2, None, "b", MOMENT("2021-01-01"))]


def test_files_that_are_written_in_different_ways_are_no_one_source(tmp_path: Path) -> None:
    written: dict[str, bytes] = {
        "a.csv": b"x,y\n1,2\n",
        "b.csv": b"x;y\n1;2\n",
        "c.csv": "x,y\né,2\n".encode(),
        "d.csv": "x,y\né,2\n".encode("cp1252"),
        "e.dat": b'{"x": 1, "y": 2}\n',
    }
    for name, content in written.items():
        (tmp_path / name).write_bytes(content)
    for names, word in (
        (("a.csv", "b.csv"), "delimiter"),
        (("c.csv", "d.csv"), "encoding"),
        (("a.csv", "e.dat"), "format"),
    ):
        with pytest.raises(HeadraceError, match=f"not of one {word}") as refusal:
            profile_of(tmp_path, *(tmp_path / name for name in names))
        assert refusal.value.fix
    both = profile_of(tmp_path, tmp_path / "a.csv", tmp_path / "d.csv")
    assert (both.csv.encoding, both.rows) == ("cp1252", 2)


def test_a_file_that_the_reader_refuses_is_refused_with_its_name_and_reason(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text('a,b\n1,"x\n2,y\n')
    with pytest.raises(HeadraceError, match=r"data\.csv") as refusal:
        profile_of(tmp_path, file)
    assert refusal.value.fix
    assert not list((tmp_path / "home").glob("new-*"))


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("t.jsonl", '{"batch_id": 1, "x": 2}\n', "no name that the lake can have"),
        ("t.jsonl", '{"x": 1, "batch_id": 2}\n', "the platform uses itself"),
        ("t.jsonl", '{"x": 1, "y": 2}\n{"X": 1, "y": 2}\n', "the same name"),
        ("t.jsonl", '{\n"x": 1, "y": 2\n}\n', "can't be read as jsonl"),
        ("t.jsonl", '{"": 1, "y": 2}\n', "no name that the lake can have"),
        ("t.xlsx", "PK\x03\x04 and no more", "can't be read as excel"),
        ("t.parquet", "PAR1 and no more", "can't be read as parquet"),
    ],
)
def test_what_can_not_be_a_table_of_the_lake_is_refused_with_what_to_do(
    name: str, content: str, word: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(HeadraceError, match=word) as refusal:
        profile_of(tmp_path, file)
    assert refusal.value.fix
    assert name in str(refusal.value)


def test_columns_of_json_lines_are_in_the_order_of_the_file_and_all_of_them(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"z": 1, "b": 2}\n{"b": 3, "late": true, "z": null}\n')
    assert [column.raw for column in profile_of(tmp_path, file).columns] == ["z", "b", "late"]
