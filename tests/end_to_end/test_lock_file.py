"""Tests of transfer/lock_file.py: DVC is killed while dvc.lock is open for writing, on purpose."""

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.end_to_end.clones import Clone
from tests.end_to_end.conftest import AFTER_ANN, change_ann

KILLED = Path(__file__).with_name("killed_writing.py")
STEP = """
import pathlib, sys
from transfer.core.errors import run

def main():
    name, source = sys.argv[1:]
    with open("times", "a") as times:
        times.write(name + " ")
    pathlib.Path(name).write_text(pathlib.Path(source).read_text() + name)
    pathlib.Path(name + ".csv").write_text(name)

run(main)
"""
SOURCES = {"c": "start", "a": "c", "d": "a", "b": "d"}
"""The stages, in the order in which they run, with what each reads."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Four stages, none of which DVC's run cache keeps, as each writes a file for git. Committed, and not run."""
    folder = tmp_path_factory.mktemp("begun")
    clone = Clone(folder / "small", {"PYTHONPATH": str(ROOT), "DVC_SITE_CACHE_DIR": str(folder / "site")})
    clone.folder.mkdir()
    stages = {
        name: {
            "cmd": f"{sys.executable} step.py {name} {source}",
            "deps": [source, "step.py"],
            "outs": [name, {f"{name}.csv": {"cache": False}}],
        }
        for name, source in SOURCES.items()
    }
    (clone.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    (clone.folder / "step.py").write_text(STEP, encoding="utf-8")
    (clone.folder / ".gitignore").write_text("/times\n", encoding="utf-8")
    (clone.folder / "start").write_text("1", encoding="utf-8")
    clone.git("init", "-q")
    clone.dvc("init", "-q")
    clone.commit("before the first run")
    return clone


@pytest.fixture(scope="module")
def committed_results(begun: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The same, run and committed, with another input for the next run."""
    clone = begun.plain_copy(tmp_path_factory.mktemp("committed") / "small")
    clone.dvc("repro")
    clone.commit("results")
    (clone.folder / "times").unlink()
    (clone.folder / "start").write_text("2", encoding="utf-8")
    return clone


@pytest.fixture
def small(begun: Clone, tmp_path: Path) -> Clone:
    """A copy of what was begun."""
    return begun.plain_copy(tmp_path / "small")


def _times(clone: Clone) -> Counter[str]:
    return Counter((clone.folder / "times").read_text(encoding="utf-8").split())


def _kill_writing(clone: Clone, time: int, part: float) -> None:
    """Run `dvc repro`, and kill it when it writes dvc.lock for this time and a part of the text is written."""
    command = [sys.executable, str(KILLED), str(time), str(part), "repro"]
    done = subprocess.run(
        command, cwd=clone.folder, env=clone.environment(), capture_output=True, text=True, check=False,
        start_new_session=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def _is_as_it_should_be(clone: Clone, start: str) -> None:
    """Compare what there is with what an undisturbed run writes."""
    written = start
    for name in SOURCES:
        written += name
        assert (clone.folder / name).read_text(encoding="utf-8") == written
        assert (clone.folder / f"{name}.csv").read_text(encoding="utf-8") == name
    assert clone.dvc("status").output.strip().splitlines()[-1] == "Data and pipelines are up to date."


def _mend(clone: Clone) -> str:
    return clone.run("python", "-m", "transfer", "repair").output


@pytest.mark.parametrize(
    ("committed", "time", "part"),
    [(True, 1, 0), (True, 3, 0.1), (True, 3, 0.45), (True, 2, 0.999), (False, 1, 0.5), (False, 3, 0), (False, 3, 0.8)],
)
def test_what_was_finished_is_not_run_again(
    begun: Clone, committed_results: Clone, tmp_path: Path, committed: bool, time: int, part: float
) -> None:
    small = (committed_results if committed else begun).plain_copy(tmp_path / "small")
    _kill_writing(small, time, part)
    if part == 0:
        small.dvc("repro", status=255)  # when this succeeds, DVC no longer needs help
    assert "dvc.lock: DVC was killed while writing it; it has been repaired" in _mend(small)
    small.dvc("repro")
    assert _times(small) == dict.fromkeys(SOURCES, 1)
    _is_as_it_should_be(small, "2" if committed else "1")


def test_a_cut_between_two_records_is_seen_too(small: Clone) -> None:
    """DVC reads the rest, and would run again what it does not name."""
    _kill_writing(small, 3, 1.0)
    text = (small.folder / "dvc.lock").read_text(encoding="utf-8")
    (small.folder / "dvc.lock").write_text(text[: text.index("  a:\n")], encoding="utf-8")
    assert "repaired" in _mend(small)
    small.dvc("repro")
    assert _times(small) == dict.fromkeys(SOURCES, 1)


@pytest.mark.parametrize("changed", ["c", "a.csv", "dvc.yaml"])
def test_a_stage_is_not_taken_for_finished_if_anything_has_changed_since(small: Clone, changed: str) -> None:
    """Otherwise what was written from other inputs, or by hand, would pass for its results."""
    _kill_writing(small, 2, 0.5)
    path = small.folder / changed
    text = path.read_text(encoding="utf-8")
    path.unlink()  # rather than to write into DVC's cache, which it may be a link to
    path.write_text(text + ("\n" if path.suffix in {".py", ".yaml"} else "changed"), encoding="utf-8")
    assert "repaired" in _mend(small)
    small.dvc("repro")
    assert _times(small)["a"] == 2
    _is_as_it_should_be(small, "1")


def test_a_stage_that_failed_is_not_taken_for_finished(small: Clone) -> None:
    (small.folder / "dvc.yaml").write_text(
        (small.folder / "dvc.yaml").read_text(encoding="utf-8").replace("step.py d a", "step.py d nothing"),
        encoding="utf-8",
    )
    small.dvc("repro", status=255)
    lock = small.folder / "dvc.lock"
    lock.write_text(lock.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert "repaired" in _mend(small)
    assert sorted(yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]) == ["a", "c"]


def test_a_whole_lock_file_is_left_alone(small: Clone) -> None:
    """Whatever it is of: another commit, or a run that begins anew."""
    assert _mend(small) == ""
    small.dvc("repro")
    small.commit("results")
    lock = small.folder / "dvc.lock"
    text = lock.read_text(encoding="utf-8")
    assert (_mend(small), lock.read_text(encoding="utf-8")) == ("", text)
    fewer = text[: text.index("  d:\n")]
    lock.write_text(fewer, encoding="utf-8")
    small.commit("fewer stages")
    assert (_mend(small), lock.read_text(encoding="utf-8")) == ("", fewer)
    lock.unlink()
    assert (_mend(small), lock.exists()) == ("", False)


@pytest.mark.parametrize(("time", "part"), [(1, 0.3), (2, 0.9)])
def test_the_pipeline_goes_on_after_such_a_kill(
    original: Clone, undisturbed: dict[str, str], warm: dict[str, str], tmp_path: Path, time: int, part: float
) -> None:
    """After `train_baseline@ann` and after the stage behind it: none of the two trains again."""
    clone = change_ann(original, tmp_path / "clone").having(warm)  # it is DVC that is killed, and no stage
    _kill_writing(clone, time, part)
    assert "repaired" in _mend(clone)
    ran = clone.dvc("repro")
    assert "train_baseline@ann" not in ran.stages
    assert len(ran.stages) == len(AFTER_ANN) - time
    assert clone.hashes() == undisturbed
