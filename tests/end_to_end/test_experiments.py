"""What experiments leave behind, and how to go back: README.md's own commands, on a pipeline of two stages."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.end_to_end.clones import Clone

README = (ROOT / "README.md").read_text(encoding="utf-8")
PIPELINE = """
stages:
  gather:
    cmd: mkdir -p data metrics && cat ${dataset}/* > data/all && cp params.yaml metrics/gather.yaml
    params: [dataset]
    deps: ["${dataset}"]
    outs:
      - data/all
      - metrics/gather.yaml:
          cache: false
  train:
    cmd: if [ -e wait ]; then touch waiting; sleep 60; fi; cat data/all params.yaml > data/trained
    params: [lr]
    deps: [data/all]
    outs: [data/trained]
"""


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A repository with committed results, a folder of images in git, and two that are not."""
    home = tmp_path_factory.mktemp("committed")
    clone = Clone(home / "clone", {"HOME": str(home), "DVC_SITE_CACHE_DIR": str(home / "site")})
    for folder in ("pictures", "mine", "../images"):
        (clone.folder / folder).mkdir(parents=True)
        (clone.folder / folder / "a").write_text(folder, encoding="utf-8")
    (clone.folder / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    (clone.folder / "params.yaml").write_text("lr: 1\ndataset: pictures\n", encoding="utf-8")
    (clone.folder / ".gitignore").write_text("/data\n/mine\n/wait*\n", encoding="utf-8")
    clone.git("init", "-q", "-b", "main")
    clone.dvc("init", "-q")
    clone.dvc("repro")
    clone.commit("results")
    return clone


@pytest.fixture
def clone(committed: Clone, tmp_path: Path) -> Clone:
    """A copy of it, in a home of its own."""
    shutil.copytree(committed.folder.parent, tmp_path, dirs_exist_ok=True)
    return Clone(tmp_path / "clone", {"HOME": str(tmp_path), "DVC_SITE_CACHE_DIR": str(tmp_path / "site")})


def _kill_in_train(clone: Clone, *command: str) -> None:
    """Start a command of DVC, and kill it and all that it started once its second stage runs."""
    (clone.folder / "wait").touch()
    with subprocess.Popen(
        ["dvc", *command], cwd=clone.folder, env=clone.environment(), stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        while not (clone.folder / "waiting").exists():
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    (clone.folder / "wait").unlink()


def _way_back() -> str:
    """The command of README.md that goes back to the last commit."""
    (command,) = set(re.findall(r"^(git .*dvc checkout[^#\n]*?) *(?:#.*)?$", README, re.MULTILINE))
    return str(command)


OTHER = ("-S", "lr=2", "-S", "dataset=mine")


@pytest.mark.parametrize("end", ["ended", "failed", "killed", "applied"])
def test_the_way_back_after_an_experiment_goes_back(clone: Clone, end: str) -> None:
    before = clone.hashes()
    if end == "killed":  # DVC then leaves its changes staged, and no branch checked out
        _kill_in_train(clone, "exp", "run", *OTHER)
    elif end == "failed":
        clone.dvc("exp", "run", *OTHER[:3], "dataset=nowhere", status=255)
    else:
        clone.dvc("exp", "run", "-n", "other", *OTHER)
    if end == "applied":
        clone.dvc("exp", "apply", "other")
    clone.run("sh", "-ec", _way_back())
    assert clone.git("status", "--porcelain") == ""
    assert clone.git("branch", "--show-current") == "main"
    assert clone.hashes() == before
    assert (clone.folder / "data/all").read_text(encoding="utf-8") == "pictures"
    assert clone.dvc("status").output.splitlines()[-1] == "Data and pipelines are up to date."

    clone.dvc("exp", "run", "-S", "lr=3")
    assert (clone.folder / "data/trained").read_text(encoding="utf-8") == "pictureslr: 3\ndataset: pictures\n"


def test_a_queued_experiment_takes_ones_own_images_as_readme_says(clone: Clone, tmp_path: Path) -> None:
    """It runs in a copy of what git knows, where a relative path leads nowhere."""
    (line,) = re.findall(r'^dvc exp run --queue -S "?dataset=.*$', README, re.MULTILINE)
    line = line.partition("#")[0].replace("path/to/folder", "../images")
    clone.run("sh", "-ec", line)
    clone.dvc("exp", "run", "--queue", "-S", "dataset=../images")
    clone.dvc("exp", "run", "--run-all", status=None)
    queued = clone.dvc("queue", "status").output
    assert sorted(re.findall(r"Failed|Success", queued)) == [
        "Failed",
        "Success",
    ]  # once both succeed, README may say less
    (name,) = shlex.split(clone.dvc("exp", "list", "--name-only").output)
    clone.dvc("exp", "apply", name)
    assert (clone.folder / "data/all").read_text(encoding="utf-8") == "../images"
