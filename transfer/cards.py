"""Dataset cards: where images come from, their classes, how labels are read, which symmetries hold, whose they are."""

import re
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from transfer.errors import UserError
from transfer.params import SHA256, STRICT, Float, Int, Str, load_yaml, validate

FOLDER_CARD = "card.yaml"
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz")
TFDS_PREFIX = "tfds:"
Names = tuple[Str, ...]
Byte = Annotated[Int, Field(ge=0, le=255)]
Background = Literal["auto", "white", "black"] | tuple[Byte, Byte, Byte]


@dataclass(frozen=True, config=STRICT)
class PackageSource:
    """Images and their table inside a pinned Python package. `folder` is where both lie."""

    name: Str
    version: Str
    folder: Str


@dataclass(frozen=True, config=STRICT)
class ArchiveSource:
    """A .zip, .tar, .tar.gz or .tar.xz at a URL (https, http, file), of `size` bytes and with that SHA-256.

    `folder` is the folder inside it that counts; left out, it is the only one at the top, or the whole archive.
    """

    url: Annotated[Str, Field(pattern=r"^(https?|file)://")]
    size: Annotated[Int, Field(ge=1)]
    sha256: Annotated[Str, Field(pattern=f"^{SHA256.pattern}$")]
    folder: Str | None = None


def _tfds(value: Any) -> Any:
    """Read tfds:NAME:VERSION, or the mapping that says the same."""
    if isinstance(value, str):
        name, _, version = value.removeprefix(TFDS_PREFIX).partition(":")
        return {"name": name, "version": version or None}
    return value


@dataclass(frozen=True, config=STRICT)
class TfdsSource:
    """A dataset of TensorFlow Datasets, NAME or NAME/CONFIG. `data_dir` is where it is prepared, if not at TFDS' own
    place (~/tensorflow_datasets).
    """

    name: Annotated[Str, Field(pattern=r"^[A-Za-z_]\w*(/[\w.+-]+)?$")]
    version: Annotated[Str, Field(pattern=r"^(\d+|\*)\.(\d+|\*)\.(\d+|\*)$")] | None = None
    data_dir: Str | None = None


@dataclass(frozen=True, config=STRICT)
class Source:
    """Where a dataset comes from that does not lie in the card's own folder: one of the three."""

    package: PackageSource | None = None
    archive: ArchiveSource | None = None
    tfds: Annotated[TfdsSource | None, BeforeValidator(_tfds)] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "Source":
        given = [name for name in ("package", "archive", "tfds") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"one of package, archive and tfds, received {' and '.join(given) or 'none'}")
        return self


@dataclass(frozen=True, config=STRICT)
class Table:
    """A table of labels, one row an image.

    The class comes from the column `label`, or from a probability in the column `soft_label`: the second of the two
    classes where it is greater than `threshold`. `confidence` maps values of the soft label to the weight that the
    image has in the confidence-weighted accuracy. That is given twice where an `alternative_threshold` stands beside
    `threshold`, as images between the two may count as either class; nothing is trained by it.
    `stratify` names the columns whose proportions every split keeps.
    Images with the same value in the column `group` (a patient, a module, a video) never lie in two splits; those with
    no value stand for themselves. The column `split` names the split that an image belongs to (train, validation,
    test, or the usual other words for them); images without one are divided as params.yaml says.
    """

    file: Str
    image: Str
    separator: Literal["comma", "tab", "whitespace"] = "comma"
    columns: Names | None = None
    label: Str | None = None
    soft_label: Str | None = None
    threshold: Annotated[Float, Field(ge=0, lt=1)] = 0.5
    alternative_threshold: Annotated[Float, Field(ge=0, lt=1)] | None = None
    confidence: tuple[tuple[Float, Float], ...] = ()
    stratify: Names = ()
    group: Str | None = None
    split: Str | None = None

    @model_validator(mode="after")
    def _one_source_of_labels(self) -> "Table":
        if (self.label is None) == (self.soft_label is None):
            raise ValueError(f"one of label and soft_label, received {'none' if self.label is None else 'both'}")
        if self.confidence and self.soft_label is None:
            raise ValueError("confidence to be given together with soft_label, received confidence alone")
        if self.alternative_threshold is not None and not self.confidence:
            raise ValueError("alternative_threshold to be given together with confidence, received it alone")
        return self


