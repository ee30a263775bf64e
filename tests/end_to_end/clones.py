"""The pipeline in folders of its own, as its users have it: with git, DVC and the stages as processes."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.clones import environment
from tests.conftest import ROOT, colour_images
from transfer.overrides import merged

MEASURED = (
    "metrics/cost",
    "metrics/REPORT.md",
    "metrics/export-cost.json",
    "metrics/EXPORT.md",
    "plots/performance_table.csv",
)
"""Outputs that say what a run cost, and are never the same twice."""


@dataclass(frozen=True)
class Ran:
    """What a command of DVC did: its exit status, what it printed, the stages that it ran and those it restored."""

    status: int
    output: str

    @property
    def started(self) -> list[str]:
        """The stages that it ran, in the order in which it did."""
        return re.findall(r"^Running stage '(.+)':$", self.output, re.MULTILINE)

    @property
    def stages(self) -> list[str]:
        """The stages that it ran, in order of their names."""
        return sorted(self.started)

    @property
    def restored(self) -> list[str]:
        """Those whose results came from the run cache, in order of their names."""
        return sorted(re.findall(r"^Stage '(.+)' is cached - skipping run", self.output, re.MULTILINE))


@dataclass(frozen=True)
class Clone:
    """A checkout with a DVC cache of its own."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Return the variables that commands run with."""
        return {**environment(), **self.variables}

    def run(self, *command: str, status: int | None = 0) -> Ran:
        """Run a command in the folder, and demand its exit status, unless that is None."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if status is not None:
            assert done.returncode == status, f"{' '.join(command)}: {done.stdout[-6000:]}"
        return Ran(done.returncode, done.stdout)

    def dvc(self, *command: str, status: int | None = 0) -> Ran:
        """Run a command of DVC."""
        return self.run("dvc", *command, status=status)

    def git(self, *command: str) -> str:
        """Run a command of git and return what it printed."""
        return self.run("git", *command).output.strip()

    def commit(self, message: str) -> None:
        """Commit all."""
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def hashes(self) -> dict[str, str]:
        """Return the hash of every output in dvc.lock, those of what is measured left out."""
        lock: dict[str, Any] = yaml.safe_load((self.folder / "dvc.lock").read_text(encoding="utf-8"))
        outs = [out for stage in lock["stages"].values() for out in stage["outs"]]
        return {out["path"]: out["md5"] for out in outs if not out["path"].startswith(MEASURED)}

    def having(self, variables: dict[str, str]) -> "Clone":
        """Return the same folder, in which commands run with these variables, too."""
        return replace(self, variables={**self.variables, **variables})

    def clone(self, folder: Path, **variables: str) -> "Clone":
        """Clone it, with an empty cache."""
        self.git("clone", "-q", str(self.folder), str(folder))
        return Clone(folder, {**self.variables, **variables})

    def copy(self, folder: Path) -> "Clone":
        """Clone it, with a cache of its own that holds the same, and bring all outputs."""
        clone = self.clone(folder)
        shutil.copytree(self.folder / ".dvc/cache", folder / ".dvc/cache", copy_function=_link_or_copy)
        clone.dvc("checkout")
        return clone

    def plain_copy(self, folder: Path) -> "Clone":
        """Copy the folder as it is, with its repository and cache."""
        shutil.copytree(self.folder, folder)
        return Clone(folder, self.variables)

    def make_small(self) -> None:
        """Lay .ci/params.yaml over params.yaml."""
        self.set_params(**yaml.safe_load((ROOT / ".ci/params.yaml").read_text(encoding="utf-8")))

    def set_params(self, **changes: Any) -> None:
        """Write other values into params.yaml; of a section, those that are given."""
        path = self.folder / "params.yaml"
        params = merged(yaml.safe_load(path.read_text(encoding="utf-8")), changes, "set_params")
        path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def _link_or_copy(source: str, target: str) -> None:
    """Link a file of a cache, which is never written to, or copy it to another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def working_tree(folder: Path) -> Clone:
    """Copy what git knows of this checkout, as it stands, into a new repository, with a small dataset and params."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True)
    for name in names.stdout.decode().split("\0"):
        written = name.startswith(("metrics/", "plots/", "dvc.lock")) and name != "plots/dvc.yaml"
        if name and (ROOT / name).is_file() and not written:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    clone = Clone(folder)
    clone.make_small()
    colour_images(folder / "pictures", {"blue": (40, 60, 200), "red": (200, 60, 40)}, each=40)
    card = "title: colours\nclasses: [blue, red]\npositive: red\nsymmetry: mirror\n"
    (folder / "pictures/card.yaml").write_text(card, encoding="utf-8")
    clone.set_params(dataset="pictures", image_size=64, max_images=None, max_bad_fraction=0.2)
    # Few layers to trace: .ci/reproducible.py has the default cut.
    clone.set_params(finetune={"cut": "block6"})
    clone.git("init", "-q", "-b", "main")
    clone.commit("before the first run")
    return clone


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of every file below a folder."""
    found = {}
    for parent, _, files in os.walk(folder):
        for path in (Path(parent) / name for name in files):
            status = path.lstat()
            found[path.relative_to(folder).as_posix()] = (status.st_size, status.st_mtime_ns)
    return found
