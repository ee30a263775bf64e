"""How folders say which class, and which split, their images belong to."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from transfer.cards import Card
from transfer.errors import UserError

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What people call the splits, and what they are called here."""
ANNOTATIONS = "val/val_annotations.txt"  # of Tiny ImageNet
WORDS = "words.txt"


@dataclass(frozen=True)
class Labelled:
    """An image file (path below the folder, with /), its class, and the split that it is given to, or ""."""

    image: str
    label: str
    split: str = ""


@dataclass(frozen=True)
class Layout:
    """What a folder's layout says: class names, labelled images, and images in parts of it that have no labels."""

    classes: tuple[str, ...]
    labelled: list[Labelled]
    unlabelled: list[str]


def read_layout(card: Card, folder: Path, images: list[str]) -> Layout:
    """Find out the layout of a folder, and read it.

    One of: a folder for each class; the same inside of folders train, test and, possibly, val (or the usual other
    words), whose splits are kept; Tiny ImageNet's.

    Args:
        card: the dataset's; its classes, where it names them, must be those of the folder.
        folder: the folder.
        images: paths of all image files below it, with /.

    Raises:
        UserError: fewer than two classes, others than the card's, or two folders for one split.
    """
    if (folder / ANNOTATIONS).is_file():
        layout = _tiny_imagenet(folder, images)
    else:
        names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        splits = _split_folders(folder, names, images)
        layout = _split_layout(folder, splits, images) if splits else _class_folders(names, images)
    if len(layout.classes) < 2:
        raise UserError(f"{folder}: expected a folder for each of two or more classes, received {list(layout.classes)}")
    if card.classes and set(layout.classes) != set(card.classes):
        raise UserError(
            f"{folder}: expected the class folders {sorted(card.classes)}, received {sorted(layout.classes)}"
        )
    return Layout(card.classes or layout.classes, layout.labelled, layout.unlabelled)


def _class_folders(names: list[str], images: list[str]) -> Layout:
    labelled = [Labelled(image, image.split("/")[0]) for image in images if "/" in image]
    return Layout(tuple(names), labelled, [])


def _split_folders(folder: Path, names: list[str], images: list[str]) -> dict[str, str]:
    """Return the split that each folder stands for, where all stand for one and class folders lie in train's."""
    splits = {name: SPLIT_WORDS.get(name.lower(), "") for name in names}
    train = [name for name, split in splits.items() if split == "train"]
    nested = any(image.count("/") > 1 and image.split("/")[0] in train for image in images)
    if not nested or len(names) < 2 or not all(splits.values()):
        return {}
    for split, count in Counter(splits.values()).items():
        if count > 1:
            both = [name for name in names if splits[name] == split]
            raise UserError(f"{folder}: expected one folder for the split {split}, received {both}")
    return splits


def _split_layout(folder: Path, splits: dict[str, str], images: list[str]) -> Layout:
    classes = {path.name for name in splits for path in (folder / name).iterdir() if path.is_dir()}
    labelled, unlabelled = [], []
    for image in images:
        parts = image.split("/")
        if len(parts) > 2:
            labelled.append(Labelled(image, parts[1], splits[parts[0]]))
        elif len(parts) == 2:  # images that lie in a split's folder itself, as those of a hidden test do
            unlabelled.append(image)
    return Layout(tuple(sorted(name for name in classes if not name.startswith("."))), labelled, unlabelled)


def _table_of(path: Path, columns: int) -> list[list[str]]:
    """Read tab-separated lines.

    Raises:
        UserError: no such file, no text, or a line with fewer columns.
    """
    try:
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected tab-separated text, received: {error}") from error
    for number, row in enumerate(rows, 1):
        if len(row) < columns:
            raise UserError(f"{path}: line {number}: expected {columns} tab-separated columns, received {len(row)}")
    return rows


def _class_names(path: Path, ids: list[str]) -> dict[str, str]:
    """Name WordNet IDs: by the first of the words that words.txt has for each, by all where that is not unique."""
    if not path.is_file():
        return {wnid: wnid for wnid in ids}
    words = dict(row[:2] for row in _table_of(path, 2))
    first = {wnid: words.get(wnid, wnid).split(",")[0].strip() for wnid in ids}
    names = {wnid: name if list(first.values()).count(name) == 1 else words[wnid] for wnid, name in first.items()}
    repeated = [name for name, count in Counter(names.values()).items() if count > 1]
    return {wnid: f"{name} ({wnid})" if name in repeated else name for wnid, name in names.items()}


def _tiny_imagenet(folder: Path, images: list[str]) -> Layout:
    """Read train/WNID/images/*.JPEG and val/images/*.JPEG, whose labels stand in val_annotations.txt.

    The labels of its test images were never published, so that val is what results are reported on: it becomes the
    test split.
    """
    annotated = {row[0]: row[1] for row in _table_of(folder / ANNOTATIONS, 2)}
    ids = sorted(path.name for path in (folder / "train").iterdir() if path.is_dir())
    names = _class_names(folder / WORDS, ids)
    labelled, unlabelled = [], []
    for image in images:
        parts = image.split("/")
        if parts[0] == "train" and len(parts) > 2:
            labelled.append(Labelled(image, names[parts[1]], "train"))
        elif parts[0] == "val" and (wnid := annotated.get(parts[-1])) is not None:
            if wnid not in names:
                raise UserError(f"{folder / ANNOTATIONS}: {parts[-1]}: expected one of the classes, received {wnid!r}")
            labelled.append(Labelled(image, names[wnid], "test"))
        else:
            unlabelled.append(image)
    return Layout(tuple(names.values()), labelled, unlabelled)
