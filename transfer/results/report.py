"""metrics/REPORT.md: the results, readable on their own."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from transfer.core.cards import Card, Table
from transfer.core.spec import Spec
from transfer.evaluation.calibration import BINS, NOT_FITTED
from transfer.evaluation.markdown import interval, markdown_table, short
from transfer.evaluation.scores import DIGITS
from transfer.results import rows as result_rows
from transfer.results.performance import MODELS, TWO, Findings, Results, verdicts

MANY_CLASSES = 20  # more than these do not fit side by side
AREA_OF_ONE = """
A ROC AUC of 1 has an interval of no width, because the test images are too few to show an error, and not because there
is none.
"""
FEW_OF_A_CLASS = 10
"""Test images of a class, on average, below which the bootstrap interval of F1 as a mean over the classes lies too low.
Simulated, it held the true F1 in 95 % of samples of 66 images a class, in 75 % of 6.6 and in 48 % of 2."""


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


def quoted(model: str) -> str:
    """Write the short name of a model."""
    return f"`{model}`"


def _scores(results: Results, table: pd.DataFrame) -> str:
    wanted = ("accuracy", "weighted", "weighted_alternative", "f1", "f1_macro", "log_loss", "auc_weighted")
    return markdown_table(*result_rows.scores(results, table, quoted, wanted))


def weighting(card: Card) -> str:
    """Say how the weighted accuracies count, and which class uncertain images belong to in each."""
    table = card.table
    if table is None or not table.confidence:
        return "The dataset's card gives no confidences of labels, so weighted scores equal the plain ones."
    second = card.classes[1]
    levels, weights = (", ".join(f"{value:.3g}" for value in column) for column in zip(*table.confidence, strict=True))
    lines = (
        "Weighted accuracy and weighted ROC AUC count each image by the confidence of its label, as the dataset's card "
        f"gives it: {weights} where the probability of *{second}* is {levels}. They are not the plain ones, and not to "
        "be set against them."
    )
    if len({weight for _, weight in table.confidence}) == 1:
        lines = "The dataset's card gives every label the same confidence, so weighted scores equal the plain ones."
    between = [level for level, _ in table.confidence if _uncertain(level, table)]
    if table.alternative_threshold is None or not between:
        return lines
    low, high = sorted((table.threshold, table.alternative_threshold))
    named = {table.threshold: "*weighted accuracy*", table.alternative_threshold: "*weighted, alternative*"}
    uncertain = " and ".join(f"{level:.3g}" for level in between)
    return (
        f"{lines} Images of probability {uncertain} count as *{second}* in {named[low]}, and as *{card.classes[0]}* in "
        f"{named[high]}. The models are the same in both, and call *{second}* what they give a probability above 0.5."
    )


def _uncertain(level: float, table: Table) -> bool:
    """Say whether a level of the soft label is of different classes by the two thresholds."""
    return table.alternative_threshold is not None and (level > table.threshold) != (
        level > table.alternative_threshold
    )


def _pairs(findings: Findings) -> str:
    pairs, areas = ([asdict(pair) for pair in found] for found in (findings.pairs, findings.areas))
    note = (
        ""
        if areas
        else (
            "\n\nAreas under the ROC curve are not compared: DeLong's test is for two classes, and takes two test "
            "images of each at least."
        )
    )
    return markdown_table(*result_rows.pairs(pairs, areas, quoted)) + note


def calibration(results: Results) -> str:
    """Return the calibration before and after in Markdown, and name the models that no temperature was fitted for."""
    table = markdown_table(*result_rows.calibration(results, quoted))
    left = [quoted(model) for model in MODELS if results.scores[model]["temperature"] == NOT_FITTED]
    if not left:
        return table
    return (
        f"{table}\n\nThe validation split gives no better temperature than 1 for {', '.join(left)}: the model makes no "
        "mistakes there to learn it from, or is no better than chance. Its probabilities are left as they are."
    )


def threshold(results: Results, spec: Spec) -> str:
    """Return what the operating threshold does to the test scores, in Markdown, or why there is none."""
    if spec.positive_class is None:
        reason = "there are more than two classes" if len(spec.classes) > TWO else "the card names no positive class"
        return f"No threshold is chosen, as {reason}: the most likely class is predicted."
    return f"""The threshold of the probability of *{spec.positive}* with the highest F1 on the validation split (of
equals the one nearest to 0.5), and the test scores at 0.5 → at that threshold. It rests on {spec.counts["validation"]}
images, and need not be better on others. All other figures here are at 0.5.

