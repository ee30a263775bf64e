"""Tests of transfer/records/views.py."""

import itertools

import numpy as np
import pytest

from transfer.core.errors import UserError
from transfer.records.views import VALID_VIEWS, apply_view, count_views

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)


def test_eight_views_differ_and_the_first_is_the_image() -> None:
    views = [apply_view(IMAGES, view).tobytes() for view in range(8)]
    assert len(set(views)) == 8
    assert views[0] == IMAGES.tobytes()


def test_view_one_mirrors_left_and_right() -> None:
    np.testing.assert_array_equal(apply_view(IMAGES, 1), np.flip(IMAGES, axis=2))


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_a_view_of_a_view_is_a_view(count: int) -> None:
    views = {apply_view(IMAGES, view).tobytes() for view in range(count)}
    for one, other in itertools.product(range(count), repeat=2):
        assert apply_view(apply_view(IMAGES, one), other).tobytes() in views


def test_all_means_what_the_symmetry_allows() -> None:
    assert [count_views("all", symmetry, "head.views") for symmetry in VALID_VIEWS] == [1, 2, 8]
    assert count_views(4, "dihedral", "head.views") == 4


def test_more_views_than_the_symmetry_allows_are_refused() -> None:
    with pytest.raises(UserError, match=r"head.views: expected at most 2, .*\(mirror\) allows, received 8"):
        count_views(8, "mirror", "head.views")
