"""A small pipeline that was run once, for all tests that need its results."""

from pathlib import Path

import pytest
import yaml

from tests.end_to_end.clones import Clone, working_tree

STAGES = 14


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A repository whose pipeline was run and committed, and is in the run cache. Not to be changed."""
    clone = working_tree(tmp_path_factory.mktemp("end_to_end") / "original")
    ran = clone.dvc("repro")
    assert len(ran.stages) == STAGES
    clone.commit("results")
    kept = clone.run("python", "-m", "transfer.run_cache")
    assert f"run cache: {STAGES} stages kept" in kept.output
    return clone


AFTER_HEAD = ["compare", "evaluate@finetuned", "evaluate@head", "finetune", "train_head"]


def change(clone: Clone) -> None:
    """Ask for another head, and do not run it."""
    params = yaml.safe_load((clone.folder / "params.yaml").read_text(encoding="utf-8"))
    clone.set_params(head={**params["head"], "dropout": 0.3})


def change_head(original: Clone, folder: Path) -> Clone:
    """Copy the pipeline into a new folder, and ask for another head."""
    clone = original.copy(folder)
    change(clone)
    return clone


@pytest.fixture(scope="session")
def undisturbed(original: Clone, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The hashes of what comes out with that other head."""
    clone = change_head(original, tmp_path_factory.mktemp("undisturbed") / "clone")
    assert clone.dvc("repro").stages == AFTER_HEAD
    assert clone.hashes()["models/head.weights.h5"] != original.hashes()["models/head.weights.h5"]
    return clone.hashes()
