"""README.md says what the files say."""

import re

from tests.declared import ROOT
from transfer.readme import BLOCKS, render


def test_the_figures_in_readme_are_those_of_the_files() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- ([a-z-]+) -->\n", text)) - {"end"} == set(BLOCKS)
    assert render(text, ROOT) == text


def test_a_figure_that_differs_is_found() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    changed = re.sub(r"\*\*0\.\d+\*\*", "**0.999**", text, count=1)
    assert changed != text
    assert render(changed, ROOT) == text
