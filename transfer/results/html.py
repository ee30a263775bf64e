"""The report's Markdown as HTML for a page that loads nothing: pictures inside, no links out, tables that scroll.

Rendered by markdown-it-py, which escapes all HTML in the text and writes well-formed XML.
"""

import base64
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from transfer.results.tables import MATRIX

PARSER = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "autolink"])
NO_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # characters that XML has not, nor a page should


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
        html = PARSER.render(NO_XML.sub("\ufffd", body))
        root = ET.fromstring(f"<body>{html}</body>")  # noqa: S314 (what the parser has just written)
        for image in root.iter("img"):
            _embed(image, None if title in charted else folder)
        _describe_tables(root, re.sub(r"[`*]", "", title))
        html = "".join(ET.tostring(element, encoding="unicode", method="html") for element in root)
        name = "-".join(re.findall(r"[a-z]+", title.lower()))
        found.append(Section(inline(title), name, Markup(html)))  # noqa: S704 (ElementTree escapes)
    return found


def _embed(image: ET.Element, folder: Path | None) -> None:
    """Put a picture into the page, or leave it out, where there is no folder."""
    path = (folder or Path()) / image.attrib["src"]
    if folder is not None and path.exists():
        image.set("src", f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}")
        return
    if folder is not None:  # it is in DVC's cache only
        image.text = f"({image.attrib['alt']}: not here; `dvc pull` brings the picture)"
    image.tag, image.attrib = "span", {}


def _describe_tables(root: ET.Element, title: str) -> None:
    """Name each table by the heading above it, of several below one with a number."""
    names: Counter[str] = Counter()
    name = title
    for element in root:
        if element.tag in ("h3", "h4"):
            name = f"{title}, {_text(element)}"
        elif element.tag == "table":
            names[name] += 1
            _describe(element, f"{name}: table {names[name]}" if names[name] > 1 else f"{name}: table")


def _describe(table: ET.Element, label: str) -> None:
    """Give a table a name, headers of its rows and columns, and a region that scrolls; a confusion matrix shares."""
    head, *rows = table.iter("tr")
    matrix = _text(head[0]) == MATRIX
    for cell in head:
        cell.set("scope", "col")
    for name, *cells in rows:
        name.tag = "th"
        name.set("scope", "row")
        if matrix:
            _shade(cells)
    inside = ET.Element("table", {"class": "matrix"} if matrix else {})
    ET.SubElement(inside, "caption").text = label
    inside.extend(table)
    table.clear()
    table.tag = "div"
    table.attrib |= {"class": "scroll", "role": "region", "aria-label": label, "tabindex": "0"}
    table.append(inside)


def _shade(cells: list[ET.Element]) -> None:
    """Say each count's share of its row, in words and for the style sheet."""
    counts = [int(_text(cell)) for cell in cells]
    for cell, count in zip(cells, counts, strict=True):
        share = count / (sum(counts) or 1)
        cell.set("style", f"--share: {share:.3f}")
        cell.text = f"{count} "
        ET.SubElement(cell, "small").text = f"{share:.0%}"


def _text(element: ET.Element) -> str:
    return "".join(element.itertext())
