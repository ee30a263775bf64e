"""Tests of transfer/dataset/layouts.py: what folders say of class and split."""

from pathlib import Path

import pytest

from transfer.core.cards import Card
from transfer.core.errors import UserError
from transfer.dataset.layouts import Labelled, Layout, read_layout


def _layout(folder: Path, files: list[str], card: Card | None = None) -> Layout:
    """The layout of a folder with these files, of which the .png and .JPEG are images; NAME/ is an empty folder."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        if file.endswith("/"):
            (folder / file).mkdir()
        else:
            (folder / file).write_text(file.split("/")[-1], encoding="utf-8")
    images = sorted(file for file in files if file.endswith((".png", ".JPEG")))
    others = sorted(file for file in files if not file.endswith((".png", ".JPEG", "/")))
    return read_layout(card or Card(title="t"), folder, images, others)


def _counts(layout: Layout) -> dict[str, dict[str, int]]:
    """Numbers of images by class and split."""
    counts: dict[str, dict[str, int]] = {}
    for row in layout.labelled:
        of_class = counts.setdefault(row.label, {})
        of_class[row.split] = of_class.get(row.split, 0) + 1
    return counts


def test_class_folders(tmp_path: Path) -> None:
    layout = _layout(tmp_path, ["b/1.png", "a/deep/2.png", "3.png"])
    assert layout.classes == ("a", "b")
    assert layout.labelled == [Labelled("a/deep/2.png", "a"), Labelled("b/1.png", "b")]
    assert layout.unlabelled == []
    assert layout.notes == [
        "beside the class folders, in no class: 3.png. They count as bad images: move them into the folders of their "
        "classes, or elsewhere"
    ]


def test_folders_without_images_are_no_classes_and_named(tmp_path: Path) -> None:
    layout = _layout(
        tmp_path, ["a/1.png", "b/1.png", "New folder/", "labels/1.txt", "labels/in/2.txt", "__MACOSX/", ".git/"]
    )
    assert layout.classes == ("a", "b")
    assert layout.notes == ["left out, without images: New folder, __MACOSX, labels (2 .txt)"]


@pytest.mark.parametrize("inside", [[], ["train/c/1.png", "train/b/1.png", "test/c/1.png"]])
def test_a_class_of_a_kind_that_is_not_read_is_an_error(tmp_path: Path, inside: list[str]) -> None:
    place = "test/" if inside else ""
    files = [*inside, f"{place}a/1.png", f"{place}b/1.HEIC", f"{place}b/2.heic", f"{place}b/3.mov"]
    with pytest.raises(UserError, match=rf"{place}b: no image in it can be read \(2 .heic, 1 .mov\): convert them"):
        _layout(tmp_path, files)


def test_one_class_is_an_error_that_says_what_was_left_out(tmp_path: Path) -> None:
    message = r"two or more classes need .*; found only a \(left out, without images: b, c \(1 .txt\)\)"
    with pytest.raises(UserError, match=message):
        _layout(tmp_path, ["a/1.png", "b/", "c/1.txt"])


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train", "test"], ["train", "test"]),
        (["Training", "valid", "TEST"], ["train", "validation", "test"]),
        (["train", "val"], ["train", "validation"]),
        (["train", "eval"], ["train", "test"]),
        (["train", "hold-out"], ["train", "test"]),
        (["train", "val", "Evaluation"], ["train", "validation", "test"]),
        (["train", "test", "eval"], ["train", "test", "validation"]),
        (["training_set", "test_set"], ["train", "test"]),
        (["trainset", "devset", "Test Images"], ["train", "validation", "test"]),
        (["seg_train/seg_train", "seg_val/seg_val", "seg_test/seg_test"], ["train", "validation", "test"]),
        (["asl_alphabet_train/asl_alphabet_train", "asl_alphabet_test"], ["train", "test"]),
        (["train2017", "val2017"], ["train", "validation"]),
        (["archive/data/train", "archive/data/test"], ["train", "test"]),
    ],
)
def test_folders_of_splits_are_kept(tmp_path: Path, names: list[str], splits: list[str]) -> None:
    layout = _layout(tmp_path, [f"{name}/{label}/1.png" for name in names for label in ("b", "a")])
    assert layout.classes == ("a", "b")
    expected = {Labelled(f"{name}/{label}/1.png", label, split) for name, split in zip(names, splits, strict=True)
                for label in ("a", "b")}  # fmt: skip
    assert set(layout.labelled) == expected
    said = sorted(
        (name.replace("archive/data/", "").split("/")[0], split) for name, split in zip(names, splits, strict=True)
    )
    assert "read as splits: " + ", ".join(f"{name} ({split})" for name, split in said) in layout.notes


def test_folders_of_splits_in_each_class_are_kept(tmp_path: Path) -> None:
    names = ["a/train/1.png", "a/train/2.png", "a/test/1.png", "b/Train/x/1.png", "b/test/1.png", "b/eval/1.png"]
    layout = _layout(tmp_path, [*names, "b/unlabeled/1.png"])
    assert _counts(layout) == {"a": {"train": 2, "test": 1}, "b": {"train": 1, "test": 1, "validation": 1}}
    assert layout.unlabelled == ["b/unlabeled/1.png"]
    named = read_layout(Card(title="t", classes=("b", "a")), tmp_path, sorted([*names, "b/unlabeled/1.png"]), [])
    assert _counts(named) == _counts(layout)


def test_splits_in_some_classes_only_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"splits \(test and train\), others are not \(images in b\).*`classes: \[a, b\]`"
    ):
        _layout(tmp_path, ["a/train/1.png", "a/test/1.png", "b/1.png"])
    named = read_layout(Card(title="t", classes=("a", "b")), tmp_path, ["a/test/1.png", "a/train/1.png", "b/1.png"], [])
    assert _counts(named) == {"a": {"": 2}, "b": {"": 1}}


@pytest.mark.parametrize(
    "extra",
    [
        ["unlabeled/1.png", "unlabeled/in/2.png"],
        ["Unlabelled/Unlabelled/1.png"],
        ["unsup/1.png"],
        ["seg_pred/seg_pred/1.png"],
    ],
)
def test_images_without_labels_beside_splits_are_left_out(tmp_path: Path, extra: list[str]) -> None:
    layout = _layout(tmp_path, [*extra, *(f"{split}/{label}/1.png" for split in ("train", "test") for label in "ab")])
    assert _counts(layout) == {label: {"train": 1, "test": 1} for label in "ab"}
    assert layout.unlabelled == extra


def test_a_hidden_test_has_no_labels(tmp_path: Path) -> None:
    layout = _layout(tmp_path, ["train/a/1.png", "train/b/2.png", "test/3.png", "test/4.png"])
    assert layout.unlabelled == ["test/3.png", "test/4.png"]
    assert len(layout.labelled) == 2


SPLITS = [f"{split}/{label}/1.png" for split in ("train", "val", "test") for label in "ab"]


def test_a_folder_that_holds_the_same_splits_again_is_left_out(tmp_path: Path) -> None:
    again = [f"chest_xray/{name}" for name in SPLITS]
    layout = _layout(tmp_path, [*SPLITS, *again, "__MACOSX/"])
    assert _counts(layout) == {label: {"train": 1, "validation": 1, "test": 1} for label in "ab"}
    assert layout.copies == sorted(again)
    assert layout.notes[0] == "left out: chest_xray, a copy of what lies beside it"


def test_a_folder_that_holds_the_same_classes_again_is_left_out(tmp_path: Path) -> None:
    files = ["rose/1.png", "daisy/1.png", "daisy/2.png"]
    layout = _layout(tmp_path, [*files, *(f"flowers/{name}" for name in files)])
    assert layout.classes == ("daisy", "rose")
    assert len(layout.copies) == 3


@pytest.mark.parametrize("change", ["size", "missing"])
def test_a_folder_that_is_no_copy_of_the_splits_is_an_error(tmp_path: Path, change: str) -> None:
    files = [*SPLITS, *(f"chest_xray/{name}" for name in SPLITS)]
    _layout(tmp_path, files)
    if change == "size":
        (tmp_path / files[-1]).write_text("another image", encoding="utf-8")
    else:
        files.pop()
    with pytest.raises(UserError, match=r"named like splits \(test, train and val\), others are not \(chest_xray\)"):
        read_layout(Card(title="t"), tmp_path, sorted(files), [])


@pytest.mark.parametrize("extra", ["bus/a/1.png", "bus/1.png"])
def test_another_folder_beside_splits_is_an_error_that_shows_both_readings(tmp_path: Path, extra: str) -> None:
    files = [*(f"{split}/{label}/1.png" for split in ("train", "test") for label in "ab"), extra]
    with pytest.raises(UserError) as caught:
        _layout(tmp_path, files)
    assert str(caught.value) == (
        f"{tmp_path}: some folders are named like splits (test and train), others are not (bus). If they are splits, "
        "move bus out of the folder (or rename it to unlabeled, if its images have no labels). If they are classes, "
        "name them in card.yaml: `classes: [bus, test, train]`"
    )
    layout = read_layout(Card(title="t", classes=("bus", "test", "train")), tmp_path, sorted(files), [])
    assert layout.classes == ("bus", "test", "train")


@pytest.mark.parametrize(
    "files",
    [
        ["train/1.png", "bus/2.png"],  # a vehicle
        ["test/1.png", "control/2.png"],  # tubes
        ["test/tall/1.png", "control/2.png"],
    ],
)
def test_other_folders_are_classes(tmp_path: Path, files: list[str]) -> None:
    layout = _layout(tmp_path, files)
    assert layout.classes == tuple(sorted(file.split("/")[0] for file in files))
    assert {row.split for row in layout.labelled} == {""}


@pytest.mark.parametrize("files", [["train/1.png", "test/2.png"], ["test/a/1.png", "val/a/1.png"]])
def test_splits_without_classes_to_train_on_are_an_error(tmp_path: Path, files: list[str]) -> None:
    with pytest.raises(UserError, match=r"named like splits, but there is no folder train with a folder for each cl"):
        _layout(tmp_path, files)
    names = tuple(sorted(file.split("/")[0] for file in files))
    layout = read_layout(Card(title="t", classes=names), tmp_path, sorted(files), [])
    assert layout.classes == names


def test_of_a_single_folder_the_folders_inside_are_read(tmp_path: Path) -> None:
    layout = _layout(tmp_path, ["train/a/1.png", "train/b/1.png", "test/notes.txt"])
    assert _counts(layout) == {"a": {"": 1}, "b": {"": 1}}
    assert layout.notes == ["read: the folders in train/", "left out, without images: test (1 .txt)"]


def test_two_folders_for_one_split_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"val and validation would both be the validation split: put them into one"):
        _layout(tmp_path, [f"{name}/a/1.png" for name in ("train", "val", "validation")])


def test_both_unicode_forms_of_a_name_are_one_class(tmp_path: Path) -> None:
    composed, decomposed = "caf\xe9", "cafe\u0301"
    layout = _layout(tmp_path, [f"train/{composed}/1.png", f"test/{decomposed}/1.png", "train/b/1.png", "test/b/1.png"])
    assert _counts(layout) == {composed: {"train": 1, "test": 1}, "b": {"train": 1, "test": 1}}
    assert f"test/{decomposed}/1.png" in [row.image for row in layout.labelled]
    card = Card(title="t", classes=(decomposed, "b"))
    assert read_layout(card, tmp_path, [row.image for row in layout.labelled], []).classes == (decomposed, "b")


def test_a_class_in_capitals_in_one_split_only_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"one class is spelled in two ways, Cat in train and cat in test: rename a folder"
    ):
        _layout(tmp_path, ["train/Cat/1.png", "test/cat/1.png", "train/b/1.png", "test/b/1.png"])


def test_classes_that_differ_in_capitals_in_one_split_are_two(tmp_path: Path) -> None:
    assert _layout(tmp_path, ["train/A/1.png", "train/a/1.png", "test/a/1.png"]).classes == ("A", "a")


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
        ("val_0.JPEG\n", r"is not tab-separated text of two columns or more: not enough values"),
    ],
)
def test_wrong_annotations_of_tiny_imagenet_are_an_error(tmp_path: Path, annotations: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _tiny(tmp_path, "n1\tone\n", annotations)


def test_a_card_that_names_other_classes_is_an_error(tmp_path: Path) -> None:
    card = Card(title="t", classes=("a", "c"))
    with pytest.raises(UserError, match=r"the card names the classes a, c, but the folders with images are a, b: make"):
        _layout(tmp_path, ["a/1.png", "b/1.png"], card)


def test_the_order_of_classes_is_the_cards(tmp_path: Path) -> None:
    assert _layout(tmp_path, ["a/1.png", "b/1.png"], Card(title="t", classes=("b", "a"))).classes == ("b", "a")
