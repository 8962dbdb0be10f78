"""Files as they really arrive, and as somebody who means harm would send them, each with what must become of it.

What is expected is said per file: rows loaded, rows quarantined with their place, or words of the refusal. The files
are made here and nowhere kept; how they are loaded is in `test_corpus.py`.
"""

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from tests import workbooks as wb

COLUMNS = {"id": "BIGINT", "size": "DOUBLE", "name": "VARCHAR"}
GOOD = b"id,size,name\n1,1.5,a\n"
UNPACKED_GIGABYTES = 0.25
"""Packed files of the corpus may not become larger."""


@dataclass(frozen=True)
class Outcome:
    """What becomes of a file."""

    loaded: int = 0
    bad: tuple[tuple[int, str | None], ...] = ()
    """number and column of each quarantined row; None where the row as a whole is no row"""
    refused: str = ""
    """words of the refusal of the whole file, which then has no rows anywhere"""
    either: bool = False
    """damage that no reader can see: refused with any words, or this number of rows in all"""
    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """of some columns the loaded values in their order"""


@dataclass(frozen=True)
class Case:
    """A file."""

    title: str
    content: Callable[[], bytes]
    outcomes: Mapping[str, Outcome]
    """contract mode -> what becomes of it"""
    file_name: str
    contract: Mapping[str, Any]


def load(loaded: int, **values: Sequence[Any]) -> Outcome:
    """All rows are loaded; some columns' values are these."""
    return Outcome(loaded=loaded, values=values)


def split(loaded: int, *bad: tuple[int, str | None]) -> Outcome:
    """Some rows are loaded, the others quarantined at these places."""
    return Outcome(loaded=loaded, bad=bad)


def refuse(words: str) -> Outcome:
    """The whole file is refused."""
    return Outcome(refused=words)


def either(rows: int) -> Outcome:
    """Every row is accounted for, or the file is refused."""
    return Outcome(loaded=rows, either=True)


def _case(
    title: str,
    content: bytes | str | Callable[[], bytes],
    rescue: Outcome,
    *,
    name: str = "",
    freeze: Outcome | None = None,
    evolve: Outcome | None = None,
    **contract: Any,
) -> Case:
    raw = content.encode() if isinstance(content, str) else content
    outcomes = {"rescue": rescue, "freeze": freeze, "evolve": evolve}
    return Case(
        title,
        (lambda: raw) if isinstance(raw, bytes) else raw,
        {mode: outcome for mode, outcome in outcomes.items() if outcome},
        name or "file.csv",
        contract,
    )


def _csv(*lines: str, end: str = "\n") -> str:
    return "".join(line + end for line in ("id,size,name", *lines))


def encodings() -> Iterator[Case]:
    """Texts in the many ways of bytes."""
    text = _csv("1,1.5,größe", "2,2.5,日本語")
    names = {"name": ["größe", "日本語"]}
    yield _case("UTF-8", text, load(2, **names), freeze=load(2, **names), evolve=load(2, **names))
    yield _case("UTF-8 with a byte order mark", "\ufeff" + text, load(2, **names))
    for codec in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        content = ("\ufeff" + text).encode(codec)
        yield _case(f"{codec} with a byte order mark", content, load(2, **names))
        yield _case(f"{codec} without a mark", text.encode(codec), refuse("isn't UTF-8"))
        yield _case(f"{codec}, declared", text.encode(codec), load(2, **names), csv={"encoding": codec})
    western = _csv("1,1.5,größe", "2,2.5,a").encode("cp1252")
    yield _case("cp1252 that nobody declared", western, refuse("line 2"))
    yield _case("cp1252, declared", western, load(2, name=["größe", "a"]), csv={"encoding": "cp1252"})
    yield _case("bytes that the declared codec lacks", GOOD + b"2,2,\x81\n", refuse("0x81"), csv={"encoding": "cp1252"})
    yield _case(
        "Shift-JIS, declared",
        text.replace("ö", "o").replace("ß", "s").encode("shift-jis"),
        load(2),
        csv={"encoding": "shift-jis"},
    )
    yield _case("an overlong sequence", GOOD + b"2,2,\xc0\xaf\n", refuse("line 3"))
    yield _case("half of a surrogate pair", GOOD + b"2,2,\xed\xa0\x80\n", refuse("line 3"))
    yield _case("a character cut off at the end", GOOD + b"2,2,\xe6\x97", refuse("line 3"))
    yield _case("a header that is no UTF-8", b"id,size,n\xe4me\n1,1,a\n", refuse("line 1"))
    yield _case("two byte order marks", b"\xef\xbb\xbf\xef\xbb\xbf" + GOOD, refuse("id"))
    yield _case("a byte order mark in a value", GOOD + "2,2,\ufeff\n".encode(), load(2, name=["a", "\ufeff"]))
    nfd = unicodedata.normalize("NFD", "größe")
    yield _case("values in two spellings of Unicode", _csv("1,1,größe", f"2,2,{nfd}"), load(2, name=["größe", nfd]))
    yield _case("emoji, right-to-left marks and private letters", _csv("1,1,👩‍👩‍👧\u202e\ue000\U0010ffff"), load(1))


