"""Tables of the report, in Markdown."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from transfer.core.spec import Spec
from transfer.evaluation.markdown import interval, markdown_table, p_value, plain, short
from transfer.evaluation.scores import DIGITS, MANY_CLASSES, MOST_MISTAKES
from transfer.results.delong import AreaComparison
from transfer.results.performance import MODELS, Results
from transfer.results.statistics import Comparison

MATRIX = "actual ↓ predicted →"
"""The first cell of a confusion matrix."""
NO_MISTAKE = "No test image is misclassified."
PROBABILITY = "p_"  # the prefix of the columns of predictions that hold probabilities
SCORES = {
    "accuracy": "accuracy",
    "weighted": "weighted accuracy",
    "weighted_alternative": "weighted, alternative",
    "f1": "F1",
    "f1_macro": "macro F1",
    "precision": "precision",
    "recall": "recall",
    "log_loss": "log loss",
    "auc_weighted": "weighted ROC AUC",
}
"""Scores and what they are called; not every dataset has all."""


def performance(table: pd.DataFrame) -> str:
    """Return the Model Performance Table."""
    rows = [
        {
            "model": f"`{row['model']}`: {MODELS[row['model']]}",
            "test accuracy": f"**{row['accuracy']:.3f}** ({row['accuracy_low']:.3f}–{row['accuracy_high']:.3f})",
            "test F1": f"**{row['f1']:.3f}** ({row['f1_low']:.3f}–{row['f1_high']:.3f})",
            "val. acc.": f"{row['val_accuracy']:.3f}",
            "train acc.": f"{row['train_accuracy']:.3f}",
            "training": f"{row['training_s']:.0f} s",
            "prediction, 1 / 32": _measured("{:.2f} / {:.2f} ms", row["prediction_ms"], row["prediction_ms_batch_32"]),
            "memory": _measured("{:.0f} MB", row["memory_mb"]),
            "weights": f"{row['weights_mb']:.1f} MB",
            "parameters": f"{row['parameters']:,}",
            "trainable": f"{row['trainable']:,}",
        }
        for row in table.to_dict("records")
    ]
    return markdown_table(rows)


def _measured(form: str, *values: float) -> str:
    return "not measured" if pd.isna(values[0]) else form.format(*values)


def largest_class(results: Results) -> tuple[str, float]:
    """Return the largest class of the test split, and its share of the images."""
    counts = next(iter(results.predictions.values()))["actual"].value_counts()
    return str(counts.index[0]), round(float(counts.iloc[0] / counts.sum()), DIGITS)


def class_scores(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each class of the test split: class, precision, recall, f1, images."""
    actual, predicted = predictions["actual"], predictions["predicted"]
    names = list(dict.fromkeys(actual))
    scores = precision_recall_fscore_support(actual, predicted, labels=names, zero_division=0.0)
    columns = ("class", "precision", "recall", "f1", "images")
    return pd.DataFrame(dict(zip(columns, (names, *scores), strict=True))).round(DIGITS)


def by_class(predictions: pd.DataFrame) -> str:
    """Return precision, recall, F1 and number of test images by class, the class with the lowest recall first."""
    found = class_scores(predictions).sort_values("recall", kind="stable").head(MANY_CLASSES)
    rows = [
        {
            "class": plain(row["class"]),
            "recall": f"{row['recall']:.3f}",
            "precision": f"{row['precision']:.3f}",
            "F1": f"{row['f1']:.3f}",
            "test images": f"{row['images']:,}",
        }
        for row in found.to_dict("records")
    ]
    return markdown_table(rows)


