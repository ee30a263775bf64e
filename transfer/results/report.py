"""metrics/REPORT.md: the results, readable on their own. The page (`results.page`) shows the same text with charts."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from transfer.core.cards import Card, Table
from transfer.core.params import IMBALANCED
from transfer.core.spec import Spec
from transfer.evaluation.calibration import BINS, NOT_FITTED
from transfer.evaluation.markdown import counted, interval, p_value, plain
from transfer.evaluation.scores import MANY_CLASSES
from transfer.results import tables
from transfer.results.performance import BASELINES, MODELS, SIGNIFICANCE, TWO, Findings, Results, ranking, verdicts

FEW_OF_A_CLASS = 10
"""Test images of a class, on average, below which the bootstrap interval of F1 as a mean over the classes lies too low.
Simulated, it held the true F1 in 95 % of samples of 66 images a class, in 75 % of 6.6 and in 48 % of 2."""
RESIZED = {"squash": "resized to", "crop": "cropped to squares and resized to", "pad": "resized and padded to"}
UNSURE = "Not shown to be better"
OVERFITTED = 0.1  # difference of training and validation accuracy from which the report calls a model overfitted


@dataclass(frozen=True)
class Settings:
    """What of params.yaml the report names, or takes into account in its advice."""

    backbone: str
    trained: bool  # whether the backbone starts from trained weights
    cut: str
    augment: str
    lr: float
    class_weights: str | dict[str, float]


@dataclass(frozen=True)
class Evidence:
    """What the report is written from. `data` is metrics/data.json, `quarantine` data/quarantine.csv."""

    settings: Settings
    card: Card
    spec: Spec
    data: dict[str, Any]
    quarantine: pd.DataFrame
    results: Results
    findings: Findings

    @property
    def ranked(self) -> list[str]:
        """The models, the winner first."""
        return ranking(self.results)

    @property
    def positive(self) -> str | None:
        """The class whose F1 is reported, where there are two and the card names one."""
        return self.spec.positive if self.spec.positive_class is not None else None


def report(evidence: Evidence, performance: str, reliability: str, mistakes: str) -> str:
    """Return the report in Markdown. The texts are paths, relative to it, of the bar chart, the reliability diagrams
    and the winner's worst mistakes.
    """
    sections = {
        "Summary": "\n".join(f"- {line}" for line in summary(evidence)),
        "Model Performance Table": _performance(evidence, performance),
        "Scores by class": _by_class(evidence),
        "Confusion matrices": _confusion(evidence),
        "Training": _training(evidence),
        "ROC, precision and recall": _scores(evidence),
        "Worst mistakes": _mistakes(evidence, mistakes),
        "Every pair of models": _pairs(evidence.findings),
        "Calibration": f"{calibration(evidence.results)}\n\n![Reliability diagrams]({reliability})",
        "Operating threshold": threshold(evidence.results, evidence.spec),
        "Subgroups of the test split": tables.subgroups(evidence.findings.subgroups, evidence.positive),
        "Data": _data(evidence),
        "Limits": "\n".join(f"- {line}" for line in limits(evidence)),
    }
    return f"# Model report: {plain(evidence.card.title)}\n\n" + "\n".join(
        f"## {title}\n\n{text.strip()}\n" for title, text in sections.items()
    )


def summary(evidence: Evidence) -> list[str]:
    """Say in six lines which model is best, how good it is, where it is weak, how sure that is, and what to do next."""
    winner, size, table = evidence.ranked[0], evidence.spec.image_size, evidence.findings.table
    row = next(row for row in table.to_dict("records") if row["model"] == winner)
    scores = [f"**F1** {_f1_of(evidence)}: {interval(row['f1'], row['f1_low'], row['f1_high'])}"]
    if pd.notna(row["auc"]):
        scores.append(f"**ROC AUC**: {interval(row['auc'], row['auc_low'], row['auc_high'])}")
    return [
        f"**Winner**: `{winner}` ({MODELS[winner]}), by validation accuracy. "
        f"Backbone {evidence.settings.backbone}, {size} × {size} pixels.",
        f"**Test accuracy**: {row['accuracy']:.3f} (95 %: {row['accuracy_low']:.3f} to {row['accuracy_high']:.3f}) on "
        f"{evidence.spec.counts['test']} images. {largest_class(evidence.results, table)}",
        "; ".join(scores) + ".",
        f"**Weakest class**: {weakest_class(evidence.results.predictions[winner])}",
        f"**Better than the others?** {superiority(winner, evidence.findings)}",
        f"**Next**: {next_step(evidence)}",
    ]


def _f1_of(evidence: Evidence) -> str:
    return f"of *{plain(evidence.positive)}*" if evidence.positive else "averaged over the classes"


def largest_class(results: Results, table: pd.DataFrame) -> str:
    """Say what always answering the largest class is worth, and name the models that do no better."""
    name, share = tables.largest_class(results)
    models = [f"`{model}`" for model in table["model"][table["accuracy"] <= share]]
    no_better = ""
    if len(models) == len(table):
        no_better = ": no model does better"
    elif models:
        no_better = f": {_listed(models)} {'does' if len(models) == 1 else 'do'} no better"
    return f"Always answering *{plain(name)}*, the largest class, would score {share:.3f}{no_better}."


def weakest_class(predictions: pd.DataFrame) -> str:
    """Name the class that a model recognises worst, and what it takes it for."""
    worst = tables.class_scores(predictions).sort_values(["recall", "class"]).iloc[0]
    of_class = predictions[predictions["actual"] == worst["class"]]
    wrong = of_class[of_class["predicted"] != worst["class"]]["predicted"]
    if wrong.empty:
        return "none: every test image is classified correctly."
    taken = wrong.value_counts()
    several = len({*predictions["actual"], *predictions["predicted"]}) > TWO
    most = f", most often mistaken for *{plain(taken.index[0])}* ({taken.iloc[0]})" if several else ""
    return f"misses {len(wrong)} of {len(of_class)} images of *{plain(worst['class'])}*{most}."


def superiority(winner: str, findings: Findings) -> str:
    """Say which models the winner is significantly more accurate than, and which not."""
    found: dict[str, dict[str, float]] = {"Significantly worse": {}, "Significantly better": {}, UNSURE: {}}
    for pair in findings.pairs:
        if winner in (pair.first, pair.second):
            other, sign = (pair.first, 1) if pair.second == winner else (pair.second, -1)
            sure = "Significantly better" if sign * pair.difference > 0 else "Significantly worse"
            found[sure if pair.p_holm < SIGNIFICANCE else UNSURE][f"`{other}`"] = pair.p_holm
    said = []
    for words, others in found.items():
        if others:
            extreme, bound = (min, "≥") if words == UNSURE else (max, "≤")
            p = p_value(extreme(others.values()))
            p = p.replace("=", bound) if len(set(others.values())) > 1 else p
            said.append(f"{words} than {_listed(list(others))} (McNemar, Holm-adjusted p {p}).")
    return " ".join(said)


def _listed(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def next_step(evidence: Evidence) -> str:
    """Suggest what is most likely to help, by the first rule that applies."""
    winner, results, settings = evidence.ranked[0], evidence.results, evidence.settings
    scores = results.scores[winner]
    whole = "" if settings.cut == "input" else "; `make preset` fine-tunes the whole backbone, which takes longer"
    if evidence.findings.table["accuracy"].max() <= tables.largest_class(results)[1]:
        return "no model beats always answering the largest class: check the labels and the worst mistakes below."
    if winner in BASELINES:
        reason = "does not help here" if settings.trained else "starts from random weights (try `weights: auto`)"
        return f"the backbone {reason}; try another one{whole}."
    if winner == "head":
        tuned = results.scores["finetuned"]["val_accuracy"]
        return (
            f"fine-tuning did not improve on the head (validation accuracy {tuned:.3f} against "
            f"{scores['val_accuracy']:.3f}); try a lower learning rate: `dvc exp run -S lr={settings.lr / 2:g}`."
        )
    if scores["train_accuracy"] - scores["val_accuracy"] > OVERFITTED:
        changes = ", or train on random changes: `dvc exp run -S finetune.augment=on_the_fly`"
        return f"the model overfits; add images{'' if settings.augment == 'on_the_fly' else changes}."
    return f"look at the worst mistakes below{whole}."


def _performance(evidence: Evidence, picture: str) -> str:
    results, table = evidence.results, evidence.findings.table
    engine = results.costs["evaluate-head"]["prediction"]["engine"]
    return f"""{tables.performance(table)}