def nuls() -> Iterator[Case]:
    """Bytes of zero."""
    yield _case("a NUL in a text", GOOD + b"2,2,a\x00b\n", split(1, (2, "name")))
    yield _case("a NUL in a number", GOOD + b"2\x00,2,b\n", split(1, (2, "id")))
    yield _case("a NUL in the header", b"id,size,na\x00me\n1,1,a\n", refuse("header"))
    yield _case("nothing but NULs", bytes(4096), refuse("header"))
    yield _case("NULs behind the last row, as a crash leaves them", GOOD + bytes(512), split(1, (2, None)))


def shapes() -> Iterator[Case]:
    """Rows that are none."""
    yield _case(
        "a row that is too short",
        GOOD + b"2,2\n3,3,c\n",
        split(2, (2, None)),
        freeze=refuse("frozen"),
        evolve=split(2, (2, None)),
    )
    yield _case("a row that is too long", GOOD + b"2,2,b,extra\n3,3,c\n", split(2, (2, None)))
    yield _case(
        "ragged rows everywhere",
        GOOD + b"2\n3,3,c,d,e\n,,,\n5,5,e\n,\n",
        split(3, (2, None), (3, None), (6, None)),
    )
    yield _case("empty lines", GOOD + b"\n\n2,2,b\n\n", load(2))
    yield _case("empty lines above the header", b"\n\n" + GOOD, refuse("no header"))
    yield _case("lines of spaces", GOOD + b"   \n2,2,b\n", split(2, (2, None)))
    yield _case("a comma behind every row", b"id,size,name,\n1,1,a,\n2,2,b,\n", load(2))
    yield _case("a nameless column of row numbers", b",id,size,name\n0,1,1,a\n", refuse("no usable name"))
    yield _case("only a header", b"id,size,name\n", load(0), freeze=load(0), evolve=load(0))
    yield _case("only a header, without its line end", b"id,size,name", load(0))
    yield _case("zero bytes", b"", refuse("header"), freeze=refuse("header"), evolve=refuse("header"))
    yield _case("one line end", b"\n", refuse("header"))
    yield _case("one byte", b"x", refuse("missing id"))
    yield _case("one fake column", b"just some words\nand more\n", refuse("missing id"), evolve=refuse("missing id"))
    yield _case("one column that is declared", b"id\n1\n\n3\n", load(3, id=[1, None, 3]), columns={"id": "BIGINT"})
    yield _case("the header twice", b"id,size,name\n" + GOOD, split(1, (1, "id")))
    yield _case("a title above the header", b"Report of today\n" + GOOD, refuse("missing id"))
    yield _case("a total below", GOOD + b"Total,1.5,\n", split(1, (2, "id")))
    yield _case("a comment", b"# made by hand\n" + GOOD, refuse("missing id"))
    yield _case("a line that names its separator", b"sep=,\n" + GOOD, refuse("missing id"))
    for sign, name in ((b";", "semicolons"), (b"\t", "tabs"), (b"|", "bars")):
        content = GOOD.replace(b",", sign)
        yield _case(f"{name} that nobody declared", content, refuse("source.csv.delimiter"))
        yield _case(f"{name}, declared", content, load(1), csv={"delimiter": sign.decode()})
    yield _case("no header, declared", b"1,1.5,a\n2,2.5,b\n", load(2, id=[1, 2]), csv={"header": False})
    yield _case(
        "no header, declared, and a first field of two lines that end otherwise",
        b'"a\nb",1\r\nc,2\r\n',
        load(2, name=["a\nb", "c"]),
        columns={"name": "VARCHAR", "id": "BIGINT"},
        csv={"header": False},
    )
    yield _case("an empty text that is a value", b"id,size,name\n1,1,\n2,,b\n", split(1, (2, "size")), nulls=[])
    yield _case("no header, not declared", b"7,1.5,a\n2,2.5,b\n", refuse("missing id"))
    yield _case(
        "decimal commas, declared",
        b"id;size;name\n1;1.234,5;a\n2;12,5;b\n",
        load(2, size=[1234.5, 12.5]),
        csv={"delimiter": ";", "decimal": ",", "thousands": "."},
    )
    yield _case(
        "decimal commas, not declared", b"id;size;name\n1;1,5;a\n", split(0, (1, "size")), csv={"delimiter": ";"}
    )
    yield _case("a required value that is missing", GOOD + b",2,b\n", split(1, (2, "id")), required=["id"])


