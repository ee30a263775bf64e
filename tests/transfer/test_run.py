"""Tests of transfer/run.py: what a run prints."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from dvc.repo.reproduce import plan_repro

from tests.conftest import ROOT
from transfer.run import stages_of

STAGES = {
    "first": {"cmd": "echo hello", "params": ["seed"]},
    "each": {"foreach": ["a", "b"], "do": {"cmd": "cp params.yaml ${item}", "params": ["lr"], "outs": ["${item}"]}},
    "last": {"cmd": "test ! -e wrong", "params": ["lr", "seed"]},
}


@pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # pygtrie's, in DVC
def test_the_stages_are_numbered_in_the_order_in_which_dvc_runs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with Repo() as repo:
        assert stages_of(Path("dvc.yaml")) == [stage.addressing for stage in plan_repro(repo.index.graph)]


@pytest.fixture
def pipeline(project: Path) -> Path:
    """A small pipeline in a repository of git and DVC."""
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}, sort_keys=False), encoding="utf-8")
    Path(".gitignore").write_text("pictures\n", encoding="utf-8")
    for command in ("git init -q", "dvc init -q", "git add .", "git commit -qm params"):
        subprocess.run(command.split(), check=True)
    return project


def _run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "transfer", "run", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_line_says_which_stage_runs_and_another_what_it_took(pipeline: Path) -> None:
    done = _run()
    checked = "check: no problems found in params.yaml and pictures"
    assert (done.returncode, done.stderr) == (0, "")
    lines = re.sub(r": \d+ s$", ": T s", done.stdout, flags=re.MULTILINE).splitlines()
    assert lines[lines.index(checked) + 1 :] == [
        *("stage 1 of 4: first", "hello", "first: T s"),
        *("stage 2 of 4: each@a", "each@a: T s"),
        *("stage 3 of 4: each@b", "each@b: T s"),
        *("stage 4 of 4: last", "last: T s"),
        "Use `dvc push` to send your updates to remote storage.",
    ]
    Path("b").unlink()
    lines = _run().stdout.splitlines()
    assert lines[lines.index(checked) + 1 :][:3] == [
        "stage 1 of 4: first, unchanged",
        "stage 2 of 4: each@a, unchanged",
        "stage 3 of 4: each@b, restored from the cache",
    ]


def test_stages_run_by_the_same_python_also_where_its_environment_is_not_activated(pipeline: Path) -> None:
    stage = {"cmd": "python -c 'import sys; print(sys.prefix)' > prefix"}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"first": stage}}), encoding="utf-8")
    assert _run(PATH="/usr/local/bin:/usr/bin:/bin").returncode == 0
    assert Path("prefix").read_text(encoding="utf-8").strip() == sys.prefix


def test_a_failure_is_dvcs_and_has_its_status(pipeline: Path) -> None:
    Path("wrong").touch()
    done = _run("last")
    assert done.returncode == 255
    assert done.stdout.endswith("stage 4 of 4: last\n")
    assert done.stderr.startswith("ERROR: failed to reproduce 'last': failed to run: test ! -e wrong, exited with 1")


def test_it_checks_before_any_stage(pipeline: Path) -> None:
    Path("params.yaml").write_text("heads: {}\n", encoding="utf-8")
    done = _run()
    assert (done.returncode, done.stdout) == (1, "")
    assert "params.yaml: heads: unknown key; did you mean head?" in done.stderr


def test_make_runs_the_pipeline_and_presets_by_it() -> None:
    done = subprocess.run(["make", "-n", "run", "preset"], cwd=ROOT, check=True, capture_output=True, text=True)
    lines = [line.partition(";")[0] for line in done.stdout.splitlines()]
    commands = [line for line in lines if line.startswith("python -m transfer ")]
    assert commands == ["python -m transfer run", "python -m transfer preset presets/hour.yaml"]
