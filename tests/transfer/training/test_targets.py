"""Tests of transfer/training/targets.py."""

import numpy as np
import pytest

from transfer.core.errors import UserError
from transfer.training.targets import make_targets

CLASSES = ("intact", "defective")
LABELS = np.array([0, 0, 1, 1])
SOFT = np.array([0.0, 1 / 3, 2 / 3, np.nan], np.float32)


def test_hard_targets_are_one_for_the_class() -> None:
    found = make_targets(np.array([2, 0]), np.full(2, np.nan, np.float32), ("a", "b", "c"), "hard")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[0, 0, 1], [1, 0, 0]])


def test_soft_targets_are_the_soft_labels_and_the_class_where_there_is_none() -> None:
    found = make_targets(LABELS, SOFT, CLASSES, "soft")
    assert found.dtype == np.float32
    expected = np.array([[1.0, 0.0], [2 / 3, 1 / 3], [1 / 3, 2 / 3], [0.0, 1.0]])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "soft", "classes"), [(LABELS, np.full(4, np.nan), CLASSES), (LABELS, SOFT, (*CLASSES, "third"))]
)
def test_soft_targets_without_soft_labels_are_an_error(
    labels: np.ndarray, soft: np.ndarray, classes: tuple[str, ...]
) -> None:
    with pytest.raises(UserError, match="labels: soft, and the dataset has no soft labels; set labels to hard"):
        make_targets(labels, soft.astype(np.float32), classes, "soft")


def test_soft_labels_with_another_threshold_are_an_error() -> None:
    """An image of soft label 1/3 is defective where the card's threshold is 0.2."""
    with pytest.raises(UserError, match=r"threshold at 0\.5, received soft, and 1 images .* 0\.333"):
        make_targets(np.array([0, 1, 1, 1]), SOFT, CLASSES, "soft")


def test_auto_is_soft_where_that_is_possible_and_hard_elsewhere() -> None:
    np.testing.assert_array_equal(
        make_targets(LABELS, SOFT, CLASSES, "auto"), make_targets(LABELS, SOFT, CLASSES, "soft")
    )
    hard = make_targets(LABELS, SOFT, CLASSES, "hard")
    none = np.full(4, np.nan, np.float32)
    np.testing.assert_array_equal(make_targets(LABELS, none, CLASSES, "auto"), hard)
    np.testing.assert_array_equal(make_targets(np.array([0, 1, 1, 1]), SOFT, CLASSES, "auto"), np.eye(2)[[0, 1, 1, 1]])
    assert make_targets(LABELS, SOFT, (*CLASSES, "third"), "auto").shape == (4, 3)