def quotes() -> Iterator[Case]:
    """Quotes where they belong and where they don't."""
    yield _case(
        "a quote that is never closed",
        GOOD + b'2,2,"b\n3,3,c\n',
        refuse("quote"),
        freeze=refuse("quote"),
        evolve=refuse("quote"),
    )
    yield _case(
        "a quote that is never closed in the first row", b'id,size,name\n1,1,"a\n2,2,b\n3,3,c\n', refuse("quote")
    )
    yield _case("a quote that is never closed in the header", b'id,size,"name\n1,1,a\n', refuse(""))
    yield _case("text behind a closing quote", GOOD + b'2,2,"b"x\n3,3,c\n', split(2, (2, None)))
    yield _case("a quote within a plain field", GOOD + b'2,2,5" pipe\n3,3,c\n', load(3, name=["a", '5" pipe', "c"]))
    yield _case("doubled quotes", GOOD + b'2,2,"say ""x"""\n', load(2, name=["a", 'say "x"']))
    yield _case(
        "line ends, commas and CRLF in quotes",
        GOOD + b'2,2,"b\nc,d\r\ne"\n3,3,"\n"\n',
        load(3, name=["a", "b\nc,d\r\ne", "\n"]),
    )
    yield _case("backslashes before quotes, not declared", GOOD + b'2,2,"b\\"c"\n3,3,c\n', split(2, (2, None)))
    yield _case(
        "backslashes before quotes, declared", GOOD + b'2,2,"b\\"c"\n', load(2, name=["a", 'b"c']), csv={"escape": "\\"}
    )
    yield _case(
        "single quotes, declared",
        b"id,size,name\n1,1,'a,b'\n",
        load(1, name=["a,b"]),
        csv={"quote": "'", "escape": "'"},
    )
    yield _case("curly quotes", GOOD + "2,2,“b”\n".encode(), load(2, name=["a", "“b”"]))
    yield _case("no quotes, declared", GOOD + b'2,2,"b\n', load(2, name=["a", '"b']), csv={"quote": "", "escape": ""})
    yield _case("everything in quotes", b'"id","size","name"\n"1","1.5","a"\n', load(1, id=[1]))


def line_ends() -> Iterator[Case]:
    """Lines that end in every way."""
    rows = ("1,1,a", "2,2,b", "3,3,c")
    yield _case("CRLF", _csv(*rows, end="\r\n"), load(3, name=["a", "b", "c"]))
    yield _case("CR alone", _csv(*rows, end="\r"), load(3, name=["a", "b", "c"]))
    yield _case("LF and CRLF mixed", b"id,size,name\r\n1,1,a\n2,2,b\r\n3,3,c\n", load(3, name=["a", "b", "c"]))
    yield _case("all three mixed", b"id,size,name\n1,1,a\r\n2,2,b\r3,3,c\n", load(3, name=["a", "b", "c"]))
    yield _case("CR CR LF, as a wrong transfer leaves it", _csv(*rows, end="\r\r\n"), load(3, name=["a", "b", "c"]))
    yield _case("no end of the last line", b"id,size,name\n1,1,a\n2,2,b", load(2))
    ends = "x\x0b\x0c\x1c\x85\u2028\u2029y"
    yield _case("signs that only some call a line end", _csv(f"1,1,{ends}", "2,2,b"), load(2, name=[ends, "b"]))


def large() -> Iterator[Case]:
    """Much of everything."""
    yield _case("a field of 1 MB", lambda: GOOD + b"2,2," + b"x" * (1 << 20) + b"\n", load(2))
    yield _case(
        "a field of 10 MB in quotes with line ends", lambda: GOOD + b'2,2,"' + b"x\n" * (5 << 20) + b'"\n', load(2)
    )
    yield _case("a line of 80 MB", lambda: GOOD + b"2,2," + b"x" * (80 << 20) + b"\n", refuse("line"))
    yield _case(
        "a name of 1 MB",
        lambda: b"id,size,name," + b"x" * (1 << 20) + b"\n1,1,a,b\n",
        load(1),
        freeze=refuse("unknown"),
    )
    yield _case(
        "3,000 columns",
        "id,size,name," + ",".join(f"c{n}" for n in range(3000)) + "\n",
        refuse("too many columns"),
        evolve=refuse("too many columns"),
    )
    yield _case(
        "300 unknown columns",
        "id,size,name," + ",".join(f"c{n}" for n in range(300)) + "\n1,1,a" + ",7" * 300 + "\n",
        load(1),
        evolve=load(1, c299=[7]),
    )
    yield _case("a million commas", lambda: GOOD + b"," * 1_000_000 + b"\n2,2,b\n", load(3))
    yield _case("300,000 empty lines", lambda: GOOD + b"\n" * 300_000 + b"2,2,b\n", load(2))
    yield _case(
        "200,000 rows, one of them bad",
        lambda: (
            b"id,size,name\n"
            + b"".join(b"%d,%d.5,n\n" % (n, n) for n in range(1, 150_000))
            + b"x,1,n\n"
            + b"1,1,n\n" * 50_000
        ),
        split(199_999, (150_000, "id")),
    )


