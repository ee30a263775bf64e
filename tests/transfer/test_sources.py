"""Tests of transfer/sources.py: any source becomes images, labels.csv and a card."""

from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import ROOT, colour_images
from transfer.errors import UserError
from transfer.sources import obtain

COLOURS = {"blue": (40, 60, 200), "red": (200, 60, 40)}
HARD = "title: t\nclasses: ['no', 'yes']\ntable: {file: labels.csv, image: path, label: class, stratify: [kind]}\n"
SOFT = (
    "title: t\nclasses: ['no', 'yes']\ntable: {file: labels.csv, image: path, soft_label: p, threshold: 0.5, "
    "confidence: [[0, 1], [0.333333, 0.25], [1, 0.5]]}\n"
)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    colour_images(tmp_path / "pictures", COLOURS, each=3, size=8)
    return tmp_path / "pictures"


def _table(pictures: Path, card: str, table: str) -> pd.DataFrame:
    (pictures / "card.yaml").write_text(card, encoding="utf-8")
    (pictures / "labels.csv").write_text(table, encoding="utf-8")
    return obtain(pictures, pictures.parent / "raw").labels


def test_class_folders_become_labels(pictures: Path, tmp_path: Path) -> None:
    done = obtain(pictures, tmp_path / "raw")
    assert done.card.classes == ("blue", "red")
    assert done.images == 6
    assert done.passed_over == []
    assert dict(zip(done.labels["image"], done.labels["label"], strict=True)) == {
        f"{name}/{i:03}.png": name for name in COLOURS for i in range(3)
    }
    copied = tmp_path / "raw/images/red/001.png"
    assert copied.read_bytes() == (pictures / "red/001.png").read_bytes()
    written = pd.read_csv(tmp_path / "raw/labels.csv")
    assert list(written.columns) == ["image", "label", "soft_label", "confidence", "stratum"]


def test_hidden_files_do_not_count_and_other_files_are_named(pictures: Path, tmp_path: Path) -> None:
    (pictures / "card.yaml").write_text(HARD, encoding="utf-8")
    (pictures / "labels.csv").write_text("path,class,kind\nred/000.png,yes,big\n", encoding="utf-8")
    (pictures / "red/.hidden.png").write_bytes(b"")
    (pictures / "red/notes.txt").write_bytes(b"")
    (pictures / "blue/photo.heic").write_bytes(b"")
    done = obtain(pictures, tmp_path / "raw")
    assert done.images == 6
    assert done.passed_over == ["blue/photo.heic", "red/notes.txt"]


def test_a_table_of_classes_becomes_labels(pictures: Path) -> None:
    labels = _table(pictures, HARD, "path,class,kind\nred/000.png,yes,big\nblue/000.png,no,small\n")
    assert list(labels["label"]) == ["yes", "no"]
    assert list(labels["stratum"]) == ["yes/big", "no/small"]


def test_a_table_of_probabilities_becomes_labels_and_confidences(pictures: Path) -> None:
    rows = ["red/000.png,1.0", "red/001.png,0.3333333333333333", "blue/000.png,0"]
    labels = _table(pictures, SOFT, "\n".join(["path,p", *rows, ""]))
    assert list(labels["label"]) == ["yes", "no", "no"]
    assert list(labels["confidence"]) == [0.5, 0.25, 1]
    assert list(labels["soft_label"]) == [1, pytest.approx(1 / 3), 0]


def test_a_probability_equal_to_the_threshold_is_the_first_class(pictures: Path) -> None:
    labels = _table(
        pictures, SOFT.replace("confidence: [[0, 1], [0.333333, 0.25], [1, 0.5]]", ""), "path,p\na.png,0.5\n"
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
def test_a_wrong_table_is_an_error_that_says_where(pictures: Path, card: str, table: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _table(pictures, card, table)


def test_no_table_at_its_place_is_an_error(pictures: Path, tmp_path: Path) -> None:
    (pictures / "card.yaml").write_text(HARD, encoding="utf-8")
    with pytest.raises(UserError, match=r"labels.csv: expected a table of labels"):
        obtain(pictures, tmp_path / "raw")


def test_one_class_folder_is_an_error(tmp_path: Path) -> None:
    colour_images(tmp_path / "pictures", {"blue": (40, 60, 200)}, each=2, size=8)
    with pytest.raises(UserError, match=r"expected a folder for each of two or more classes, received \['blue'\]"):
        obtain(tmp_path / "pictures", tmp_path / "raw")


def test_class_folders_without_images_are_an_error(tmp_path: Path) -> None:
    for name in ("blue", "red"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=r"pictures: expected images \(\.bmp, .*\), received none"):
        obtain(tmp_path / "pictures", tmp_path / "raw")


def test_class_folders_that_the_card_does_not_name_are_an_error(pictures: Path, tmp_path: Path) -> None:
    (pictures / "card.yaml").write_text("title: t\nclasses: [blue, green]\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"expected the class folders \['blue', 'green'\], received \['blue', 'red'\]"):
        obtain(pictures, tmp_path / "raw")


def test_a_package_that_is_not_installed_is_an_error_with_the_command(tmp_path: Path) -> None:
    card = (ROOT / "data/cards/elpv.yaml").read_text(encoding="utf-8").replace("elpv-dataset", "no-such-dataset")
    (tmp_path / "card.yaml").write_text(card, encoding="utf-8")
    with pytest.raises(UserError, match=r"not installed: pip install no-such-dataset==1.0.0.post1"):
        obtain(tmp_path / "card.yaml", tmp_path / "raw")


def test_the_default_dataset_is_what_its_paper_says(tmp_path: Path) -> None:
    done = obtain(ROOT / "data/cards/elpv.yaml", tmp_path / "raw")
    labels = done.labels
    assert (done.images, len(labels), done.passed_over) == (2624, 2624, [])
    assert labels["soft_label"].round(2).value_counts().to_dict() == {0.0: 1508, 0.33: 295, 0.67: 106, 1.0: 715}
    assert labels["label"].value_counts().to_dict() == {"intact": 1803, "defective": 821}
    assert labels["stratum"].nunique() == 8
    assert labels.groupby("label")["confidence"].sum().round(2).to_dict() == {"defective": 785.67, "intact": 1606.33}
