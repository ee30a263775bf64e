"""One picture of the settings of a sweep."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

BEST, OTHERS = "#c9822b", "#3b6ea5"


@dataclass(frozen=True)
class Setting:
    """What a setting changed, and the figures of its best epoch on the validation split.

    `status` is "ok", "failed", or what is wrong with the best epoch. What failed has no figures.
    """

    changed: dict[str, Any]
    status: str
    best_epoch: int | None
    loss: float | None
    accuracy: float | None


def label(setting: Setting, keys: Sequence[str]) -> str:
    """Name a setting by these of its parameters, with their last names only: `lr 0.001, units [128]`."""
    named = ", ".join(f"{key.rsplit('.', 1)[-1]} {setting.changed[key]}" for key in keys)
    return named if setting.status == "ok" else f"{named} ({'failed' if setting.loss is None else 'collapsed'})"


def differing(settings: Sequence[Setting]) -> list[str]:
    """Return the parameters that are not the same in all settings."""
    keys = list(settings[0].changed) if settings else []
    return [key for key in keys if any(setting.changed[key] != settings[0].changed[key] for setting in settings)]


def _dots(axis: Axes, values: Sequence[float | None], title: str) -> None:
    """Draw one value a row, the first row's in the colour of the best; there is none of what failed."""
    rows = [row for row, value in enumerate(values) if value is not None]
    shown = [value for value in values if value is not None]
    axis.scatter(shown, rows, c=[BEST if row == 0 else OTHERS for row in rows], s=45, zorder=3)
    for row, value in zip(rows, shown, strict=True):
        axis.annotate(f"{value:.3f}", (value, row), (6, 0), textcoords="offset points", va="center", fontsize=8)
    axis.set_title(title, fontsize=10)
    axis.margins(x=0.2)
    axis.grid(axis="both", color="#dddddd", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)


def draw(settings: Sequence[Setting], path: Path) -> None:
    """Draw validation loss and accuracy of settings, a row for each, in the order that they are given in.

    Args:
        settings: at least one; the first is the one that is chosen.
        path: of the PNG.
    """
    keys = differing(settings)
    height = 0.32 * len(settings) + 1.3
    figure, axes = plt.subplots(1, 2, figsize=(9, height), sharey=True, layout="constrained")
    _dots(axes[0], [setting.loss for setting in settings], "validation loss: the lowest is chosen")
    _dots(axes[1], [setting.accuracy for setting in settings], "validation accuracy")
    axes[0].set_yticks(range(len(settings)), [label(setting, keys) for setting in settings], fontsize=9)
    axes[0].set_ylim(len(settings) - 0.5, -0.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})  # the version of matplotlib would change the bytes
    plt.close(figure)