{markdown_table(*result_rows.operating_points(results, quoted))}"""


def subgroup_tables(subgroups: pd.DataFrame, positive: str | None) -> str:
    """Return the scores by subgroup in Markdown, a table for each column, of many values the most frequent ones."""
    if subgroups.empty:
        return (
            "The dataset's card names no columns to stratify by, so that there are no subgroups but the classes: "
            "metrics/evaluate/MODEL.txt has recall by class."
        )
    return "\n\n".join(
        _subgroup_table(str(name), rows, positive) for name, rows in subgroups.groupby("column", sort=False)
    )


def _subgroup_table(column: str, rows: pd.DataFrame, positive: str | None) -> str:
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
        lines.append([short(value), str(images), *cells])
    title = f"By *{column}*: accuracy (95 %, exact binomial)"
    title += f", and F1 of *{positive}* where the subgroup has images of both classes" if positive else ""
    if len(shown) < len(sizes):
        title += f"; the {len(shown)} largest of {len(sizes)} subgroups, all are in metrics/compare.json"
    return f"{title}\n\n{markdown_table([column, 'images', *(f'`{model}`' for model in MODELS)], lines)}"


def limits(data: dict[str, Any], pairs: int, spec: Spec) -> list[str]:
    """Say what the figures do not show. `data` is metrics/data.json, `pairs` the number of pairs compared."""
    few = "F1 is a mean over classes with few test images each: its interval lies too low."
    small = spec.positive_class is None and spec.counts["test"] < FEW_OF_A_CLASS * len(spec.classes)
    groups = (
        f"The {data['groups']} groups that the dataset names lie whole in one split, but images of one group are alike"
        if data["groups"]
        else "The dataset names no groups, and images may belong together all the same (one module, patient or place)"
    )
    return [
        "Intervals and p-values are about other test images, drawn as these were. They say nothing of other splits or "
        "of other seeds: whether a recipe is better takes several of them (`python -m benchmarks.seeds 1 2 3`).",
        "*May be chance* does not mean equal: the interval says which differences the test images leave open. Whether "
        "the intervals of two models overlap is no test; the interval of their difference is.",
        f"p is corrected for the {pairs} pairs, the intervals are those of one pair alone: at the margin, an interval "
        "may leave 0 out where the corrected p is above 0.05.",
        f"Images count as independent. {groups}, which makes intervals too narrow and p too small.",
        "Figures published elsewhere are comparable only if they count alike (plain or weighted, and by which labels) "
        "and come from a split made alike.",
        "Subgroups, calibration and thresholds are described, not tested: there are many of them, and some rest on few "
        "images.",
        *([few] if small else []),
    ]


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


def largest_class(results: Results, table: pd.DataFrame) -> str:
    """Say what always answering the largest class is worth, and name the models that do no better."""
    counts = next(iter(results.predictions.values()))["actual"].value_counts()
    share = round(counts.iloc[0] / counts.sum(), DIGITS)
    models = [quoted(model) for model in table["model"][table["accuracy"] <= share]]
    no_better = ""
    if len(models) == len(table):
        no_better = ": no model does better"
    elif models:
        no_better = f": {' and '.join(models)} {'does' if len(models) == 1 else 'do'} no better"
    return (
        f"Always answering *{counts.index[0]}*, the largest class, is right for {share:.3f} of the test images"
        f"{no_better}."
    )


def without_error(table: pd.DataFrame, images: int) -> str:
    """Say what a score without an error is worth; empty where no model has one.

    Resampling images without an error gives an interval of no width. The true accuracy that gives `images` right ones
    with a probability of 5 % is 0.05^(1 / images) (Clopper and Pearson 1934).
    """
    if (table["accuracy"] < 1).all():
        return AREA_OF_ONE if (table["auc"] == 1).any() else ""
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


@dataclass(frozen=True)
class Pictures:
    """Where the bar chart and the reliability diagrams are, relative to the report."""

    performance: str
    reliability: str


def report(
    card: Card, spec: Spec, data: dict[str, Any], results: Results, findings: Findings, pictures: Pictures
) -> str:
    """Return the report in Markdown. `data` is metrics/data.json."""
    parts = (
        _performance(spec, data, results, findings, pictures),
        _conclusions(spec, data, findings),
        _details(card, spec, results, findings, pictures),
        _background(card, spec, data, results),
    )
    return f"# Model report: {card.title}\n\n" + "\n".join(parts)


def _performance(spec: Spec, data: dict[str, Any], results: Results, findings: Findings, pictures: Pictures) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in spec.counts.items())
    engine = results.costs["evaluate-head"]["prediction"]["engine"]
    positive = f"F1 is that of the class *{spec.positive}*." if spec.positive else "F1 is the mean over the classes."
    more = ", …" if len(spec.classes) > MANY_CLASSES else ""
    names = ", ".join(spec.classes[:MANY_CLASSES]) + more
    size = f"{spec.image_size} × {spec.image_size}"
    return f"""Made by `dvc repro`; do not edit. {data["images"]} images ({counts}) of {size} pixels,
{len(spec.classes)} classes ({names}); {data["quarantined"]} images could not be used. {positive}

