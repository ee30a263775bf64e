"""How folders say which class, and which split, their images belong to."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from transfer.core.cards import FOLDER_CARD, TABLE_SUFFIXES, Card
from transfer.core.errors import UserError
from transfer.dataset.labels import SPLIT_WORDS
from transfer.dataset.scan import how_to_read

EITHER, UNLABELLED = "test or validation", "unlabelled"
FOLDER_WORDS = {
    **SPLIT_WORDS,
    **dict.fromkeys(("eval", "evaluation", "holdout"), EITHER),
    **dict.fromkeys(("unlabeled", "unlabelled", "unlab", "unsup", "unsupervised"), UNLABELLED),
    **dict.fromkeys(("pred", "predict", "prediction", "predictions", "inference", "submission"), UNLABELLED),
}
"""What folders beside each other are called where they are splits, or images without labels beside splits. `EITHER` is
the test split where no other folder is, else the validation split."""
NEUTRAL_WORDS = {
    "set", "data", "dataset", "image", "images", "img", "imgs", "pic", "pics", "pictures", "photos", "samples", "split",
    "folder", "seg",
}  # fmt: skip
"""What may stand beside such a word: seg_train, Test Images, training-set."""
OTHER_IMAGES = {
    ".3fr", ".arw", ".avi", ".cr2", ".cr3", ".czi", ".dcm", ".dicom", ".dng", ".exr", ".fits", ".heic", ".heif", ".hif",
    ".ico", ".j2k", ".jp2", ".jxl", ".mkv", ".mov", ".mp4", ".ndpi", ".nef", ".nii", ".orf", ".pcx", ".psd", ".raf",
    ".rw2", ".svs", ".tga", ".webm",
}  # fmt: skip
"""Suffixes of pictures and films that are not read here."""
ANNOTATIONS = "val/val_annotations.txt"  # of Tiny ImageNet
WORDS = "words.txt"
SHOWN = 10


class Labelled(NamedTuple):
    """An image file (path below the folder, with /), its class, and the split that it is given to, or ""."""

    image: str
    label: str
    split: str = ""


@dataclass(frozen=True)
class Layout:
    """What a folder's layout says: labelled images, images in parts of it that have no labels, images in a folder that
    is a copy of the others, notes on how it was read, the places (prefixes of paths) whose folders were read, and class
    names.
    """

    labelled: list[Labelled]
    unlabelled: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    classes: tuple[str, ...] = ()


def read_layout(card: Card, folder: Path, images: list[str], others: list[str]) -> Layout:
    """Find out the layout of a folder, and read it.

    One of: a folder for each class; the same inside of folders for the splits (see `FOLDER_WORDS`), or folders for the
    splits inside of each class folder, whose splits are kept; Tiny ImageNet's. A folder that holds all those beside it
    once more is left out, and so are folders without images. Class names are put into Unicode's form NFC, so that
    both forms of a name are one class.

    Args:
        card: the dataset's; its classes, where it names them, must be those of the folder. If they are the names of
            the folders at the top, these are classes, whatever they are called.
        folder: the folder.
        images: paths of all image files below it, with /.
        others: paths of all other files.

    Raises:
        UserError: fewer than two classes, others than the card's, a class whose files are of a kind that is not read,
            one that is spelled in two ways, or folders of which some are named like splits and others are not.
    """
    if (folder / ANNOTATIONS).is_file():
        layout = _tiny_imagenet(folder, images)
    else:
        layout = _folders(card, folder, images, others)
    notes = "".join(f" ({note})" for note in layout.notes)
    if len(layout.classes) < 2:
        found = f"only {layout.classes[0]}" if layout.classes else "none"
        if not any("/" in image for image in images) and not tables_in(others):  # as in a class folder
            notes = ": give the folder that contains the class folders"
        raise UserError(f"{folder}: two or more classes need a folder of images each; found {found}{notes}")
    if card.classes and set(layout.classes) != set(card.classes):
        raise UserError(
            f"{folder}: the card names the classes {', '.join(sorted(card.classes))}, but the folders with images are "
            f"{', '.join(layout.classes)}{notes}: make them the same"
        )
    known = {*(row.image for row in layout.labelled), *layout.unlabelled, *layout.copies}
    if beside := [image for image in images if image not in known]:
        layout.notes.append(
            f"beside the class folders, in no class: {_listed(beside)}. They count as bad images: move them into the "
            "folders of their classes, or elsewhere"
        )
    return replace(layout, classes=card.classes or layout.classes)


def tables_in(files: Iterable[str]) -> list[str]:
    """Return those of a folder's own files that are tables by their names."""
    return [file for file in files if "/" not in file and Path(file).suffix.lower() in TABLE_SUFFIXES]


