"""Bring a dataset into data/raw: the images, labels.csv and the card, in one form whatever the source was."""

import dataclasses
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd
import yaml

from transfer import packages
from transfer.cards import FOLDER_CARD, Card, Table, read_card
from transfer.errors import UserError

LABEL_COLUMNS = ["image", "label", "soft_label", "confidence", "stratum"]
IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Obtained:
    """A dataset in data/raw: its card with the classes filled in, its labels, and the number of image files.

    `passed_over` are the files in it that are neither images by their suffix, nor its card, nor its table.
    """

    card: Card
    labels: pd.DataFrame
    images: int
    passed_over: list[str]


def obtain(dataset: Path, target: Path) -> Obtained:
    """Copy a dataset into the new folder `target`: images/, labels.csv and card.yaml.

    labels.csv has a row for each labelled image: image (path below images/, with /), label (class name), soft_label
    (probability of the second class; empty where there is none), confidence (weight in the weighted accuracy) and
    stratum. Image files without a row, and rows without an image, are kept: preprocess puts them into quarantine.

    Raises:
        UserError: no dataset there, the package is missing or damaged, or the labels cannot be read.
    """
    card, folder = read_card(dataset)
    recorded: dict[str, str] = {}
    if card.source is not None:
        distribution = packages.find(card.source.package, card.source.version)
        folder = packages.file_in(distribution, card.source.folder)
        prefix = f"{card.source.folder}/"
        recorded = {
            name.removeprefix(prefix): digest
            for name, digest in packages.recorded_sha256(distribution).items()
            if name.startswith(prefix)
        }
    card, labels = _table_labels(card, card.table, folder) if card.table else _folder_labels(card, folder)
    files = list(_files(folder))
    images = [file for file in files if _is_image(file)]
    if not images:
        raise UserError(f"{folder}: expected images ({', '.join(sorted(IMAGE_SUFFIXES))}), received none")
    for image in images:
        if image in recorded:
            packages.require_sha256(folder / image, recorded[image])
        copy = target / "images" / image
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / image, copy)
    labels.to_csv(target / "labels.csv", index=False)
    card_text = yaml.safe_dump(_plain(dataclasses.asdict(card)), sort_keys=False, allow_unicode=True)
    (target / FOLDER_CARD).write_text(card_text, encoding="utf-8")
    known = {*images, FOLDER_CARD, card.table.file if card.table else FOLDER_CARD}
    return Obtained(card, labels, len(images), [file for file in files if file not in known])


def _plain(value: object) -> object:
    """Turn tuples into lists, which YAML has a notation for."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _files(folder: Path) -> Iterator[str]:
    """Paths of the files below a folder, sorted, with /; files whose name begins with a dot do not count."""
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        if not path.name.startswith(".") and path.is_file():
            yield path.relative_to(folder).as_posix()


def _is_image(file: str) -> bool:
    return PurePosixPath(file).suffix.lower() in IMAGE_SUFFIXES


def _folder_labels(card: Card, folder: Path) -> tuple[Card, pd.DataFrame]:
    """Label each image by the class folder that it lies in."""
    found = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(found) < 2:
        raise UserError(f"{folder}: expected a folder for each of two or more classes, received {found}")
    if card.classes and set(found) != set(card.classes):
        raise UserError(f"{folder}: expected the class folders {sorted(card.classes)}, received {found}")
    images = [file for file in _files(folder) if _is_image(file) and "/" in file]
    rows = [(image, image.split("/")[0], math.nan, 1.0, image.split("/")[0]) for image in images]
    labels = pd.DataFrame(rows, columns=LABEL_COLUMNS)
    return dataclasses.replace(card, classes=card.classes or tuple(found)), labels


def _read_table(table: Table, path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(
            path,
            sep="," if table.separator == "comma" else r"\s+",
            names=table.columns,
            header=0 if table.columns is None else None,
            dtype=str,
            keep_default_na=False,
            index_col=False,
        )
    except (OSError, ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path}: expected a table of labels ({table.separator}), received: {error}") from error
    needed = [table.image, table.label or table.soft_label or "", *table.stratify]
    if missing := [name for name in needed if name not in rows.columns]:
        raise UserError(f"{path}: expected the columns {missing}, received {list(rows.columns)}")
    if len(repeated := rows[table.image][rows[table.image].duplicated()]):
        raise UserError(f"{path}: expected one row an image, received several for {repeated.iloc[0]!r}")
    return rows


def _soft_labels(rows: pd.DataFrame, column: str, path: Path) -> pd.Series:
    values = pd.to_numeric(rows[column], errors="coerce")
    for i in values.index[~values.between(0, 1)]:
        raise UserError(f"{path}: row {i + 1}: {column}: expected a probability, received {rows[column][i]!r}")
    return values


def _confidence(soft: pd.Series, table: Table, path: Path) -> list[float]:
    """Look up the weight of each soft label; tables print thirds in different lengths, so close is equal."""
    weights = []
    for i, value in enumerate(soft):
        matches = [weight for given, weight in table.confidence if math.isclose(given, value, abs_tol=1e-3)]
        if table.confidence and not matches:
            given = [pair[0] for pair in table.confidence]
            raise UserError(f"{path}: row {i + 1}: expected a soft label with a confidence ({given}), received {value}")
        weights.append(matches[0] if matches else 1.0)
    return weights


def _table_labels(card: Card, table: Table, folder: Path) -> tuple[Card, pd.DataFrame]:
    """Label each image by its row of a table."""
    path = folder / table.file
    rows = _read_table(table, path)
    if table.soft_label is not None:
        soft = _soft_labels(rows, table.soft_label, path)
        names = [card.classes[int(value > table.threshold)] for value in soft]
        confidence = _confidence(soft, table, path)
    else:
        soft, names, confidence = pd.Series(math.nan, rows.index), list(rows[table.label]), [1.0] * len(rows)
        for i, name in enumerate(names):
            if name not in card.classes:
                raise UserError(f"{path}: row {i + 1}: expected one of {list(card.classes)}, received {name!r}")
    strata = ["/".join(parts) for parts in zip(names, *(rows[name] for name in table.stratify), strict=True)]
    return card, pd.DataFrame(
        dict(zip(LABEL_COLUMNS, (rows[table.image], names, soft, confidence, strata), strict=True))
    )
