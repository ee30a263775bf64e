"""What in an image speaks for a class, by occlusion.

After M. Zeiler and R. Fergus, Visualizing and understanding convolutional networks, ECCV 2014, arXiv:1311.2901: one
part of the image after the other is blurred away, and the classifier is asked again. So a map says what the
classifier's own probabilities depend on, whatever its kind and format, and needs no gradients.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.special import logit

from transfer.core.arrays import Pixels

WINDOWS = 7
"""Windows side by side in an image: a window is as large as what a 224-pixel backbone's last layer calls a place."""
OVERLAP = 2  # windows over each pixel, in each direction
BATCH = 32
SURE = 1e-6  # float32 does not tell probabilities from 0 and 1 that are much closer to them

Classify = Callable[[Pixels], NDArray[np.float32]]
"""Gives probabilities (n, classes) for uint8 images (n, S, S, channels)."""


def _starts(size: int, window: int) -> list[int]:
    """Where windows begin, along a side: evenly from edge to edge."""
    steps = -(-(size - window) * OVERLAP // window)
    return sorted({round(place) for place in np.linspace(0, size - window, steps + 1)})


def _blurred(image: Pixels, radius: int) -> Pixels:
    """An image without what is smaller than the radius, in its mean brightness and colour."""
    planes = [Image.fromarray(image[..., channel]) for channel in range(image.shape[-1])]
    return np.stack([np.asarray(plane.filter(ImageFilter.GaussianBlur(radius))) for plane in planes], axis=-1)


def occlusion_map(classify: Classify, image: Pixels, target: int) -> NDArray[np.float32]:
    """Return by how much the log-odds of a class fall if a pixel's surroundings are blurred away.

    Log-odds, the logarithm of p / (1 - p), and not probabilities: these hardly move where a classifier is sure.

    Args:
        classify: the classifier.
        image: uint8 (S, S, channels).
        target: number of the class.

    Returns:
        (S, S), the mean over the windows that a pixel lies in. What is above 0 speaks for the class, what is below 0
        against it.
    """
    size = len(image)
    window = max(1, round(size / WINDOWS))
    blurred = _blurred(image, window)
    places = [(row, column) for row in _starts(size, window) for column in _starts(size, window)]
    variants = np.repeat(image[None], len(places) + 1, axis=0)
    for variant, (row, column) in zip(variants[1:], places, strict=True):
        part = slice(row, row + window), slice(column, column + window)
        variant[part] = blurred[part]
    found = np.concatenate([classify(variants[i : i + BATCH]) for i in range(0, len(variants), BATCH)])[:, target]
    odds = logit(np.clip(found.astype(np.float64), SURE, 1 - SURE))
    falls, windows = np.zeros((size, size)), np.zeros((size, size))
    for fall, (row, column) in zip(odds[0] - odds[1:], places, strict=True):
        part = slice(row, row + window), slice(column, column + window)
        falls[part] += fall
        windows[part] += 1
    return np.asarray(falls / windows, np.float32)
