"""A team's cache: what one pushes, another pulls instead of computing it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.clones import Clone
from tests.end_to_end.conftest import AFTER_LR, STAGES
from tests.end_to_end.servers import REMOTES, Remote


@pytest.fixture(scope="module", params=REMOTES)
def remote(
    request: pytest.FixtureRequest, original: Clone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Remote]:
    """A remote to which the results of `original` were pushed, run cache included."""
    kind: str = request.param
    with REMOTES[kind](tmp_path_factory.mktemp(kind)) as remote:
        source = original.copy(tmp_path_factory.mktemp(kind) / "source")
        remote.add_to(source)
        assert "files pushed" in source.dvc("push").output
        source.run("python", "-m", "transfer", "share", "--push")
        yield remote


@pytest.fixture
def clone(original: Clone, remote: Remote, warm: dict[str, str], tmp_path: Path) -> Clone:
    """A fresh clone with an empty cache, that knows the remote."""
    clone = original.clone(tmp_path / "clone", **warm)
    remote.add_to(clone)
    return clone


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def test_after_a_pull_nothing_runs(original: Clone, clone: Clone) -> None:
    assert not (clone.folder / ".dvc/cache").exists()
    clone.dvc("pull")
    ran = clone.dvc("repro")
    assert (ran.stages, ran.restored) == ([], [])
    assert clone.hashes() == original.hashes()
    assert clone.git("status", "--porcelain") == ""
    for path in ("data/raw", "data/records", "data/activations", "models", "plots/mistakes"):
        assert _files(clone.folder / path) == _files(original.folder / path) > 0
    weights = "models/finetuned.weights.h5"
    assert (clone.folder / weights).read_bytes() == (original.folder / weights).read_bytes()


def test_where_nothing_changed_nothing_is_pulled_and_nothing_runs(clone: Clone) -> None:
    ran = clone.dvc("repro", "--pull", "--allow-missing")
    assert (ran.stages, ran.restored) == ([], [])
    assert not (clone.folder / "data/raw").exists()
    assert not (clone.folder / "models").exists()
    assert "finetuned" in clone.dvc("metrics", "show").output


def test_a_changed_rate_runs_what_follows_pulls_only_its_inputs_and_runs_for_nobody_else(
    original: Clone, remote: Remote, clone: Clone, tmp_path: Path
) -> None:
    clone.set_params(lr=1e-4)
    ran = clone.dvc("repro", "--pull", "--allow-missing")
    assert ran.stages == AFTER_LR
    have = {path for path in original.hashes() if (clone.folder / path).exists()}
    fetched = {path for path in have if path.startswith(("data/", "models/")) and not path.endswith(".csv")}
    assert fetched == {
        "data/activations/finetune",
        "data/raw",  # the card, and no image
        "data/records/spec.json",
        "data/records/test",
        "data/records/train",
        "data/records/validation",
        "models/ann.json",  # export reads all models, as any may win
        "models/ann.weights.h5",
        "models/cnn.json",
        "models/cnn.weights.h5",
        "models/export",
        "models/finetuned.json",
        "models/finetuned.validation.npy",
        "models/finetuned.weights.h5",
        "models/head.json",
        "models/head.weights.h5",
    }
    assert [path.name for path in (clone.folder / "data/raw").iterdir()] == ["card.yaml"]
    changed = {path for path, md5 in clone.hashes().items() if md5 != original.hashes()[path]}
    assert all("finetuned" in path or path in ("metrics/compare.json", "plots/performance.png") or "reliab" in path
               for path in changed), changed  # fmt: skip
    assert "models/finetuned.weights.h5" in changed

    # Somebody else makes the same change, without a commit between the two.
    clone.dvc("push")
    assert "run cache: 4 stages kept" in clone.run("python", "-m", "transfer", "share", "--push").output
    other = original.clone(tmp_path / "other")
    remote.add_to(other)
    other.set_params(lr=1e-4)
    ran = other.dvc("repro", "--pull", "--allow-missing")
    assert (ran.stages, ran.restored) == ([], AFTER_LR)
    assert other.hashes() == clone.hashes()
    report = "metrics/REPORT.md"
    assert (other.folder / report).read_bytes() == (clone.folder / report).read_bytes()
    assert other.git("diff", "--stat") == clone.git("diff", "--stat")


def test_without_a_lock_file_all_is_restored_from_the_run_cache(original: Clone, clone: Clone) -> None:
    """Without dvc.lock, as where somebody begins anew with the same data and parameters."""
    (clone.folder / "dvc.lock").unlink()
    for folder in ("metrics", "plots"):
        shutil.rmtree(clone.folder / folder)
    clone.git("checkout", "plots/dvc.yaml")
    ran = clone.dvc("repro", "--pull")
    assert (ran.stages, len(ran.restored)) == ([], STAGES)
    assert clone.hashes() == original.hashes()
    assert clone.git("status", "--porcelain") == ""
