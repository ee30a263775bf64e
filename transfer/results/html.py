"""The report's Markdown as HTML for a page that loads nothing: pictures inside, no links out, tables that scroll.

Rendered by markdown-it-py, which escapes all HTML in the text.
"""

import base64
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from transfer.results.tables import MATRIX

PARSER = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "autolink"])


@dataclass(frozen=True)
class Section:
    """A part of the page below a heading."""

    title: Markup
    name: str
    body: Markup


def inline(text: str) -> Markup:
    """Return a line of Markdown as HTML."""
    return Markup(PARSER.renderInline(text))  # noqa: S704 (the parser escapes)


def sections(text: str, folder: Path, charted: Collection[str]) -> list[Section]:
    """Return the sections of a report, one for each heading of the second level.

    Args:
        text: Markdown.
        folder: that the paths of its pictures are relative to.
        charted: titles of sections whose pictures are left out.
    """
    found = []
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        tokens = PARSER.parse(body)
        _embed(tokens, None if title in charted else folder)
        _describe_tables(tokens, re.sub(r"[`*]", "", title))
        html = PARSER.renderer.render(tokens, PARSER.options, {})
        name = "-".join(re.findall(r"[a-z]+", title.lower()))
        found.append(Section(inline(title), name, Markup(html)))  # noqa: S704 (the parser escapes)
    return found


def _embed(tokens: list[Token], folder: Path | None) -> None:
    """Put pictures into the page, or leave them out, where there is no folder."""
    for token in tokens:
        for child in token.children or ():
            if child.type != "image":
                continue
            if folder is None:
                child.type, child.content = "text", ""
                continue
            path = folder / str(child.attrs["src"])
            if not path.exists():  # it is in DVC's cache only
                child.type, child.content = "text", f"({child.content}: not here; `dvc pull` brings the picture)"
                continue
            png = base64.b64encode(path.read_bytes()).decode("ascii")
            child.type = "html_inline"
            child.content = f'<img src="data:image/png;base64,{png}" alt="{escape(child.content)}">'


def _describe_tables(tokens: list[Token], title: str) -> None:
    """Give each table a name, a region that scrolls, and headers of its rows."""
    names: Counter[str] = Counter()
    name, begin = title, 0
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            name = f"{title}, {_text(tokens[index + 1])}"
        elif token.type == "table_open":
            names[name] += 1
            begin = index
        elif token.type == "table_close":
            table = tokens[begin : index + 1]
            matrix = _text(table[4]) == MATRIX  # the fifth token: table, head, row, cell, text
            label = escape(f"{name}: table {names[name]}" if names[name] > 1 else f"{name}: table")
            _scroll(table, label, matrix=matrix)
            for row in _rows(table):
                _head(row)
                if matrix and row[0].type == "td_open":
                    _shade(row[3:])


def _scroll(table: list[Token], label: str, *, matrix: bool) -> None:
    kind = ' class="matrix"' if matrix else ""
    table[0].type = table[-1].type = "html_block"
    table[0].content = (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">\n<table{kind}>\n'
        f"<caption>{label}</caption>\n"
    )
    table[-1].content = "</table>\n</div>\n"


def _rows(table: list[Token]) -> Iterator[list[Token]]:
    """Give the cells of each row: opening, content and closing of each."""
    begin = 0
    for index, token in enumerate(table):
        if token.type == "tr_open":
            begin = index + 1
        elif token.type == "tr_close":
            yield table[begin:index]


def _head(row: list[Token]) -> None:
    """Make the first cell of a row its header, and say what each header is one of."""
    if row[0].type == "td_open":
        row[0].tag = row[2].tag = "th"
        row[0].attrSet("scope", "row")
    for cell in row[::3]:
        if cell.type == "th_open":
            cell.attrSet("scope", "col")


def _shade(cells: list[Token]) -> None:
    """Say each count's share of its row, in words and for the style sheet."""
    counts = [int(_text(content)) for content in cells[1::3]]
    for cell, content, count in zip(cells[::3], cells[1::3], counts, strict=True):
        share = count / (sum(counts) or 1)
        cell.attrSet("style", f"--share: {share:.3f}")
        percent = Token("html_inline", "", 0, content=f" <small>{share:.0%}</small>")
        content.children = [*(content.children or []), percent]


def _text(token: Token) -> str:
    return "".join(child.content for child in token.children or ())
