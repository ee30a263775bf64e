"""Tests of transfer/share.py, on a pipeline of one stage."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.end_to_end.clones import Clone

PIPELINE = """
stages:
  double:
    cmd: cat number number > table.csv; echo ran >> times
    deps: [number]
    outs:
      - table.csv:
          cache: false
"""


@pytest.fixture
def small(tmp_path: Path) -> Clone:
    clone = Clone(tmp_path / "small", {"PYTHONPATH": str(ROOT)})
    clone.folder.mkdir()
    clone.git("init", "-q")
    clone.dvc("init", "-q")
    (clone.folder / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    return clone


def _run_with(clone: Clone, number: str) -> bool:
    """Reproduce with a number, and say whether the stage ran."""
    (clone.folder / "number").write_text(number, encoding="utf-8")
    ran = clone.dvc("repro")
    assert (clone.folder / "table.csv").read_text(encoding="utf-8") == 2 * number
    return ran.stages == ["double"]


def test_a_stage_that_was_kept_is_restored_and_one_that_was_not_runs_again(small: Clone) -> None:
    assert _run_with(small, "1")
    assert small.run("python", "-m", "transfer", "share").output == "run cache: 1 stages kept\n"
    assert _run_with(small, "2")
    assert not _run_with(small, "1")
    assert _run_with(small, "2")  # by DVC alone it is not kept: when this fails, transfer/share.py can go


def test_a_stage_that_is_not_up_to_date_is_not_kept(small: Clone) -> None:
    assert _run_with(small, "1")
    (small.folder / "number").write_text("2", encoding="utf-8")
    output = small.run("python", "-m", "transfer", "share").output
    assert output == "run cache: 0 stages kept\n           not up to date, and not kept: double\n"
    assert _run_with(small, "2")


def test_without_a_repository_there_is_an_error(tmp_path: Path) -> None:
    ran = Clone(tmp_path, {"PYTHONPATH": str(ROOT)}).run("python", "-m", "transfer", "share", status=1)
    assert ran.output.startswith("error: run cache: you are not inside of a DVC repository")
    assert "Traceback" not in ran.output
