"""The command serve as users meet it: over loopback, by programs, by a tester of interfaces and in a browser."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Literal

import httpx2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from PIL import Image
from playwright.sync_api import Browser

from tests.conftest import ROOT
from tests.end_to_end.browser import SCHEMES, WIDTHS, Opened, chromium
from tests.end_to_end.serving import serving
from tests.transfer.conftest import CLASSES, Exported, export, images_of
from tests.transfer.serving.conftest import encoded
from transfer.core.arrays import Pixels
from transfer.export.classifiers import open_classifier

PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(tmp_path_factory.mktemp("served"), 3, 1)


@pytest.fixture(scope="module")
def address(small: Exported) -> Iterator[str]:
    with serving(small.folder) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def test_fifty_clients_are_answered_with_what_the_classifier_says(small: Exported, address: str) -> None:
    images = images_of(50, 3)
    expected = open_classifier(small.folder).probabilities(images)

    def ask(pixels: Pixels) -> dict[str, float]:
        answer = httpx2.post(f"{address}/predict", content=encoded(pixels), headers=PNG, timeout=20)
        assert answer.status_code == 200
        said: dict[str, float] = answer.json()["predictions"][0]["probabilities"]
        return said

    with ThreadPoolExecutor(50) as threads:
        for said, row in zip(threads.map(ask, images), expected, strict=True):
            assert [said[name] for name in CLASSES] == pytest.approx(row.tolist(), abs=1e-6)
    counted = httpx2.get(f"{address}/metrics").text
    assert re.search(r'transfer_requests_total{route="/predict",status="200"} (\d+)', counted)
    batches = float(re.findall(r"transfer_batch_images_count (\S+)", counted)[0])
    assert 1 <= batches < float(re.findall(r"transfer_batch_images_sum (\S+)", counted)[0])


def test_a_body_that_is_too_long_gets_its_answer_over_the_wire(small: Exported) -> None:
    with serving(small.folder, "--max-bytes", "100000") as url:
        announced = httpx2.post(f"{url}/predict", content=b"x" * 3_000_000, headers=PNG)
        assert announced.status_code == 413
        streamed = httpx2.post(f"{url}/predict", content=(b"x" * 10_000 for _ in range(300)), headers=PNG)
        assert streamed.json() == {"error": "expected at most 100,000 bytes, received more"}
        assert httpx2.post(f"{url}/predict", content=encoded(images_of(1, 3)[0]), headers=PNG).status_code == 200


def test_schemathesis_finds_no_fault(address: str, tmp_path: Path) -> None:
    """All of its checks but one: what it makes up for the parts of a form is no image."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{address}/openapi.json", "--seed", "1",
        "--max-examples", "10", "--no-color", "--exclude-checks", "positive_data_acceptance",
        "--generation-database", "none",
    ]  # fmt: skip
    variables = os.environ | {"SCHEMATHESIS_HOOKS": "tests.end_to_end.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "No issues found" in ran.stdout
    assert "Tested: 5" in ran.stdout
    counted = httpx2.get(f"{address}/metrics").text
    for route, status in (("/predict", 200), ("/predict", 415), ("/predict", 422), ("/explain", 200)):
        assert f'transfer_requests_total{{route="{route}",status="{status}"}}' in counted
    assert 'status="500"' not in counted


@contextmanager
def _visited(browser: Browser, address: str, width: int, scheme: Literal["light", "dark"]) -> Iterator[Opened]:
    """Open the served page and collect every error and every request for anything else than the server."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    found = Opened(context.new_page())

    def request(url: str) -> None:
        if not url.startswith((f"{address}/", "blob:", "data:")):
            found.faults.append(f"request: {url}")

    found.page.on("request", lambda made: request(made.url))
    found.page.on("requestfailed", lambda made: found.faults.append(f"failed: {made.url[:100]}"))
    found.page.on(
        "console", lambda said: found.faults.append(f"console: {said.text}") if said.type == "error" else None
    )
    found.page.on("pageerror", lambda error: found.faults.append(f"error: {error}"))
    found.page.goto(f"{address}/", wait_until="load")
    yield found
    context.close()


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "<b>one.png"
    Image.fromarray(images_of(1, 3, (200, 300))[0]).save(path)
    return path


@pytest.mark.parametrize(("width", "scheme"), list(product(WIDTHS, SCHEMES)))
def test_an_image_is_classified_and_explained_on_the_page(
    width: int, scheme: Literal["light", "dark"], small: Exported, address: str, browser: Browser, picture: Path
) -> None:
    with Image.open(picture) as image:
        pixels = image.resize((32, 32), Image.Resampling.BILINEAR)
        row = open_classifier(small.folder).probabilities(np.asarray(pixels)[None])[0]
    likely = CLASSES[int(row.argmax())]
    with _visited(browser, address, width, scheme) as found:
        page = found.page
        assert Axe().run(page).violations_count == 0
        page.set_input_files("#file", picture)
        page.wait_for_selector("#found:not([hidden])")
        assert page.inner_text("#likely") == f"{likely}, {100 * row.max():.1f} %"
        assert page.inner_text("tr.likely th") == likely
        assert page.inner_text("#state") == f"{picture.name}: {likely}"
        assert page.locator("#rows tr").count() == len(CLASSES)
        assert page.evaluate("document.getElementById('image').naturalWidth") == 300
        page.click("#explain")
        page.wait_for_selector("#shown:not([hidden])")
        page.wait_for_function("document.getElementById('map').naturalWidth > 600")
        assert likely in (page.get_attribute("#map", "alt") or "")
        assert found.overflow == 0
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{folder}/{width}-{scheme}.png", full_page=True)
        assert found.faults == []


def test_a_file_that_is_no_image_is_said_on_the_page_and_the_next_is_classified(
    address: str, browser: Browser, picture: Path, tmp_path: Path
) -> None:
    (tmp_path / "no.png").write_text("no image", encoding="utf-8")
    with _visited(browser, address, 390, "light") as found:
        found.page.set_input_files("#file", tmp_path / "no.png")
        found.page.wait_for_selector("#wrong:not([hidden])")
        assert found.page.inner_text("#wrong").startswith("no.png: expected one of BMP")
        assert found.page.is_hidden("#found")
        found.page.set_input_files("#file", picture)
        found.page.wait_for_selector("#found:not([hidden])")
        assert found.page.is_hidden("#wrong")
        assert all("status of 422" in fault for fault in found.faults)  # the browser's own note of the answer


def test_an_image_can_be_dropped_and_chosen_from_the_keyboard(address: str, browser: Browser) -> None:
    make = """async () => {
      const canvas = new OffscreenCanvas(40, 40);
      const context = canvas.getContext("2d");
      for (const [colour, x] of [["black", 0], ["orange", 20]]) {
        context.fillStyle = colour;
        context.fillRect(x, 0, 20, 40);
      }
      const carried = new DataTransfer();
      carried.items.add(new File([await canvas.convertToBlob()], "dropped.png", {type: "image/png"}));
      document.getElementById("drop").dispatchEvent(
        new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true}));
    }"""
    with _visited(browser, address, 1280, "light") as found:
        found.page.keyboard.press("Tab")
        assert found.page.evaluate("document.activeElement.id") == "file"
        found.page.evaluate(make)
        found.page.wait_for_selector("#found:not([hidden])")
        assert found.page.inner_text("#state").startswith("dropped.png: ")
        assert found.faults == []


def test_no_script_but_the_pages_own_is_run(address: str, browser: Browser) -> None:
    with _visited(browser, address, 1280, "light") as found:
        found.page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
        )
        assert found.page.evaluate("window.ran") is None
        assert any("Content Security Policy" in fault for fault in found.faults)
