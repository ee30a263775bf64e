"""Tests of transfer/results/html.py."""

from pathlib import Path

from PIL import Image

from tests.documents import fetched, parse
from transfer.results.html import inline, sections

REPORT = """text before

## First *one*

A `word`.

| model | share |
| --- | ---: |
| `a` | 0.5 |

| model | share |
| --- | ---: |
| `b` | 0.7 |

## Second

### Part

| actual ↓ predicted → | x | y |
| --- | ---: | ---: |
| x | 3 | 1 |
| y | 0 | 0 |

![A picture](p.png)
"""


def test_each_heading_begins_a_section(tmp_path: Path) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "p.png")
    first, second = sections(REPORT, tmp_path, ())
    assert (first.title, first.name, second.name) == ("First <em>one</em>", "first-one", "second")
    assert "text before" not in first.body
    assert 'src="data:image/png;base64,' in second.body
    assert fetched(parse(str(second.body))) == set()


def test_tables_have_names_and_headers_of_rows(tmp_path: Path) -> None:
    first, second = (parse(str(section.body)) for section in sections(REPORT, tmp_path, ("Second",)))
    assert [region.attributes["aria-label"] for region in first.all("div")] == [
        "First one: table",
        "First one: table 2",
    ]
    assert first.table("First one: table 2") == [["model", "share"], ["b", "0.7"]]
    assert [cell.attributes["scope"] for cell in first.all("th")] == ["col", "col", "row"] * 2
    assert second.table("Second, Part")[1:] == [["x", "3 75%", "1 25%"], ["y", "0 0%", "0 0%"]]
    shares = [cell.attributes["style"] for cell in second.all("td")]
    assert shares[:2] == ["--share: 0.750", "--share: 0.250"]
    assert not list(second.all("img"))


def test_a_picture_that_is_not_here_is_said_to_be_in_the_cache(tmp_path: Path) -> None:
    body = sections(REPORT, tmp_path, ())[1].body
    assert "(A picture: not here; `dvc pull` brings the picture)" in body
    assert "<img" not in body


def test_a_character_that_xml_has_not_is_replaced(tmp_path: Path) -> None:
    (section,) = sections("## A\n\nx\x01y\n", tmp_path, ())
    assert section.body == "<p>x\ufffdy</p>\n"


def test_nothing_in_the_text_is_taken_for_html_or_leads_elsewhere() -> None:
    said = inline("<b>x</b> [a](http://example.invalid) <http://example.invalid> \\*y\\*")
    assert said == "&lt;b&gt;x&lt;/b&gt; [a](http://example.invalid) &lt;http://example.invalid&gt; *y*"
