"""Show what in an image speaks for a class: python -m transfer explain IMAGE… | FOLDER…

By occlusion (M. Zeiler and R. Fergus, Visualizing and understanding convolutional networks, ECCV 2014,
arXiv:1311.2901): one part of the image after the other is blurred away, and the classifier is asked again. So a map
says what the exported classifier's own probabilities depend on, whatever its kind and format, and needs no gradients.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.special import logit

from transfer.classifiers import open_classifier
from transfer.errors import UserError
from transfer.images import BadImageError, Pixels
from transfer.prediction import add_classifier, add_images, find_images, list_bad, read_image, shown

WINDOWS = 7
"""Windows side by side in an image: a window is as large as what a 224-pixel backbone's last layer calls a place."""
OVERLAP = 2  # windows over each pixel, in each direction
BATCH = 32
SURE = 1e-6  # float32 does not tell probabilities from 0 and 1 that are much closer to them

Classify = Callable[[Pixels], NDArray[np.float32]]


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
        classify: gives probabilities (n, classes) for uint8 images (n, S, S, channels).
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


def _free_name(folder: Path, image: str, taken: set[Path]) -> Path:
    """Return a name for the picture of an image that no other image of this call has."""
    stem, number = Path(image).stem, 1
    while (path := folder / (f"{stem}.png" if number == 1 else f"{stem}-{number}.png")) in taken:
        number += 1
    taken.add(path)
    return path


def _number(name: str | None, classes: tuple[str, ...]) -> int | None:
    """Return the number of a class.

    Raises:
        UserError: there is no such class.
    """
    if name is not None and name not in classes:
        raise UserError(f"--class: expected one of {', '.join(classes)}, received {name!r}")
    return None if name is None else classes.index(name)


def run(given: argparse.Namespace) -> int:
    """Draw what the command line asks for, and return the exit status."""
    from transfer.pictures import draw_explanation  # matplotlib takes a second to come, and predict needs none

    images = find_images(given.images)
    classifier = open_classifier(given.model, given.format)
    contract, taken, bad = classifier.contract, set[Path](), []
    wanted = _number(given.wanted, contract.classes)
    for image in images:
        pixels = read_image(image, contract)
        if isinstance(pixels, BadImageError):
            bad.append((image, str(pixels)))
            continue
        (probabilities,) = classifier.probabilities(pixels[None])
        target = int(probabilities.argmax()) if wanted is None else wanted
        said = f"{contract.classes[target]} {probabilities[target]:.4f}"
        path = _free_name(given.out, image, taken)
        falls = occlusion_map(classifier.probabilities, pixels, target)
        draw_explanation(pixels, falls, shown(Path(image).name), shown(said), path)
        print(f"{shown(image)}: {shown(said)}: {path}", flush=True)
    return list_bad(bad, len(images))


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "explain",
        help="show what in images speaks for their class",
        description="Write a PNG for each image: beside it, by how much the log-odds of its most likely class fall "
        "where a part of it is blurred away. It says what this classifier looks at, not what is there.",
        epilog="Exit status: as of predict.",
    )
    add_images(parser)
    add_classifier(parser)
    parser.add_argument("--class", dest="wanted", help="what speaks for this class (default: the most likely one)")
    parser.add_argument("--out", type=Path, default=Path("explained"), help="folder of the PNGs (default: explained)")
    parser.set_defaults(run=run)
