"""The documentation builds without a warning, and asks no other host for anything."""

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs mkdocs: requirements/docs.txt"),
]
ELSEWHERE = re.compile(r"(https?:)?//", re.IGNORECASE)


class _Loaded(HTMLParser):
    """What a browser loads with a page. It follows a link to elsewhere only where somebody clicks on it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name == "src" or (tag, name) == ("link", "href")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md")))  # and that for a page that is not found
    loaded = [(page.name, source) for page in pages for source in _Loaded(page).found]
    assert [name for name in loaded if ELSEWHERE.match(name[1])] == []
    assert any(source.endswith(".css") for _, source in loaded)
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_the_site_has_its_pictures_and_the_index_for_its_search(site: Path) -> None:
    assert (site / "search/search_index.json").stat().st_size > 10_000
    assert (site / "benchmarks/sweep.png").read_bytes() == (ROOT / "benchmarks/results/sweep.png").read_bytes()
