"""Pictures of images and of what a classifier sees in them, drawn with matplotlib."""

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from numpy.typing import NDArray

from transfer.core.arrays import Pixels
from transfer.core.files import written_whole

DPI = 100
MISTAKES_A_ROW = 3
MIN_FALL = 0.1  # in log-odds, the least that colours stand for: what is below is as good as nothing


@dataclass(frozen=True)
class Mistake:
    """An image (uint8, (size, size, channels)) that was classified wrongly, how sure the model was, and why.

    `falls`, (size, size), says by how much the log-odds of the class that it was taken for fall where a place is hidden
    (see `evaluation.occlusion`).
    """

    image: str
    pixels: Pixels
    actual: str
    predicted: str
    probability: float
    falls: NDArray[np.float32]


def drawable(text: str) -> str:
    """Return a text with the characters that matplotlib's own font has no glyph for, such as emoji, spelt out.

    Fonts of the machine are not used: the same text has to give the same bytes everywhere.
    """
    font = get_font(findfont(FontProperties()))

    def spelt(character: str) -> str:
        if character.isspace() or font.get_char_index(ord(character)):
            return character
        symbol = unicodedata.category(character) == "So"
        return f"[{unicodedata.name(character) if symbol else f'U+{ord(character):04X}'}]"

    return "".join(map(spelt, text))


def draw_mistakes(mistakes: list[Mistake], title: str, path: Path) -> None:
    """Draw images, with what they are and what they were taken for, and beside each what in it spoke for that."""
    rows = max(1, -(-len(mistakes) // MISTAKES_A_ROW))
    figure, axes = plt.subplots(
        rows, 2 * MISTAKES_A_ROW, figsize=(12, 2.5 * rows + 1.2), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.set_axis_off()
    limit = max([MIN_FALL, *(float(np.abs(mistake.falls).max()) for mistake in mistakes)])
    pairs = axes.reshape(rows * MISTAKES_A_ROW, 2)
    for pair, mistake in zip(pairs, mistakes, strict=False):
        name = mistake.image.rsplit("/", 1)[-1]
        said = f"{name}\nis {mistake.actual}, taken for\n{mistake.predicted} ({mistake.probability:.0%})"
        shade = _beside(pair, mistake.pixels, mistake.falls, limit, said)
    if mistakes:
        bar = figure.colorbar(shade, ax=axes, location="bottom", aspect=60, pad=0.02)
        bar.set_label(
            "right of each image: fall of the log-odds of the class that it was taken for, where this is hidden "
            "(above 0 it speaks for the class)",
            fontsize=9,
        )
    figure.suptitle(drawable(title if mistakes else f"{title}: none"))
    save(figure, path)


def _beside(axes: NDArray[Any], pixels: Pixels, falls: NDArray[np.float32], limit: float, title: str) -> ScalarMappable:
    """Draw an image, and beside it in grey with what speaks for and against a class; return the colours' scale."""
    plain, mapped = axes
    plain.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=255)
    plain.set_title(drawable(title), fontsize=9, parse_math=False)  # a dollar sign is one
    mapped.imshow(pixels.mean(axis=-1), cmap="gray", vmin=0, vmax=255)
    shade = mapped.imshow(falls, cmap="PuOr_r", vmin=-limit, vmax=limit, alpha=0.75 * np.abs(falls) / limit)
    return ScalarMappable(shade.norm, shade.cmap)


def draw_explanation(pixels: Pixels, falls: NDArray[np.float32], image: str, said: str, path: Path) -> None:
    """Draw an image, uint8 (S, S, channels), and beside it what in it speaks for and against a class.

    `falls`, (S, S), is as in `Mistake`; `image` is the image's name, and `said` the class and its probability.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    shade = _beside(axes, pixels, falls, max(float(np.abs(falls).max()), MIN_FALL), image)
    axes[1].set_title(drawable(said), fontsize=9, parse_math=False)
    bar = figure.colorbar(shade, ax=axes[1], shrink=0.9)
    bar.set_label("fall of its log-odds where this is hidden:\nabove 0 it speaks for the class", fontsize=8)
    for axis in axes:
        axis.set_axis_off()
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG, whole or not at all, and close it. The same figure gives the same bytes."""
    with written_whole(path) as part:
        figure.savefig(part, dpi=DPI, metadata={"Software": None})  # the version of matplotlib would change the bytes
    plt.close(figure)