![Test accuracy and F1 of the models]({picture})

Test F1 is the F1 {_f1_of(evidence)}. Intervals are bootstrap percentiles over the test images, at 95 %. Training time
includes the frozen backbone's pass over all images, and for `finetuned` the training of the head it starts from.
Prediction time per image is the median after warm-up with {engine}, for one image and for 32 at a time, from decoded
pixels; memory is the peak resident memory of that process.
{without_error(table, evidence.spec.counts["test"])}"""


def without_error(table: pd.DataFrame, images: int) -> str:
    """Say what a score without an error is worth; empty where no model has one.

    Resampling images without an error gives an interval of no width. The true accuracy that gives `images` right ones
    with a probability of 5 % is 0.05^(1 / images) (Clopper and Pearson 1934).
    """
    if (table["accuracy"] == 1).any():
        return (
            f"\nAn accuracy of 1 has an interval of no width, as {images} test images are too few to show an error: "
            f"elsewhere it may be as low as {0.05 ** (1 / images):.3f} (exact binomial, 95 %)."
        )
    if (table["auc"] == 1).any():
        return "\nA ROC AUC of 1 has an interval of no width because the test images are too few to show an error."
    return ""


def _training(evidence: Evidence) -> str:
    counts = list(evidence.data["classes"].get("train", {}).values())
    times = max(counts) / min(counts) if counts else 1.0
    table = tables.training(evidence.results)
    if evidence.settings.class_weights != "auto" or times < IMBALANCED:
        return table
    return (
        f"{table}\n\nThe largest class has {times:.0f} times the training images of the smallest, so "
        "`class_weights: auto` balances the loss; `class_weights: none` switches that off."
    )


def _by_class(evidence: Evidence) -> str:
    winner, classes = evidence.ranked[0], len(evidence.spec.classes)
    which = f", the {MANY_CLASSES} of {classes} classes with the lowest recall" if classes > MANY_CLASSES else ""
    return f"""`{winner}`{which}, on the test split.

