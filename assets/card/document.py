"""A document of a few kinds of blocks that is written as HTML and as Markdown, offline and with every value escaped.

Values come from data: a category may hold `<script>` or a `|`. Each block knows its two forms, so the two texts say the
same. The HTML is one file: its style is inline, its pictures are SVG, it has no script, and its policy lets a browser
load nothing at all. Deterministic: the same blocks are the same bytes.
"""

import html as _html
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Tone = Literal["plain", "good", "warn", "bad"]
# what a person can read of one value; the record has the rest
_LONGEST = 400
# directions that make text read other than it is written (Boucher & Anderson 2021)
_BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F}
_MARKS = {"good": "✓", "warn": "!", "bad": "✗", "plain": ""}
_MARKDOWN = re.compile(r"([\\`*\[\]|~$#])|(?<!\w)(_)|(_)(?!\w)")
# of a picture, in its own units
_WIDTH, _LABELS, _ROW = 640, 190, 26


@dataclass(frozen=True)
class Mono:
    """A name or expression for machines: an id, a hash, a command."""

    text: str


@dataclass(frozen=True)
class Badge:
    """A verdict in a word or two."""

    text: str
    tone: Tone


Cell = str | int | float | Mono | Badge | None


def plain(value: object, *, longest: int = _LONGEST) -> str:
    """A value as one line of text: no control or direction characters, not longer than a person reads."""
    text = "".join(_visible(character) for character in re.sub(r"\s+", " ", str(value)).strip())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def figure(value: float | None) -> str:
    """A number for a person: four digits, thousands apart; a dash for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= 1000:  # noqa: PLR2004 - no decimals where four digits stand before them
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.1e}"  # noqa: PLR2004 - no digits of noise


def shown(cell: Cell) -> str:
    """A cell as plain text."""
    if isinstance(cell, Mono | Badge):
        return plain(cell.text)
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return figure(cell)
    return "-" if cell is None or cell == "" else plain(cell)


class Block(Protocol):
    """A part of a section, in both forms."""

    def html(self) -> str:
        """The block as HTML."""

    def markdown(self) -> str:
        """The block as Markdown."""


@dataclass(frozen=True)
class Paragraph:
    """A sentence or several; with a tone it is set apart."""

    text: str
    tone: Tone = "plain"

    def html(self) -> str:
        """A paragraph; with a tone one with a rule beside it."""
        tone = "" if self.tone == "plain" else f' class="note {self.tone}"'
        return f"<p{tone}>{_escaped(self.text, longest=4000)}</p>"

    def markdown(self) -> str:
        """A paragraph; with a tone a quotation."""
        text = _marked(self.text, longest=4000)
        return text if self.tone == "plain" else f"> **{_MARKS[self.tone]}** {text}"


@dataclass(frozen=True)
class Facts:
    """Names and values, one below the other."""

    rows: Sequence[tuple[str, Cell]]

    def html(self) -> str:
        """A list of descriptions."""
        items = "".join(f"<div><dt>{_escaped(name)}</dt><dd>{_cell(value)}</dd></div>" for name, value in self.rows)
        return f"<dl>{items}</dl>"

    def markdown(self) -> str:
        """A list."""
        return "\n".join(f"- **{_marked(name)}:** {_marked_cell(value)}" for name, value in self.rows)


@dataclass(frozen=True)
class Table:
    """Rows under columns; numbers to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""

    def html(self) -> str:
        """A table that scrolls sideways where the screen is narrow."""
        caption = f"<caption>{_escaped(self.caption)}</caption>" if self.caption else ""
        sides = [" class=n" if _is_number(cells) else "" for cells in zip(*self.rows, strict=True)] or [""] * len(
            self.columns
        )
        head = "".join(f'<th scope="col"{s}>{_escaped(name)}</th>' for name, s in zip(self.columns, sides, strict=True))
        body = "".join(
            "<tr>" + "".join(f"<td{s}>{_cell(cell)}</td>" for cell, s in zip(row, sides, strict=True)) + "</tr>"
            for row in self.rows
        )
        return (
            f'<div class="wide" tabindex="0"><table>{caption}<thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )

    def markdown(self) -> str:
        """A pipe table."""
        head = " | ".join(_marked(name) for name in self.columns)
        lines = [f"| {head} |", "|" + "---|" * len(self.columns)]
        lines += ["| " + " | ".join(_marked_cell(cell) for cell in row) + " |" for row in self.rows]
        return "\n".join([*([f"**{_marked(self.caption)}**", ""] if self.caption else []), *lines])


@dataclass(frozen=True)
class Bar:
    """A value of a name, with the ends of its interval if it has one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    tone: Tone = "plain"


@dataclass(frozen=True)
class Bars:
    """Values as bars from zero."""

    caption: str
    rows: Sequence[Bar]

    def html(self) -> str:
        """A picture with the numbers in it."""
        top = max((abs(bar.value) for bar in self.rows), default=0.0) or 1.0
        parts = [
            f'<rect class="{bar.tone}" x="{_LABELS}" y="{place * _ROW + 6}" rx="2" height="{_ROW - 12}" '
            f'width="{max(abs(bar.value) / top * (_WIDTH - _LABELS - 80), 1):.1f}"/>'
            for place, bar in enumerate(self.rows)
        ]
        ends = [_LABELS + abs(bar.value) / top * (_WIDTH - _LABELS - 80) + 8 for bar in self.rows]
        return _picture(self.caption, self.rows, parts, ends)

    def markdown(self) -> str:
        """A table with bars of blocks."""
        top = max((abs(bar.value) for bar in self.rows), default=0.0) or 1.0
        rows = [(bar.name, bar.value, "█" * max(round(abs(bar.value) / top * 20), 1)) for bar in self.rows]
        return Table(("", "value", ""), rows, self.caption).markdown()


@dataclass(frozen=True)
class Dots:
    """Values as dots on one scale that they fill, with their intervals."""

    caption: str
    rows: Sequence[Bar]

    def html(self) -> str:
        """A picture with the numbers in it."""
        ends = [end for bar in self.rows for end in (bar.value, bar.low, bar.high) if end is not None]
        low, high = min(ends, default=0.0), max(ends, default=1.0)
        span, room = (high - low) or 1.0, _WIDTH - _LABELS - 90

        def x(value: float) -> float:
            return _LABELS + 8 + (value - low) / span * room

        parts = []
        for place, bar in enumerate(self.rows):
            y = place * _ROW + _ROW / 2
            parts.append(f'<line class="guide" x1="{_LABELS}" x2="{_WIDTH}" y1="{y}" y2="{y}"/>')
            if bar.low is not None and bar.high is not None:
                parts.append(
                    f'<line class="{bar.tone}" x1="{x(bar.low):.1f}" x2="{x(bar.high):.1f}" y1="{y}" y2="{y}"/>'
                )
            parts.append(f'<circle class="{bar.tone}" cx="{x(bar.value):.1f}" cy="{y}" r="5"/>')
        texts = [x(bar.high if bar.high is not None else bar.value) + 12 for bar in self.rows]
        return _picture(self.caption, self.rows, parts, texts)

    def markdown(self) -> str:
        """A table."""
        rows = [(bar.name, bar.value, interval(bar.low, bar.high)) for bar in self.rows]
        return Table(("", "value", "interval"), rows, self.caption).markdown()


@dataclass(frozen=True)
class Curve:
    """A line through points (x, y), both from 0 to 1, beside the diagonal."""

    caption: str
    x_name: str
    y_name: str
    points: Sequence[tuple[float, float]]

    def html(self) -> str:
        """A square picture."""
        line = " ".join(f"{40 + x * 240:.1f},{250 - y * 240:.1f}" for x, y in self.points)
        return (
            f'<figure><figcaption>{_escaped(self.caption)}</figcaption><svg class="curve" viewBox="0 0 300 290" '
            f'role="img" aria-label="{_escaped(self.caption)}"><path class="axis" d="M40 10V250H280"/>'
            f'<line class="diagonal" x1="40" y1="250" x2="280" y2="10"/><polyline points="{line}"/>'
            f'<text x="160" y="282" text-anchor="middle">{_escaped(self.x_name)}</text>'
            '<text x="36" y="254" text-anchor="end">0</text><text x="36" y="16" text-anchor="end">1</text>'
            '<text x="280" y="266" text-anchor="end">1</text>'
            f'<text x="16" y="130" text-anchor="middle" transform="rotate(-90 16 130)">{_escaped(self.y_name)}</text>'
            "</svg></figure>"
        )

    def markdown(self) -> str:
        """A table of at most twelve of the points."""
        step = max(1, math.ceil(len(self.points) / 12))
        return Table((self.x_name, self.y_name), [*self.points[::step]], self.caption).markdown()


@dataclass(frozen=True)
class Bullets:
    """Sentences, one below the other."""

    items: Sequence[str]

    def html(self) -> str:
        """A list."""
        return "<ul>" + "".join(f"<li>{_escaped(item, longest=2000)}</li>" for item in self.items) + "</ul>"

    def markdown(self) -> str:
        """A list."""
        return "\n".join(f"- {_marked(item, longest=2000)}" for item in self.items)


@dataclass(frozen=True)
class Commands:
    """Lines for a shell, each with what it does."""

    lines: Sequence[tuple[str, str]]

    def html(self) -> str:
        """A list of descriptions."""
        return Facts([(what, Mono(command)) for command, what in self.lines]).html()

    def markdown(self) -> str:
        """A list."""
        return Facts([(what, Mono(command)) for command, what in self.lines]).markdown()


@dataclass(frozen=True)
class Section:
    """A heading with its blocks."""

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """The heading as the end of an address."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Document:
    """A title, what has to be seen first, and the sections."""

    title: str
    subtitle: str
    badges: Sequence[Badge]
    top: Sequence[Block]
    sections: Sequence[Section]

    def html(self) -> str:
        """The whole page."""
        links = "".join(f'<a href="#{item.anchor}">{_escaped(item.title)}</a>' for item in self.sections)
        body = "".join(
            f'<section id="{item.anchor}"><h2>{_escaped(item.title)}</h2>{_joined(item.blocks)}</section>'
            for item in self.sections
        )
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
            f"<title>{_escaped(self.title)} · {_escaped(self.subtitle)}</title><style>{_STYLE}</style></head><body>"
            f'<main><header><p class="kicker">{_escaped(self.subtitle)}</p><h1>{_escaped(self.title)}</h1>'
            f"<p>{' '.join(_cell(badge) for badge in self.badges)}</p>{_joined(self.top)}</header>"
            f"<nav>{links}</nav>{body}</main></body></html>\n"
        )

    def markdown(self) -> str:
        """The same as Markdown."""
        parts = [
            f"# {_marked(self.title)}",
            _marked(self.subtitle),
            " ".join(_marked_cell(item) for item in self.badges),
        ]
        parts += [block.markdown() for block in self.top]
        for item in self.sections:
            parts += [f"## {_marked(item.title)}", *(block.markdown() for block in item.blocks)]
        return "\n\n".join(parts) + "\n"


