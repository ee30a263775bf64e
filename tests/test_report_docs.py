"""docs/reading-the-report.md explains what metrics/REPORT.md shows."""

import re

from tests.conftest import ROOT
from transfer.results.rows import SCORES

PAGE = (ROOT / "docs/reading-the-report.md").read_text(encoding="utf-8")


def test_every_score_is_explained() -> None:
    words = " ".join(PAGE.split()).lower()
    assert [name for name in SCORES.values() if name.lower() not in words] == []


def test_what_is_cited_is_listed_and_the_other_way_round() -> None:
    text, listed = " ".join(PAGE.split()).split(" ## Sources - ")
    sources = listed.split(" - ")
    cited = re.findall(r"((?:van )?[A-Z]\w+)(?: and \w+| et al\.)? (\d{4})", text)
    assert [pair for pair in cited if not any(all(part in source for part in pair) for source in sources)] == []
    assert [source for source in sources if not any(all(part in source for part in pair) for pair in cited)] == []
