"""A small pipeline that was run once, for all tests that need its results."""

from pathlib import Path

import pytest

from tests.end_to_end.clones import Clone, working_tree

STAGES = 15
AFTER_LR = ["compare", "evaluate@finetuned", "export", "finetune"]
AFTER_HEAD = ["compare", "evaluate@finetuned", "evaluate@head", "export", "finetune", "train_head"]
"""The stages that a change of the learning rate, and of the head, has run again."""


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A repository whose pipeline was run and committed, and is in the run cache. Not to be changed."""
    clone = working_tree(tmp_path_factory.mktemp("end_to_end") / "original")
    ran = clone.dvc("repro")
    assert len(ran.stages) == STAGES
    clone.commit("results")
    kept = clone.run("python", "-m", "transfer.share")
    assert f"run cache: {STAGES} stages kept" in kept.output
    return clone


def change_head(original: Clone, folder: Path) -> Clone:
    """Copy the pipeline into a new folder, ask for another head (and one format, to be quick), and do not run it."""
    clone = original.copy(folder)
    clone.set_params(head={"dropout": 0.3}, export={"formats": ["openvino"]})
    return clone


@pytest.fixture(scope="session")
def undisturbed(original: Clone, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The hashes of what comes out with that other head."""
    clone = change_head(original, tmp_path_factory.mktemp("undisturbed") / "clone")
    assert clone.dvc("repro").stages == AFTER_HEAD
    assert clone.hashes()["models/head.weights.h5"] != original.hashes()["models/head.weights.h5"]
    return clone.hashes()
