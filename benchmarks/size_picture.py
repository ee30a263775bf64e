"""One picture of validation errors over the training-set size."""

import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from benchmarks.subsets import Errors, PowerLaw

Curve = tuple[list[int], Errors, PowerLaw | None]
COLOURS = {"head": "#3b6ea5", "finetuned": "#c9822b"}


def _draw_curve(axis: Axes, model: str, curve: Curve) -> None:
    """Draw each repeat as a dot, means with standard deviations, and the law up to twice the largest size."""
    sizes, errors, law = curve
    colour = COLOURS[model]
    for of_repeat in errors:
        axis.scatter(sizes, of_repeat, s=14, color=colour, alpha=0.35, linewidths=0)
    means = [np.mean(column[np.isfinite(column)]) if np.isfinite(column).any() else np.nan for column in errors.T]
    spread = [
        np.std(column[np.isfinite(column)], ddof=1) if np.isfinite(column).sum() > 1 else 0 for column in errors.T
    ]
    axis.errorbar(sizes, means, spread, fmt="o", color=colour, capsize=3, label=f"{model}: mean ± standard deviation")
    if law:
        measured, beyond = np.geomspace(min(sizes), max(sizes)), np.geomspace(max(sizes), 2 * max(sizes))
        axis.plot(measured, [law.error(n) for n in measured], color=colour, label=f"{model}: power law")
        axis.plot(beyond, [law.error(n) for n in beyond], color=colour, linestyle=":")


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Draw the curve of each model: sizes (m,), errors (repeats, m) and the law through them, if there is one."""
    figure, axis = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    for model, curve in curves.items():
        _draw_curve(axis, model, curve)
    sizes = sorted({size for of_model, _, _ in curves.values() for size in of_model})
    axis.set_xscale("log")
    axis.set_xticks([*sizes, 2 * sizes[-1]], [f"{size:,}" for size in (*sizes, 2 * sizes[-1])])
    axis.minorticks_off()
    axis.set_ylim(0, 1.2 * axis.get_ylim()[1])  # with room for the legend
    axis.set_xlabel("training images; dotted: beyond what was measured")
    axis.set_ylabel("validation error")
    axis.grid(color="#dddddd", linewidth=0.6)
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})  # the version of matplotlib would change the bytes
    plt.close(figure)
