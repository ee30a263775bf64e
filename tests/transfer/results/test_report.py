"""Tests of transfer/results/report.py."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROOT
from tests.transfer.results.test_performance import make_findings, make_results, make_spec
from transfer.core.cards import Card, read_card
from transfer.results.report import (
    Evidence,
    Settings,
    calibration,
    largest_class,
    limits,
    next_step,
    report,
    summary,
    superiority,
    threshold,
    weakest_class,
    weighting,
    without_error,
)

DATA: dict[str, Any] = {
    "images": 318,
    "quarantined": 0,
    "groups": 0,
    "splits": {"train": 9, "validation": 9, "test": 300},
    "classes": {"train": {"7": 6, "NA": 3}},
    "duplicates": {"identical": 0, "near": 0, "identical_with_several_labels": 0, "taken_out_of_given_splits": 0},
}
PICTURES = ("bars.png", "diagrams.png", "mistakes.png")


def make_evidence(
    folder: Path,
    classes: tuple[str, ...] = ("7", "NA"),
    positive: str | None = "NA",
    images: int = 300,
) -> Evidence:
    """Evidence of models that are made up, the validation accuracy of which is in the order of `MODELS`."""
    folder.mkdir(exist_ok=True)
    spec = make_spec(classes, positive, images)
    made = make_results(spec, folder)
    for rank, scores in enumerate(made.scores.values()):
        scores["val_accuracy"] = 0.5 + 0.1 * rank
    card = Card(title="t", classes=classes, positive=positive)
    findings = make_findings(spec, made, pd.DataFrame({"kind": ["one"] + ["rest"] * (images - 1)}))
    quarantine = pd.DataFrame({"image": ["a.png"], "reason": ["empty"]})
    settings = Settings("tiny", trained=True, cut="block1", augment="cached", lr=1e-3, class_weights="auto")
    return Evidence(settings, card, spec, DATA, quarantine, made, findings)


def test_the_report_says_first_what_matters_and_last_what_it_does_not_show(tmp_path: Path) -> None:
    evidence = make_evidence(tmp_path)
    text = report(evidence, *PICTURES)
    assert [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")] == [
        "Summary", "Model Performance Table", "Scores by class", "Confusion matrices", "Training",
        "ROC, precision and recall", "Worst mistakes", "Every pair of models", "Calibration", "Operating threshold",
        "Subgroups of the test split", "Data", "Limits",
    ]  # fmt: skip
    assert text.count("`head` is better than `ann`: +") == 1
    assert "| `head` − `ann` | +" in text
    assert "### Winner: `finetuned`" in text
    assert "### Runner-up: `head`" in text
    assert all(f"]({picture})" in text for picture in PICTURES)
    assert "the calibrated probability of *NA*, as the exported files give it" in text
    assert "| one | 1 | " in text
    assert "weighted" not in text
    assert "left out" not in text
    assert "balances the loss" not in text
    assert "nan" not in text
    left_out = dataclasses.replace(evidence, data={**DATA, "quarantined": 1, "groups": 44})
    text = report(left_out, *PICTURES)
    assert "1 image was left out" in text
    assert "| empty | 1 | a.png |" in text
    assert "Images of one group share a split (44 groups)." in text


def test_the_summary_has_six_lines_with_the_figures_of_the_tables(tmp_path: Path) -> None:
    evidence = make_evidence(tmp_path)
    row = evidence.findings.table.set_index("model").loc["finetuned"]
    lines = summary(evidence)
    assert len(lines) == 6
    assert lines[0].startswith("**Winner**: `finetuned` (fine-tuned backbone), by validation accuracy. Backbone tin")
    low, high = row["accuracy_low"], row["accuracy_high"]
    assert lines[1].startswith(f"**Test accuracy**: {row['accuracy']:.3f} (95 %: {low:.3f} to {high:.3f}) on 300 im")
    assert lines[2].startswith(f"**F1** of *NA*: {row['f1']:.3f} (")
    assert f"**ROC AUC**: {row['auc']:.3f} (" in lines[2]


def test_of_many_classes_the_report_says_what_is_left_out(tmp_path: Path) -> None:
    evidence = make_evidence(tmp_path, tuple(f"class {i}" for i in range(200)), None, 400)
    text = report(evidence, *PICTURES)
    assert "ROC AUCs are compared only where there are two classes" in text
    assert "None, as there are more than two classes" in text
    assert "the 20 of 200 classes with the lowest recall" in text
    assert "| all 200 classes | 9 | 9 | 300 | 318 |" in text
    assert "averaged over the classes" in text
    assert "nan" not in text


def test_the_largest_class_is_what_a_model_has_to_beat(tmp_path: Path) -> None:
    evidence = make_evidence(tmp_path, ("a", "b"), "b", 200)
    for table in evidence.results.predictions.values():
        table["actual"] = ["a"] * 150 + ["b"] * 50
    found = evidence.findings.table
    found["accuracy"] = [0.7, 0.75, 0.8, 0.9]
    said = "Always answering *a*, the largest class, would score 0.750"
    assert largest_class(evidence.results, found) == f"{said}: `ann` and `cnn` do no better."
    found["accuracy"] = [0.5, 0.6, 0.7, 0.7]
    assert largest_class(evidence.results, found) == f"{said}: no model does better."
    assert "no model beats always answering the largest class" in next_step(evidence)
    found["accuracy"] = 0.8
    assert largest_class(evidence.results, found) == f"{said}."
    assert said in report(evidence, *PICTURES)


def test_a_model_that_is_as_good_as_the_largest_class_but_for_rounding_is_no_better(tmp_path: Path) -> None:
    evidence = make_evidence(tmp_path, ("a", "b"), "b", 300)
    for table in evidence.results.predictions.values():
        table["actual"] = ["a", "a", "b"] * 100
    evidence.findings.table["accuracy"] = 0.6667
    assert largest_class(evidence.results, evidence.findings.table).endswith("no model does better.")
    assert "no model beats always answering the largest class" in next_step(evidence)


def test_the_weakest_class_is_named_with_what_it_is_taken_for() -> None:
    actual, predicted = ["a"] * 5 + ["b"] * 4, ["a"] * 5 + ["a", "c", "c", "b"]
    table = pd.DataFrame({"actual": actual, "predicted": predicted})
    assert weakest_class(table) == "misses 3 of 4 images of *b*, most often mistaken for *c* (2)."
    assert weakest_class(table.iloc[:6]) == "misses 1 of 1 images of *b*."
    assert weakest_class(table.iloc[:5]) == "none: every test image is classified correctly."


def test_the_winner_is_called_better_only_where_the_test_says_so(tmp_path: Path) -> None:
    evidence = make_evidence(tmp_path)
    said = superiority("finetuned", evidence.findings)
    assert said.startswith("Significantly better than `ann` and `cnn` (McNemar, Holm-adjusted p ≤ ")
    assert "Not shown to be better than `head` (McNemar, Holm-adjusted p = " in said
    said = superiority("ann", evidence.findings)
    assert said.startswith("Significantly worse than `cnn`, `head` and `finetuned` (McNemar, Holm-adjusted p ≤ ")
    assert "Not shown" not in said


@pytest.mark.parametrize(
    ("winner", "train_accuracy", "said"),
    [
        ("cnn", 0.9, "the backbone does not help here; try another one; `make preset` fine-tunes"),
        (
            "head",
            0.9,
            "fine-tuning did not improve on the head (validation accuracy 0.800 against 0.850); try a lower "
            "learning rate: `dvc exp run -S lr=0.0005`",
        ),
        ("finetuned", 1.0, "the model overfits"),
        ("finetuned", 0.9, "look at the worst mistakes below"),
    ],
)
def test_the_next_step_follows_from_the_results(winner: str, train_accuracy: float, said: str, tmp_path: Path) -> None:
    evidence = make_evidence(tmp_path)
    evidence.results.scores[winner] |= {"val_accuracy": 0.85, "train_accuracy": train_accuracy}
    assert next_step(evidence).startswith(said)


def test_advice_that_is_taken_is_not_given_again(tmp_path: Path) -> None:
    evidence = make_evidence(tmp_path)
    taken = dataclasses.replace(evidence.settings, cut="input", augment="on_the_fly")
    evidence = dataclasses.replace(evidence, settings=taken)
    assert next_step(evidence) == "look at the worst mistakes below."
    evidence.results.scores["finetuned"] |= {"train_accuracy": 1.0}
    assert next_step(evidence) == "the model overfits; add images."
    untrained = dataclasses.replace(evidence, settings=dataclasses.replace(taken, trained=False))
    untrained.results.scores["ann"]["val_accuracy"] = 0.9
    assert next_step(untrained).startswith("the backbone starts from random weights (try `weights: auto`)")


def test_the_report_says_when_classes_are_balanced_by_default(tmp_path: Path) -> None:
    evidence = make_evidence(tmp_path)
    uneven = dataclasses.replace(evidence, data={**DATA, "classes": {"train": {"7": 30, "NA": 3}}})
    said = (
        "The largest class has 10 times the training images of the smallest, so `class_weights: auto` balances the loss"
    )
    assert said in report(uneven, *PICTURES)
    told = dataclasses.replace(uneven, settings=dataclasses.replace(evidence.settings, class_weights="none"))
    assert said not in report(told, *PICTURES)


def test_a_score_without_an_error_is_said_to_prove_little() -> None:
    assert without_error(pd.DataFrame({"accuracy": [0.9, 0.99], "auc": [0.9, np.nan]}), 100) == ""
    said = without_error(pd.DataFrame({"accuracy": [0.9, 1.0], "auc": [0.9, 1.0]}), 100)
    assert "100 test images are too few" in said
    assert "may be as low as 0.970 (" in said


def test_an_area_of_one_is_said_to_prove_little() -> None:
    said = without_error(pd.DataFrame({"accuracy": [0.9, 0.8], "auc": [0.9, 1.0]}), 8)
    assert "A ROC AUC of 1 has an interval of no width" in said
    assert "exact binomial" not in said


def test_few_images_of_a_class_make_the_interval_of_a_mean_f1_doubtful(tmp_path: Path) -> None:
    few, many = (make_evidence(tmp_path / str(n), ("a", "b", "c"), None, n) for n in (24, 300))
    assert any("too low" in line for line in limits(few))
    assert not any("too low" in line for line in limits(many))
    assert not any("too low" in line for line in limits(make_evidence(tmp_path / "two", images=8)))
    assert "p-values are adjusted for all 6 pairs" in limits(few)[3]
    assert "The dataset names no groups" in limits(few)[4]
    assert "Each of the 44 groups" in limits(dataclasses.replace(few, data={**DATA, "groups": 44}))[4]


def test_confidences_that_are_equal_make_no_weighted_scores() -> None:
    assert weighting(Card(title="t")) == ""
    card, _ = read_card(ROOT / "data/cards/elpv.yaml")
    assert card.table is not None
    equal = dataclasses.replace(card.table, confidence=((0.0, 1.0), (1.0, 1.0)))
    assert weighting(dataclasses.replace(card, table=equal)) == ""


def test_the_report_says_which_class_an_uncertain_image_counts_as() -> None:
    card, _ = read_card(ROOT / "data/cards/elpv.yaml")
    said = weighting(card)
    assert "1, 0.333, 0.667, 1 where the probability of *defective* is 0, 0.333, 0.667, 1." in said
    assert (
        "of probability 0.333 count as *defective* in *weighted, alternative*, and as *intact* in *weighted acc" in said
    )


def test_two_classes_of_which_none_is_positive_have_no_threshold(tmp_path: Path) -> None:
    spec = make_spec(("a", "b"), None, 12)
    assert "as the card names no positive class" in threshold(make_results(spec, tmp_path), spec)


def test_where_no_temperature_could_be_fitted_the_report_says_so(tmp_path: Path) -> None:
    results = make_results(make_spec(("a", "b"), "b", 12), tmp_path)
    assert "changes nothing" not in calibration(results)
    results.scores["cnn"]["temperature"] = 1.0
    assert "A temperature of 1 changes nothing (`cnn`): on the validation split" in calibration(results)


def test_names_of_the_dataset_are_text(tmp_path: Path) -> None:
    evidence = make_evidence(tmp_path, ("*a*", "[b](c)"), "[b](c)")
    evidence = dataclasses.replace(evidence, card=Card(title="<i>`x`"))
    text = report(evidence, *PICTURES)
    assert text.startswith("# Model report: \\<i>\\`x\\`\n")
    assert "\nDataset: \\<i>" in text
    assert "| \\*a\\* |" in text
    assert "[b](c)" not in text
