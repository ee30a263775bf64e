"""The page of a real run, and the page of `dvc plots show`, as files and in headless Chromium."""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser

from tests.documents import fetched, parse
from tests.end_to_end.browser import SCHEMES, WIDTHS, chromium, opened
from tests.end_to_end.clones import Clone
from tests.transfer.results.test_page import HOSTILE, make_project
from tests.transfer.results.test_performance import make_spec
from transfer.results import page
from transfer.results.performance import MODELS

PLOTS = "dvc_plots/index.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def shown(original: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A project that was run, with its page and that of its plots."""
    clone = original.copy(tmp_path_factory.mktemp("pages") / "clone")
    clone.run("python", "-m", "transfer", "report")
    clone.run("python", "-m", "transfer.results.plots_page")
    clone.dvc("plots", "show")
    return clone


@pytest.fixture(scope="module", params=[8, 200])
def many(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of several classes, the names of some of which would be markup, and of which others are long."""
    folder = tmp_path_factory.mktemp("many")
    names = (*HOSTILE, "long-" * 20, *(f"a class with a long name, number {i}" for i in range(200)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_project(folder, make_spec(names[: request.param], None, 4 * request.param))
        page.main()
    return folder / page.PAGE


def test_the_page_is_that_of_the_run(shown: Clone) -> None:
    document = parse((shown.folder / page.PAGE).read_text(encoding="utf-8"))
    compare = json.loads((shown.folder / "metrics/compare.json").read_text(encoding="utf-8"))
    rows = {row[0].split(":")[0]: row for row in document.table("Model Performance Table")[1:]}
    for model in MODELS:
        assert rows[model][1].startswith(f"{compare['intervals'][model]['accuracy']:.3f}")
    assert "The results are those of these files: dvc repro would run nothing." in document.text
    head = shown.run("git", "rev-parse", "HEAD").output.strip()
    assert f"Commit: {head}. " in document.text
    assert fetched(document) == set()


def test_the_page_says_when_results_are_not_those_of_the_parameters(original: Clone, tmp_path: Path) -> None:
    clone = original.copy(tmp_path / "clone")
    clone.set_params(lr=2e-3)
    clone.run("python", "-m", "transfer", "report")
    said = parse((clone.folder / page.PAGE).read_text(encoding="utf-8")).text
    said_by_dvc = "dvc repro would run compare, finetune and what depends on it."  # compare gives advice by it
    assert f"The results are not those of these files: {said_by_dvc}" in said
    assert ", with changes that are not committed." in said


def test_a_clone_that_has_run_nothing_is_told_to(original: Clone, tmp_path: Path) -> None:
    clone = original.copy(tmp_path / "clone")
    (clone.folder / "metrics/REPORT.md").unlink()
    ran = clone.run("python", "-m", "transfer", "report", status=1)
    assert ran.output.startswith("error: metrics/REPORT.md: no such file")
    assert "Traceback" not in ran.output


def test_the_plots_are_shown_without_a_network(shown: Clone) -> None:
    document = parse((shown.folder / PLOTS).read_text(encoding="utf-8"))
    elsewhere = fetched(document)
    assert elsewhere
    assert all((shown.folder / "dvc_plots" / path).exists() for path in elsewhere), elsewhere


@pytest.mark.parametrize(("width", "scheme"), list(product(WIDTHS, SCHEMES)))
def test_the_page_opens_without_a_fault(shown: Clone, browser: Browser, width: int, scheme: str) -> None:
    with opened(browser, shown.folder / page.PAGE, width, scheme) as found:  # type: ignore[arg-type]
        assert found.overflow == 0
        results = Axe().run(found.page)
        assert results.violations_count == 0, results.generate_report()
        assert found.page.locator("img").evaluate_all("all => all.every(one => one.naturalWidth > 100)")
        assert found.faults == []


@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_of_many_classes_opens_without_a_fault(many: Path, browser: Browser, width: int) -> None:
    with opened(browser, many, width, "light") as found:
        assert found.overflow == 0
        results = Axe().run(found.page)
        assert results.violations_count == 0, results.generate_report()
        assert found.faults == []


def test_the_page_can_be_used_from_the_keyboard(shown: Clone, browser: Browser) -> None:
    with opened(browser, shown.folder / page.PAGE, 1280, "light") as found:
        focused = "document.activeElement.textContent.trim()"
        found.page.keyboard.press("Tab")
        assert found.page.evaluate(focused) == "Skip to the results"
        found.page.keyboard.press("Enter")
        assert found.page.evaluate("document.activeElement.id") == "main"
        found.page.keyboard.press("Tab")
        assert (
            found.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Model Performance Table: table"
        )


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_plots_open_without_a_fault(shown: Clone, browser: Browser, width: int, scheme: str) -> None:
    with opened(browser, shown.folder / PLOTS, width, scheme) as found:  # type: ignore[arg-type]
        charts = found.page.locator("main > div > .vega-embed, main > .vega-embed")
        expected = (shown.folder / PLOTS).read_text(encoding="utf-8").count("vegaEmbed('#")
        assert expected == 14
        found.page.wait_for_function(
            f"document.querySelectorAll('.vega-embed canvas, .vega-embed svg').length >= {expected}"
        )
        assert charts.count() == expected
        assert found.page.locator("img").evaluate_all("all => all.every(one => one.naturalWidth > 100)")
        assert found.overflow == 0
        assert found.faults == []


@pytest.mark.parametrize(
    ("markup", "said"),
    [
        ("<script src='http://example.invalid/a.js'></script>", "request: http://example.invalid/a.js"),
        ("<img src='//example.invalid/a.png'>", "failed: file://example.invalid/a.png"),
        ("<script>throw new Error('oh')</script>", "error: oh"),
        ("<script>console.error('oh')</script>", "console: oh"),
        ("<script>alert('oh')</script>", "dialog: oh"),
    ],
)
def test_a_fault_is_seen(markup: str, said: str, browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><title>t</title>{markup}", encoding="utf-8")
    with opened(browser, file, 390, "light") as found:
        assert said in found.faults
