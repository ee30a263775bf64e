"""Tests of benchmarks/tries.py."""

import operator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import tries
from benchmarks.tries import TRIES, _rows, params_of, run_try
from tests.conftest import RunStage
from transfer.records.activations import Activations


@pytest.mark.parametrize("name", TRIES)
def test_every_try_is_valid(name: str) -> None:
    params = params_of(TRIES[name])
    for assignment in TRIES[name]:
        key, _, value = assignment.partition("=")
        assert str(operator.attrgetter(key)(params)) in (value, str(float(value)) if value[0].isdigit() else "")


def test_rows_are_taken_from_both_splits_in_every_view() -> None:
    labels = np.zeros(3, np.int64), np.zeros(2, np.int64)
    soft = np.zeros(3, np.float32), np.zeros(2, np.float32)
    values = [np.arange(5, dtype=np.float16)[:, None] + 10 * view for view in range(2)]
    splits = [
        Activations([value[:3] for value in values], labels[0], soft[0]),
        Activations([value[3:] for value in values], labels[1], soft[1]),
    ]
    found = _rows(splits, np.array([0, 2, 3]), 2)
    assert [view[:, 0].tolist() for view in found] == [[0, 2, 3], [10, 12, 13]]


def test_a_try_is_judged_on_images_that_it_was_not_trained_on(
    project: Path, tiny_backbone: None, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two colours that a tiny network tells apart: every fold is right, in all views."""
    for stage in ("download", "weights", "preprocess"):
        run_stage(stage)
    monkeypatch.setattr(tries, "ROOT", project)
    monkeypatch.setattr(tries, "FOLDER", project / "tries")
    monkeypatch.setattr(tries, "TRIES", {"tiny": ["lr=5e-3", "finetune.epochs=4"]})
    monkeypatch.setattr(tries, "records_of", lambda _: project)
    (project / "tries").mkdir()
    result = run_try("tiny", 2)
    kept = np.load(project / "tries/tiny.npz")
    assert kept["probabilities"].shape == (8, 12, 2)
    assert len(set(kept["rows"])) == result["images"] == 12
    assert result["one_view"]["accuracy"] == result["all_views"]["accuracy"] == 1.0
    assert [fold["best_epoch"] for fold in result["folds"]] == [4, 4]
