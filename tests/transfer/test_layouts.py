"""Tests of transfer/layouts.py: what folders say of class and split."""

from pathlib import Path

import pytest

from transfer.cards import Card
from transfer.errors import UserError
from transfer.layouts import Labelled, Layout, read_layout


def _layout(folder: Path, files: list[str], card: Card | None = None) -> Layout:
    """The layout of a folder with these files, of which the .png and .JPEG are images."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    images = sorted(file for file in files if file.endswith((".png", ".JPEG")))
    return read_layout(card or Card(title="t"), folder, images)


def test_class_folders(tmp_path: Path) -> None:
    layout = _layout(tmp_path, ["b/1.png", "a/deep/2.png", "c/notes.txt", "3.png"])
    assert layout.classes == ("a", "b", "c")
    assert layout.labelled == [Labelled("a/deep/2.png", "a"), Labelled("b/1.png", "b")]
    assert layout.unlabelled == []


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train", "test"], ["train", "test"]),
        (["Training", "valid", "TEST"], ["train", "validation", "test"]),
        (["train", "val"], ["train", "validation"]),
    ],
)
def test_folders_of_splits_are_kept(tmp_path: Path, names: list[str], splits: list[str]) -> None:
    layout = _layout(tmp_path, [f"{name}/{label}/1.png" for name in names for label in ("b", "a")])
    assert layout.classes == ("a", "b")
    expected = {Labelled(f"{name}/{label}/1.png", label, split) for name, split in zip(names, splits, strict=True)
                for label in ("a", "b")}  # fmt: skip
    assert set(layout.labelled) == expected


def test_a_hidden_test_has_no_labels(tmp_path: Path) -> None:
    layout = _layout(tmp_path, ["train/a/1.png", "train/b/2.png", "test/3.png", "test/4.png"])
    assert layout.unlabelled == ["test/3.png", "test/4.png"]
    assert len(layout.labelled) == 2


@pytest.mark.parametrize(
    "files",
    [
        ["train/1.png", "bus/2.png"],  # a vehicle
        ["train/1.png", "test/2.png"],  # no class folders inside
        ["train/a/1.png", "bus/a/2.png"],
        ["test/a/1.png", "val/a/1.png"],  # nothing to train on
    ],
)
def test_other_folders_are_classes(tmp_path: Path, files: list[str]) -> None:
    layout = _layout(tmp_path, files)
    assert layout.classes == tuple(sorted(file.split("/")[0] for file in files))
    assert {row.split for row in layout.labelled} == {""}


def test_two_folders_for_one_split_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"one folder for the split validation, received \['val', 'validation'\]"):
        _layout(tmp_path, [f"{name}/a/1.png" for name in ("train", "val", "validation")])


def _tiny(folder: Path, words: str, annotations: str) -> Layout:
    (folder / "val").mkdir()
    (folder / "words.txt").write_text(words, encoding="utf-8")
    (folder / "val/val_annotations.txt").write_text(annotations, encoding="utf-8")
    train = [f"train/{wnid}/images/{wnid}_0.JPEG" for wnid in ("n1", "n2", "n3")]
    return _layout(folder, [*train, "train/n1/n1_boxes.txt", "val/images/val_0.JPEG", "test/images/test_0.JPEG"])


def test_tiny_imagenet(tmp_path: Path) -> None:
    words = "n1\tcrane\nn2\tcrane, a bird\nn3\tmonarch, a butterfly\nn4\tnot here\n"
    layout = _tiny(tmp_path, words, "val_0.JPEG\tn3\t0\t0\t1\t1\n")
    assert layout.classes == ("crane", "crane, a bird", "monarch")
    assert layout.unlabelled == ["test/images/test_0.JPEG"]
    assert Labelled("val/images/val_0.JPEG", "monarch", "test") in layout.labelled
    assert Labelled("train/n2/images/n2_0.JPEG", "crane, a bird", "train") in layout.labelled
    assert len(layout.labelled) == 4


def test_classes_of_tiny_imagenet_whose_words_are_the_same_keep_their_ids(tmp_path: Path) -> None:
    layout = _tiny(tmp_path, "n1\tcrane\nn2\tcrane\n", "val_0.JPEG\tn3\n")
    assert layout.classes == ("crane (n1)", "crane (n2)", "n3")


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ("val_0.JPEG\tn9\n", r"val_0.JPEG: expected one of the classes, received 'n9'"),
        ("val_0.JPEG\n", r"line 1: expected 2 tab-separated columns, received 1"),
    ],
)
def test_wrong_annotations_of_tiny_imagenet_are_an_error(tmp_path: Path, annotations: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _tiny(tmp_path, "n1\tone\n", annotations)


def test_a_card_that_names_other_classes_is_an_error(tmp_path: Path) -> None:
    card = Card(title="t", classes=("a", "c"))
    with pytest.raises(UserError, match=r"expected the class folders \['a', 'c'\], received \['a', 'b'\]"):
        _layout(tmp_path, ["a/1.png", "b/1.png"], card)


def test_the_order_of_classes_is_the_cards(tmp_path: Path) -> None:
    assert _layout(tmp_path, ["a/1.png", "b/1.png"], Card(title="t", classes=("b", "a"))).classes == ("b", "a")
