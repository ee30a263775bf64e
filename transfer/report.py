"""metrics/REPORT.md: the results, readable on their own."""

from collections import Counter
from typing import Any

import pandas as pd

from transfer.cards import Card
from transfer.comparison import MODELS, Results, verdicts
from transfer.spec import Spec
from transfer.statistics import Comparison

MANY_CLASSES = 20  # more than these do not fit side by side


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table: the first column to the left, the others to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def performance_markdown(table: pd.DataFrame) -> str:
    """Return the Model Performance Table in Markdown."""
    header = ["model", "parameters", "trainable", "weights", "memory", "training", "prediction, 1 / 32 at a time"]
    header += ["train acc.", "val. acc.", "test accuracy (95 %)", "test F1 (95 %)"]
    rows = [
        [
            f"`{row['model']}`: {MODELS[row['model']]}",
            f"{row['parameters']:,}",
            f"{row['trainable']:,}",
            f"{row['weights_mb']:.1f} MB",
            f"{row['memory_mb']:.0f} MB",
            f"{row['training_s']:.0f} s",
            f"{row['prediction_ms']:.2f} / {row['prediction_ms_batch_32']:.2f} ms",
            f"{row['train_accuracy']:.3f}",
            f"{row['val_accuracy']:.3f}",
            f"**{row['accuracy']:.3f}** ({row['accuracy_low']:.3f}–{row['accuracy_high']:.3f})",
            f"**{row['f1']:.3f}** ({row['f1_low']:.3f}–{row['f1_high']:.3f})",
        ]
        for row in table.to_dict("records")
    ]
    return markdown_table(header, rows)


def _scores(results: Results) -> str:
    header = ["model", "accuracy", "weighted accuracy", "F1", "macro F1", "ROC AUC", "log loss"]
    names = ["accuracy", "weighted", "f1", "f1_macro", "auc", "log_loss"]
    rows = [[f"`{model}`", *(f"{results.scores[model][name]:.3f}" for name in names)] for model in MODELS]
    return markdown_table(header, rows)


def _confusion(predictions: pd.DataFrame, classes: tuple[str, ...]) -> str:
    """Return the confusion matrix; of many classes, the most frequent confusions."""
    if len(classes) > MANY_CLASSES:
        wrong = predictions[predictions["actual"] != predictions["predicted"]]
        pairs = Counter(zip(wrong["actual"], wrong["predicted"], strict=True))
        named = [[actual, predicted, str(count)] for (actual, predicted), count in pairs.most_common(MANY_CLASSES)]
        return markdown_table(["actual", "predicted", "test images"], named)
    counts = pd.crosstab(predictions["actual"], predictions["predicted"]).reindex(
        index=list(classes), columns=list(classes), fill_value=0
    )
    rows = [[f"actual {name}", *(str(value) for value in counts.loc[name])] for name in classes]
    return markdown_table(["", *classes], rows)


def _training(results: Results) -> str:
    header = ["model", "kept epoch", "validation loss", "loss of chance", "collapsed"]
    rows = [
        [
            f"`{model}`",
            str(results.training[model]["best_epoch"]),
            f"{results.training[model]['validation']['loss']:.3f}",
            f"{results.training[model]['chance_loss']:.3f}",
            results.training[model]["collapsed"] or "no",
        ]
        for model in MODELS
    ]
    return markdown_table(header, rows)


def without_error(table: pd.DataFrame, images: int) -> str:
    """Say what a score without an error is worth; empty where no model has one.

    Resampling images without an error gives an interval of no width. The true accuracy that gives `images` right ones
    with a probability of 5 % is 0.05^(1 / images) (Clopper and Pearson 1934).
    """
    if (table["accuracy"] < 1).all():
        return ""
    return f"""
A model without an error has an interval of no width, because {images} test images are too few to show an error, and not
because there is none: its accuracy on other images may be as low as {0.05 ** (1 / images):.3f} (exact binomial, 95 %).
"""


def _same(data: dict[str, Any]) -> str:
    """Say what was done so that no image, and no group, is in two splits."""
    same = data["duplicates"]
    lines = [
        f"{same['identical']} images are identical to another and {same['near']} nearly so (data/duplicates.csv): they "
        "lie in one split, and so do the images of a group "
        + (f"({data['groups']} groups)." if data["groups"] else "(the dataset names none).")
    ]
    if same["identical_with_several_labels"]:
        lines.append(f"Of the identical ones, {same['identical_with_several_labels']} have several labels.")
    if same["taken_out_of_given_splits"]:
        lines.append(
            f"{same['taken_out_of_given_splits']} were left out of the splits that the dataset gives, because another "
            "split holds the same image (data/quarantine.csv)."
        )
    return "\n".join(lines)


def report(
    card: Card,
    spec: Spec,
    data: dict[str, Any],
    results: Results,
    table: pd.DataFrame,
    comparisons: list[Comparison],
    picture: str,
) -> str:
    """Return the report in Markdown. `picture` is the bar chart, relative to the report."""
    counts = ", ".join(f"{count} {name}" for name, count in spec.counts.items())
    engine = results.costs["evaluate-head"]["prediction"]["engine"]
    positive = f"F1 is that of the class *{spec.positive}*." if spec.positive else "F1 is the mean over the classes."
    confusion = "\n\n".join(
        f"`{model}` (columns: predicted)\n\n{_confusion(results.predictions[model], spec.classes)}" for model in MODELS
    )
    lines = "\n".join(f"- {line}" for line in verdicts(results, comparisons))
    more = ", …" if len(spec.classes) > MANY_CLASSES else ""
    names = ", ".join(spec.classes[:MANY_CLASSES]) + more
    return f"""# Model report: {card.title}

Made by `dvc repro`; do not edit. {data["images"]} images ({counts}) of {spec.image_size} × {spec.image_size} pixels,
{len(spec.classes)} classes ({names}); {data["quarantined"]} images could not be used. {positive}

## Model Performance Table

{performance_markdown(table)}

![Test accuracy and F1 of the models]({picture})

Memory is the peak resident memory of a process that predicts, and prediction time the median for an image, one or 32
at a time, both with {engine}, after warm-up, from decoded pixels. Training time counts everything that a model needs:
the pass of the frozen trunk over all images and views, and for `finetuned` the training of the head that it starts
from. Intervals are bootstrap percentiles over the test images; they say nothing of other splits or other seeds.
{without_error(table, spec.counts["test"])}
## What may be concluded

{lines}

The test split was read by the stage evaluate alone; epochs were chosen by validation loss.

## Scores on the test split

{_scores(results)}

Weighted accuracy counts each image by the confidence of its label, as the dataset's card gives it.

## Training

{_training(results)}

## Confusion matrices

{confusion}

## Data

{card.title}. Licence: {card.licence}. Citation: {card.citation}

{_same(data)}
"""
