"""Tests of transfer/training/checkpoints.py: the file itself. test_loop.py tests that training goes on from it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from transfer.training import checkpoints
from transfer.training.checkpoints import Checkpoint, TrainingState, fingerprint

ARRAYS: dict[str, list[NDArray[Any]]] = {
    "variables": [
        np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
        np.array(3, np.int64),
        np.zeros((0, 2), np.float32),
    ],
    "best": [np.array([math.pi], np.float32)],
}
FACTS: dict[str, Any] = {
    "epochs": 3,
    "elapsed_s": 1 / 3,
    "rank": [False, math.inf],
    "history": [{"train/loss": 0.1 + 0.2}],
}


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A file and a folder that a training reads, in the working directory of the test."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("lr: 1", encoding="utf-8")
    Path("records/train").mkdir(parents=True)
    Path("records/train/one.tfrecord").write_bytes(b"one")
    return Path("params.yaml"), Path("records")


def test_what_is_read_is_what_was_written_bit_for_bit(inputs: tuple[Path, Path]) -> None:
    Checkpoint("net", inputs).write(TrainingState(FACTS, ARRAYS))
    progress = Checkpoint("net", inputs).read()
    assert progress is not None
    assert progress.facts == FACTS
    assert progress.arrays.keys() == ARRAYS.keys()
    for name, group in ARRAYS.items():
        for array, received in zip(group, progress.arrays[name], strict=True):
            assert (received.dtype, received.shape) == (array.dtype, array.shape)
            assert received.tobytes() == array.tobytes()
    assert [path.name for path in Path(".checkpoints").iterdir()] == ["net.npz"]


def test_more_than_a_thousand_arrays_keep_their_order(inputs: tuple[Path, Path]) -> None:
    checkpoint = Checkpoint("net", inputs)
    checkpoint.write(TrainingState({}, {"variables": [np.array(i) for i in range(1234)]}))
    progress = checkpoint.read()
    assert progress is not None
    assert [int(array) for array in progress.arrays["variables"]] == list(range(1234))


def test_without_a_file_there_is_nothing(inputs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert Checkpoint("net", inputs).read() is None
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("change", ["params.yaml", "records/train/one.tfrecord", "records/train/two.tfrecord"])
def test_a_checkpoint_of_other_inputs_is_not_used(
    change: str, inputs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    Checkpoint("net", inputs).write(TrainingState(FACTS, ARRAYS))
    Path(change).write_bytes(b"two")
    assert Checkpoint("net", inputs).read() is None
    assert ".checkpoints/net.npz is outdated: training restarts" in capsys.readouterr().out


def test_the_fingerprint_depends_on_code_and_versions(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = [fingerprint(inputs)]
    monkeypatch.setattr(checkpoints, "version", lambda name: f"another {name}")
    prints.append(fingerprint(inputs))
    for folder in ("training", "results"):
        (tmp_path / "transfer" / folder).mkdir(parents=True)
    (tmp_path / "transfer/training/loop.py").write_text("one = 1", encoding="utf-8")
    monkeypatch.setattr(checkpoints, "ROOT", tmp_path)
    prints.append(fingerprint(inputs))
    (tmp_path / "transfer/training/loop.py").write_text("one = 2", encoding="utf-8")
    prints.append(fingerprint(inputs))
    assert len(set(prints)) == 4
    (tmp_path / "transfer/results/report.py").write_text("of no training", encoding="utf-8")
    assert fingerprint(inputs) == prints[-1]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_checkpoint_is_not_used(data: st.DataObject, inputs: tuple[Path, Path]) -> None:
    """Cut short, or with a byte changed. A change that no checksum sees is one that changes nothing."""
    checkpoint = Checkpoint("net", inputs)
    checkpoint.write(TrainingState(FACTS, ARRAYS))
    content = bytearray(checkpoint.path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1), "at")
    if data.draw(st.booleans(), "cut short"):
        content = content[:at]
    else:
        content[at] ^= data.draw(st.integers(1, 255), "changed by")
    checkpoint.path.write_bytes(content)
    progress = checkpoint.read()
    if progress is not None:
        assert progress.facts == FACTS
        for name, group in ARRAYS.items():
            assert [array.tobytes() for array in progress.arrays[name]] == [array.tobytes() for array in group]


def test_a_list_of_members_that_hides_some_is_damaged(
    inputs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A longer comment of a member, of which there is no checksum, swallows the members behind it."""
    checkpoint = Checkpoint("net", inputs)
    checkpoint.write(TrainingState(FACTS, ARRAYS))
    content = bytearray(checkpoint.path.read_bytes())
    content[content.index(b"PK\x01\x02") + 33] ^= 1  # the higher byte of the comment's length
    checkpoint.path.write_bytes(content)
    assert checkpoint.read() is None
    assert "is damaged: training restarts (arrays are missing)" in capsys.readouterr().err


def test_checkpoints_are_due_now_and_then(inputs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    checkpoint = Checkpoint("net", inputs)
    assert not checkpoint.due()
    now += checkpoints.EVERY_S
    assert checkpoint.due()
    checkpoint.write(TrainingState(FACTS, ARRAYS))
    assert not checkpoint.due()


def test_what_is_removed_leaves_nothing_but_others(inputs: tuple[Path, Path]) -> None:
    one, two = Checkpoint("one", inputs), Checkpoint("two", inputs)
    for checkpoint in (one, two):
        checkpoint.write(TrainingState(FACTS, ARRAYS))
    one.remove()
    assert [path.name for path in Path(".checkpoints").iterdir()] == ["two.npz"]
    two.remove()
    two.remove()
    assert not Path(".checkpoints").exists()
