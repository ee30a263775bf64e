"""Tests of transfer/params_file.py: the keys that a user leaves out."""

import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml, parse_yaml

from tests.conftest import ROOT
from transfer.core.errors import UserError
from transfer.core.params import read_params
from transfer.params_file import complete, main

PARAMS = Path("params.yaml")
OURS = (ROOT / PARAMS).read_text(encoding="utf-8")
TEN_LINES = """\
# my own
dataset: pictures   # of mine
image_size: 96
head:
  units: []
  epochs: 3
evaluate: {views: 2}
class_weights: {red: 1, blue: 2}
lr: 1e-4
"""


def _commit(text: str) -> None:
    PARAMS.write_text(text, encoding="utf-8")
    subprocess.run(["git", "add", "params.yaml"], check=True)
    subprocess.run(["git", "commit", "-qm", "params", "--allow-empty"], check=True)


@pytest.fixture(autouse=True)
def _repository(project: Path) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    _commit(OURS)


@pytest.mark.parametrize("committed", [OURS, TEN_LINES])
def test_ten_lines_are_completed_with_what_was_committed(committed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As DVC reads it, to which 5e-4 is a number; also where the ten lines are what was committed last."""
    _commit(committed)
    PARAMS.write_text(TEN_LINES, encoding="utf-8")
    main()
    whole, mine = (parse_yaml(text, PARAMS) for text in (OURS, TEN_LINES))
    head = whole["head"] | mine["head"]
    assert load_yaml(PARAMS) == whole | mine | {"head": head}
    assert read_params(PARAMS).head.units == ()
    text, out = PARAMS.read_text(encoding="utf-8"), capsys.readouterr().out
    assert text.startswith("# my own\ndataset: pictures   # of mine\nimage_size: 96\n")
    assert out.startswith(
        "params.yaml: added what was missing, with the committed values: backbone, resize, time_budget_s, "
    )
    assert "head.pooling, head.dropout, head.lr," in out
    main()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [("lrr: 1e-4\n", "lrr: unknown key; did you mean lr?"), ("lr: 2\n", "lr: expected at most 1, received 2")],
)
def test_what_is_wrong_is_all_that_is_said_and_nothing_is_written(text: str, message: str) -> None:
    PARAMS.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        complete()
    assert str(raised.value) == f"params.yaml: {message}"
    assert PARAMS.read_text(encoding="utf-8") == text


def test_without_a_commit_nothing_is_added() -> None:
    shutil.rmtree(".git")
    PARAMS.write_text(TEN_LINES, encoding="utf-8")
    assert complete() == []
    assert PARAMS.read_text(encoding="utf-8") == TEN_LINES