def numbers() -> Iterator[Case]:
    """Numbers that are none, or not the ones that a cast would make of them."""
    for column, texts in {
        "size": [
            "nan",
            "NaN",
            "inf",
            "-Infinity",
            "1e400",
            "0x1F",
            "1_000",
            "1,5",
            "12%",
            "$5",
            "\uff11\uff12",
            "٣",
            "½",
            "--5",
            "1e",
            "true",
            "NULL",
            "1.2.3",
            "1 000",
            "0b11",
        ],
        "id": [
            "1.5",
            "9223372036854775808",
            "1e30",
            "0x1F",
            "1_0",
            "abc",
            "1.0000000001",
            "NaN",
            "٣",
            "1-",
            "0o17",
            "1e-1",
            "+-1",
            "4503599627370496.5",
            "0.9999999999999999999",
        ],
    }.items():
        rows = [",".join({"id": "2", "size": "2", "name": "b", column: f'"{text}"'}.values()) for text in texts]
        places = [(number, column) for number in range(2, len(rows) + 2)]
        yield _case(f"texts for {column} that are no numbers of it", _csv("1,1.5,a", *rows), split(1, *places))
    yield _case(
        "numbers at the ends of their types",
        _csv("9223372036854775807,1.7976931348623157e308,a", "-9223372036854775808,5e-324,b"),
        load(2, id=[2**63 - 1, -(2**63)], size=[1.7976931348623157e308, 5e-324]),
    )
    yield _case(
        "integers that a double has no place for",
        _csv("9007199254740993,1,a", "9223372036854775806.0,1,b"),
        load(2, id=[2**53 + 1, 2**63 - 2]),
    )
    yield _case(
        "numbers in other ways of writing",
        _csv("+5,.5,a", "007,1.,b", " 8 , 1e3 ,c", "1e3,-0,d"),
        load(4, id=[5, 7, 8, 1000], size=[0.5, 1.0, 1000.0, -0.0]),
    )
    yield _case(
        "an integer column with decimals",
        _csv("1,1,a", "2.5,1,b"),
        split(1, (2, "id")),
        freeze=refuse("row 2, column id"),
        evolve=load(2, id=[1.0, 2.5]),
    )
    yield _case(
        "texts that look like numbers stay texts",
        _csv("1,1,007", "2,2,1e5", "3,3, 1"),
        load(3, name=["007", "1e5", " 1"]),
    )
    yield _case(
        "texts that mean no value", _csv("NA,-,a", "2,2,NA"), load(2, id=[None, 2], name=["a", None]), nulls=["NA", "-"]
    )


def dates() -> Iterator[Case]:
    """Days and moments that never were."""
    columns = {"id": "BIGINT", "day": "DATE", "at": "TIMESTAMP"}
    bad = {
        "day": [
            "0000-00-00",
            "2020-02-30",
            "2021-02-29",
            "2020-13-01",
            "99999999-01-01",
            "infinity",
            "today",
            "01/02/2020",
            "2020-W01",
            "2020-01-01 10:00:00",
            "44000",
            "20.1.2020",
            "2020-01-01 11:30 PM",
            "2020-01-01 24:00:00",
            "2020-01-01/2020-01-31",
            "2020-01-01 (estimated)",
        ],
        "at": [
            "2020-01-01 25:00:00",
            "2020-01-01 10:61:00",
            "2020-01-01 10:00:00+02",
            "2020-01-01T10:00:00.0000001",
            "now",
            "-infinity",
            "1577836800",
            "2020-01-01 10:00 PM",
            "300000-01-01 00:00:00",
        ],
    }
    for column, texts in bad.items():
        rows = [",".join({"id": "1", "day": "", "at": "", column: text}.values()) for text in texts]
        places = [(number, column) for number in range(1, len(rows) + 1)]
        yield _case(
            f"texts for {column} that are none",
            "\n".join(["id,day,at", *rows, "2,,"]),
            split(1, *places),
            columns=columns,
        )
    yield _case(
        "days and moments in other ways of writing",
        "id,day,at\n1,2020-1-5,2020-01-01T10:00:00\n2,9999-12-31,2020-01-01\n3,0001-01-01,2020-01-01 10:00:00.123456\n"
        "4,300000-01-01,2020-01-01\n",
        load(4),
        columns=columns,
    )
    yield _case(
        "declared ways of writing days",
        "id,day,at\n1,31.12.2020,31.12.2020 10:30\n2,12/31/2020,31.12.2020 10:30\n",
        split(1, (2, "day")),
        columns=columns,
        csv={"date_format": "%d.%m.%Y", "timestamp_format": "%d.%m.%Y %H:%M"},
    )


