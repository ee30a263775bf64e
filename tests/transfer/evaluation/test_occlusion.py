"""Tests of transfer/evaluation/occlusion.py: a map shows what a classifier really looks at."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from transfer.core.arrays import Pixels
from transfer.evaluation.occlusion import _starts, occlusion_map

SIZE = 56
SPOT = (slice(8, 16), slice(32, 40))


def _looks_at_the_spot(images: Pixels) -> NDArray[np.float32]:
    """Two classes; the log-odds of the second are the difference of the spot's brightness from the image's, in tens."""
    values = images.astype(np.float64)
    odds = (values[:, *SPOT].mean(axis=(1, 2, 3)) - values.mean(axis=(1, 2, 3))) / 10
    return np.stack([expit(-odds), expit(odds)], axis=1).astype(np.float32)


@pytest.fixture
def image() -> Pixels:
    """Dark, with a bright spot."""
    pixels = np.random.default_rng(0).integers(60, 70, (SIZE, SIZE, 1)).astype(np.uint8)
    pixels[SPOT] = 160
    return pixels


def test_the_place_that_a_classifier_looks_at_stands_out(image: Pixels) -> None:
    falls = occlusion_map(_looks_at_the_spot, image, 1)
    assert falls.shape == (SIZE, SIZE)
    elsewhere = np.ones((SIZE, SIZE), bool)
    elsewhere[0:24, 24:48] = False  # where windows lie that touch the spot
    assert falls[SPOT].min() > 3
    assert np.abs(falls[elsewhere]).max() < 0.1


def test_what_speaks_for_one_of_two_classes_speaks_against_the_other(image: Pixels) -> None:
    np.testing.assert_allclose(
        occlusion_map(_looks_at_the_spot, image, 0), -occlusion_map(_looks_at_the_spot, image, 1), atol=1e-2
    )


def test_a_classifier_that_is_sure_still_has_reasons(image: Pixels) -> None:
    """Here its probability is 1 - 1e-4, and hardly falls."""
    assert _looks_at_the_spot(image[None])[0, 1] > 0.999
    assert occlusion_map(_looks_at_the_spot, image, 1).max() > 3


def test_windows_cover_every_pixel() -> None:
    for size, window in ((224, 32), (32, 5), (7, 1), (3, 1), (225, 32)):
        starts = _starts(size, window)
        assert starts[0] == 0
        assert starts[-1] + window == size
        assert max(np.diff(starts), default=0) <= -(-window // 2)
