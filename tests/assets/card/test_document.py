"""Documents: two forms of the same blocks, in which a value can't become anything but text."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.card.document import (
    Badge,
    Bar,
    Bars,
    Block,
    Bullets,
    Commands,
    Curve,
    Document,
    Dots,
    Facts,
    Mono,
    Paragraph,
    Section,
    Table,
    figure,
    plain,
)

EVIL = "<script>alert(1)</script> | ![x](http://evil.example/x.png) `code` *bold* \"quoted\" 'it' & # _x_ \n- new line"
VOID = {"meta", "br", "hr"}
KNOWN = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "header",
        "nav",
        "section",
        "h1",
        "h2",
        "p",
        "a",
        "span",
    ),
    *("dl", "div", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "li", "code", "figure"),
    *("figcaption", "svg", "rect", "circle", "line", "path", "polyline", "text"),
}


class Page(HTMLParser):
    """Reads a page strictly: known tags only, each closed in its turn; collects its text and its addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Known tags without scripts."""
        assert tag in KNOWN
        assert not any(name.startswith("on") for name, _ in attrs)
        self.addresses += [
            value or "" for name, value in attrs if name in ("href", "src", "xlink:href", "srcset", "data")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Only of what is open."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """What a reader sees."""
        self.text.append(data)


def blocks_of(text: str) -> list[Block]:
    """Every kind of block with a text at each of its places."""
    bars = [Bar(text, 0.5, 0.4, 0.6, "good"), Bar("b", -1.0)]
    return [
        Paragraph(text), Paragraph(text, "bad"), Facts([(text, text), ("b", Mono(text))]),
        Table((text, "b"), [(text, 1.0), (Mono(text), None)], text), Bars(text, bars), Dots(text, bars),
        Curve(text, text, text, [(0.0, 0.1), (1.0, 0.9)]), Bullets([text]), Commands([(text, text)]),
    ]  # fmt: skip


def document_of(text: str) -> Document:
    return Document(text, text, [Badge(text, "warn")], [Paragraph(text)], [Section("Part", blocks_of(text))])


def rows_of(markdown: str) -> Iterator[int]:
    """How many cells each line of a table has."""
    for line in markdown.splitlines():
        if line.startswith("|"):
            yield len(re.findall(r"(?<!\\)\|", line)) - 1


def test_a_value_becomes_nothing_but_text_in_html() -> None:
    page = Page(document_of(EVIL).html())
    assert "<script>alert(1)</script>" in "".join(page.text)
    assert page.addresses == ["#part"]


def test_a_value_becomes_nothing_but_text_in_markdown() -> None:
    text = document_of(EVIL).markdown()
    assert "<script" not in text
    assert not re.search(r"(?<!\\)\]\(http", text)
    assert not re.search(r"(?<!\\)\*bold", text)
    assert not re.search(r"^- new line", text, re.MULTILINE)


@given(st.text(max_size=40))
def test_any_text_leaves_page_and_tables_whole(text: str) -> None:
    """Tags close in their turn, and every table row has as many cells as its head."""
    document = document_of(text)
    Page(document.html())
    for block in blocks_of(text):
        assert len(set(rows_of(block.markdown()))) <= 1


def test_a_page_has_no_script_and_no_address_outside() -> None:
    """Nor has its style: nothing is fetched, and its own policy forbids it, too."""
    html = document_of("a value").html()
    assert "default-src 'none'" in html
    assert not re.search(r"https?:|url\(|@import|<script|//", html.replace("<!doctype html>", ""))


def test_equal_documents_are_equal_bytes() -> None:
    assert document_of(EVIL).html() == document_of(EVIL).html()
    assert document_of(EVIL).markdown() == document_of(EVIL).markdown()


def test_text_that_reads_other_than_it_is_written_shows_that() -> None:
    assert plain("a\u202eb\x00c\td") == "a\ufffdb\ufffdc d"
    assert plain("x" * 1000) == "x" * 399 + "…"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        (12345.6, "12,346"),
        (1e-9, "1.0e-09"),
        (0.0, "0"),
    ],
)
def test_numbers_are_for_people(value: float | None, text: str) -> None:
    assert figure(value) == text


def test_numbers_stand_to_the_right_and_texts_to_the_left() -> None:
    html = Table(("name", "rows", "limit"), [("a", 1, 0.5), ("b", None, "more than 0")]).html()
    assert '<th scope="col">name</th><th scope="col" class=n>rows</th><th scope="col">limit</th>' in html
