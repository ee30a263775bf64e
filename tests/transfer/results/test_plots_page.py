"""Tests of transfer/results/plots_page.py: the page that DVC fills; that it does so is tried in tests/end_to_end."""

import configparser
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.documents import fetched, parse
from transfer.results import plots_page


def test_the_page_has_dvcs_places_and_its_library_inside() -> None:
    page = plots_page.plots_page()
    assert page.count("{plot_divs}") == page.count("{refresh_tag}") == 1
    assert "{scripts}" not in page  # DVC would put its CDN there
    document = parse(page)
    (script,) = document.all("script")
    assert "vegaEmbed" in script.text
    assert len(script.text) > 500_000
    assert fetched(document) == set()


def test_the_same_package_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = []
    for _ in range(2):
        plots_page.main()
        written.append(plots_page.PAGE.read_bytes())
    assert written[0] == written[1]


def test_dvc_is_told_of_the_page_and_git_is_not() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / ".dvc/config")
    assert (ROOT / ".dvc" / config["plots"]["html_template"]).resolve() == ROOT / plots_page.PAGE
    asked = subprocess.run(["git", "check-ignore", "--quiet", str(plots_page.PAGE)], cwd=ROOT, check=False)
    assert asked.returncode == 0


@pytest.mark.parametrize("library", ["a {plot_divs} b", "{scripts}"])
def test_a_library_that_dvc_would_change_is_refused(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda *_: library)
    with pytest.raises(RuntimeError, match="which DVC would replace"):
        plots_page.plots_page()


def test_a_library_cannot_end_its_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vl_convert.javascript_bundle", lambda *_: 'a = "</script><b>"; c = "</SCRIPT>"; d = "<!--"')
    (script,) = parse(plots_page.plots_page()).all("script")
    assert script.text == 'a = "<\\/script><b>"; c = "<\\/SCRIPT>"; d = "<\\!--"'
