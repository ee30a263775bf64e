"""Pictures that set all models side by side, drawn with matplotlib."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from transfer.evaluation.pictures import save


def draw_performance(table: pd.DataFrame, largest_class: float, path: Path) -> None:
    """Draw accuracy and F1 of the Model Performance Table as bars with their 95 % intervals, and the accuracy of always
    answering the largest class.
    """
    figure = Figure(figsize=(8, 0.8 * len(table) + 1.6), layout="constrained")
    axis = figure.subplots()
    for offset, (name, label, colour) in enumerate((("accuracy", "accuracy", "#3b6ea5"), ("f1", "F1", "#c9822b"))):
        places = [row + 0.36 * offset for row in range(len(table))]
        # Of few images a class, the percentiles of a mean F1 may both lie below it: see report.FEW_OF_A_CLASS.
        errors = [(table[name] - table[f"{name}_low"]).clip(0), (table[f"{name}_high"] - table[name]).clip(0)]
        axis.barh(places, table[name], 0.34, xerr=errors, color=colour, label=label, error_kw={"capsize": 3})
        for place, value, high in zip(places, table[name], table[f"{name}_high"], strict=True):
            axis.text(high + 0.01, place, f"{value:.3f}", va="center", fontsize=9)
    axis.set_yticks([row + 0.18 for row in range(len(table))], list(table["model"]))
    axis.axvline(largest_class, color="#444444", linewidth=1, linestyle="--", label="accuracy of the largest class")
    axis.invert_yaxis()
    axis.set_xlim(0, 1.1)
    axis.set_xlabel("on the test split, with 95 % bootstrap intervals")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def draw_reliability(tables: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Draw the tables that `calibration.calibrate` gives, by model: accuracy over confidence, before and after.

    The area of a dot is that of its bin's share of the images; on the diagonal, probabilities mean what they say.
    """
    figure = Figure(figsize=(3 * len(tables), 3.4), layout="constrained")
    axes = figure.subplots(1, len(tables), squeeze=False)
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
    save(figure, path)