def interval(low: float | None, high: float | None) -> str:
    """An interval as text, empty without one."""
    return "" if low is None or high is None else f"{figure(low)} to {figure(high)}"


def _joined(blocks: Sequence[Block]) -> str:
    return "".join(block.html() for block in blocks)


def _visible(character: str) -> str:
    is_hidden = ord(character) in _BIDI or unicodedata.category(character) in ("Cc", "Cs")
    return "\ufffd" if is_hidden else character


def _escaped(text: str, *, longest: int = _LONGEST) -> str:
    return _html.escape(plain(text, longest=longest))


def _cell(cell: Cell) -> str:
    if isinstance(cell, Mono):
        return f"<code>{_escaped(cell.text)}</code>"
    if isinstance(cell, Badge):
        return f'<span class="badge {cell.tone}">{_MARKS[cell.tone]} {_escaped(cell.text)}</span>'
    return _html.escape(shown(cell))


def _is_number(cells: Sequence[Cell]) -> bool:
    """Whether a column has nothing but numbers and gaps."""
    there = [cell for cell in cells if cell is not None]
    return bool(there) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in there)


def _picture(caption: str, bars: Sequence[Bar], parts: Sequence[str], ends: Sequence[float]) -> str:
    """Rows of a picture: the name at the left, the drawn parts, and the number where they end."""
    texts = [
        f'<text x="{_LABELS - 10}" y="{place * _ROW + 17}" text-anchor="end">'
        f"{_escaped(bar.name, longest=28)}<title>{_escaped(bar.name)}</title></text>"
        f'<text class="value" x="{min(end, _WIDTH - 60):.1f}" y="{place * _ROW + 17}">{figure(bar.value)}</text>'
        for place, (bar, end) in enumerate(zip(bars, ends, strict=True))
    ]
    return (
        f'<figure><figcaption>{_escaped(caption)}</figcaption><svg viewBox="0 0 {_WIDTH} {len(bars) * _ROW + 4}" '
        f'role="img" aria-label="{_escaped(caption)}">{"".join([*parts, *texts])}</svg></figure>'
    )