@dataclass(frozen=True, config=STRICT)
class Card:
    """A dataset. Without `source` it is the folder that the card lies in; without `table` that folder's class folders.

    `classes` is in the order of the class numbers; left out, the labels give it, in alphabetical order. `positive`
    is the class whose F1, ROC and precision-recall are reported where there are two. `symmetry` says which views of
    an image are still images of the same class: none, mirror (left-right) or dihedral (the eight of the square).
    `group_pattern` is a regular expression with one group, searched for in the paths of images; what it finds is the
    group (see `Table`) of an image.
    `bit_depth` says how many bits the values of 16-bit greys use, from 8 to 16; auto looks at the images. Transparent
    pixels are laid on `background`: white, black, or a colour [red, green, blue] from 0 to 255; auto is white, unless
    that hides what more of the images show than black does.
    """

    title: Str
    licence: Str = "not stated"
    citation: Str = "not stated"
    classes: Names = ()
    positive: Str | None = None
    symmetry: Literal["none", "mirror", "dihedral"] = "none"
    channels: Literal[1, 3] = 3
    source: Source | None = None
    table: Table | None = field(default=None)
    group_pattern: Str | None = None
    bit_depth: Literal["auto"] | Annotated[Int, Field(ge=8, le=16)] = "auto"
    background: Background = "auto"

    @model_validator(mode="after")
    def _consistent(self) -> "Card":
        if self.classes and (len(self.classes) < 2 or len(set(self.classes)) < len(self.classes)):
            raise ValueError(f"classes to be two or more different names, received {list(self.classes)}")
        if self.positive is not None and self.positive not in self.classes:
            raise ValueError(f"positive to be one of the classes {list(self.classes)}, received {self.positive!r}")
        if self.table is not None and self.table.soft_label is not None and len(self.classes) != 2:
            raise ValueError(f"two classes, where a soft label decides, received {list(self.classes)}")
        if self.source is not None and self.source.package is not None and self.table is None:
            raise ValueError("a table, where the source is a package, received none")
        if self.source is not None and self.source.tfds is not None and self.table is not None:
            raise ValueError("no table, where the source is TensorFlow Datasets, received one")
        if self.group_pattern is not None:
            _check_pattern(self.group_pattern, self.table)
        return self


def _check_pattern(pattern: str, table: Table | None) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"group_pattern to be a regular expression, received {pattern!r}: {error}") from None
    if groups != 1:
        raise ValueError(f"group_pattern with one group (…), received {pattern!r} with {groups}")
    if table is not None and table.group is not None:
        raise ValueError("one of group_pattern and the table's group, received both")


def read_card(dataset: Path) -> tuple[Card, Path]:
    """Read the card of a dataset: a card file, an archive, or a folder with or without a card.yaml in it.

    Returns the card and the place that it describes: the folder, the archive, or the folder that the card file lies in.

    Raises:
        UserError: there is nothing at `dataset`, or the card is wrong.
    """
    if dataset.is_dir():
        return read_folder_card(dataset), dataset
    if str(dataset).startswith(TFDS_PREFIX):
        raise UserError(
            f"params.yaml: dataset: expected a card or a path, received {str(dataset)!r}: write a card with the line "
            f"`source: {{tfds: {dataset}}}`, as data/cards/tf_flowers.yaml does, and give its path"
        )
    if not dataset.exists():
        raise UserError(
            f"params.yaml: dataset: expected a card, a folder of images or an archive, received {str(dataset)!r}: none"
        )
    if dataset.name.lower().endswith(ARCHIVE_SUFFIXES):
        return Card(title=dataset.name), dataset
    card = validate(Card, load_yaml(dataset), dataset)
    if card.source is None:
        raise UserError(f"{dataset}: expected a source; to use a folder of images, give the folder itself as dataset")
    return card, dataset.parent


def read_folder_card(folder: Path) -> Card:
    """Read the card.yaml of a folder of images; without one, the folder's name is the title.

    Raises:
        UserError: the card is wrong, or has a source, where it lies beside its images.
    """
    path = folder / FOLDER_CARD
    if not path.exists():
        return Card(title=folder.resolve().name)
    card = validate(Card, load_yaml(path), path)
    if card.source is not None:
        raise UserError(f"{path}: expected a card of the images in its own folder, received one with a source")
    return card