## Model Performance Table

{performance_markdown(findings.table)}

![Test accuracy and F1 of the models]({pictures.performance})

Memory is the peak resident memory of a process that predicts, and prediction time the median for an image, one or 32
at a time, both with {engine}, after warm-up, from decoded pixels. Training time counts everything that a model needs:
the pass of the frozen trunk over all images and views, and for `finetuned` the training of the head that it starts
from. Intervals are bootstrap percentiles over the test images. {largest_class(results, findings.table)}
{without_error(findings.table, spec.counts["test"])}"""


def _conclusions(spec: Spec, data: dict[str, Any], findings: Findings) -> str:
    said, not_said = (
        "\n".join(f"- {line}" for line in lines)
        for lines in (verdicts(findings.pairs, findings.areas), limits(data, len(findings.pairs), spec))
    )
    return f"""## What may be concluded

{said}

The test split was read by the stage evaluate alone; epochs were chosen by validation loss, temperatures and thresholds
on the validation split.

## What may not be concluded

{not_said}

## Every pair on the test split

{_pairs(findings)}

Intervals of accuracy are bootstrap percentiles, paired: the same images are drawn for both models.
"""


def _details(card: Card, spec: Spec, results: Results, findings: Findings, pictures: Pictures) -> str:
    positive = spec.positive if spec.positive_class is not None else None
    return f"""## Scores on the test split

{_scores(results, findings.table)}

{weighting(card)}

## Calibration

{calibration(results)}

Before → after a temperature that divides the logits (Guo et al. 2017), fitted on the validation split: above 1 the
model was too sure, below 1 not sure enough. It changes no prediction. ECE is the mean distance between confidence and
accuracy over {BINS} bins; of few images it is above 0 for a perfectly calibrated model, too. As epochs were chosen on
the validation split as well, the temperature may be a little low for other images.

![Reliability diagrams of the models]({pictures.reliability})

## Operating threshold

{threshold(results, spec)}

## Subgroups of the test split

{subgroup_tables(findings.subgroups, positive)}
"""


def _background(card: Card, spec: Spec, data: dict[str, Any], results: Results) -> str:
    confusion = "\n\n".join(
        f"`{model}` (columns: predicted)\n\n{_confusion(results.predictions[model], spec.classes)}" for model in MODELS
    )
    return f"""## Training

{markdown_table(*result_rows.training(results, quoted))}

## Confusion matrices

{confusion}

## Data

{card.title}. Licence: {card.licence}. Citation: {card.citation}

{_same(data)}
"""
