"""Tests of transfer/report.py; the whole report is read in tests/stages."""

import pandas as pd

from transfer.report import _confusion, markdown_table, without_error


def test_a_score_without_an_error_is_said_to_prove_little() -> None:
    assert without_error(pd.DataFrame({"accuracy": [0.9, 0.99]}), 100) == ""
    said = without_error(pd.DataFrame({"accuracy": [0.9, 1.0]}), 100)
    assert "100 test images are too few" in said
    assert "may be as low as 0.970 (" in said


def test_of_many_classes_the_most_frequent_confusions_are_shown() -> None:
    classes = tuple(f"class {i}" for i in range(30))
    rows = [("class 1", "class 2")] * 3 + [("class 2", "class 1")] * 2 + [("class 3", "class 3")] * 9
    predictions = pd.DataFrame(rows, columns=["actual", "predicted"])
    shown = _confusion(predictions, classes).splitlines()
    assert shown[2:] == ["| class 1 | class 2 | 3 |", "| class 2 | class 1 | 2 |"]


def test_a_class_name_cannot_break_a_table() -> None:
    assert markdown_table(["a|b"], [["c"]]).splitlines()[0] == "| a&#124;b |"
