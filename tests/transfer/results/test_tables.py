"""Tests of transfer/results/tables.py."""

import re
from pathlib import Path

import pandas as pd
import pytest

from tests.transfer.results.test_performance import make_results, make_spec
from transfer.results import tables
from transfer.results.delong import AreaComparison
from transfer.results.performance import MODELS, Results, performance_table
from transfer.results.statistics import Comparison
from transfer.results.subgroups import subgroups

TABLE = pd.DataFrame([{"model": model, "auc": 0.9, "auc_low": 0.85, "auc_high": 0.95} for model in MODELS])
PREDICTIONS = pd.DataFrame(
    {
        "image": ["a.png", "b.png", "c.png", "d_.png", "e.png"],
        "actual": ["x", "x", "x", "y", "y"],
        "predicted": ["x", "x", "y", "x", "y"],
        "p_x": [0.9, 0.8, 0.3, 0.99, 0.1],
        "p_y": [0.1, 0.2, 0.7, 0.01, 0.9],
    }
)


def _cells(table: str) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table in Markdown."""
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    return header, rows


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return make_results(make_spec(("7", "NA"), "NA", 60), tmp_path)


def test_a_cost_that_could_not_be_measured_leaves_the_scores_in_the_table(results: Results) -> None:
    results.costs["evaluate-head"]["prediction"] = {"engine": "openvino", "weights_bytes": 15_000_000}
    spec = make_spec(("7", "NA"), "NA", 60)
    header, rows = _cells(tables.performance(performance_table(results, spec, 50, 1)))
    cost = [header.index(name) for name in ("prediction, 1 / 32", "memory", "weights")]
    ann, _, head, _ = rows
    assert [ann[column] for column in cost] == ["1000.00 / 1000.00 ms", "0 MB", "0.0 MB"]
    assert [head[column] for column in cost] == ["not measured", "not measured", "15.0 MB"]
    assert head[header.index("test accuracy")].startswith(f"**{results.scores['head']['accuracy']:.3f}**")


def test_scores_that_there_are_not_or_that_say_the_same_are_left_out(results: Results) -> None:
    header, rows = _cells(tables.scores(results, TABLE, weighted=True))
    assert header == [
        "model", "accuracy", "weighted accuracy", "F1", "macro F1", "precision", "recall", "log loss",
        "weighted ROC AUC", "ROC AUC (95 %)",
    ]  # fmt: skip
    found = results.scores["ann"]
    assert rows[0][:2] == ["`ann`", f"{found['accuracy']:.3f}"]
    assert rows[0][-1] == "0.900 (0.850 to 0.950)"
    for found in results.scores.values():
        found["f1_macro"] = found["f1"]
    header, _ = _cells(tables.scores(results, TABLE, weighted=False))
    assert header == ["model", "accuracy", "F1", "precision", "recall", "log loss", "ROC AUC (95 %)"]
    header, rows = _cells(tables.scores(results, TABLE.assign(auc_low=None, auc_high=None), weighted=False))
    assert (header[-1], rows[0][-1]) == ("ROC AUC, one against the rest", "0.900")


def test_pairs_have_areas_where_these_are_compared() -> None:
    pair = Comparison("ann", "cnn", 3, 8, 0.05, -0.01, 0.11, 0.01, 0.04)
    header, rows = _cells(tables.pairs([pair], []))
    assert len(header) == 4
    assert rows == [["`cnn` − `ann`", "+5.0 (-1.0 to +11.0)", "8 / 3", "0.04"]]
    area = AreaComparison("ann", "cnn", 0.2, 0.1, 0.3, 1e-6, 1e-5)
    header, rows = _cells(tables.pairs([pair], [area]))
    assert header[4:] == ["ROC AUC (95 %)", "p of ROC AUC"]
    assert rows[0][4:] == ["+0.200 (+0.100 to +0.300)", "1e-05"]


def test_what_went_wrong_in_training_is_remarked() -> None:
    fine: dict[str, object] = {"collapsed": None, "stopped": None, "one_class_epochs": []}
    assert tables.remarks(fine) == "none"
    found = tables.remarks({"collapsed": "x", "stopped": "time_budget_s: y", "one_class_epochs": [1, 4]})
    assert found == "collapsed: x; stopped: time_budget_s: y; predicted one class only in epochs 1, 4"


def test_scores_by_class_begin_with_the_lowest_recall() -> None:
    header, rows = _cells(tables.by_class(PREDICTIONS))
    assert header == ["class", "recall", "precision", "F1", "test images"]
    assert rows == [["y", "0.500", "0.500", "0.500", "2"], ["x", "0.667", "0.667", "0.667", "3"]]


def test_mistakes_begin_with_the_surest() -> None:
    assert _cells(tables.mistakes(PREDICTIONS))[1] == [[r"d\_.png", "y", "x", "99.0%"], ["c.png", "x", "y", "70.0%"]]


def test_a_confusion_matrix_has_a_row_for_each_actual_class() -> None:
    lines = tables.confusion(PREDICTIONS, ("x", "y", "z")).splitlines()
    assert lines[0] == "| actual ↓ predicted → | x | y | z |"
    assert lines[2:] == ["| x | 2 | 1 | 0 |", "| y | 1 | 1 | 0 |", "| z | 0 | 0 | 0 |"]


def test_of_many_classes_the_most_frequent_confusions_are_shown() -> None:
    classes = tuple(f"class {i}" for i in range(30))
    rows = [("class 1", "class 2")] * 3 + [("class 2", "class 1")] * 2 + [("class 3", "class 3")] * 9
    predictions = pd.DataFrame(rows, columns=["actual", "predicted"])
    shown = tables.confusion(predictions, classes).splitlines()
    assert shown[2:] == ["| class 1 | class 2 | 3 |", "| class 2 | class 1 | 2 |"]


def test_of_many_classes_without_a_mistake_there_is_no_table() -> None:
    predictions = pd.DataFrame({"actual": ["class 1"], "predicted": ["class 1"]})
    said = tables.confusion(predictions, tuple(f"class {i}" for i in range(30)))
    assert said == "No test image is misclassified."


def test_of_many_subgroups_the_largest_are_shown() -> None:
    strata = pd.DataFrame({"patient": [f"p{i:02}" for i in range(30)] + ["p29"]})
    predictions = pd.DataFrame({"actual": ["a"] * 31, "predicted": ["a"] * 31})
    shown = tables.subgroups(subgroups(dict.fromkeys(MODELS, predictions), strata, None), None)
    assert "the 20 largest of 30 subgroups" in shown
    assert "| p29 | 2 | 1.000 (0.158 to 1.000) |" in shown
    assert len(re.findall(r"\n\| p\d", shown)) == 20


def test_images_are_counted_by_class_and_split() -> None:
    data = {"splits": {"train": 9, "test": 1200}, "classes": {"train": {"a": 9}, "test": {"a": 1000, "b": 200}}}
    lines = tables.class_counts(data, make_spec(("a", "b"), "b", 1200)).splitlines()
    assert lines[2:] == ["| a | 9 | 1,000 | 1,009 |", "| b | 0 | 200 | 200 |", "| all 2 classes | 9 | 1,200 | 1,209 |"]


def test_reasons_for_quarantine_are_counted() -> None:
    table = pd.DataFrame({"image": ["a", "<b>", "c"], "reason": ["empty", "not an image", "not an image"]})
    assert _cells(tables.quarantine(table))[1] == [["not an image", "2", r"\<b>"], ["empty", "1", "a"]]
