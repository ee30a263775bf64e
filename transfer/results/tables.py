"""Tables of the report: a header and cells of Markdown, or the table itself."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from transfer.core.spec import Spec
from transfer.evaluation.markdown import interval, markdown_table, p_value, plain, short
from transfer.evaluation.scores import DIGITS, MANY_CLASSES, MOST_MISTAKES
from transfer.results.performance import MODELS, Results

Rows = tuple[list[str], list[list[str]]]

MATRIX = "actual ↓ predicted →"
"""The first cell of a confusion matrix."""
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
    header = ["model", "test accuracy", "test F1", "val. acc.", "train acc.", "training", "prediction, 1 / 32"]
    header += ["memory", "weights", "parameters", "trainable"]
    rows = [
        [
            f"`{row['model']}`: {MODELS[row['model']]}",
            f"**{row['accuracy']:.3f}** ({row['accuracy_low']:.3f}–{row['accuracy_high']:.3f})",
            f"**{row['f1']:.3f}** ({row['f1_low']:.3f}–{row['f1_high']:.3f})",
            f"{row['val_accuracy']:.3f}",
            f"{row['train_accuracy']:.3f}",
            f"{row['training_s']:.0f} s",
            f"{row['prediction_ms']:.2f} / {row['prediction_ms_batch_32']:.2f} ms",
            f"{row['memory_mb']:.0f} MB",
            f"{row['weights_mb']:.1f} MB",
            f"{row['parameters']:,}",
            f"{row['trainable']:,}",
        ]
        for row in table.to_dict("records")
    ]
    return markdown_table(header, rows)


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


def by_class(predictions: pd.DataFrame) -> Rows:
    """Return precision, recall, F1 and number of test images by class, the class with the lowest recall first."""
    found = class_scores(predictions).sort_values("recall", kind="stable").head(MANY_CLASSES)
    rows = [
        [plain(row["class"]), *(f"{row[name]:.3f}" for name in ("recall", "precision", "f1")), f"{row['images']:,}"]
        for row in found.to_dict("records")
    ]
    return ["class", "recall", "precision", "F1", "test images"], rows


def confusion(predictions: pd.DataFrame, classes: tuple[str, ...]) -> str:
    """Return the confusion matrix; of many classes, the most frequent confusions."""
    if len(classes) > MANY_CLASSES:
        wrong = predictions[predictions["actual"] != predictions["predicted"]]
        pairs = Counter(zip(wrong["actual"], wrong["predicted"], strict=True)).most_common(MANY_CLASSES)
        if not pairs:
            return "No test image is misclassified."
        rows = [[*map(plain, names), str(count)] for names, count in pairs]
        return markdown_table(["actual", "predicted", "test images"], rows, text=(1,))
    counts = pd.crosstab(predictions["actual"], predictions["predicted"]).reindex(
        index=list(classes), columns=list(classes), fill_value=0
    )
    rows = [[plain(name), *(str(value) for value in counts.loc[name])] for name in classes]
    return markdown_table([MATRIX, *map(plain, classes)], rows)


def scores(results: Results, table: pd.DataFrame, *, weighted: bool) -> Rows:
    """Return what there is of `SCORES`, the weighted ones if asked for; `table` is the Model Performance Table.

    F1 of more than two classes is the macro F1, which is then not written twice.
    """
    there = [key for key in SCORES if key in results.scores["head"] and (weighted or "weighted" not in key)]
    if all(found["f1"] == found["f1_macro"] for found in results.scores.values()):
        there.remove("f1_macro")
    areas = {row["model"]: interval(row["auc"], row["auc_low"], row["auc_high"]) for row in table.to_dict("records")}
    area = "ROC AUC (95 %)" if table["auc_low"].notna().any() else "ROC AUC, one against the rest"
    rows = [[f"`{model}`", *(f"{results.scores[model][key]:.3f}" for key in there), areas[model]] for model in MODELS]
    return ["model", *(SCORES[key] for key in there), area], rows


def pairs(pairs: Sequence[Mapping[str, Any]], areas: Sequence[Mapping[str, Any]]) -> Rows:
    """Return every two models compared: `pairs` and `areas` as in metrics/compare.json."""
    area_of = {(area["first"], area["second"]): area for area in areas}
    header = ["difference (second − first)", "test accuracy, points (95 %)", "right only by second / first"]
    header += ["p of accuracy", *(["ROC AUC (95 %)", "p of ROC AUC"] if areas else [])]
    rows = []
    for pair in pairs:
        points = interval(100 * pair["difference"], 100 * pair["low"], 100 * pair["high"], "+.1f")
        row = [f"`{pair['second']}` − `{pair['first']}`", points, f"{pair['only_second']} / {pair['only_first']}"]
        row.append(p_value(pair["p_holm"]).removeprefix("= "))
        if area := area_of.get((pair["first"], pair["second"])):
            row.append(interval(area["difference"], area["low"], area["high"], "+.3f"))
            row.append(p_value(area["p_holm"]).removeprefix("= "))
        rows.append(row)
    return header, rows


def calibration(results: Results) -> Rows:
    """Return calibration before and after the temperature."""
    rows = []
    for model in MODELS:
        found = results.scores[model]
        changes = [f"{found[key]:.3f} → {found[f'{key}_calibrated']:.3f}" for key in ("ece", "log_loss", "brier")]
        rows.append([f"`{model}`", f"{found['temperature']:.2f}", *changes])
    return ["model", "temperature", "ECE", "log loss", "Brier score"], rows


def operating_points(results: Results) -> Rows:
    """Return the test scores at 0.5 and at the threshold (see `scores.operating_point`)."""
    keys = ("accuracy", "precision", "recall", "f1")
    rows = []
    for model in MODELS:
        found = results.scores[model]
        changes = [f"{found[key]:.3f} → {found[f'{key}_at_threshold']:.3f}" for key in keys]
        rows.append([f"`{model}`", f"{found['threshold']:.4f}", *changes])
    return ["model", "threshold", *(SCORES[key] for key in keys)], rows


def training(results: Results) -> Rows:
    """Return what training came to."""
    rows = []
    for model in MODELS:
        found = results.training[model]
        kept = f"{found['best_epoch']} of {found['epochs']}"
        losses = [f"{found['validation']['loss']:.3f}", f"{found['chance_loss']:.3f}"]
        rows.append([f"`{model}`", kept, *losses, remarks(found)])
    return ["model", "best epoch", "validation loss", "chance-level loss", "remarks"], rows


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
    for value, images in zip(shown["value"], shown["images"], strict=True):
        of_model = rows[rows["value"] == value].set_index("model")
        cells = []
        for model in MODELS:
            found = of_model.loc[model]
            cell = interval(found["accuracy"], found["accuracy_low"], found["accuracy_high"])
            cells.append(cell + (f"; F1 {found['f1']:.3f}" if pd.notna(found["f1"]) else ""))
        lines.append([plain(short(value)), str(images), *cells])
    title = "Accuracy (95 %, exact binomial)"
    title += f", and F1 of *{plain(positive)}* where the subgroup has images of both classes" if positive else ""
    if len(shown) < len(sizes):
        title += f"; the {len(shown)} largest of {len(sizes)} subgroups (metrics/compare.json has all)"
    table = markdown_table([plain(column), "images", *(f"`{model}`" for model in MODELS)], lines)
    return f"### By {plain(column)}\n\n{title}\n\n{table}"


def mistakes(predictions: pd.DataFrame) -> Rows:
    """Return the test images that a model got wrong with the highest probability, the worst first."""
    certainty = predictions[[name for name in predictions if str(name).startswith(PROBABILITY)]].max(axis=1)
    judged = predictions[["image", "actual", "predicted"]].assign(certainty=certainty)
    wrong = judged[judged["actual"] != judged["predicted"]]
    worst = wrong.sort_values("certainty", ascending=False, kind="stable").head(MOST_MISTAKES)
    rows = [
        [*(plain(row[name]) for name in ("image", "actual", "predicted")), f"{row['certainty']:.1%}"]
        for row in worst.to_dict("records")
    ]
    return ["image", "actual", "predicted", "probability"], rows


def class_counts(data: dict[str, Any], spec: Spec) -> str:
    """Return the number of images by class and split, of many classes the totals; `data` is metrics/data.json."""
    splits = tuple(data["splits"])
    names = spec.classes if len(spec.classes) <= MANY_CLASSES else ()
    counts = {name: [data["classes"].get(split, {}).get(name, 0) for split in splits] for name in names}
    total = f"all {len(spec.classes)} classes"
    rows = [[plain(name), *(f"{n:,}" for n in (*found, sum(found)))] for name, found in counts.items()]
    totals = [data["splits"][split] for split in splits]
    rows.append([total, *(f"{n:,}" for n in (*totals, sum(totals)))])
    return markdown_table(["class", *splits, "all"], rows)


def quarantine(table: pd.DataFrame) -> Rows:
    """Return how many images were left out for which reason; `table` is data/quarantine.csv: image, reason."""
    found = table.groupby("reason")["image"].agg(["size", "first"]).sort_values("size", ascending=False, kind="stable")
    rows = [
        [plain(str(reason)), f"{row['size']:,}", plain(row["first"])]
        for reason, row in found.head(MANY_CLASSES).iterrows()
    ]
    return ["reason", "images", "such as"], rows
