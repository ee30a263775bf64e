"""The tables of the page: cells as text, which the page's template escapes, in the words of metrics/REPORT.md."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from transfer.core.spec import Spec
from transfer.evaluation.markdown import short
from transfer.results import rows as result_rows
from transfer.results.performance import MODELS, Results
from transfer.results.report import MANY_CLASSES

MOST_ROWS = 20  # of lists that may be long; their caption says how many there are
MISTAKES = 12  # as many as evaluate draws
PREFIX = "p_"  # of the columns of predictions that hold probabilities


@dataclass(frozen=True)
class PageTable:
    """A table of the page. The first cell of each row names it; `text` has all columns to the left, like it."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: bool = False


@dataclass(frozen=True)
class Confusion:
    """Counts of a model's test images: a row for each actual class, a column for each predicted one."""

    model: str
    classes: tuple[str, ...]
    counts: list[list[int]]

    def share(self, row: int, column: int) -> float:
        """Return the fraction of a class's images that were taken for another; 0 where it has none."""
        return self.counts[row][column] / (sum(self.counts[row]) or 1)


def code(name: str) -> Markup:
    """Return the short name of a model as code."""
    return Markup("<code>{}</code>").format(name)


def called(model: str) -> Markup:
    """Return both names of a model."""
    return Markup("{} {}").format(code(model), MODELS[model])


def ranged(value: float, low: float, high: float, more: str = "") -> str:
    """Write a figure with its interval, where there is one, and a remark below it."""
    parts = [f"{low:.3f} to {high:.3f}"] if pd.notna(low) else []
    below = "; ".join([*parts, *([more] if more else [])])
    return Markup("{} <small>{}</small>").format(f"{value:.3f}", below) if below else f"{value:.3f}"


def performance(table: pd.DataFrame) -> PageTable:
    """Return the Model Performance Table (see `performance.performance_table`)."""
    header = ["model", "test accuracy (95 %)", "test F1 (95 %)", "val. acc.", "train acc.", "parameters", "trainable"]
    header += ["weights", "memory", "training", "prediction, 1 at a time", "32 at a time"]
    rows: list[list[str]] = []
    for row in table.to_dict("records"):
        scores = [ranged(*(row[f"{name}{end}"] for end in ("", "_low", "_high"))) for name in ("accuracy", "f1")]
        times = [f"{row['prediction_ms']:.2f} ms", f"{row['prediction_ms_batch_32']:.2f} ms"]
        rows.append(
            [
                called(row["model"]),
                *scores,
                f"{row['val_accuracy']:.3f}",
                f"{row['train_accuracy']:.3f}",
                f"{row['parameters']:,}",
                f"{row['trainable']:,}",
                f"{row['weights_mb']:.1f} MB",
                f"{row['memory_mb']:.0f} MB",
                f"{row['training_s']:.0f} s",
                *times,
            ]
        )
    return PageTable("Model Performance Table", header, rows)


def pairs(compare: dict[str, Any]) -> PageTable:
    """Return every two models compared; `compare` is metrics/compare.json."""
    header, rows = result_rows.pairs(compare["pairs"], compare["areas"], code)
    return PageTable("Every pair of models on the test split", header, rows)


def scores(results: Results, table: pd.DataFrame) -> PageTable:
    """Return all scores on the test split; `table` is the Model Performance Table."""
    return PageTable("Scores on the test split", *result_rows.scores(results, table, code, tuple(result_rows.SCORES)))


def calibration(results: Results) -> PageTable:
    """Return calibration before and after the temperature."""
    return PageTable("Calibration on the test split, before → after", *result_rows.calibration(results, code))


def operating_points(results: Results) -> PageTable:
    """Return the test scores at 0.5 and at the threshold, where there is one (see `scores.operating_point`)."""
    return PageTable("Test scores at 0.5 → at the threshold", *result_rows.operating_points(results, code))


def training(results: Results) -> PageTable:
    """Return what training came to."""
    return PageTable("Training", *result_rows.training(results, code))