def names() -> Iterator[Case]:
    """Headers with names of all kinds."""
    twice, missing = "two columns have the same name", "missing size"

    def every(title: str, header: str, row: str, outcome: Outcome, **other: Any) -> Case:
        return _case(title, f"{header}\n{row}\n", outcome, **{"freeze": outcome, "evolve": outcome, **other})

    yield every("a name twice", "id,size,name,name", "1,1,a,b", refuse(twice))
    yield every("a name twice but for its case", "id,size,name,NAME", "1,1,a,b", refuse(twice))
    nfd = unicodedata.normalize("NFD", "größe")
    yield every("a name twice in two spellings of Unicode", f"id,size,name,größe,{nfd}", "1,1,a,b,c", refuse(twice))
    yield every("a name twice, once with a sharp s", "id,size,name,STRASSE,straße", "1,1,a,b,c", refuse(twice))
    yield every("another order", "name,size,id", "a,1,1", load(1, id=[1], name=["a"]), freeze=refuse("another order"))
    yield every("other cases", "ID,Size,NAME", "1,1,a", load(1, id=[1]), freeze=refuse("missing id"))
    yield every(
        "a column more",
        "id,size,name,colour",
        "1,1,a,red",
        load(1),
        freeze=refuse("unknown colour"),
        evolve=load(1, colour=["red"]),
    )
    yield every("a column less", "id,name", "1,a", refuse(missing), evolve=load(1, size=[None]))
    yield every(
        "a renamed column",
        "id,size_cm,name",
        "1,1,a",
        refuse("size is now size_cm"),
        evolve=load(1, size=[None], size_cm=[1]),
    )
    yield every("Cyrillic letters that look Latin", "id,s\u0456ze,name", "1,1,a", refuse("\\u0456"), evolve=load(1))
    yield every(
        "letters of full width", "\uff49\uff44,size,name", "1,1,a", refuse("missing id"), evolve=load(1, id=[None])
    )
    yield every("an invisible sign in a name", "id,si\u200bze,name", "1,1,a", refuse("\\u200b"), evolve=load(1))
    yield every("spaces around names", "id, size ,name", "1,1,a", refuse("' size '"), evolve=load(1))
    yield every(
        "SQL in a name",
        'id,size,name,"x""); drop table raw.quarantine; --"',
        "1,1,a,b",
        load(1),
        freeze=refuse("unknown"),
    )
    yield every(
        "HTML in a name", "id,size,name,<script>alert(1)</script>", "1,1,a,b", load(1), freeze=refuse("unknown")
    )
    yield every("a formula as a name", "id,size,name,=cmd|' /C calc'!A1", "1,1,a,b", load(1), freeze=refuse("unknown"))
    yield every(
        "words of SQL as names",
        "id,size,name,select,from,order",
        "1,1,a,b,c,d",
        load(1),
        freeze=refuse("unknown"),
        evolve=load(1, select=["b"]),
    )
    yield every("a line end in a name", 'id,size,name,"two\nlines"', "1,1,a,b", load(1), freeze=refuse("unknown"))
    yield every("a name that the platform uses", "id,size,name,headrace_rescued", "1,1,a,b", refuse("uses itself"))
    yield every(
        "a name that the raw table has",
        "id,size,name,batch_id",
        "1,1,a,b",
        load(1),
        freeze=refuse("unknown"),
        evolve=refuse("uses itself"),
    )
    yield every("names that are numbers", "8,1.5,a", "9,2.5,b", refuse("missing id"))
    yield every("quoted empty names", 'id,size,name,"",x', "1,1,a,b,c", refuse("no usable name"))


def injections() -> Iterator[Case]:
    """Values that mean harm to whoever shows, stores or opens them: they are texts like others."""
    texts = {
        "SQL": "'); drop table raw.quarantine; --",
        "HTML": "<img src=x onerror=alert(1)>",
        "a formula": '=HYPERLINK("http://example.com";"x")',
        "a command": "@SUM(1+1)*cmd|' /C calc'!A0",
        "a template": "{{7*7}}${7*7}%s%n{0}",
        "a terminal's commands": "\x1b[2J\x1b]0;owned\x07",
        "a path": "../../etc/passwd",
    }
    for title, text in texts.items():
        quoted = '"' + text.replace('"', '""') + '"'
        yield _case(f"{title} as a value", f"id,size,name\n1,1,{quoted}\n{quoted},2,b\n", split(1, (2, "id")))


def file_names() -> Iterator[Case]:
    """Names of files that mean harm, or are only unusual."""
    for place, name in enumerate(
        (
            "'; drop table raw.quarantine; --.csv",
            "<script>alert(1)<",
            "=cmd|'calc'!A0.csv",
            "a b ü 日本.csv",
            "-rf.csv",
            "*.csv",
            "[ab]?.csv",
            "batch=2020.csv",
            "$(reboot).csv",
            "NAME.CSV",
            "x" * 200 + ".csv",
            "%2e%2e%2f.csv",
            "two\nlines.csv",
        )
    ):
        yield _case(f"the file is called {name[:30]!r}", GOOD + b"%d,2,b\n" % place, load(2), name=name)


def _zip(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content)
    return out.getvalue()


