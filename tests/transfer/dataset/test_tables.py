"""Tests of transfer/dataset/tables.py: a table of classes or of probabilities becomes labels."""

from pathlib import Path

import pandas as pd
import pytest

from transfer.core.cards import read_folder_card
from transfer.core.errors import UserError
from transfer.dataset.tables import read_table

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
        (
            HARD,
            "path,class\na.png,yes\n",
            r"it has no column 'kind'; its columns, comma-separated, are \['path', 'class'\]",
        ),
        (
            HARD,
            "a.png,yes,x\nb.png,no,x\n",
            r"it has no column 'path'; .* its first line names an image: if there is no header, list `columns` in the",
        ),
        (HARD, "path,class,kind\na.png,maybe,x\n", r"line 2: 'maybe' is not one of the card's classes, no, yes"),
        (
            HARD,
            "path,class,kind\na.png,yes,x\na.png,no,x\n",
            r"lines 2 and 3 both label 'a.png'; leave one of them",
        ),
        (HARD, "", "it has no column 'path'"),
        (SOFT, "path,p\na.png,1\nb.png,high\n", r"line 3: p: 'high' is not a probability; write 0 to 1"),
        (SOFT, "path,p\na.png,1.5\n", r"line 2: p: '1.5' is not a probability"),
        (SOFT, "path,p\na.png,\n", r"line 2: p: '' is not a probability"),
        (SOFT, "path,p\na.png,0.7\n", r"line 2: the card's table.confidence has no weight for 0.7, but for \[0.0"),
    ],
)
def test_a_wrong_table_is_an_error_that_says_where(tmp_path: Path, card: str, table: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _table(tmp_path, card, table)


def test_no_table_at_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(HARD, encoding="utf-8")
    card = read_folder_card(tmp_path)
    assert card.table is not None
    with pytest.raises(UserError, match=r"labels.csv: No such file or directory; the card's table names this file"):
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
        ("a.png,yes,p1,train\nb.png,no,p1,exam\n", r"line 3: 'exam' is not a split; write one of train, "),
        ("a.png,yes,p1,test\nb.png,,p1,\n", r"line 3: no label; write one or leave the line out"),
        ("a.png,yes,p1,test\n", r"there are labels of one class only, 'yes'; two or more are needed"),
    ],
)
def test_wrong_splits_and_classes_are_an_error(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _table(tmp_path, PATIENTS, "path,class,patient,use\n" + rows)


@pytest.mark.parametrize(
    ("empty", "message"),
    [
        (
            "patient",
            r"labels.csv: the column 'patient' \(the card's table.group\) is empty; fill it in or leave it out",
        ),
        ("use", r"labels.csv: the column 'use' \(the card's table.split\) is empty; fill it in or leave it out"),
        ("kind", r"labels.csv: the column 'kind' \(the card's table.stratify\) is empty; fill it in or leave it out"),
    ],
)
def test_a_column_that_is_empty_throughout_is_an_error(tmp_path: Path, empty: str, message: str) -> None:
    values = {"path": ["a.png", "b.png"], "class": ["no", "yes"], "patient": "p1", "use": "test", "kind": "k"}
    card = PATIENTS.replace("split: use", "split: use, stratify: [kind]")
    with pytest.raises(UserError, match=message):
        _table(tmp_path, card, pd.DataFrame({**values, empty: " "}).to_csv(index=False))


def test_white_space_around_values_does_not_count_and_joined_labels_are_said(tmp_path: Path) -> None:
    rows = ["a.png,yes ,p1 ,train", "b.png,yes,p1, train", "c.png, no,p2,test"]
    text = "\n".join(["path, class ,patient,use", *rows, ""])
    labels = _table(tmp_path, PATIENTS, text)
    assert list(labels["label"]) == ["yes", "yes", "no"]
    assert list(labels["group"]) == ["p1", "p1", "p2"]
    assert list(labels["split"]) == ["train", "train", "test"]
    card = read_folder_card(tmp_path)
    assert card.table is not None
    classes, _, notes = read_table(card, card.table, tmp_path)
    assert classes == ("no", "yes")
    assert notes == ["labels.csv: 'yes' is written with and without spaces around it; both are read as one class"]
    (tmp_path / "labels.csv").write_text(text.replace("yes ", "Yes"), encoding="utf-8")
    classes, _, notes = read_table(card, card.table, tmp_path)
    assert classes == ("Yes", "no", "yes")
    assert notes == [
        "labels.csv: 'Yes' and 'yes' differ only in case and are different classes; if they are one, write it one way"
    ]


@pytest.mark.parametrize("line", [2, 3])
def test_a_comma_without_quotation_marks_is_an_error_with_its_line(tmp_path: Path, line: int) -> None:
    rows = ["a.png,yes,big", "b.png,no,small"]
    rows.insert(line - 2, "c.png,yes,big, red")
    message = rf"line {line} has 4 values for 3 columns: 'c.png,yes,big,red'; put a value that holds a comma into"
    with pytest.raises(UserError, match=message):
        _table(tmp_path, HARD, "\n".join(["path,class,kind", *rows, ""]))
    text = "\n".join(["path,class,kind", *rows, ""]).replace("big, red", '"big, red"')
    assert "yes/big, red" in list(_table(tmp_path, HARD, text)["stratum"])


def test_a_quotation_mark_that_is_not_closed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels.csv: line 4: .*; is a quotation mark not closed\?"):
        _table(tmp_path, HARD, 'path,class,kind\na.png,yes,"big\nb.png,no,small\nc.png,no,small\n')


def test_a_table_in_another_encoding_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(HARD, encoding="utf-8")
    (tmp_path / "labels.csv").write_bytes("path,class,kind\nä.png,yes,big\n".encode("cp1252"))
    card = read_folder_card(tmp_path)
    assert card.table is not None
    with pytest.raises(UserError, match=r"labels.csv: it is not in UTF-8; save the table as CSV in UTF-8"):
        read_table(card, card.table, tmp_path)


def test_what_excel_adds_is_no_fault(tmp_path: Path) -> None:
    text = "\ufeffpath,class,kind,,\r\na.png,yes,big,,\r\n,,,,\r\nb.png,no,small,,\r\n"
    labels = _table(tmp_path, HARD, text)
    assert list(labels["image"]) == ["a.png", "b.png"]
    assert list(labels["stratum"]) == ["yes/big", "no/small"]