def subgroups(compare: dict[str, Any], positive: str | None) -> list[PageTable]:
    """Return a table for each column that the dataset is stratified by, of many values the most frequent ones."""
    columns: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in compare["subgroups"]:
        columns.setdefault(row["column"], {}).setdefault(row["value"], []).append(row)
    tables = []
    for column, values in columns.items():
        largest = sorted(values, key=lambda value: -values[value][0]["images"])[:MOST_ROWS]
        rows = [_subgroup(value, found) for value, found in values.items() if value in largest]
        caption = f"Accuracy by {column} (95 %, exact binomial)"
        caption += f", and F1 of {positive} where the subgroup has images of both classes" if positive else ""
        caption += _left_out(len(rows), len(values), "subgroups")
        tables.append(PageTable(caption, (column, "images", *map(code, MODELS)), rows))
    return tables


def _subgroup(value: str, found: list[dict[str, Any]]) -> list[str]:
    of_model = {row["model"]: row for row in found}
    cells: list[str] = []
    for row in (of_model[model] for model in MODELS):
        more = "" if row["f1"] is None else f"F1 {row['f1']:.3f}"
        cells.append(ranged(row["accuracy"], row["accuracy_low"], row["accuracy_high"], more))
    return [short(value), str(found[0]["images"]), *cells]


def _left_out(shown: int, there_are: int, what: str) -> str:
    return f"; {shown} of {there_are} {what}" if shown < there_are else ""


def confusions(results: Results, spec: Spec) -> list[Confusion]:
    """Return the confusion matrix of each model; none where there are too many classes to set side by side."""
    if len(spec.classes) > MANY_CLASSES:
        return []
    names = list(spec.classes)
    return [
        Confusion(
            model,
            spec.classes,
            pd.crosstab(table["actual"], table["predicted"])
            .reindex(index=names, columns=names, fill_value=0)
            .to_numpy()
            .tolist(),
        )
        for model, table in results.predictions.items()
    ]


def frequent_confusions(predictions: pd.DataFrame, model: str) -> PageTable:
    """Return the most frequent confusions of a model."""
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    counts = Counter(zip(wrong["actual"], wrong["predicted"], strict=True))
    rows: list[list[str]] = [[*names, str(count)] for names, count in counts.most_common(MOST_ROWS)]
    caption = f"Most frequent confusions of {model}" + _left_out(len(rows), len(counts), "pairs")
    return PageTable(caption, ("actual", "predicted", "test images"), rows, text=True)


def hardest_classes(predictions: pd.DataFrame, model: str, classes: Sequence[str]) -> PageTable:
    """Return the classes that a model recognises worst, by recall."""
    right = (predictions["actual"] == predictions["predicted"]).groupby(predictions["actual"])
    found = right.agg(["sum", "size"]).reindex(list(classes)).dropna().astype(int)
    order = np.argsort((found["sum"] / found["size"]).to_numpy(), kind="stable")[:MOST_ROWS]
    rows = [
        [str(name), f"{row['sum'] / row['size']:.3f}", f"{row['sum']} of {row['size']}"]
        for name, row in found.iloc[order].iterrows()
    ]
    caption = f"Classes that {model} recognises worst" + _left_out(len(rows), len(found), "classes")
    return PageTable(caption, ("actual", "recall", "right"), rows)


def mistakes(predictions: pd.DataFrame, model: str) -> PageTable:
    """Return the test images that a model got wrong with the highest probability, the worst first."""
    certainty = predictions[[name for name in predictions if str(name).startswith(PREFIX)]].max(axis=1)
    judged = predictions[["image", "actual", "predicted"]].assign(certainty=certainty)
    wrong = judged[judged["actual"] != judged["predicted"]]
    worst = wrong.sort_values("certainty", ascending=False, kind="stable").head(MISTAKES)
    rows = [
        [row["image"], row["actual"], row["predicted"], f"{row['certainty']:.1%}"] for row in worst.to_dict("records")
    ]
    caption = f"The worst mistakes of {model}" + _left_out(len(rows), len(wrong), "mistakes")
    return PageTable(caption, ("image", "actual", "predicted", "probability"), rows, text=True)


