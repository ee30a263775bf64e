"""docs/reading-the-report.md explains what metrics/REPORT.md shows."""

import re

from tests.conftest import ROOT

PAGE = (ROOT / "docs/reading-the-report.md").read_text(encoding="utf-8")
TABLES = ("macro F1", "Brier score", "threshold", "best epoch")
"""A column of each table of the report whose columns are scores, or what was chosen."""


def test_every_column_of_the_report_is_explained() -> None:
    report = (ROOT / "metrics/REPORT.md").read_text(encoding="utf-8")
    headers = re.findall(r"^\| model \| (.+) \|\n\| ---", report, re.MULTILINE)
    rows = [next(header for header in headers if table in header) for table in TABLES]
    columns = {name.removesuffix(" (95 %)").lower() for row in rows for name in row.split(" | ")}
    assert {"weighted, alternative", "ece", "recall", "roc auc"} < columns
    words = " ".join(PAGE.split()).lower()
    assert [name for name in columns if name not in words] == []


def test_what_is_cited_is_listed_and_the_other_way_round() -> None:
    text, listed = " ".join(PAGE.split()).split(" ## Sources - ")
    sources = listed.split(" - ")
    cited = re.findall(r"((?:van )?[A-Z]\w+)(?: and \w+| et al\.)? (\d{4})", text)
    assert [pair for pair in cited if not any(all(part in source for part in pair) for source in sources)] == []
    assert [source for source in sources if not any(all(part in source for part in pair) for pair in cited)] == []
