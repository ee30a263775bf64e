"""Bring a dataset into data/raw: the images, labels.csv and the card, in one form whatever the source was."""

import dataclasses
import math
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml
from pydantic_core import to_jsonable_python

from transfer.core import packages
from transfer.core.cards import (
    CARD_SUFFIXES,
    FOLDER_CARD,
    FOLDER_CARDS,
    TABLE_SUFFIXES,
    ArchiveSource,
    Card,
    PackageSource,
    TfdsSource,
    read_card,
    read_folder_card,
)
from transfer.core.errors import UserError
from transfer.core.outputs import clear
from transfer.dataset.archives import unpack
from transfer.dataset.downloads import download
from transfer.dataset.labels import LABEL_COLUMNS, SPLITS, split_stratum
from transfer.dataset.layouts import Layout, other_pictures, read_layout
from transfer.dataset.matching import match_images
from transfer.dataset.scan import images_in, is_image_name
from transfer.dataset.shards import write_shards
from transfer.dataset.tables import read_table
from transfer.dataset.tfds import bring

SHOWN_CLASSES = 20
MADE = r"images/\d+\.zip|labels\.csv|card\.yaml|unpacked(\.unpacking)?/.*"


@dataclass(frozen=True)
class Obtained:
    """A dataset in data/raw: its card with the classes filled in, its labels, and the number of image files.

    `passed_over` are what in it is neither an image file by its suffix, nor its card, nor its table, and splits
    of TensorFlow Datasets that are none of the three; `unlabelled` the images in parts of it that have no labels, such
    as a hidden test. Neither is copied. `notes` say how its folders, or the rows of its table, were read, and what was
    left out.
    """

    card: Card
    labels: pd.DataFrame
    images: int
    passed_over: list[str]
    unlabelled: list[str]
    notes: list[str] = field(default_factory=list)

    def classes(self) -> str:
        """Say how many images of each class there are; of many classes, the largest and the smallest."""
        counts = self.labels["label"].value_counts()
        if len(self.card.classes) <= SHOWN_CLASSES:
            return ", ".join(f"{counts.get(name, 0)} {name}" for name in self.card.classes)
        ends = f"{counts.iloc[0]} {counts.index[0]} … {counts.iloc[-1]} {counts.index[-1]}"
        return f"{len(self.card.classes)} classes: {ends}"

    def divisions(self) -> list[str]:
        """Say in a line each what groups, given splits and values to stratify by there are, if any."""
        lines = []
        sizes = self.labels["group"][self.labels["group"] != ""].value_counts()
        if len(sizes):
            each = f"{sizes.min()} to {sizes.max()}" if sizes.min() < sizes.max() else f"{sizes.min()}"
            alone = len(self.labels) - sizes.sum()
            lines.append(f"groups: {len(sizes)}, images in each: {each}; images in none: {alone}")
        given = self.labels["split"].value_counts()
        if set(given.index) != {""}:
            counts = [f"{name} {given[name]}" for name in SPLITS if name in given]
            lines.append(f"images given to splits: {', '.join(counts)}; to none: {given.get('', 0)}")
        if self.card.table is not None and (columns := self.card.table.stratify):
            strata = self.labels[["stratum", "label"]].drop_duplicates()
            values = zip(*(split_stratum(*row) for row in strata.itertuples(index=False)), strict=True)
            counted = [f"{name} {len(set(found))}" for name, found in zip(columns, values, strict=True)]
            lines.append(f"values to stratify by: {', '.join(counted)}")
        return lines


