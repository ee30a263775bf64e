"""The documentation builds without a warning, asks no other host for anything, and can be searched."""

import importlib.util
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from tests.conftest import ROOT
from tests.end_to_end.browser import chromium, opened

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


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Serve the site on this machine, as Chromium runs no search in a file."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


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


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_pages_open_without_a_fault_and_are_found(
    address: str, browser: Browser, width: int, scheme: Literal["light", "dark"]
) -> None:
    for name in ("parameters.html", "deploy.html", "benchmarks/grids.html", "index.html"):
        with opened(browser, f"{address}{name}", width, scheme) as found:
            found.page.wait_for_load_state("networkidle")  # else what it still asks for would fail when it is left
            assert found.overflow == 0, name
            images = found.page.locator("img")
            assert images.evaluate_all("all => all.every(one => one.naturalWidth > 100)"), name
            if name == "index.html":
                _search(found.page, width)
            assert found.faults == [], name


def _search(page: Page, width: int) -> None:
    """Find a heading of another page, as a reader does."""
    if width < 1000:
        page.locator("label[for=__search]").first.click()
    box = page.get_by_role("textbox", name="Search")
    box.click()
    box.press_sequentially("temperature")  # as the index may still be loading at the first key
    page.locator(".md-search-result__link[href*='reading-the-report.html'][href$='#temperature']").wait_for()