{tables.by_class(evidence.results.predictions[winner])}

The other models': metrics/evaluate/MODEL.txt."""


def _confusion(evidence: Evidence) -> str:
    predictions, classes = evidence.results.predictions, evidence.spec.classes
    found = "\n\n".join(
        f"### {'Winner' if rank == 0 else 'Runner-up'}: `{model}`\n\n{tables.confusion(predictions[model], classes)}"
        for rank, model in enumerate(evidence.ranked[:2])
    )
    if len(classes) > MANY_CLASSES:
        return f"The most frequent confusions. plots/predictions/MODEL.csv has all predictions.\n\n{found}"
    return f"Test images. The other models': metrics/evaluate/MODEL.txt.\n\n{found}"


def _scores(evidence: Evidence) -> str:
    weights = weighting(evidence.card)
    table = tables.scores(evidence.results, evidence.findings.table, weighted=bool(weights))
    return f"{table}\n\n{weights}"


def weighting(card: Card) -> str:
    """Say how the weighted scores count, and which class uncertain images belong to in each; empty if all count alike.

    All count alike where the card gives no confidences of labels, or every label the same one.
    """
    table = card.table
    if table is None or not _weighted(table):
        return ""
    second, levels = plain(card.classes[1]), ", ".join(f"{level:.3g}" for level, _ in table.confidence)
    weights = ", ".join(f"{weight:.3g}" for _, weight in table.confidence)
    said = (
        f"Weighted scores count each image by the confidence of its label, from the dataset's card: {weights} where "
        f"the probability of *{second}* is {levels}. Do not compare them with plain ones."
    )
    between = [level for level, _ in table.confidence if _uncertain(level, table)]
    if table.alternative_threshold is None or not between:
        return said
    low, high = sorted((table.threshold, table.alternative_threshold))
    named = {table.threshold: "*weighted accuracy*", table.alternative_threshold: "*weighted, alternative*"}
    uncertain = " and ".join(f"{level:.3g}" for level in between)
    return (
        f"{said} Images of probability {uncertain} count as *{second}* in {named[low]}, and as "
        f"*{plain(card.classes[0])}* in {named[high]}; the models' predictions are the same in both."
    )


def _weighted(table: Table) -> bool:
    uncertain = any(_uncertain(level, table) for level, _ in table.confidence)
    return uncertain or len({weight for _, weight in table.confidence}) > 1


def _uncertain(level: float, table: Table) -> bool:
    """Say whether a level of the soft label is of different classes by the two thresholds."""
    other = table.alternative_threshold
    return other is not None and (level > table.threshold) != (level > other)


def _mistakes(evidence: Evidence, picture: str) -> str:
    winner = evidence.ranked[0]
    table = tables.mistakes(evidence.results.predictions[winner])
    if table == tables.NO_MISTAKE:
        return table
    return f"""The test images that `{winner}` got wrong with the highest probability, before calibration. The heat maps
show which parts of an image spoke for the wrong class: each part is blurred in turn, and the model asked again.

![The worst mistakes, with heat maps]({picture})

{table}"""


def _pairs(findings: Findings) -> str:
    no_areas = "ROC AUCs are compared only where there are two classes, with two test images of each (DeLong's test)."
    lines = "\n".join(f"- {line}" for line in verdicts(findings.pairs, findings.areas))
    return f"""{lines}

{tables.pairs(findings.pairs, findings.areas)}

p-values are of the exact McNemar test (accuracy) and DeLong's test (ROC AUC), adjusted for all pairs after Holm.
Intervals of accuracy are paired bootstrap percentiles: each resample draws the same images for both models.
{"" if findings.areas else no_areas}"""