def other_pictures(others: Iterable[str]) -> list[str]:
    """Say in a line which of the other files are pictures of a kind that is not read, if any are."""
    kinds = Counter(suffix for file in others if (suffix := Path(file).suffix.lower()) in OTHER_IMAGES)
    found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(SHOWN))
    return [f"pictures of a kind that is not read: {found}; to use them, {how_to_read(kinds)}"] if found else []


def _folders(card: Card, folder: Path, images: list[str], others: list[str]) -> Layout:
    above, place, inside = _innermost(images)
    copy = _copy(folder, place, inside, card)
    copies = inside.pop(copy) if copy is not None else []
    spelt = {_nfc(name): name for name in card.classes}
    named = set(spelt) == {_nfc(name) for name in inside if name}
    reading = (
        (None if named else _split_folders(folder, place, inside))
        or _splits_of_classes(folder, place, inside, named)
        or _class_folders(folder, place, inside, named)
    )
    labels = {label: spelt.get(_nfc(label), _nfc(label)) for label in {row.label for row in reading.labelled}}
    labelled = [Labelled(row.image, labels[row.label], row.split) for row in reading.labelled]
    _require_one_spelling(folder, labelled)
    notes = [f"read: the folders in {place}"] if place else []
    notes += [f"left out: {place}{copy}, a copy of what lies beside it"] if copy is not None else []
    notes += reading.notes
    if empty := _without_images(folder, [*above, *reading.places], images, others):
        notes.append(f"left out, without images: {', '.join(empty)}")
    classes = tuple(sorted({row.label for row in labelled}))
    return replace(reading, labelled=labelled, copies=copies, notes=notes, classes=classes)


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _inside(images: Iterable[str], place: str) -> dict[str, list[str]]:
    """Images by the folder in `place` that they lie in, "" for those that lie in the place itself."""
    found = defaultdict(list)
    for image in images:
        name, slash, _ = image[len(place) :].partition("/")
        found[name if slash else ""].append(image)
    return dict(found)


def _innermost(images: list[str]) -> tuple[list[str], str, dict[str, list[str]]]:
    """Return the places that have one folder in them and nothing else ("", one/, one/two/, …), the place below them
    whose folders count, and the images by these folders.
    """
    above, place, inside = list[str](), "", _inside(images, "")
    while len(inside) == 1 and "" not in inside:
        deeper = f"{place}{next(iter(inside))}/"
        below = _inside(images, deeper)
        if "" in below:
            break
        above.append(place)
        place, inside = deeper, below
    return above, place, inside


def _copy(folder: Path, place: str, inside: dict[str, list[str]], card: Card) -> str | None:
    """Find the folder that holds all folders beside it once more: files of the same paths and sizes."""

    def size(*path: str) -> int:
        return folder.joinpath(place, *path).stat().st_size

    total = sum(len(images) for name, images in inside.items() if name)
    for name, images in inside.items():
        if name and _nfc(name) not in map(_nfc, card.classes) and 2 * len(images) == total:
            beside = {image[len(place) :] for other in inside if other not in ("", name) for image in inside[other]}
            below = {image[len(f"{place}{name}/") :] for image in images}
            if below == beside and all(size(name, path) == size(path) for path in below):
                return name
    return None


def _words(names: Iterable[str]) -> dict[str, str]:
    """What folders beside each other stand for by their names (see `FOLDER_WORDS`), "" where they say nothing.

    The word may stand behind what the names of several have in common: asl_alphabet_train, asl_alphabet_test.
    """
    parts = {name: [part.rstrip("0123456789") for part in re.split(r"[\W_]+", name.casefold())] for name in names}
    common = Counter(tuple(part[:-1]) for part in parts.values() if part[-1] in FOLDER_WORDS)
    words = {}
    for name, part in parts.items():
        own = part[-1:] if common[tuple(part[:-1])] > 1 else [word for word in part if word not in NEUTRAL_WORDS]
        words[name] = FOLDER_WORDS.get(re.sub("(set|data|images|imgs)+$", "", "".join(own)), "")
    return words