def obtain(dataset: Path, target: Path) -> Obtained:
    """Bring a dataset into the folder `target`: images/ (see `dataset.shards`), labels.csv and card.yaml.

    What an earlier call has left there is removed, once the card is read.

    labels.csv has a row for each labelled image: image (its path in the dataset, with /), label (class name),
    soft_label (probability of the second class; empty where there is none), confidence (weight in the weighted
    accuracy), stratum, group (empty: none) and split (train, validation, test; empty: not given). Image files without a
    row, and rows without an image, are kept: preprocess puts them into quarantine.

    Raises:
        UserError: no dataset there, it cannot be had or is damaged, the labels cannot be read, or `target` holds
            what is none of ours.
    """
    card, place = read_card(dataset)
    clear(target, MADE)
    source = card.source
    if source is not None and source.tfds is not None:
        done = _from_tfds(card, source.tfds, target)
    elif source is not None and source.package is not None:
        done = _from_package(card, source.package, target)
    elif place.is_dir() and source is None:
        done = _from_folder(card, place, target)
    else:
        done = _from_archive(card, source.archive if source is not None else None, place, target)
    _find_groups(done.labels, done.card.group_pattern)
    done.labels.to_csv(target / "labels.csv", index=False)
    # All but ASCII is escaped: of what PyYAML writes as it is, it does not read U+0085 as such.
    card_text = yaml.safe_dump(to_jsonable_python(done.card), sort_keys=False)
    (target / FOLDER_CARD).write_text(card_text, encoding="utf-8")
    return done


def _find_groups(labels: pd.DataFrame, pattern: str | None) -> None:
    """Fill the column group by the card's pattern, if it has one; check that groups leave something to divide."""
    images = labels["image"]
    if pattern is not None:
        labels["group"] = [match[1] or "" if (match := re.search(pattern, image)) else "" for image in images]
        if not labels["group"].any():
            raise UserError(
                f"group_pattern: {pattern!r} finds no group in any path, such as {images.iloc[0]!r}; correct it in the "
                f"card, or leave it out"
            )
    if len(groups := set(labels["group"])) == 1 and (group := groups.pop()):
        raise UserError(
            f"all images are in one group, {group!r}, which cannot be divided into splits; correct the card's "
            f"{'group_pattern' if pattern is not None else 'table.group'}, or leave it out"
        )


def _from_package(card: Card, package: PackageSource, target: Path) -> Obtained:
    """Check the images of an installed Python package against its record of them, label and pack them."""
    distribution = packages.find(package.name, package.version)
    for name, sha256 in packages.recorded_sha256(distribution).items():
        if name.startswith(f"{package.folder}/") and is_image_name(name):
            packages.require_sha256(packages.file_in(distribution, name), sha256)
    return _from_folder(card, packages.file_in(distribution, package.folder), target)


def _linked(folder: Path, images: list[str]) -> list[str]:
    """Folders below a folder, with images, that are links to other folders."""
    below = {image.rpartition("/")[0] for image in images}
    below |= {name[: match.start()] for name in below for match in re.finditer("/", name)}
    return sorted(name for name in below if name and (folder / name).is_symlink())


def _from_folder(card: Card, folder: Path, target: Path, move: bool = False) -> Obtained:
    """Label the images of a folder, and pack them."""
    images, others = images_in(folder)
    layout = Layout([])
    if card.table is not None:
        classes, labels, notes = read_table(card, card.table, folder)
        labels, matched = match_images(labels, images, folder, folder / card.table.file)
        notes += matched
    else:
        layout = read_layout(card, folder, images, others)
        classes, labels, notes = layout.classes, _layout_labels(layout.labelled), layout.notes
    if linked := ", ".join(_linked(folder, images)):
        notes.append(f"behind links: {linked}. DVC does not look there: after a change, dvc repro -f download")
    notes += other_pictures(others)
    left_out = {*layout.unlabelled, *layout.copies}
    kept = [image for image in images if image not in left_out]
    write_shards(folder, kept, target / "images", move)
    known = {*FOLDER_CARDS, card.table.file if card.table is not None else ""}
    passed_over = [file for file in others if file not in known]
    card = dataclasses.replace(card, classes=classes)
    return Obtained(card, labels, len(kept), passed_over, layout.unlabelled, notes)


