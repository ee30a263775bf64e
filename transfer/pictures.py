"""Pictures for reports, drawn with matplotlib."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray

from transfer.images import Pixels
from transfer.paths import written_whole

DPI = 100
MISTAKES_A_ROW = 3
MIN_FALL = 0.1  # in log-odds, the least that colours stand for: what is below is as good as nothing


@dataclass(frozen=True)
class Mistake:
    """An image (uint8, (size, size, channels)) that was classified wrongly, how sure the model was, and why.

    `falls`, (size, size), says by how much the log-odds of the class that it was taken for fall where a place is hidden
    (see `transfer.occlusion`).
    """

    image: str
    pixels: Pixels
    actual: str
    predicted: str
    probability: float
    falls: NDArray[np.float32]


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
    for (plain, mapped), mistake in zip(pairs, mistakes, strict=False):
        plain.imshow(mistake.pixels.squeeze(), cmap="gray", vmin=0, vmax=255)
        name = mistake.image.rsplit("/", 1)[-1]
        plain.set_title(
            f"{name}\nis {mistake.actual}, taken for\n{mistake.predicted} ({mistake.probability:.0%})",
            fontsize=9,
            parse_math=False,
        )
        shade = _shade(mapped, mistake.pixels, mistake.falls, limit)
    if mistakes:
        bar = figure.colorbar(shade, ax=axes, location="bottom", aspect=60, pad=0.02)
        bar.set_label(
            "right of each image: fall of the log-odds of the class that it was taken for, where this is hidden "
            "(above 0 it speaks for the class)",
            fontsize=9,
        )
    figure.suptitle(title if mistakes else f"{title}: none")
    _save(figure, path)


def _shade(axis: Axes, pixels: Pixels, falls: NDArray[np.float32], limit: float) -> ScalarMappable:
    """Draw an image in grey and what speaks for and against a class over it, and return the colours' scale."""
    axis.imshow(pixels.mean(axis=-1), cmap="gray", vmin=0, vmax=255)
    shade = axis.imshow(falls, cmap="PuOr_r", vmin=-limit, vmax=limit, alpha=0.75 * np.abs(falls) / limit)
    return ScalarMappable(shade.norm, shade.cmap)


def draw_performance(table: pd.DataFrame, path: Path) -> None:
    """Draw test accuracy and test F1 of the models as bars with their 95 % intervals.

    Args:
        table: a row for each model: model, accuracy, accuracy_low, accuracy_high, f1, f1_low, f1_high.
        path: of the PNG.
    """
    figure, axis = plt.subplots(figsize=(8, 0.8 * len(table) + 1.6), layout="constrained")
    for offset, (name, label, colour) in enumerate((("accuracy", "accuracy", "#3b6ea5"), ("f1", "F1", "#c9822b"))):
        places = [row + 0.36 * offset for row in range(len(table))]
        errors = [table[name] - table[f"{name}_low"], table[f"{name}_high"] - table[name]]
        axis.barh(places, table[name], 0.34, xerr=errors, color=colour, label=label, error_kw={"capsize": 3})
        for place, value, high in zip(places, table[name], table[f"{name}_high"], strict=True):
            axis.text(high + 0.01, place, f"{value:.3f}", va="center", fontsize=9)
    axis.set_yticks([row + 0.18 for row in range(len(table))], list(table["model"]))
    axis.invert_yaxis()
    axis.set_xlim(0, 1.1)
    axis.set_xlabel("on the test split, with 95 % bootstrap intervals")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def draw_reliability(tables: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Draw a reliability diagram for each model: accuracy by confidence, before and after the temperature.

    The area of a dot is that of its bin's share of the images; on the diagonal, probabilities mean what they say.

    Args:
        tables: by model, as `calibration.calibrate` gives them.
        path: of the PNG.
    """
    figure, axes = plt.subplots(1, len(tables), figsize=(3 * len(tables), 3.4), squeeze=False, layout="constrained")
    for axis, (model, table) in zip(axes.flat, tables.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
        for name, colour in (("before", "#c9822b"), ("after", "#3b6ea5")):
            bins = table[table[f"images_{name}"] > 0]
            confidence, accuracy = bins[f"mean_confidence_{name}"], bins[f"accuracy_{name}"]
            share = bins[f"images_{name}"] / bins[f"images_{name}"].sum()
            axis.plot(confidence, accuracy, color=colour, linewidth=1, label=name)
            axis.scatter(confidence, accuracy, 200 * share, color=colour)
        axis.set(title=model, xlabel="confidence", xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("accuracy on the test split")
    axes[0, 0].legend(frameon=False, loc="upper left")
    _save(figure, path)


def draw_explanation(pixels: Pixels, falls: NDArray[np.float32], image: str, said: str, path: Path) -> None:
    """Draw an image, and beside it what in it speaks for and against a class.

    Args:
        pixels: uint8 (S, S, channels).
        falls: (S, S), by how much the log-odds of the class fall where that place is hidden.
        image: its name.
        said: the class and its probability.
        path: of the PNG.
    """
    figure, (plain, mapped) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
    plain.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=255)
    plain.set_title(image, fontsize=9, parse_math=False)  # a dollar sign is one
    shade = _shade(mapped, pixels, falls, max(float(np.abs(falls).max()), MIN_FALL))
    mapped.set_title(said, fontsize=9, parse_math=False)
    bar = figure.colorbar(shade, ax=mapped, shrink=0.9)
    bar.set_label("fall of its log-odds where this is hidden:\nabove 0 it speaks for the class", fontsize=8)
    for axis in (plain, mapped):
        axis.set_axis_off()
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with written_whole(path) as part:
        figure.savefig(part, dpi=DPI, metadata={"Software": None})  # the version of matplotlib would change the bytes
    plt.close(figure)
