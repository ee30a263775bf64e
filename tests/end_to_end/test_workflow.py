"""The workflow for pull requests: its form, and its shell steps as they stand, with a folder for a remote."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.end_to_end.clones import Clone, Ran
from tests.end_to_end.conftest import AFTER_LR
from tests.end_to_end.servers import Remote

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")  # as GitHub starts it for `run`
ENVIRONMENT = Path(sys.prefix)


@dataclass(frozen=True)
class Step:
    """A step with a shell script."""

    name: str
    script: str
    condition: str
    variables: dict[str, str]


def _job() -> dict[str, Any]:
    workflow: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/reproduce.yml").read_text(encoding="utf-8"))
    job: dict[str, Any] = workflow["jobs"]["reproduce"]
    return job


def _steps() -> list[Step]:
    return [
        Step(step["name"], step["run"], step.get("if", ""), step.get("env", {}))
        for step in _job()["steps"]
        if "run" in step
    ]


def test_there_is_a_workflow() -> None:
    assert [path.name for path in WORKFLOWS] == ["reproduce.yml"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_have_the_form_that_github_wants(workflow: Path) -> None:
    schema = "vendor.github-workflows"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(workflow)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_credentials_are_named_and_not_written() -> None:
    job = _job()
    given = {**job["env"], **{name: value for step in _steps() for name, value in step.variables.items()}}
    assert len(given) == 4
    for value in given.values():
        assert re.fullmatch(r"\$\{\{ (vars|secrets)\.[A-Z_]+ \}\}", value)
    for path in (".dvc/config", ".github/workflows/reproduce.yml"):
        text = (ROOT / path).read_text(encoding="utf-8").lower()
        assert not re.search(r"(password|secret_access_key|token) *[=:] *[^ $]", text), path


class _Runner:
    """Runs steps as GitHub does, but for a comment, which is kept, and for stages, which start warm."""

    def __init__(self, clone: Clone, warm: dict[str, str], tools: Path, remote: str, base: str) -> None:
        self.clone = clone
        self._warm = warm["PATH"].split(os.pathsep)[0]
        tools.mkdir()
        self.comment = tools / "comment.md"
        (tools / "cml").write_text(f'#!/bin/sh\n[ "$2" = update ] && cp "$4" {self.comment}\n', encoding="utf-8")
        (tools / "cml").chmod(0o755)
        self.path_file = tools / "path"
        self.path_file.touch()
        self.variables = {
            "GITHUB_PATH": str(self.path_file),
            "GITHUB_BASE_REF": base,
            "REMOTE_URL": remote,
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        self._tools = tools

    def run(self, step: Step) -> Ran:
        """Run a step's script."""
        paths = [self._warm, *self.path_file.read_text(encoding="utf-8").split(), str(self._tools), os.environ["PATH"]]
        variables = {**self.variables, "PATH": os.pathsep.join(paths)}
        return Clone(self.clone.folder, {**self.clone.variables, **variables}).run(*BASH, step.script)


@pytest.fixture
def checkout(original: Clone, tmp_path: Path) -> Clone:
    """A checkout of a pull request that changes a rate, in which packages were installed."""
    clone = original.clone(tmp_path / "checkout")
    clone.git("checkout", "-qb", "slower")
    clone.set_params(lr=1e-4)
    clone.commit("A lower learning rate")
    (clone.folder / ".venv").symlink_to(ENVIRONMENT)
    for path in (clone.folder / "requirements.txt", *clone.folder.glob("requirements/*.txt")):
        os.utime(path, (0, 0))
    return clone


def test_a_pull_request_is_reproduced_shared_and_commented_on(
    original: Clone, checkout: Clone, warm: dict[str, str], tmp_path: Path
) -> None:
    remote = tmp_path / "remote"
    source = original.copy(tmp_path / "source")
    Remote(str(remote), {}, {}).add_to(source)
    source.dvc("push")
    before = sum(path.is_file() for path in remote.rglob("*"))
    runner = _Runner(checkout, warm, tmp_path / "tools", str(remote), "main")
    ran = {step.name: runner.run(step) for step in _steps()}
    assert list(ran) == ["Install", "Name the remote", "Reproduce", "Share", "Write the report", "Comment"]
    assert ran["Reproduce"].stages == AFTER_LR
    assert "run cache: 4 stages kept" in ran["Share"].output
    assert sum(path.is_file() for path in remote.rglob("*")) > before
    comment = runner.comment.read_text(encoding="utf-8")
    assert "## What changed against origin/main" in comment
    assert re.search(r"\| params\.yaml +\| lr +\| 0\.0005 +\| 0\.0001 +\|", comment), comment[:1500]
    assert re.search(r"\| metrics/evaluate/finetuned\.json +\| [a-z_]+ +\| [\d.]+ +\| [\d.]+ +\| -?[\d.]+ +\|", comment)
    assert "metrics/cost" not in comment.split("![")[0]
    pictures = re.findall(r"\]\(([^)]+\.png)\)", comment)
    assert "plots/performance.png" in pictures
    assert all((checkout.folder / picture).exists() for picture in pictures)
    assert "| model | test accuracy |" in comment

    # The same change of somebody else: all of it comes from the remote.
    shutil.rmtree(checkout.folder / ".dvc/cache")
    other = original.clone(tmp_path / "other")
    other.set_params(lr=1e-4)
    other.commit("The same")
    (other.folder / ".venv").symlink_to(ENVIRONMENT)
    runner = _Runner(other, warm, tmp_path / "other tools", str(remote), "main")
    steps = {step.name: step for step in _steps()}
    runner.path_file.write_text(str(ENVIRONMENT / "bin"), encoding="utf-8")
    runner.run(steps["Name the remote"])
    again = runner.run(steps["Reproduce"])
    assert (again.stages, again.restored) == ([], AFTER_LR)


def test_the_steps_that_need_a_remote_say_so() -> None:
    conditions = {step.name: step.condition for step in _steps()}
    assert "env.REMOTE_URL != ''" in conditions["Name the remote"]
    assert "env.REMOTE_URL != ''" in conditions["Share"]
    assert conditions["Reproduce"] == ""