def _undoubled(name: str, place: str, images: list[str]) -> str:
    """Return the place in a folder where its class folders lie: in seg_train/seg_train/, say, not in seg_train/."""
    while len(inner := list(_inside(images, place))) == 1 and inner[0].casefold() == name.casefold():
        place += f"{inner[0]}/"
    return place


def _split_folders(folder: Path, place: str, inside: dict[str, list[str]]) -> Layout | None:
    """Read SPLIT/CLASS/…, where the folder of the training images holds folders, or all folders are called splits."""
    words = _words(name for name in inside if name)
    bases = {name: _undoubled(name, f"{place}{name}/", inside[name]) for name in words}
    nested = {name for name in words if any("/" in image[len(bases[name]) :] for image in inside[name])}
    training = any(words[name] == "train" for name in nested)
    if not training and not (len(words) > 1 and all(words.values()) and set(words.values()) != {UNLABELLED}):
        return None
    splits = _resolved(folder, {name: word for name, word in words.items() if word not in ("", UNLABELLED)})
    if strange := sorted(name for name, word in words.items() if not word):
        raise _either(folder, list(splits), strange, list(words))
    if not training:
        raise UserError(
            f"{folder}: {_listed(words)} are named like splits, but there is no folder train with a folder for each "
            f"class inside. Make one, or, if they are the classes, {_name_them(words)}"
        )
    labelled, unlabelled = [], []
    for name in words:
        for image in inside[name]:
            label, slash, _ = image[len(bases[name]) :].partition("/")
            if name in splits and slash:
                labelled.append(Labelled(image, label, splits[name]))
            else:  # images that lie in a split's folder itself, as those of a hidden test do
                unlabelled.append(image)
    places = [place, *(bases[name] for name in splits if name in nested)]
    notes = [_said({name: splits[name] for name in splits if name in nested})]
    return Layout(labelled, unlabelled, notes=notes, places=places)


def _splits_of_classes(folder: Path, place: str, inside: dict[str, list[str]], named: bool) -> Layout | None:
    """Read CLASS/SPLIT/…, where train and another split lie inside of one class.

    `named`: the card names the classes, so that other folders in them are no error, but then those are no splits.
    """
    below = {name: _inside(images, f"{place}{name}/") for name, images in inside.items() if name}
    words = {name: _words(inner for inner in below[name] if inner) for name in below}
    if not any("train" in found.values() and len({*found.values()} - {"", UNLABELLED}) > 1 for found in words.values()):
        return None
    strange = [f"{name}/{inner}" for name in words for inner, word in words[name].items() if not word]
    strange += [f"images in {name}" for name in below if "" in below[name]]
    every = {inner: word for name in words for inner, word in words[name].items() if word not in ("", UNLABELLED)}
    if strange and named:
        return None
    if strange:
        raise _either(folder, list(every), sorted(strange), list(below))
    tested = "test" in every.values()
    labelled, unlabelled, said = [], [], dict[str, str]()
    for name, found in words.items():
        called = {inner: word for inner, word in found.items() if word != UNLABELLED}
        splits = _resolved(folder / place / name, called, tested)
        said |= splits
        for inner, images in below[name].items():
            labelled += [Labelled(image, name, splits[inner]) for image in images if inner in splits]
            unlabelled += [image for image in images if inner not in splits]
    return Layout(labelled, unlabelled, notes=[_said(said)], places=[place])


def _resolved(folder: Path, words: dict[str, str], tested: bool = False) -> dict[str, str]:
    """Give each folder its split. `tested`: there is a test split elsewhere."""
    either = "validation" if tested or "test" in words.values() else "test"
    splits = {name: either if word == EITHER else word for name, word in words.items()}
    for split, count in Counter(splits.values()).items():
        if count > 1:
            both = sorted(name for name in splits if splits[name] == split)
            raise UserError(
                f"{folder}: {_listed(both)} would both be the {split} split: put them into one folder, or remove one"
            )
    return splits


def _said(splits: dict[str, str]) -> str:
    return "read as splits: " + ", ".join(f"{name} ({split})" for name, split in sorted(splits.items()))


def _listed(names: Iterable[str]) -> str:
    """Name some: a, b and c."""
    names = sorted(names)
    names = [*names[:SHOWN], f"{len(names) - SHOWN} more"] if len(names) > SHOWN else names
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _name_them(names: Iterable[str]) -> str:
    """Say how to have folders taken for classes."""
    return f"name them in {FOLDER_CARD}: `classes: [{', '.join(sorted(names))}]`"