def confusion(predictions: pd.DataFrame, classes: tuple[str, ...]) -> str:
    """Return the confusion matrix; of many classes, the most frequent confusions."""
    if len(classes) > MANY_CLASSES:
        wrong = predictions[predictions["actual"] != predictions["predicted"]]
        pairs = Counter(zip(wrong["actual"], wrong["predicted"], strict=True)).most_common(MANY_CLASSES)
        rows = [{"actual": plain(a), "predicted": plain(b), "test images": str(count)} for (a, b), count in pairs]
        return markdown_table(rows, text=("predicted",)) if rows else NO_MISTAKE
    counts = pd.crosstab(predictions["actual"], predictions["predicted"]).reindex(
        index=list(classes), columns=list(classes), fill_value=0
    )
    names = [plain(name) for name in classes]
    return markdown_table(counts.set_axis(names).reset_index().set_axis([MATRIX, *names], axis=1))


def scores(results: Results, table: pd.DataFrame, *, weighted: bool) -> str:
    """Return what there is of `SCORES`, the weighted ones if asked for; `table` is the Model Performance Table.

    F1 of more than two classes is the macro F1, which is then not written twice.
    """
    there = [key for key in SCORES if key in results.scores["head"] and (weighted or "weighted" not in key)]
    if all(found["f1"] == found["f1_macro"] for found in results.scores.values()):
        there.remove("f1_macro")
    area = "ROC AUC (95 %)" if table["auc_low"].notna().any() else "ROC AUC, one against the rest"
    rows = [
        {
            "model": f"`{row['model']}`",
            **{SCORES[key]: f"{results.scores[row['model']][key]:.3f}" for key in there},
            area: interval(row["auc"], row["auc_low"], row["auc_high"]),
        }
        for row in table.to_dict("records")
    ]
    return markdown_table(rows)


def pairs(pairs: list[Comparison], areas: list[AreaComparison]) -> str:
    """Return every two models compared."""
    area_of = {(area.first, area.second): area for area in areas}
    rows = []
    for pair in pairs:
        row = {
            "difference (second − first)": f"`{pair.second}` − `{pair.first}`",
            "test accuracy, points (95 %)": interval(100 * pair.difference, 100 * pair.low, 100 * pair.high, "+.1f"),
            "right only by second / first": f"{pair.only_second} / {pair.only_first}",
            "p of accuracy": p_value(pair.p_holm).removeprefix("= "),
        }
        if area := area_of.get((pair.first, pair.second)):
            row["ROC AUC (95 %)"] = interval(area.difference, area.low, area.high, "+.3f")
            row["p of ROC AUC"] = p_value(area.p_holm).removeprefix("= ")
        rows.append(row)
    return markdown_table(rows)


def calibration(results: Results) -> str:
    """Return calibration before and after the temperature."""
    titles = {"ece": "ECE", "log_loss": "log loss", "brier": "Brier score"}
    return _changes(results, "temperature", ".2f", titles, "calibrated")


def operating_points(results: Results) -> str:
    """Return the test scores at 0.5 and at the threshold (see `scores.operating_point`)."""
    titles = {key: SCORES[key] for key in ("accuracy", "precision", "recall", "f1")}
    return _changes(results, "threshold", ".4f", titles, "at_threshold")


def _changes(results: Results, cause: str, form: str, titles: Mapping[str, str], after: str) -> str:
    """Return scores before and after something was chosen; those after it are named …_`after`."""
    rows = [
        {
            "model": f"`{model}`",
            cause: f"{found[cause]:{form}}",
            **{title: f"{found[key]:.3f} → {found[f'{key}_{after}']:.3f}" for key, title in titles.items()},
        }
        for model, found in results.scores.items()
    ]
    return markdown_table(rows)


def training(results: Results) -> str:
    """Return what training came to."""
    rows = [
        {
            "model": f"`{model}`",
            "best epoch": f"{found['best_epoch']} of {found['epochs']}",
            "validation loss": f"{found['validation']['loss']:.3f}",
            "chance-level loss": f"{found['chance_loss']:.3f}",
            "remarks": remarks(found),
        }
        for model, found in results.training.items()
    ]
    return markdown_table(rows, text=("remarks",))


