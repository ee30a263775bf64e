"""Tests of benchmarks/sweep.py and its picture. Experiments run in a repository whose stage takes no time."""

import math
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.clones import environment, git
from benchmarks.grid_picture import Setting, differing, draw, label
from benchmarks.readme import BLOCKS
from benchmarks.sweep import GRID, compared, keys_of, rank, run_grid, setting_of
from tests.conftest import ROOT
from transfer.core.errors import UserError
from transfer.core.files import write_json
from transfer.core.params import Params, read_params

STAGE = """\
stages:
  train_head:
    cmd: python train.py
    deps: [train.py]
    params: [head.lr, head.units]
    outs:
      - metrics/train/head.json: {cache: false}
"""
TRAIN = """\
import json, pathlib, yaml
head = yaml.safe_load(pathlib.Path("params.yaml").read_text())["head"]
if float(head["lr"]) > 1:
    raise SystemExit("error: diverged")
figures = {"loss": float(head["lr"]), "accuracy": len(head["units"]) / 4}
pathlib.Path("metrics/train").mkdir(parents=True, exist_ok=True)
written = {"best_epoch": 3, "collapsed": None, "validation": figures}
pathlib.Path("metrics/train/head.json").write_text(json.dumps(written))
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a stage train_head that writes its parameters as figures, and fails at a rate above 1."""
    for name, text in (
        ("dvc.yaml", STAGE),
        ("train.py", TRAIN),
        ("params.yaml", "head:\n  lr: 0.25\n  units: [8]\n"),
        (".gitignore", "__pycache__\n"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    git("init", "-q", folder=tmp_path)
    for command in (["init", "-q"], ["config", "core.analytics", "false"], ["repro", "-q"]):
        subprocess.run(["dvc", *command], cwd=tmp_path, env=environment(), check=True)
    git("add", "-A", folder=tmp_path)
    git("commit", "-qm", "start", folder=tmp_path)
    return tmp_path


def test_a_grid_runs_as_experiments_and_a_failed_one_has_no_figures(repository: Path) -> None:
    grid = ["head.lr=0.25,0.5,2.0", "head.units=[],[4,4]"]
    seconds, experiments = run_grid(repository, grid, jobs=2)
    settings = sorted((setting_of(found, keys_of(grid), repository) for found in experiments), key=rank)
    ok = [(setting.changed["head.lr"], setting.changed["head.units"]) for setting in settings[:4]]
    assert sorted(ok) == [(0.25, []), (0.25, [4, 4]), (0.5, []), (0.5, [4, 4])]
    for setting in settings[:4]:
        expected = (setting.changed["head.lr"], len(setting.changed["head.units"]) / 4, 3, "ok")
        assert (setting.loss, setting.accuracy, setting.best_epoch, setting.status) == expected
    assert [setting.loss for setting in settings] == [0.25, 0.25, 0.5, 0.5, None, None]
    assert {setting.status for setting in settings[4:]} == {"failed"}
    assert set(seconds) == {"queue", "run", "show"}
    assert all(value > 0 for value in seconds.values())


def test_a_key_that_dvc_does_not_know_is_an_error(repository: Path) -> None:
    with pytest.raises(UserError, match=r"dvc exp run --queue -S head.rate=1,2 .*: it ended with status 255"):
        run_grid(repository, ["head.rate=1,2"], jobs=1)


def test_the_grid_is_of_twelve_head_settings() -> None:
    read = read_params(ROOT / "params.yaml")
    for key in keys_of(GRID):
        section, name = key.split(".")
        assert section == "head"
        assert hasattr(read.head, name)
    units = GRID[1].partition("=")[2].replace("],[", "];[").split(";")
    counts = [len(GRID[0].split(",")), len(units), len(GRID[2].split(","))]
    assert math.prod(counts) >= 12
    assert isinstance(read, Params)


def test_a_part_of_a_grid_without_values_is_an_error() -> None:
    with pytest.raises(UserError, match=r"-S: expected KEY=VALUE,VALUE…, received 'head.lr'"):
        keys_of(["head.lr"])


def _setting(lr: float, loss: float | None, status: str = "ok") -> Setting:
    return Setting({"head.lr": lr, "head.epochs": 5}, status, 1, loss, None if loss is None else 1 - loss)


SETTINGS = [_setting(0.1, 0.5), _setting(0.2, 0.25), _setting(0.3, None, "failed"), _setting(0.4, 0.1, "one class")]


def test_settings_are_chosen_by_validation_loss_and_none_that_failed_or_collapsed() -> None:
    assert [setting.changed["head.lr"] for setting in sorted(SETTINGS, key=rank)] == [0.2, 0.1, 0.3, 0.4]


def test_settings_are_named_by_what_differs() -> None:
    assert differing(SETTINGS) == ["head.lr"]
    names = [label(setting, differing(SETTINGS)) for setting in SETTINGS]
    assert names == ["lr 0.1", "lr 0.2", "lr 0.3 (failed)", "lr 0.4 (collapsed)"]


def test_the_picture_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "other"):
        draw(sorted(SETTINGS, key=rank), tmp_path / f"{name}.png")
    first = (tmp_path / "one.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert (tmp_path / "other.png").read_bytes() == first
    draw(SETTINGS[:1], tmp_path / "other.png")
    assert (tmp_path / "other.png").read_bytes() != first


def _results() -> dict[str, Any]:
    loop = {"estimated": True, "seconds": 12000.0, "measured_steps": 25, "measured_settings": 2}
    swept = {
        "cores": 2,
        "epochs": 40,
        "settings": [vars(setting) for setting in sorted(SETTINGS, key=rank)],
        "seconds": {"embed": 100.0, "queue": 5.0, "run": 290.0, "show": 5.0},
    }
    return compared(swept, {**loop, "vector_instructions": "AVX2"})


def test_the_frozen_pass_counts_in_one_ratio_and_not_in_the_other() -> None:
    assert _results()["ratio"] == {"with_embed": 30.0, "without_embed": 40.0}


def test_the_readme_says_what_was_measured_and_what_was_estimated(tmp_path: Path) -> None:
    assert BLOCKS["sweep"](tmp_path) == "Not measured yet."
    results = _results()
    path = tmp_path / "benchmarks/results/sweep.json"
    write_json(results, path)
    assert BLOCKS["sweep"](tmp_path).splitlines() == [
        "| 4 settings, 40 epochs each, on 2 cores with AVX2 | seconds | times as fast |",
        "| --- | ---: | ---: |",
        "| the tutorial's loop | 12,000 | 1 |",
        "| this pipeline, frozen pass included | 400 | 30.0 |",
        "| this pipeline, where the frozen pass is cached | 300 | 40.0 |",
        "",
        "The tutorial's loop was not run whole: its seconds are estimated from the median of 25 training steps and of "
        "all validation steps in each of 2 of the 4 settings. Chosen: `head.lr=0.2`, `head.epochs=5`, with a "
        "validation loss of 0.250 and accuracy of 0.750. 2 settings failed or collapsed.",
        "",
        "![Validation loss and accuracy of each setting](../../benchmarks/results/sweep.png)",
    ]
    results["tutorial"]["estimated"] = False
    write_json(results, path)
    assert "The tutorial's loop was run whole. Chosen: " in BLOCKS["sweep"](tmp_path)