def _marked(text: str, *, longest: int = _LONGEST) -> str:
    r"""Text that Markdown leaves as it is: its signs behind a `\`, those of HTML as entities."""
    escaped = _MARKDOWN.sub(lambda found: "\\" + found[0], plain(text, longest=longest))
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"^([-+]|\d+[.)])(?=\s)", r"\\\1", escaped)


def _marked_cell(cell: Cell) -> str:
    if isinstance(cell, Mono):
        text = plain(cell.text)
        # a table ends a cell at a | even in code, so what has one is no code
        return _marked(text) if "`" in text or "|" in text else f"`{text}`"
    if isinstance(cell, Badge):
        return f"{_MARKS[cell.tone]} **{_marked(cell.text)}**".strip()
    return _marked(shown(cell))


_STYLE = """
:root{--ink:#1f2933;--soft:#616e7c;--line:#e1e6eb;--back:#fff;--tint:#f5f7fa;--accent:#2f6fed;--good:#0b7a4b;
--warn:#9a5b00;--bad:#b42318}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaef;--soft:#9aa5b1;--line:#323f4b;--back:#12181f;--tint:#1b242d;
--accent:#7ea6ff;--good:#4cc38a;--warn:#f0b35a;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:56rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:.2rem 0 .6rem;letter-spacing:-.01em}
h2{font-size:1.2rem;margin:0 0 .8rem;padding-top:1.6rem;border-top:1px solid var(--line)}
section{margin-top:1.8rem}
.kicker{color:var(--soft);margin:0;overflow-wrap:anywhere}
p{margin:.5rem 0;max-width:46rem;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1rem;margin:1.4rem 0 0;font-size:.9rem}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
.badge{display:inline-block;padding:.05rem .55rem;border-radius:1rem;border:1px solid currentColor;font-size:.82rem;
font-weight:600;white-space:nowrap}
.badge.good{color:var(--good)}.badge.warn{color:var(--warn)}.badge.bad{color:var(--bad)}.badge.plain{color:var(--soft)}
.note{border-left:4px solid var(--soft);background:var(--tint);padding:.6rem .9rem;border-radius:0 .4rem .4rem 0}
.note.good{border-color:var(--good)}.note.warn{border-color:var(--warn)}.note.bad{border-color:var(--bad)}
dl{margin:.6rem 0}
dl div{display:grid;grid-template-columns:13rem 1fr;gap:.2rem 1rem;padding:.25rem 0;border-bottom:1px solid var(--line)}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;width:100%;font-size:.9rem}
caption{text-align:left;color:var(--soft);padding:.2rem 0 .4rem}
th,td{text-align:left;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--soft)}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font:.86em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
figure{margin:1rem 0}figcaption{color:var(--soft);font-size:.9rem;margin-bottom:.3rem}
svg{width:100%;max-width:46rem;height:auto;display:block}svg.curve{max-width:20rem}
svg text{font-size:13px;fill:var(--ink)}
svg text.value{fill:var(--soft);font-variant-numeric:tabular-nums}
svg text.value{paint-order:stroke;stroke:var(--back);stroke-width:5px}
svg rect,svg circle{fill:var(--accent)}svg line{stroke:var(--accent);stroke-width:3;stroke-linecap:round}
svg .plain{fill:var(--soft);stroke:var(--soft)}svg rect.plain,svg circle.plain{stroke:none}
svg .good{fill:var(--accent);stroke:var(--accent)}svg rect.good,svg circle.good{stroke:none}
svg .bad{fill:var(--bad);stroke:var(--bad)}svg .warn{fill:var(--warn);stroke:var(--warn)}
svg polyline{fill:none;stroke:var(--accent);stroke-width:2.5}svg .axis{fill:none;stroke:var(--soft)}
svg .guide{stroke:var(--line);stroke-width:1}svg .diagonal{stroke:var(--soft);stroke-width:1;stroke-dasharray:3 4}
@media (max-width:40rem){main{padding:1.2rem 1rem 3rem}h1{font-size:1.5rem}dl div{grid-template-columns:1fr;gap:0}
svg text{font-size:17px}}
@media print{body{font-size:10.5pt;background:#fff;color:#000}nav{display:none}main{max-width:none;padding:0}
section{break-inside:auto}h2,figure,tr{break-inside:avoid;break-after:auto}h2{break-after:avoid}.wide{overflow:visible}}
""".strip().replace("\n", "")