def calibration(results: Results) -> str:
    """Return the calibration before and after in Markdown, and name the models that no temperature was fitted for."""
    left = [f"`{model}`" for model in MODELS if results.scores[model]["temperature"] == NOT_FITTED]
    unchanged = f"""

A temperature of 1 changes nothing ({", ".join(left)}): on the validation split the model makes no mistakes, is no
better than chance, or is calibrated already."""
    return f"""{tables.calibration(results)}

Before → after temperature scaling (Guo et al. 2017), fitted on the validation split: above 1 the model was
overconfident, below 1 underconfident. It changes no prediction. ECE is the mean difference of confidence and accuracy
over {BINS} bins; with few images it is above 0 even for a perfectly calibrated model. The epoch was chosen on the
validation split too, so the temperature may be slightly too low.{unchanged if left else ""}"""


def threshold(results: Results, spec: Spec) -> str:
    """Return what the operating threshold does to the test scores, in Markdown, or why there is none."""
    if spec.positive is None or spec.positive_class is None:
        reason = "there are more than two classes" if len(spec.classes) > TWO else "the card names no positive class"
        return f"None, as {reason}: the most likely class is predicted."
    return f"""The threshold of the calibrated probability of *{plain(spec.positive)}*, as the exported files give it,
with the highest F1 on the validation split ({spec.counts["validation"]} images; of equals, the one nearest to 0.5).
Test scores at 0.5 → at the threshold; all other figures here are at 0.5. The probabilities in plots/predictions and
among the worst mistakes are uncalibrated: the threshold is not for them.

{tables.operating_points(results)}"""


def _data(evidence: Evidence) -> str:
    card, spec, data = evidence.card, evidence.spec, evidence.data
    colour = "grey" if spec.channels == 1 else "colour"
    parts = [
        f"Dataset: {plain(card.title)}. Licence: {plain(card.licence)}. Citation: {plain(card.citation)}",
        f"{data['images']:,} images, {colour}, {RESIZED[spec.resize]} {spec.image_size} × {spec.image_size} pixels. "
        f"Symmetry: {spec.symmetry} (the views of an image that keep its class).",
        f"### Images by class and split\n\n{tables.class_counts(data, spec)}",
        _same(data),
    ]
    if data["quarantined"]:
        parts += [
            f"### Quarantine\n\n{counted(data['quarantined'], 'image was', 'images were')} left out "
            "(data/quarantine.csv lists them):",
            tables.quarantine(evidence.quarantine),
        ]
    return "\n\n".join(parts)


def _same(data: dict[str, Any]) -> str:
    """Say what was done so that no image, and no group, is in two splits."""
    same, groups = data["duplicates"], data["groups"]
    lines = [
        f"{counted(same['identical'], 'image is', 'images are')} identical to another and {same['near']:,} nearly so "
        "(data/duplicates.csv); such images share a split."
        if same["identical"] or same["near"]
        else "No image is identical, or nearly so, to another."
    ]
    if groups:
        lines.append(f"Images of one group share a split ({counted(groups, 'group', 'groups')}).")
    if same["identical_with_several_labels"]:
        several = counted(same["identical_with_several_labels"], "identical image has", "identical images have")
        lines.append(f"{several} more than one label.")
    if same["taken_out_of_given_splits"]:
        lines.append(
            f"{counted(same['taken_out_of_given_splits'], 'image was', 'images were')} left out of the dataset's own "
            "splits, as another split holds the same image (data/quarantine.csv)."
        )
    return " ".join(lines)


def limits(evidence: Evidence) -> list[str]:
    """Say what the figures do not show."""
    spec, groups = evidence.spec, evidence.data["groups"]
    small = spec.positive_class is None and spec.counts["test"] < FEW_OF_A_CLASS * len(spec.classes)
    grouped = (
        f"Each of the {groups} groups lies in one split, but images of one group are alike"
        if groups
        else "The dataset names no groups, yet some images may belong together (one module, patient or place)"
    )
    return [
        "Only the `evaluate` stage reads the test split; epochs, temperatures and thresholds are chosen on the "
        "validation split.",
        "Intervals and p-values describe other test images drawn the same way, not other splits or seeds: to compare "
        "settings, run several seeds.",
        "*Not shown to be better* does not mean equal. The interval of the difference shows what the test images leave "
        "open; whether two models' own intervals overlap is no test.",
        f"p-values are adjusted for all {len(evidence.findings.pairs)} pairs, intervals are not: at the margin an "
        "interval may exclude 0 where the adjusted p is above 0.05.",
        f"Images count as independent. {grouped}: intervals are then too narrow and p-values too small.",
        "Published figures are comparable only if they weight images alike and come from the same kind of split.",
        "Subgroups, calibration and thresholds are described, not tested; some rest on few images.",
        *(["F1 is a mean over classes with few test images each: its interval lies too low."] if small else []),
    ]
