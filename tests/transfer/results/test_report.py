"""Tests of transfer/results/report.py."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd

from tests.conftest import ROOT
from tests.transfer.results.test_performance import make_findings, make_results, make_spec
from transfer.core.cards import Card, read_card
from transfer.results.report import (
    Pictures,
    _confusion,
    calibration,
    largest_class,
    limits,
    report,
    subgroup_tables,
    threshold,
    weighting,
    without_error,
)
from transfer.results.subgroups import subgroups

DATA = {
    "images": 318,
    "quarantined": 0,
    "groups": 0,
    "duplicates": {"identical": 0, "near": 0, "identical_with_several_labels": 0, "taken_out_of_given_splits": 0},
}
PICTURES = Pictures("bars.png", "diagrams.png")


def test_a_score_without_an_error_is_said_to_prove_little() -> None:
    assert without_error(pd.DataFrame({"accuracy": [0.9, 0.99], "auc": [0.9, np.nan]}), 100) == ""
    said = without_error(pd.DataFrame({"accuracy": [0.9, 1.0], "auc": [0.9, 1.0]}), 100)
    assert "100 test images are too few" in said
    assert "may be as low as 0.970 (" in said


def test_an_area_of_one_is_said_to_prove_little() -> None:
    said = without_error(pd.DataFrame({"accuracy": [0.9, 0.8], "auc": [0.9, 1.0]}), 8)
    assert "A ROC AUC of 1 has an interval of no width" in said
    assert "exact binomial" not in said


def test_the_report_says_which_models_do_not_beat_the_largest_class(tmp_path: Path) -> None:
    spec = make_spec(("a", "b"), "b", 200)
    results = make_results(spec, tmp_path, {"ann": 0.0, "cnn": 0.0, "head": 3.0, "finetuned": 3.0})
    for table in results.predictions.values():
        table["actual"] = ["a"] * 150 + ["b"] * 50
    findings = make_findings(spec, results)
    findings.table["accuracy"] = [0.7, 0.75, 0.8, 0.9]
    said = "Always answering *a*, the largest class, is right for 0.750 of the test images"
    assert f"{said}: `ann` and `cnn` do no better." in largest_class(results, findings.table)
    findings.table["accuracy"] = [0.5, 0.6, 0.7, 0.7]
    assert f"{said}: no model does better." in largest_class(results, findings.table)
    findings.table["accuracy"] = 0.8
    assert f"{said}." in largest_class(results, findings.table)
    text = report(Card(title="t", classes=("a", "b"), positive="b"), spec, DATA, results, findings, PICTURES)
    assert said in text


def test_equal_confidences_make_no_difference() -> None:
    card, _ = read_card(ROOT / "data/cards/elpv.yaml")
    assert card.table is not None
    equal = dataclasses.replace(card.table, confidence=tuple((level, 1.0) for level, _ in card.table.confidence))
    said = weighting(dataclasses.replace(card, table=equal))
    assert "not to be set against" not in said
    assert said.startswith(
        "The dataset's card gives every label the same confidence, so weighted scores equal the plain"
    )
    assert "count as *defective* in *weighted, alternative*" in said


def test_few_images_of_a_class_make_the_interval_of_a_mean_f1_doubtful(tmp_path: Path) -> None:
    few, many = (make_spec(("a", "b", "c"), None, images) for images in (24, 300))
    assert any("too low" in line for line in limits(DATA, 6, few))
    assert not any("too low" in line for line in limits(DATA, 6, many))
    assert not any("too low" in line for line in limits(DATA, 6, make_spec(("a", "b"), "b", 8)))


def test_of_many_classes_the_most_frequent_confusions_are_shown() -> None:
    classes = tuple(f"class {i}" for i in range(30))
    rows = [("class 1", "class 2")] * 3 + [("class 2", "class 1")] * 2 + [("class 3", "class 3")] * 9
    predictions = pd.DataFrame(rows, columns=["actual", "predicted"])
    shown = _confusion(predictions, classes).splitlines()
    assert shown[2:] == ["| class 1 | class 2 | 3 |", "| class 2 | class 1 | 2 |"]


def test_the_report_says_what_may_be_concluded_and_what_not(tmp_path: Path) -> None:
    spec = make_spec(("7", "NA"), "NA", 300)
    results = make_results(spec, tmp_path)
    findings = make_findings(spec, results, pd.DataFrame({"kind": ["one"] + ["rest"] * 299}))
    text = report(Card(title="t", classes=("7", "NA"), positive="NA"), spec, DATA, results, findings, PICTURES)
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "Model Performance Table", "What may be concluded", "What may not be concluded", "Every pair on the test split",
        "Scores on the test split", "Calibration", "Operating threshold", "Subgroups of the test split", "Training",
        "Confusion matrices", "Data",
    ]  # fmt: skip
    assert "- `head` is better than `ann`: +" in text
    assert "p is corrected for the 6 pairs" in text
    assert "The dataset names no groups" in text
    assert "| `head` − `ann` | +" in text
    assert "![Reliability diagrams of the models](diagrams.png)" in text
    assert "The threshold of the probability of *NA*" in text
    assert "| one | 1 | " in text
    assert "nan" not in text
    grouped = report(Card(title="t"), spec, {**DATA, "groups": 44}, results, findings, PICTURES)
    assert "The 44 groups that the dataset names lie whole in one split" in grouped


def test_of_many_classes_the_report_says_what_is_left_out(tmp_path: Path) -> None:
    spec = make_spec(tuple(f"class {i}" for i in range(200)), None, 400)
    results = make_results(spec, tmp_path)
    text = report(Card(title="t"), spec, DATA, results, make_findings(spec, results), PICTURES)
    assert "Areas under the ROC curve are not compared" in text
    assert "No threshold is chosen, as there are more than two classes" in text
    assert "so that there are no subgroups but the classes" in text
    assert "gives no confidences of labels, so weighted scores equal the plain ones" in text
    assert "nan" not in text


def test_two_classes_of_which_none_is_positive_have_no_threshold(tmp_path: Path) -> None:
    spec = make_spec(("a", "b"), None, 12)
    assert "as the card names no positive class" in threshold(make_results(spec, tmp_path), spec)


def test_where_no_temperature_could_be_fitted_the_report_says_so(tmp_path: Path) -> None:
    results = make_results(make_spec(("a", "b"), "b", 12), tmp_path)
    assert "as they are" not in calibration(results)
    results.scores["cnn"]["temperature"] = 1.0
    assert "The validation split gives no better temperature than 1 for `cnn`" in calibration(results)


def test_the_report_says_which_class_an_uncertain_image_counts_as() -> None:
    card, _ = read_card(ROOT / "data/cards/elpv.yaml")
    said = weighting(card)
    assert "1, 0.333, 0.667, 1 where the probability of *defective* is 0, 0.333, 0.667, 1." in said
    assert (
        "of probability 0.333 count as *defective* in *weighted, alternative*, and as *intact* in *weighted acc" in said
    )


def test_of_many_subgroups_the_largest_are_shown() -> None:
    strata = pd.DataFrame({"patient": [f"p{i:02}" for i in range(30)] + ["p29"]})
    predictions = pd.DataFrame({"actual": ["a"] * 31, "predicted": ["a"] * 31})
    models = dict.fromkeys(("ann", "cnn", "head", "finetuned"), predictions)
    shown = subgroup_tables(subgroups(models, strata, None), None)
    assert "the 20 largest of 30 subgroups" in shown
    assert "| p29 | 2 | 1.000 (0.158 to 1.000) |" in shown
    assert len(re.findall(r"\n\| p\d", shown)) == 20
