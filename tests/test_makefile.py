"""The Makefile's targets: what they list, and what they would run."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


def _make(*arguments: str, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Run make as a user does, also where make runs the tests."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=ours, capture_output=True, text=True, check=False)


def test_without_a_target_it_lists_them_all_and_does_nothing(tmp_path: Path) -> None:
    done = _make("--file", str(ROOT / "Makefile"), folder=tmp_path)
    listed = [line.split()[1] for line in done.stdout.splitlines()]
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(phony.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "command", "needs"),
    [
        ((), "python -m benchmarks.speed", "requirements.txt"),
        (("NAME=serving",), "python -m benchmarks.serving", "requirements/serve.txt"),
        (("NAME=dask",), "python -m benchmarks.dask", "requirements/dask.txt"),
        (("NAME=seeds", "ARGS=4 5"), "python -m benchmarks.seeds --resume 4 5", "requirements.txt"),
        (("NAME=kills", "ARGS=--default"), "python -m tests.end_to_end.kills --default", "requirements/dev.txt"),
        (("NAME=peers",), "python -m benchmarks.peers", "benchmarks/peers/requirements.txt"),
    ],
)
def test_a_benchmark_runs_in_what_it_needs(
    arguments: tuple[str, ...], command: str, needs: str, tmp_path: Path
) -> None:
    done = _make("-n", "bench", *arguments, "VENV=no-such-environment", "PEERS_VENV=no-such-either")
    lines = done.stdout.splitlines()
    assert lines[-1].strip() == command
    assert any(f" -r {needs}" in line for line in lines)


def test_every_benchmark_is_a_module_and_no_other_is_run() -> None:
    done = _make("-n", "bench", "NAME=sped")
    assert done.returncode == 2
    names = done.stderr.rstrip().removesuffix("  Stop.").rstrip(".").rpartition("give one of ")[2].split()
    modules = {path.stem for path in ROOT.glob("benchmarks/*.py")} | {"peers"}
    assert set(names) - modules == {"kills"}


def test_cleaning_leaves_data_models_results_and_the_cache() -> None:
    """By what git ignores: all of that is made, and what is not removed is worth keeping."""
    removed = {word for line in _make("-n", "clean").stdout.splitlines() for word in line.split()[2:]}
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    ignored = {line.strip("/") for line in lines if line and not line.startswith("#")}
    kept = {"data/raw", "data/records", "data/activations", "models", ".checkpoints", "*.egg-info"}
    kept |= {"plots/mistakes", "plots/choose.*"}
    assert ignored - removed == kept