def remarks(training: Mapping[str, Any]) -> str:
    """Say what went wrong in training, or ended it early. `training` is metrics/train/MODEL.json."""
    found = [
        f"collapsed: {training['collapsed']}" if training["collapsed"] else "",
        f"stopped: {training['stopped']}" if training["stopped"] else "",
        f"predicted one class only in epochs {', '.join(map(str, training['one_class_epochs']))}"
        if training["one_class_epochs"]
        else "",
    ]
    return plain("; ".join(filter(None, found)) or "none")


def subgroups(found: pd.DataFrame, positive: str | None) -> str:
    """Return the scores by subgroup, a table for each column, of many values the most frequent ones."""
    if found.empty:
        return "None, as the dataset's card names no columns to stratify by."
    return "\n\n".join(_subgroup(str(name), rows, positive) for name, rows in found.groupby("column", sort=False))


def _subgroup(column: str, rows: pd.DataFrame, positive: str | None) -> str:
    sizes = rows.drop_duplicates("value")
    shown = sizes if len(sizes) <= MANY_CLASSES else sizes.nlargest(MANY_CLASSES, "images")
    lines = []
    for value in shown["value"]:
        found = rows[rows["value"] == value].to_dict("records")
        lines.append([plain(short(value)), found[0]["images"], *map(_accuracy_and_f1, found)])
    title = "Accuracy (95 %, exact binomial)"
    title += f", and F1 of *{plain(positive)}* where the subgroup has images of both classes" if positive else ""
    if len(shown) < len(sizes):
        title += f"; the {len(shown)} largest of {len(sizes)} subgroups (metrics/compare.json has all)"
    table = pd.DataFrame(lines, columns=[plain(column), "images", *(f"`{model}`" for model in MODELS)])
    return f"### By {plain(column)}\n\n{title}\n\n{markdown_table(table)}"


def _accuracy_and_f1(row: dict[Any, Any]) -> str:
    accuracy = interval(row["accuracy"], row["accuracy_low"], row["accuracy_high"])
    return accuracy + (f"; F1 {row['f1']:.3f}" if pd.notna(row["f1"]) else "")


def mistakes(predictions: pd.DataFrame) -> str:
    """Return the test images that a model got wrong with the highest probability, the worst first."""
    certainty = predictions.filter(regex=f"^{PROBABILITY}").max(axis=1)
    judged = predictions[["image", "actual", "predicted"]].assign(certainty=certainty)
    wrong = judged[judged["actual"] != judged["predicted"]]
    worst = wrong.sort_values("certainty", ascending=False, kind="stable").head(MOST_MISTAKES)
    rows = [
        {
            **{name: plain(row[name]) for name in ("image", "actual", "predicted")},
            "probability": f"{row['certainty']:.1%}",
        }
        for row in worst.to_dict("records")
    ]
    return markdown_table(rows, text=("actual", "predicted")) if rows else NO_MISTAKE


def class_counts(data: dict[str, Any], spec: Spec) -> str:
    """Return the number of images by class and split, of many classes the totals; `data` is metrics/data.json."""
    names = spec.classes if len(spec.classes) <= MANY_CLASSES else ()
    counts = [
        (plain(name), {split: data["classes"].get(split, {}).get(name, 0) for split in data["splits"]})
        for name in names
    ]
    counts.append((f"all {len(spec.classes)} classes", data["splits"]))
    rows = [
        {"class": name, **{split: f"{n:,}" for split, n in found.items()}, "all": f"{sum(found.values()):,}"}
        for name, found in counts
    ]
    return markdown_table(rows)


def quarantine(table: pd.DataFrame) -> str:
    """Return how many images were left out for which reason; `table` is data/quarantine.csv: image, reason."""
    found = table.groupby("reason")["image"].agg(["size", "first"]).sort_values("size", ascending=False, kind="stable")
    rows = [
        {"reason": plain(str(reason)), "images": f"{row['size']:,}", "such as": plain(row["first"])}
        for reason, row in found.head(MANY_CLASSES).iterrows()
    ]
    return markdown_table(rows, text=("such as",))
