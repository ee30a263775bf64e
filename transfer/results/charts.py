"""Charts for the page, drawn with matplotlib as SVG that stands inside HTML and takes its colours from the page.

Nothing of the dataset is written into them, such as names of classes: only our own words are.
"""

import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("MPLBACKEND", "agg")

import matplotlib.pyplot as plt
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

UNWANTED = r"<metadata>.*?</metadata>|<style.*?</style>|font-family: [^;\"]*;? ?"
"""The page has no need of metadata, a style sheet of its own and fonts of its own."""
STYLE: Any = {  # matplotlib types its keys one by one
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched for, and takes the page's font
    "svg.hashsalt": "transfer",  # the same names inside the file each time
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
INK, MUTED = "#010101", "#010102"
MODEL_COLOURS = {"ann": "#010103", "cnn": "#010104", "head": "#010105", "finetuned": "#010106"}
IN_PAGE = {INK: "currentColor", MUTED: "var(--muted)"} | {
    colour: f"var(--{model})" for model, colour in MODEL_COLOURS.items()
}
"""Stand-ins, drawn with, and what the page's style sheet calls them, so that charts follow its light and dark."""
DASHES: dict[str, Any] = {"ann": (1.5, 2), "cnn": (7, 2, 1.5, 2), "head": (5, 2.5), "finetuned": None}
"""Dashes and gaps of the models' lines, which tell them apart without colours, in line widths of about 1.6."""
SIZE = (4.6, 4.2)  # inches of 72 units, of a chart that a telephone shows in its full width
SMALL = (3.4, 2.5)  # of one among many
CROWD = 4  # more lines than this in one chart are drawn paler


def svg(figure: Figure, title: str, name: str) -> Markup:
    """Return a figure, drawn in the stand-ins above, as an SVG element, and close it.

    `title` says what it shows, to those who do not see it. `name` is unlike that of any other chart of the page, and of
    letters, digits and hyphens.
    """
    with plt.rc_context(STYLE):
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
    _, _, drawn = re.sub(UNWANTED, "", file.getvalue(), flags=re.DOTALL).partition("<svg ")
    _, _, drawn = drawn.partition(">")  # behind the opening tag, which is written anew
    drawn = re.sub(r' id="|url\(#|href="#', rf"\g<0>{name}-", drawn).replace("xlink:href", "href")
    for stand_in, colour in IN_PAGE.items():
        drawn = drawn.replace(stand_in, colour)
    width, height = 72 * figure.get_size_inches()
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" class="chart" role="img" aria-label="{escape(title)}">'
    return Markup(opening + drawn)  # noqa: S704 (only our own words are in it, and what matplotlib draws)


@contextmanager
def _axes(x: str, y: str, size: tuple[float, float]) -> Iterator[tuple[Figure, Axes]]:
    """Give a figure with one pair of axes, named."""
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=size, layout="constrained")
        axis.set_xlabel(x, color=INK)
        axis.set_ylabel(y, color=INK)
        axis.tick_params(color=MUTED, labelcolor=INK)
        for spine in axis.spines.values():
            spine.set_color(MUTED)
        yield figure, axis


def learning_curve(
    train: Sequence[float],
    validation: Sequence[float],
    kept: int,
    words: tuple[str, str, str],
    limits: tuple[float, float] | None,
) -> Markup:
    """Draw one score of one model after each epoch, on both splits.

    `kept` is the epoch, from 1, whose weights were kept; `words` are the model as the tables name it, in words, and the
    score; `limits` are those of the score's axis, None fits it to the values.
    """
    model, title, score = words
    with _axes("epoch", "", SMALL) as (figure, axis):
        axis.axvline(kept, color=MUTED, linewidth=0.8)
        axis.plot(range(1, len(train) + 1), train, color=MUTED, linestyle=(0, (4, 2)), linewidth=1.4)
        axis.plot(range(1, len(validation) + 1), validation, color=MODEL_COLOURS[model], linewidth=1.8)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if limits is not None:
            axis.set_ylim(*limits)
        described = f"{title}: {score} by epoch, from {validation[0]:.3f} to {validation[-1]:.3f} on validation images"
        return svg(figure, f"{described}; epoch {kept} was kept", f"curve-{model}-{score.lower()}")


def rates(
    curves: Mapping[str, pd.DataFrame],
    columns: tuple[str, str],
    points: Mapping[str, tuple[float, float]],
    name: str,
    title: str,
) -> Markup:
    """Draw a curve of two rates for each model and class; name and title are as in `svg`.

    `curves` are tables by model, of class and the two `columns`, that of the x axis first. `points` are marked.
    """
    x, y = columns
    with _axes(x.replace("_", " "), y.replace("_", " "), SIZE) as (figure, axis):
        if name.startswith("roc"):
            axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8)
        for model, point in points.items():
            axis.plot(*point, "o", color=MODEL_COLOURS[model], markersize=7)
        for model, table in curves.items():
            lines = table.groupby("class", sort=False)
            for _, line in lines:
                alpha = 0.5 if len(lines) > CROWD else 1.0
                dashes: Any = (0, DASHES[model]) if DASHES[model] else "-"
                axis.plot(line[x], line[y], color=MODEL_COLOURS[model], linestyle=dashes, linewidth=1.6, alpha=alpha)
        axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        return svg(figure, title, name)


def reliability(table: pd.DataFrame, model: str, title: str) -> Markup:
    """Draw accuracy over confidence, before (hollow, grey) and after the temperature (filled), as `table` has them.

    A dot is as large as its bin's share of the images; the table is as `calibration.calibrate` gives it.
    """
    with _axes("confidence", "accuracy", (2.9, 2.7)) as (figure, axis):
        axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8)
        for when, colour, fill in (("before", MUTED, "none"), ("after", MODEL_COLOURS[model], MODEL_COLOURS[model])):
            bins = table[table[f"images_{when}"] > 0]
            confidence, accuracy = bins[f"mean_confidence_{when}"], bins[f"accuracy_{when}"]
            share = bins[f"images_{when}"] / bins[f"images_{when}"].sum()
            axis.plot(confidence, accuracy, color=colour, linewidth=1.2, linestyle="--" if when == "before" else "-")
            axis.scatter(confidence, accuracy, 12 + 240 * share, edgecolors=colour, facecolors=fill)
        axis.set(xlim=(-0.01, 1.03), ylim=(-0.01, 1.03), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        return svg(figure, title, f"reliability-{model}")


def intervals(table: pd.DataFrame, score: str, words: str) -> Markup:
    """Draw a column of the Model Performance Table, called `words`, as dots with their 95 % intervals."""
    with _axes(f"{words} on the test split", "", (4.6, 0.42 * len(table) + 0.9)) as (figure, axis):
        for row, (model, value, low, high) in enumerate(
            zip(table["model"], table[score], table[f"{score}_low"], table[f"{score}_high"], strict=True)
        ):
            axis.plot([low, high], [row, row], color=MODEL_COLOURS[model], linewidth=2.4, solid_capstyle="round")
            axis.plot(value, row, "o", color=MODEL_COLOURS[model], markersize=7)
            axis.annotate(f"{value:.3f}", (value, row), (0, 6), textcoords="offset points", ha="center", color=INK)
        axis.set_yticks(range(len(table)), list(table["model"]))
        axis.set_ylim(len(table) - 0.4, -0.8)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.grid(axis="x", color=MUTED, linewidth=0.4, alpha=0.5)
        said = ", ".join(f"{model} {value:.3f}" for model, value in zip(table["model"], table[score], strict=True))
        return svg(figure, f"{words} on the test split with 95 % intervals: {said}", f"interval-{score}")
