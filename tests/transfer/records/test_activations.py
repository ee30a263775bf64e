"""Tests of transfer/records/activations.py."""

from pathlib import Path

import numpy as np
import pytest

from transfer.core.errors import UserError
from transfer.records.activations import make_plan, open_activations
from transfer.training.batches import Batching, view_batches


def test_missing_activations_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train: no activations .*; run dvc repro embed"):
        view_batches(tmp_path, ("a", "b"), Batching("hard", 8, 1))


def test_a_view_that_misses_rows_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "view-0.npy", np.zeros((3, 2), np.float16))
    np.save(tmp_path / "labels.npy", np.zeros(4, np.int64))
    with pytest.raises(UserError, match=r"expected 4 rows a view, received \[3\]"):
        open_activations(tmp_path)


@pytest.mark.parametrize(
    ("cut", "augment", "train", "validation"),
    [
        ("auto", "cached", 8, 1), ("auto", "none", 1, 1), ("auto", "on_the_fly", 0, 1), ("top", "on_the_fly", 0, 1),
        ("input", "cached", 0, 0), ("input", "none", 0, 0), ("input", "on_the_fly", 0, 0),
    ],
)  # fmt: skip
def test_only_what_training_reads_is_cached(cut: str, augment: str, train: int, validation: int) -> None:
    plan = make_plan("efficientnet_lite0", cut, augment, 8)
    assert plan.cached == {"train": train, "validation": validation}
    assert plan.from_pixels == (train == 0)
    assert plan.views == (1 if augment == "none" else 8)
    assert plan.cut == ("block5" if cut == "auto" else cut)
