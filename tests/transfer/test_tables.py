"""Tests of transfer/tables.py: a table of classes or of probabilities becomes labels."""

from pathlib import Path

import pandas as pd
import pytest

from transfer.cards import read_folder_card
from transfer.errors import UserError
from transfer.tables import read_table

HARD = "title: t\nclasses: ['no', 'yes']\ntable: {file: labels.csv, image: path, label: class, stratify: [kind]}\n"
SOFT = (
    "title: t\nclasses: ['no', 'yes']\ntable: {file: labels.csv, image: path, soft_label: p, threshold: 0.5, "
    "confidence: [[0, 1], [0.333333, 0.25], [1, 0.5]]}\n"
)
PATIENTS = "title: t\ntable: {file: labels.csv, image: path, label: class, group: patient, split: use}\n"


def _table(folder: Path, text: str, table: str) -> pd.DataFrame:
    (folder / "card.yaml").write_text(text, encoding="utf-8")
    (folder / "labels.csv").write_text(table, encoding="utf-8")
    card = read_folder_card(folder)
    assert card.table is not None
    return read_table(card, card.table, folder)[1]


def test_a_table_of_classes_becomes_labels(tmp_path: Path) -> None:
    labels = _table(tmp_path, HARD, "path,class,kind\nred/000.png,yes,big\nblue/000.png,no,small\n")
    assert list(labels["label"]) == ["yes", "no"]
    assert list(labels["stratum"]) == ["yes/big", "no/small"]
    assert list(_table(tmp_path, HARD, "path,class,kind\na.png,yes,N/A\n")["stratum"]) == ["yes/N%2FA"]


def test_a_table_of_probabilities_becomes_labels_and_confidences(tmp_path: Path) -> None:
    rows = ["red/000.png,1.0", "red/001.png,0.3333333333333333", "blue/000.png,0"]
    labels = _table(tmp_path, SOFT, "\n".join(["path,p", *rows, ""]))
    assert list(labels["label"]) == ["yes", "no", "no"]
    assert list(labels["confidence"]) == [0.5, 0.25, 1]
    assert list(labels["soft_label"]) == [1, pytest.approx(1 / 3), 0]


def test_a_probability_equal_to_the_threshold_is_the_first_class(tmp_path: Path) -> None:
    labels = _table(
        tmp_path, SOFT.replace("confidence: [[0, 1], [0.333333, 0.25], [1, 0.5]]", ""), "path,p\na.png,0.5\n"
    )
    assert list(labels["label"]) == ["no"]


@pytest.mark.parametrize(
    ("card", "table", "message"),
    [
        (HARD, "path,class\na.png,yes\n", r"expected the columns \['kind'\], received \['path', 'class'\]"),
        (HARD, "path,class,kind\na.png,maybe,x\n", r"row 1: expected one of \['no', 'yes'\], received 'maybe'"),
        (
            HARD,
            "path,class,kind\na.png,yes,x\na.png,no,x\n",
            r"expected one row an image, received several for 'a.png'",
        ),
        (HARD, "", "expected a table of labels"),
        (SOFT, "path,p\na.png,1\nb.png,high\n", r"row 2: p: expected a probability, received 'high'"),
        (SOFT, "path,p\na.png,1.5\n", r"row 1: p: expected a probability, received '1.5'"),
        (SOFT, "path,p\na.png,\n", r"row 1: p: expected a probability, received ''"),
        (SOFT, "path,p\na.png,0.7\n", r"row 1: expected a soft label with a confidence .*, received 0.7"),
    ],
)
def test_a_wrong_table_is_an_error_that_says_where(tmp_path: Path, card: str, table: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _table(tmp_path, card, table)


def test_no_table_at_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(HARD, encoding="utf-8")
    card = read_folder_card(tmp_path)
    assert card.table is not None
    with pytest.raises(UserError, match=r"labels.csv: expected a table of labels"):
        read_table(card, card.table, tmp_path)


def test_groups_and_splits_are_read_by_their_columns(tmp_path: Path) -> None:
    rows = ["a.png,yes,p1,train", "b.png,no,p1,Training", "c.png,no,,val", "d.png,yes,p2,", "e.png,no,p3,TEST"]
    labels = _table(tmp_path, PATIENTS, "\n".join(["path,class,patient,use", *rows, ""]))
    assert list(labels["group"]) == ["p1", "p1", "", "p2", "p3"]
    assert list(labels["split"]) == ["train", "train", "validation", "", "test"]


def test_classes_that_the_card_does_not_name_are_those_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path\tclass\na.png\tyes\nb.png\tno\n", encoding="utf-8")
    text = "title: t\ntable: {file: labels.csv, image: path, label: class, separator: tab}\n"
    (tmp_path / "card.yaml").write_text(text, encoding="utf-8")
    card = read_folder_card(tmp_path)
    assert card.table is not None
    assert read_table(card, card.table, tmp_path)[0] == ("no", "yes")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.png,yes,p1,train\nb.png,no,p1,exam\n", r"row 2: expected a split \(train, .*\), received 'exam'"),
        ("a.png,yes,p1,\nb.png,,p1,\n", r"row 2: expected one of \['', 'yes'\], received ''"),
        ("a.png,yes,p1,\n", r"expected labels of two or more classes, received \['yes'\]"),
    ],
)
def test_wrong_splits_and_classes_are_an_error(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _table(tmp_path, PATIENTS, "path,class,patient,use\n" + rows)