def _layout_labels(rows: Iterable[tuple[str, str, str]]) -> pd.DataFrame:
    """Turn (image, class, split) into the columns of labels.csv."""
    filled = [(image, label, math.nan, 1.0, label, "", split) for image, label, split in rows]
    return pd.DataFrame(filled, columns=LABEL_COLUMNS)


def downloads_folder() -> Path:
    """Return where downloads are kept: transfer/ in the user's cache (XDG_CACHE_HOME, or ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "transfer"


def _from_archive(card: Card, source: ArchiveSource | None, place: Path, target: Path) -> Obtained:
    """Download the archive that the card names, or take the one at `place`; unpack it, and move its images.

    Errors name the archive and the path inside of it.
    """
    shown = str(place)
    if source is not None:
        place = download(source.url, source.size, source.sha256, downloads_folder() / source.sha256)
        shown = source.url
    unpacked = target / "unpacked"
    unpack(place, unpacked)
    try:
        folder, beside = _folder_inside(unpacked, source.folder if source is not None else None, card)
        if source is None and card.table is None:
            card = dataclasses.replace(read_folder_card(folder), title=card.title)
        done = _from_folder(card, folder, target, move=True)
    except UserError as error:
        raise UserError(str(error).replace(f"{unpacked}/", f"{shown}: ").replace(str(unpacked), shown)) from error
    shutil.rmtree(unpacked)
    return dataclasses.replace(done, passed_over=[*beside, *done.passed_over])


def _folder_inside(unpacked: Path, name: str | None, card: Card) -> tuple[Path, list[str]]:
    """Return the folder of an archive that counts, and the files that lie beside it or one above it.

    It is the one named, or that at its top which is alone there but for files that say nothing of images.
    """
    if name is not None:
        folder = unpacked / name
        if not folder.is_dir() or not folder.resolve().is_relative_to(unpacked.resolve()):
            found = sorted(path.name for path in unpacked.iterdir())[:10]
            raise UserError(f"{unpacked}: there is no folder {name!r} in it, but {found}; correct the card's folder")
        return folder, []
    folder = unpacked
    beside: list[str] = []
    while True:
        entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        folders, files = [path for path in entries if path.is_dir()], [path for path in entries if not path.is_dir()]
        counts = any(is_image_name(path.name) or _says_labels(path) for path in files)
        counts = counts or (card.table is not None and (folder / card.table.file).is_file())
        if len(folders) != 1 or counts or _is_class(folders[0]):
            return folder, beside
        folder = folders[0]
        beside += [path.relative_to(unpacked).as_posix() for path in files]


def _says_labels(file: Path) -> bool:
    """Tell whether a file is a table or a card by its name."""
    suffix = file.suffix.lower()
    return suffix in TABLE_SUFFIXES or (suffix in CARD_SUFFIXES and file.stem == Path(FOLDER_CARD).stem)


def _is_class(folder: Path) -> bool:
    """Tell whether a folder holds images and nothing that labels them: its own name then does."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return any(is_image_name(path.name) for path in files) and not any(map(_says_labels, files))


def _from_tfds(card: Card, source: TfdsSource, target: Path) -> Obtained:
    """Bring a dataset of TensorFlow Datasets, with its class names and splits."""
    data_dir = Path(source.data_dir) if source.data_dir is not None else None
    unpacked = target / "unpacked"
    brought = bring(source.name, source.version, data_dir, unpacked)
    if card.classes and set(card.classes) != set(brought.classes):
        raise UserError(
            f"tfds: {source.name}: has the classes {sorted(brought.classes)}, the card {sorted(card.classes)}; "
            "correct the card's, or leave them out"
        )
    card = dataclasses.replace(card, classes=card.classes or brought.classes)
    write_shards(unpacked, sorted(brought.labels["image"]), target / "images", move=True)
    shutil.rmtree(unpacked)
    rows = brought.labels.itertuples(index=False, name=None)
    return Obtained(card, _layout_labels(rows), len(brought.labels), brought.passed_over, brought.unlabelled)
