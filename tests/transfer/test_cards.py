"""Tests of transfer/cards.py."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from transfer.cards import Card, read_card
from transfer.errors import UserError

VALID = "title: cells\nclasses: ['no', 'yes']\n"
TABLE = "table: {file: labels.csv, image: path, label: class}\n"


def _read(folder: Path, text: str) -> Card:
    (folder / "card.yaml").write_text(text, encoding="utf-8")
    return read_card(folder)[0]


def test_the_card_of_the_default_dataset_is_valid() -> None:
    card, _ = read_card(ROOT / "data/cards/elpv.yaml")
    assert card.classes == ("intact", "defective")
    assert card.symmetry == "dihedral"
    assert "CC BY-NC-SA 4.0" in card.licence


def test_a_folder_needs_no_card_and_then_claims_no_symmetry(tmp_path: Path) -> None:
    card, folder = read_card(tmp_path)
    assert (card.title, card.symmetry, folder) == (tmp_path.name, "none", tmp_path)


def test_no_dataset_at_its_place_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dataset: expected a card or a folder of images, received .*nowhere"):
        read_card(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel: cells\n", r"titel: expected title \(is it misspelt\?\)"),
        ("classes: ['no', 'yes']\n", "title: expected a value, received none"),
        ("title: t\nclasses: ['no']\n", "classes to be two or more different names"),
        ("title: t\nclasses: ['no', 'no']\n", "classes to be two or more different names"),
        (VALID + "positive: maybe\n", r"positive to be one of the classes \['no', 'yes'\], received 'maybe'"),
        (VALID + "symmetry: turned\n", "symmetry: expected 'none', 'mirror' or 'dihedral', received 'turned'"),
        (VALID + "channels: 2\n", "channels: expected 1 or 3, received 2"),
        ("title: t\n" + TABLE, "classes to be given, where a table holds the labels"),
        (VALID + "table: {file: a, image: b}\n", "one of label and soft_label"),
        (VALID + "table: {file: a, image: b, label: c, soft_label: d}\n", "one of label and soft_label"),
        (VALID + "table: {file: a, image: b, label: c, confidence: [[0, 1]]}\n", "together with soft_label"),
        ("title: t\nclasses: [a, b, c]\ntable: {file: a, image: b, soft_label: d}\n", "two classes, where a soft"),
        (VALID + "source: {package: p, version: '1', folder: f}\n", "a table, where the source is a package"),
        (VALID + TABLE + "source: {package: p, version: '1', folder: f}\n", "received one with a source"),
    ],
)
def test_a_wrong_card_is_an_error_that_says_what(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _read(tmp_path, text)


def test_a_card_file_without_a_source_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(VALID, encoding="utf-8")
    with pytest.raises(UserError, match="expected a source; to use a folder of images, give the folder itself"):
        read_card(tmp_path / "own.yaml")