def _tar(content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as file:
        member = tarfile.TarInfo("file.csv")
        member.size = len(content)
        file.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _many_zeros(write: Callable[[bytes], bytes], flush: Callable[[], bytes]) -> bytes:
    return b"".join(write(bytes(1 << 20)) for _ in range(int(UNPACKED_GIGABYTES * 1100))) + flush()


def _gzip_bomb() -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return _many_zeros(packer.compress, packer.flush)


def _zstd_bomb() -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    return _many_zeros(packer.compress, packer.flush)


def packed() -> Iterator[Case]:
    """Archives, whole and broken, and files of other kinds under a wrong name."""
    many = _csv(*(f"{n},{n},{n * 7919}" for n in range(2000))).encode()
    gz, zst = gzip.compress(many, mtime=0), zstandard.ZstdCompressor(write_checksum=True).compress(many)
    yield _case("gzip", gz, load(2000), name="file.csv.gz")
    yield _case("gzip, its name in capitals", gzip.compress(GOOD + b"2,2,b\n", mtime=0), load(2), name="FILE.CSV.GZ")
    yield _case(
        "two gzip files, one behind the other",
        gzip.compress(GOOD, mtime=0) + gzip.compress(b"2,2,b\n", mtime=0),
        load(2),
        name="file.csv.gz",
    )
    yield _case("Zstandard", zst, load(2000), name="file.csv.zst")
    for kind, content in (("gz", gz), ("zst", zst)):
        damaged = bytearray(content)
        damaged[len(content) // 2] ^= 0x10
        yield _case(f"{kind}, cut off", content[: len(content) // 2], refuse("damaged"), name=f"file.csv.{kind}")
        yield _case(f"{kind}, its last byte cut off", content[:-1], refuse("damaged"), name=f"file.csv.{kind}")
        yield _case(f"{kind}, a bit flipped", bytes(damaged), refuse("damaged"), name=f"file.csv.{kind}")
        yield _case(f"{kind}, something behind it", content + b"more", refuse("damaged"), name=f"file.csv.{kind}")
        yield _case(f"{kind}, zero bytes", b"", refuse("isn't packed"), name=f"file.csv.{kind}")
        yield _case(f"{kind} by its name only", GOOD, refuse("isn't packed"), name=f"file.csv.{kind}")
        other = content[:-1] + b"x"  # content that is known is skipped
        yield _case(f"{kind} without its name", other, refuse("another format"), name="file.csv")
    yield _case("gzip of nothing", gzip.compress(b"", mtime=0), refuse("header"), name="file.csv.gz")
    yield _case("gzip in gzip", gzip.compress(gz, mtime=0), refuse("packed twice"), name="file.csv.gz")
    yield _case("a gzip bomb", _gzip_bomb, refuse("too large"), name="file.csv.gz")
    yield _case("a Zstandard bomb", _zstd_bomb, refuse("too large"), name="file.csv.zst")
    yield _case("a tape archive in gzip", _tar(GOOD), refuse("header"), name="file.csv.gz")
    for title, content in {
        "ZIP": _zip("file.csv", GOOD),
        "bzip2": bz2.compress(GOOD),
        "xz": lzma.compress(GOOD),
        "PDF": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
        "SQLite": b"SQLite format 3\x00" + bytes(100),
        "old Excel": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    }.items():
        yield _case(f"{title} called CSV", content, refuse("another format"))
    yield _case("a picture called CSV", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(64), refuse("line 1"))
    yield _case("a program called CSV", b"\x7fELF\x02\x01\x01" + bytes(64), refuse("header"))
    yield _case(
        "a web page called CSV",
        b"<!DOCTYPE html>\n<html><body>504 Gateway Timeout</body></html>\n",
        refuse("missing id"),
    )
    yield _case("JSON called CSV", b'[{"id": 1, "size": 1, "name": "a"}]\n', refuse(""))
    yield _case("random bytes", random.Random(5).randbytes(20_000), refuse(""))  # noqa: S311 - the same in every run


def _parquet(table: Mapping[str, Any] | pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(table), out, **options)
    return out.getvalue()


def _table(rows: int) -> dict[str, Any]:
    return {
        "id": pa.array(range(rows), pa.int64()),
        "size": pa.array([n / 7 for n in range(rows)]),
        "name": pa.array([f"n{n % 50}" for n in range(rows)]),
    }


def parquet() -> Iterator[Case]:
    """Parquet, whole and broken."""
    rows = 3000
    whole = _parquet(_table(rows), row_group_size=1000)

    def case(title: str, content: bytes, outcome: Outcome, **other: Any) -> Case:
        return _case(f"Parquet: {title}", content, outcome, name=other.pop("name", "file.parquet"), **other)

    yield case("whole", whole, load(rows), freeze=load(rows), evolve=load(rows))
    yield case("no rows", _parquet(_table(0)), load(0))
    unreadable = "can't be read as Parquet"
    for share in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        yield case(f"cut off at {share:.0%}", whole[: int(len(whole) * share)], refuse(unreadable))
    yield case("its last byte cut off", whole[:-1], refuse(unreadable))
    yield case("its first half missing", whole[len(whole) // 2 :], refuse(""))
    yield case("a hole of zeros", whole[:2000] + bytes(4000) + whole[6000:], either(rows))
    dice = random.Random(11)  # noqa: S311 - the same in every run
    for number in range(12):
        damaged = bytearray(whole)
        for _ in range(1 + number // 4 * 8):
            damaged[dice.randrange(4, len(whole))] ^= 1 << dice.randrange(8)
        yield case(f"bits flipped, {number}", bytes(damaged), either(rows))
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for number in range(6):
        damaged = bytearray(whole)
        damaged[dice.randrange(footer, len(whole) - 8)] ^= 0xFF
        yield case(f"a byte of the footer damaged, {number}", bytes(damaged), either(rows))
    yield case("a footer of 4 GB by its own word", whole[:-8] + b"\xff\xff\xff\xff" + b"PAR1", refuse(unreadable))
    yield case("nothing but its magic bytes", b"PAR1PAR1", refuse(unreadable))
    yield case("encrypted by its magic bytes", whole[:-4] + b"PARE", refuse(unreadable))
    yield case("zero bytes", b"", refuse(unreadable))
    yield case("CSV called Parquet", GOOD + b"2,2,Parquet\n", refuse(unreadable))
    yield case("Parquet called CSV", _parquet(_table(7)), refuse("another format"), name="file.csv")
    base = _table(3)
    nested = {"a": [1, None], "b": {"c": "x"}}
    yield case(
        "an unknown nested column",
        _parquet({**base, "more": [nested] * 3}),
        load(3),
        freeze=refuse("unknown more"),
        evolve=load(3),
    )
    yield case("a nested value for a text", _parquet({**base, "name": [nested, None, nested]}), load(3))
    yield case(
        "a nested value for a number", _parquet({**base, "size": [[1.0], [], None]}), refuse("a column is nested")
    )
    yield case(
        "a name twice but for its case",
        _parquet(pa.table([*base.values(), [1, 2, 3]], names=["id", "size", "name", "ID"])),
        refuse("the same name"),
    )
    yield case(
        "a nameless column",
        _parquet(pa.table([*base.values(), [1, 2, 3]], names=["id", "size", "name", ""])),
        refuse("no usable name"),
    )
    yield case(
        "NaN, infinity and nothing",
        _parquet({**base, "size": [float("nan"), float("inf"), None]}),
        split(1, (1, "size"), (2, "size")),
    )
    yield case(
        "small integers and floats",
        _parquet({**base, "id": pa.array([1, 2, 3], pa.int32()), "size": pa.array([0.1, 0.5, 2], pa.float32())}),
        load(3, id=[1, 2, 3], size=[0.10000000149011612, 0.5, 2.0]),
    )
    yield case(
        "doubles for integers",
        _parquet({**base, "id": [1.0, 2.5, 3.0]}),
        split(2, (2, "id")),
        evolve=load(3, id=[1.0, 2.5, 3.0]),
    )
    yield case(
        "integers beyond 63 bits", _parquet({**base, "id": pa.array([1, 2**63, 3], pa.uint64())}), split(2, (2, "id"))
    )
    yield case("bytes that are no text", _parquet({**base, "name": [b"a", b"\xff", None]}), split(2, (2, "name")))
    yield case(
        "decimals of 60 digits",
        _parquet({**base, "size": pa.array([Decimal("1.5")] * 3, pa.decimal256(60, 2))}),
        refuse("60 digits"),
    )
    moments = {"id": [1, 2], "at": pa.array([1593597600_000000_000, 1593597600_000000_001], pa.timestamp("ns"))}
    at = {"id": "BIGINT", "at": "TIMESTAMP"}
    yield case("nanoseconds", _parquet(moments), split(1, (2, "at")), columns=at)
    yield case(
        "nanoseconds with a zone",
        _parquet({**moments, "at": moments["at"].cast(pa.timestamp("ns", "UTC"))}),
        refuse("nanoseconds"),
        columns=at,
    )
    yield case(
        "SQL in a name and a value", _parquet({**base, 'x"); drop table y; --': ["'; drop table z; --"] * 3}), load(3)
    )


def json_lines() -> Iterator[Case]:
    """JSON lines of all kinds."""
    good = '{"id": 1, "size": 1.5, "name": "a"}'

    def case(title: str, content: bytes | str | Callable[[], bytes], outcome: Outcome, **other: Any) -> Case:
        return _case(f"JSON lines: {title}", content, outcome, name=other.pop("name", "file.jsonl"), **other)

    yield case(
        "whole",
        good + "\n" + good.replace("1", "2"),
        load(2, id=[1, 2], size=[1.5, 2.5]),
        freeze=load(2),
        evolve=load(2),
    )
    yield case("packed", gzip.compress(good.encode(), mtime=0), load(1), name="file.jsonl.gz")
    yield case(
        "broken lines",
        f"{good}\n{{broken\n[1, 2]\n7\nnull\n{good}",
        split(2, (2, None), (3, None), (4, None), (5, None)),
        freeze=refuse("row 2"),
    )
    yield case("a last line cut off", f'{good}\n{{"id": 2, "siz', split(1, (2, None)))
    yield case("a key twice in a line", f'{good}\n{{"id": 2, "id": 3, "size": 1, "name": "b"}}', split(1, (2, None)))
    yield case("keys that differ in case", f'{good}\n{{"ID": 2, "size": 1, "name": "b"}}', refuse("the same name"))
    yield case("one array of objects", f"[{good},\n{good}]", refuse("one object a line"))
    yield case("one object on many lines", json.dumps(json.loads(good), indent=1), refuse("one object a line"))
    yield case("zero bytes", "", refuse("an empty file"))
    yield case("UTF-16", good.encode("utf-16"), refuse("one object a line"))
    yield case("a byte order mark and CRLF", f"\ufeff{good}\r\n{good}\r\n", load(2))
    yield case("no UTF-8", good.encode() + b'\n{"id": 2, "name": "\xff"}', split(1, (2, None)))
    yield case("a NUL in a text", f'{good}\n{{"id": 2, "name": "a\\u0000b"}}', split(1, (2, "name")))
    yield case("half of a surrogate pair", f'{good}\n{{"id": 2, "name": "\\ud800"}}', split(1, (2, None)))
    yield case(
        "NaN and infinity",
        f'{good}\n{{"id": 2, "size": NaN}}\n{{"id": 3, "size": -Infinity}}\n{{"id": 4, "size": 1e999}}',
        split(1, (2, "size"), (3, "size"), (4, "size")),
    )
    yield case(
        "large integers",
        '{"id": 9007199254740993, "size": 1, "name": 123456789012345678901234567890}\n'
        '{"id": 99999999999999999999, "size": 1, "name": "b"}',
        split(1, (2, "id")),
    )
    yield case(
        "nested values",
        f'{good}\n{{"id": 2, "size": 1, "name": {{"a": [1, {{}}]}}}}\n{{"id": [3], "size": 1, "name": "c"}}',
        split(2, (3, "id")),
    )
    yield case(
        "nested 100,000 deep",
        good + '\n{"id": 2, "name": ' + "[" * 100_000 + "]" * 100_000 + "}",
        either(2),
    )
    yield case(
        "a key more in some lines",
        f'{good}\n{{"id": 2, "size": 1, "name": "b", "colour": "red"}}',
        load(2),
        freeze=refuse("unknown colour"),
        evolve=load(2, colour=[None, "red"]),
    )
    yield case("a key that no line has", '{"id": 1, "name": "a"}', refuse("missing size"), evolve=load(1, size=[None]))
    yield case(
        "SQL and HTML as keys",
        '{"id": 1, "size": 1, "name": "a", "x\'); drop table y; --": 1, "<b>": 2, "/~$.*": 3}',
        load(1),
        evolve=load(1),
    )
    yield case(
        "a line of 20 MB",
        lambda: good.encode() + b'\n{"id": 2, "name": "' + b"x" * (20 << 20) + b'"}',
        refuse("a line is too long"),
    )
    yield case(
        "4,000 keys",
        good + "\n" + json.dumps({f"k{n}": n for n in range(4000)}),
        refuse("too many columns"),
    )
    yield case("CSV called JSON", GOOD + b"2,2,JSON\n", refuse("one object a line"))


def _workbook(sheet: str, *, damage: Callable[[zipfile.ZipFile], None] | None = None) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = wb.write(Path(folder) / "file.xlsx", {"Data": sheet})
        if damage:
            with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
                damage(file)
        return path.read_bytes()


def _explode(file: zipfile.ZipFile) -> None:
    with file.open("xl/media/bomb.bin", "w", force_zip64=True) as part:
        for _ in range(int(UNPACKED_GIGABYTES * 1100)):
            part.write(bytes(1 << 20))


def excel() -> Iterator[Case]:
    """Workbooks with what people do in them."""
    header = [wb.text("id"), wb.text("size"), wb.text("name")]
    row = [wb.number(1), wb.number(1.5), wb.text("a")]
    whole = _workbook(wb.cells([header, row, [], row]))

    def case(title: str, content: bytes | Callable[[], bytes], outcome: Outcome, **other: Any) -> Case:
        return _case(f"Excel: {title}", content, outcome, name=other.pop("name", "file.xlsx"), **other)

    yield case("whole, with a blank row", whole, load(2), freeze=load(2), evolve=load(2))
    yield case(
        "a formula with its value", _workbook(wb.cells([header, [wb.formula("1+1", "2"), *row[1:]]])), load(1, id=[2])
    )
    yield case(
        "a formula without its value", _workbook(wb.cells([header, [wb.formula("1+1", None), *row[1:]]])), refuse("A2")
    )
    yield case(
        "merged cells",
        _workbook(wb.cells([header, row]) + '<mergeCells><mergeCell ref="A2:A3"/></mergeCells>'),
        refuse("A2:A3"),
    )
    yield case(
        "an error in a cell",
        _workbook(wb.cells([header, row, [wb.number(2), wb.error("#DIV/0!"), None]])),
        split(1, (2, "size")),
    )
    dates = {"id": "BIGINT", "day": "DATE", "at": "TIMESTAMP"}
    days = [wb.number(1), wb.number(44013, wb.DATE), wb.number(44013.75, wb.DATE_TIME)]
    yield case(
        "dates and times",
        _workbook(
            wb.cells([[wb.text(name) for name in dates], days, [wb.number(2), wb.number(44013.5, wb.DATE), None]])
        ),
        split(1, (2, "day")),
        columns=dates,
    )
    yield case(
        "an integer that a cell can't hold",
        _workbook(wb.cells([header, row, [wb.number("12345678901234567"), None, None]])),
        split(1, (2, "id")),
    )
    yield case("no such sheet", _workbook(wb.cells([header])), refuse("no such sheet"), sheet="Elsewhere")
    yield case("an empty sheet", _workbook(wb.cells([])), refuse("empty"))
    yield case("cut off", whole[: len(whole) // 2], refuse("can't be read as an Excel workbook"))
    yield case("a zip that is no workbook", _zip("file.csv", GOOD), refuse("can't be read as an Excel workbook"))
    yield case("old Excel or with a password", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), refuse(""))
    yield case("CSV called Excel", GOOD + b"2,2,Excel\n", refuse("can't be read as an Excel workbook"))
    yield case(
        "a part that explodes",
        lambda: _workbook(wb.cells([header, row]), damage=_explode),
        refuse("too large unpacked"),
    )
    far = wb.cells([header]).replace(
        "</sheetData>", '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    )
    yield case("one cell far away, which takes all memory", _workbook(far), refuse(""))
    yield case(
        "SQL, HTML and a formula as texts",
        _workbook(wb.cells([header, [wb.number(1), wb.number(1), wb.text("=cmd|' /C calc'!A0 <b> '); drop")]])),
        load(1),
    )


def all_cases() -> list[Case]:
    """Every file of the corpus."""
    groups = (
        *(encodings, nuls, shapes, quotes, line_ends, large, numbers, dates, names, injections, file_names, packed),
        *(parquet, json_lines, excel),
    )
    return [case for group in groups for case in group()]
