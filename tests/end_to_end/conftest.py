"""A small pipeline that was run once, for all tests that need its results."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.end_to_end.clones import Clone, working_tree
from tests.end_to_end.warm import warm_stages

STAGES = 14
AFTER_LR = ["compare", "evaluate@finetuned", "export", "finetune"]
AFTER_ANN = ["compare", "evaluate@ann", "export", "train_baseline@ann"]
"""The stages that a change of the learning rate, and of the fully connected baseline, has run again."""


def _once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Make a folder, once for all workers of pytest-xdist, and return it."""
    of_workers = "PYTEST_XDIST_WORKER" in os.environ
    folder = (factory.getbasetemp().parent if of_workers else factory.getbasetemp()) / name
    made = folder.with_suffix(".made")
    with FileLock(folder.with_suffix(".lock")):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def warm() -> Iterator[dict[str, str]]:
    """Variables with which stages start with TensorFlow imported; warm.py says for which tests."""
    with warm_stages() as variables:
        yield variables


def _run(folder: Path, warm: dict[str, str]) -> None:
    clone = working_tree(folder)
    ran = clone.having(warm).dvc("repro")
    assert len(ran.stages) == STAGES
    clone.commit("results")
    kept = clone.run("python", "-m", "transfer", "share")
    assert f"run cache: {STAGES} stages kept" in kept.output


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, warm: dict[str, str]) -> Clone:
    """A repository whose pipeline was run and committed, and is in the run cache. Not to be changed."""
    return Clone(_once(tmp_path_factory, "original", lambda folder: _run(folder, warm)))


def change_ann(original: Clone, folder: Path) -> Clone:
    """Copy the pipeline into a new folder, and do not run it. What is asked for is one format and another baseline: of
    few layers, which are soon built, and 12 MB.
    """
    clone = original.copy(folder)
    clone.set_params(baselines={"ann": {"units": [4096], "epochs": 12}}, export={"formats": ["openvino"]})
    return clone


@pytest.fixture(scope="session")
def undisturbed(original: Clone, warm: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The hashes of what comes out with that other baseline."""

    def run(folder: Path) -> None:
        clone = change_ann(original, folder)
        assert clone.having(warm).dvc("repro").stages == AFTER_ANN
        assert clone.hashes()["models/ann.weights.h5"] != original.hashes()["models/ann.weights.h5"]

    return Clone(_once(tmp_path_factory, "undisturbed", run)).hashes()
