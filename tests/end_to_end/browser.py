"""Pages in headless Chromium: what goes wrong there, and what they ask other hosts for."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOCAL = ("file:", "data:", "blob:", "about:")
WIDTHS = (1280, 390, 360)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@dataclass
class Opened:
    """A page that was opened, and what went wrong."""

    page: Page
    faults: list[str] = field(default_factory=list)

    @property
    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        wider: int = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return wider


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium of the system, or Playwright's own; skip the test where there is none."""
    with sync_playwright() as playwright:
        found = [path for name in NAMES if (path := shutil.which(name))]
        if not found and Path(playwright.chromium.executable_path).exists():
            found = [playwright.chromium.executable_path]
        if not found:
            pytest.skip("no Chromium on this machine: apt-get install chromium, or playwright install chromium")
        browser = playwright.chromium.launch(executable_path=found[0])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, page_at: Path | str, width: int, scheme: Literal["light", "dark"]) -> Iterator[Opened]:
    """Open a file, without a network, or an address of this machine, in a window of a width.

    Collects every error, dialog and request for anything that is not here: in files, or on the server of that address.
    """
    served = isinstance(page_at, str)
    url = page_at if isinstance(page_at, str) else page_at.resolve().as_uri()
    local = (urljoin(url, "/"),) if served else LOCAL
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=not served)
    result = Opened(context.new_page())

    def request(asked: str) -> None:
        if not asked.startswith(local):
            result.faults.append(f"request: {asked}")

    def dismiss(dialog: Dialog) -> None:
        result.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page = result.page
    page.on("request", lambda made: request(made.url))
    page.on("requestfailed", lambda made: result.faults.append(f"failed: {made.url[:100]}"))
    page.on("console", lambda said: result.faults.append(f"console: {said.text}") if said.type == "error" else None)
    page.on("pageerror", lambda error: result.faults.append(f"error: {error}"))
    page.on("dialog", dismiss)
    page.goto(url, wait_until="load")
    yield result
    context.close()