def class_counts(data: dict[str, Any], spec: Spec) -> PageTable:
    """Return the number of images by class and split; `data` is metrics/data.json."""
    splits = tuple(data["splits"])
    rows: list[list[str]] = []
    for name in spec.classes:
        counts = [data["classes"].get(split, {}).get(name, 0) for split in splits]
        rows.append([name, *(f"{count:,}" for count in counts), f"{sum(counts):,}"])
    totals = [data["splits"][split] for split in splits]
    rows.append(["all classes", *(f"{count:,}" for count in totals), f"{sum(totals):,}"])
    return PageTable("Images by class and split", ("class", *splits, "all"), rows)


def quarantine(table: pd.DataFrame) -> list[PageTable]:
    """Return the reasons for which images were left out, and the first such images; nothing where there are none.

    Args:
        table: data/quarantine.csv: image, reason.
    """
    if table.empty:
        return []
    reasons = [[str(reason), f"{count:,}"] for reason, count in table["reason"].value_counts().items()]
    caption = "Reasons for quarantine" + _left_out(min(len(reasons), MOST_ROWS), len(reasons), "reasons")
    images = table.head(MOST_ROWS)[["image", "reason"]].to_numpy().tolist()
    listed = "Images in quarantine" + _left_out(len(images), len(table), "images; data/quarantine.csv has all")
    return [
        PageTable(caption, ("reason", "images"), reasons[:MOST_ROWS]),
        PageTable(listed, ("image", "reason"), images, text=True),
    ]


def duplicates(data: dict[str, Any], table: pd.DataFrame) -> list[PageTable]:
    """Return what was found of images that are the same, and the first sets of them.

    Args:
        data: metrics/data.json.
        table: data/duplicates.csv: same (number of the set), identical, image, label, split.
    """
    words = {
        "identical": "images identical to another",
        "near": "images nearly identical to another",
        "sets": "sets of such images, each in one split",
        "identical_with_several_labels": "identical images with several labels",
        "taken_out_of_given_splits": "taken out of the splits that the dataset gives",
    }
    counts = [[said, f"{data['duplicates'].get(name, 0):,}"] for name, said in words.items()]
    counts.append(["groups that the dataset names, each in one split", f"{data['groups']:,}"])
    tables = [PageTable("Images that belong together", ("what", "number"), counts)]
    if not table.empty:
        listed = "Sets of the same image" + _left_out(
            min(len(table), MOST_ROWS), len(table), "images; data/duplicates.csv has all"
        )
        rows = table.head(MOST_ROWS)[["image", "same", "identical", "label", "split"]].astype(str).to_numpy().tolist()
        tables.append(PageTable(listed, ("image", "set", "identical", "label", "split"), rows, text=True))
    return tables


def exports(figures: dict[str, Any], costs: dict[str, Any]) -> list[PageTable]:
    """Return a row for each exported file, with all figures that there are of it, and why other formats are not there.

    Args:
        figures: metrics/export.json, which has a mapping of formats to their figures under `formats`, and of those
            that are not written under `not_written`.
        costs: what measuring them cost: such a mapping, with or without other figures beside it; may be empty.
    """
    formats, cost = figures.get("formats", {}), costs.get("formats", costs)
    merged = {name: {**found, **cost.get(name, {})} for name, found in formats.items()}
    columns = list(
        dict.fromkeys(
            column
            for found in merged.values()
            for column, value in found.items()
            if isinstance(value, str | int | float | None)
        )
    )
    rows: list[list[str]] = [
        [code(name), *(_figure(found.get(column)) for column in columns)] for name, found in merged.items()
    ]
    missing: list[list[str]] = [[code(name), found["reason"]] for name, found in figures.get("not_written", {}).items()]
    header = ("format", *(column.replace("_", " ") for column in columns))
    tables = [PageTable("Exported models", header, rows)] if columns else []
    return tables + (
        [PageTable("Formats that were not written", ("format", "reason"), missing, text=True)] if missing else []
    )


def _figure(value: str | float | None) -> str:
    """Write a figure of whatever kind."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else value
