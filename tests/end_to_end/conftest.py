"""A small pipeline that was run once, for all tests that need its results."""

import pytest

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