def _either(folder: Path, splits: list[str], strange: list[str], names: list[str]) -> UserError:
    """Return the error that shows both readings."""
    return UserError(
        f"{folder}: some folders are named like splits ({_listed(splits)}), others are not ({_listed(strange)}). If "
        f"they are splits, move {_listed(strange)} out of the folder (or rename it to unlabeled, if its images have no "
        f"labels). If they are classes, {_name_them(names)}"
    )


def _class_folders(folder: Path, place: str, inside: dict[str, list[str]], named: bool) -> Layout:
    """Read CLASS/…; unless the card names the classes (`named`), a folder that holds folders of the names of all others
    is refused: it would be one class of all classes.
    """
    names = {name for name in inside if name}
    for name in names if len(names) > 2 and not named else ():
        below = set(_inside(inside[name], f"{place}{name}/"))
        if len(below) >= len(names) - 1 and names - {name} <= below:
            raise UserError(
                f"{folder / place / name}: contains folders with the same names as those beside it, but other images. "
                f"Move the images into these, or remove it; or, if it is a class, {_name_them(names)}"
            )
    labelled = [Labelled(image, name) for name, images in inside.items() if name for image in images]
    return Layout(labelled, places=[place])


def _require_one_spelling(folder: Path, labelled: list[Labelled]) -> None:
    """Refuse classes whose names differ in upper and lower case, and that no split has both of: it is one class."""
    splits = defaultdict(set)
    for row in labelled:
        splits[row.label].add(row.split)
    spellings = defaultdict(list)
    for label in sorted(splits):
        spellings[label.casefold()].append(label)
    for one, other in (pair for labels in spellings.values() for pair in combinations(labels, 2)):
        if not splits[one] & splits[other]:
            where = [f"{label} in {_listed(splits[label])}" for label in (one, other)]
            raise UserError(f"{folder}: one class is spelled in two ways, {' and '.join(where)}: rename a folder")


def _without_images(folder: Path, places: Iterable[str], images: list[str], others: list[str]) -> list[str]:
    """Name the folders in some places that hold no images, with what they hold.

    Raises:
        UserError: one holds pictures of a kind that is not read, so that a class would be lost.
    """
    empty = []
    for place in dict.fromkeys(places):
        held = _inside((image for image in images if image.startswith(place)), place)
        for path in sorted((folder / place).iterdir()):
            if path.name in held or path.name.startswith(".") or not path.is_dir():
                continue
            prefix = f"{place}{path.name}/"
            kinds = Counter(Path(name).suffix.lower() or "others" for name in others if name.startswith(prefix))
            what = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
            if OTHER_IMAGES.intersection(kinds):
                raise UserError(
                    f"{folder / prefix[:-1]}: no image in it can be read ({what}): {how_to_read(kinds)}, or move the "
                    "folder elsewhere"
                )
            empty.append(f"{prefix[:-1]} ({what})" if what else prefix[:-1])
    return empty


def _pairs(path: Path) -> dict[str, str]:
    """Read the first two of tab-separated columns.

    Raises:
        UserError: no such file, or it is something else.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return {first: second for first, second, *_ in (line.split("\t") for line in lines if line)}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is not tab-separated text of two columns or more: {error}") from error


def _class_names(path: Path, ids: list[str]) -> dict[str, str]:
    """Name WordNet IDs: by the first of the words that words.txt has for each, by all where that is not unique."""
    if not path.is_file():
        return {wnid: wnid for wnid in ids}
    words = _pairs(path)
    first = {wnid: words.get(wnid, wnid).split(",")[0].strip() for wnid in ids}
    names = {wnid: name if list(first.values()).count(name) == 1 else words[wnid] for wnid, name in first.items()}
    repeated = [name for name, count in Counter(names.values()).items() if count > 1]
    return {wnid: f"{name} ({wnid})" if name in repeated else name for wnid, name in names.items()}


def _tiny_imagenet(folder: Path, images: list[str]) -> Layout:
    """Read train/WNID/images/*.JPEG and val/images/*.JPEG, whose labels stand in val_annotations.txt.

    The labels of its test images were never published, so that val is what results are reported on: it becomes the
    test split.
    """
    annotated = _pairs(folder / ANNOTATIONS)
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
    return Layout(labelled, unlabelled, classes=tuple(names.values()))
