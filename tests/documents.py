"""HTML as a tree, to look into what was written."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
INLINE = {"a", "code", "em", "span", "strong"}
"""Elements that text flows through; what is in any other stands apart."""
LOADING = ("src", "href", "srcset", "poster", "data", "action", "formaction", "background", "ping", "xlink:href")
"""Attributes that a browser may fetch from."""


@dataclass
class Element:
    """An element, with its children and pieces of text in their order."""

    tag: str
    attributes: dict[str, str | None]
    children: list["Element | str"] = field(default_factory=list)

    def all(self, tag: str) -> Iterator["Element"]:
        """All elements of a kind below this one, or of any kind."""
        for child in self.children:
            if isinstance(child, Element):
                if tag in (child.tag, "*"):
                    yield child
                yield from child.all(tag)

    @property
    def text(self) -> str:
        """All text below this element, its white space made single blanks."""
        return " ".join(self._pieces().split())

    def _pieces(self) -> str:
        pieces = "".join(child if isinstance(child, str) else child._pieces() for child in self.children)
        return pieces if self.tag in INLINE else f" {pieces} "

    def table(self, caption: str) -> list[list[str]]:
        """The cells of the one table whose caption begins with these words, its header included."""
        (found,) = (table for table in self.all("table") if next(table.all("caption")).text.startswith(caption))
        return [[cell.text for cell in row.children if isinstance(cell, Element)] for row in found.all("tr")]


class _Builder(HTMLParser):
    """Builds the tree, and takes no mistakes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Element("document", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice: {attrs}"
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> ends <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(text: str) -> Element:
    """Parse a page in which every element that is begun is ended."""
    builder = _Builder()
    builder.feed(text)
    builder.close()
    assert [element.tag for element in builder.open] == ["document"]
    return builder.open[0]


def fetched(document: Element) -> set[str]:
    """All that a browser may fetch for a page, and where its links lead, other than to places in the page itself."""
    found = {
        value
        for element in document.all("*")
        for name, value in element.attributes.items()
        if name in LOADING and value is not None and not value.startswith(("#", "data:"))
    }
    styles = [element.text for element in document.all("style")]
    styles += [element.attributes.get("style") or "" for element in document.all("*")]
    return found | {style for style in styles if "@import" in style or "url(" in style.replace("url(#", "")}
