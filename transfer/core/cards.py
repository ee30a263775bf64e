"""Dataset cards: where images come from, their classes, labels, symmetry and licence."""

import json
import re
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from transfer.core.errors import UserError
from transfer.core.outputs import require_apart
from transfer.core.strict import STRICT, Byte, Float, Int, Sha256, Str, load_yaml, validate

FOLDER_CARD = "card.yaml"
FOLDER_CARDS = (FOLDER_CARD, "card.yml")
"""What the card in a folder of images may be called."""
CARD_SUFFIXES = (".yaml", ".yml")
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
OTHER_ARCHIVES = (".rar", ".7z", ".gz", ".xz", ".bz2", ".zst", ".lz4", ".z", ".cab", ".iso")
TABLE_SUFFIXES = {".csv": "comma", ".tsv": "tab"}
TFDS_PREFIX = "tfds:"
DATASET = "params.yaml: dataset"
Names = tuple[Str, ...]
Symmetry = Literal["auto", "none", "mirror", "dihedral"]
Background = Literal["auto", "white", "black"] | tuple[Byte, Byte, Byte]


@dataclass(frozen=True, config=STRICT)
class PackageSource:
    """Images and their table inside a pinned Python package. `folder` is where both lie."""

    name: Str
    version: Str
    folder: Str


@dataclass(frozen=True, config=STRICT)
class ArchiveSource:
    """A .zip, .tar, .tar.gz, .tar.xz or .tar.bz2 at a URL (https, http, file), of `size` bytes and with that SHA-256.

    `folder` is the folder inside it that counts; left out, it is the only one at the top, or the whole archive.
    """

    url: Annotated[Str, Field(pattern=r"^(https?|file)://")]
    size: Annotated[Int, Field(ge=1)]
    sha256: Sha256
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
    confidence: tuple[tuple[Float, Annotated[Float, Field(gt=0)]], ...] = ()
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
    an image are still images of the same class: none, mirror (left-right) or dihedral (the eight of the square); auto
    is mirror, unless params.yaml says otherwise.
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
    symmetry: Symmetry = "auto"
    channels: Literal[1, 3] = 3
    source: Source | None = None
    table: Table | None = field(default=None)
    group_pattern: Str | None = None
    bit_depth: Literal["auto"] | Annotated[Int, Field(ge=8, le=16)] = "auto"
    background: Background = "auto"

    @model_validator(mode="before")
    @classmethod
    def _either_spelling(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "license" not in values:
            return values
        if "licence" in values:
            raise ValueError("one of licence and license, received both")
        return {"licence" if key == "license" else key: value for key, value in values.items()}

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


ASSUMED = (
    "symmetry: assumes that a left-right mirrored image keeps its class; for text, digits, or left/right organs set "
    "symmetry: none"
)


def resolve_symmetry(wanted: Symmetry, card: Card) -> tuple[str, list[str]]:
    """Return which symmetry holds, and what to tell a user who has not said it.

    The param `symmetry` goes before the card; where both are auto, it is mirror.
    """
    chosen = card.symmetry if wanted == "auto" else wanted
    return ("mirror", [ASSUMED]) if chosen == "auto" else (chosen, [])


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
        UserError: there is nothing at `dataset`, it is of no kind that can be read, it lies where the pipeline writes,
            or the card is wrong.
    """
    require_apart(dataset, DATASET)
    if dataset.is_dir():
        return read_folder_card(dataset), dataset
    if not dataset.exists():
        raise UserError(f"{DATASET}: {_no_path(str(dataset))}")
    if dataset.name.lower().endswith(ARCHIVE_SUFFIXES):
        return Card(title=dataset.name), dataset
    if not dataset.name.lower().endswith(CARD_SUFFIXES):
        raise UserError(f"{DATASET}: {_no_card(dataset)}")
    card = validate(Card, load_yaml(dataset), dataset)
    if card.source is None:
        raise UserError(f"{dataset}: has no source; to use a folder of images, give the folder itself as dataset")
    _require_apart(card.source, dataset)
    return card, dataset.parent


def _require_apart(source: Source, card: Path) -> None:
    """Check that what a card names on this machine is not among the outputs either."""
    if source.archive is not None and source.archive.url.startswith("file:"):
        require_apart(Path(url2pathname(urlsplit(source.archive.url).path)), f"{card}: source.archive.url")
    if source.tfds is not None and source.tfds.data_dir is not None:
        require_apart(Path(source.tfds.data_dir), f"{card}: source.tfds.data_dir")


def _no_path(dataset: str) -> str:
    """Say why there is nothing at a path, and what to write."""
    if dataset.startswith("~"):
        return f"DVC does not know what ~ is; write {str(Path(dataset).expanduser())!r}"
    if dataset.startswith(TFDS_PREFIX):
        return (
            f"{dataset!r} is not a path; write a card with the line `source: {{tfds: {dataset}}}`, as "
            f"data/cards/tf_flowers.yaml does, and give its path"
        )
    if re.match("[A-Za-z][A-Za-z0-9+.-]+:/", dataset):
        url = dataset.replace(":/", ":///" if dataset.startswith("file:") else "://", 1)  # as it was before Path()
        return (
            f"{url!r} is a URL, not a path; write a card with the URL, size and SHA-256 of the archive, as "
            f"data/cards/tiny_imagenet.yaml does, and give its path"
        )
    return f"there is nothing at {dataset!r}; give the path of a folder of images, an archive or a card"


def _no_card(dataset: Path) -> str:
    """Say what to give in place of a file that is neither an archive that can be read nor a card."""
    name, suffix = dataset.name, dataset.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        return (
            f"{str(dataset)!r} is a table; give the folder of the images, and write a card.yaml into it:\n"
            f"{table_card(dataset.stem, name)}"
        )
    if suffix in OTHER_ARCHIVES:
        return (
            f"{str(dataset)!r} is an archive of an unsupported kind; unpack it and give the folder, or pack the "
            f"images as one of {', '.join(ARCHIVE_SUFFIXES)}"
        )
    return (
        f"{str(dataset)!r} is neither a folder of images, nor an archive ({', '.join(ARCHIVE_SUFFIXES)}), nor a card "
        f"({', '.join(CARD_SUFFIXES)}); give the path of one"
    )


def table_card(title: str, table: str) -> str:
    """Return the lines of a card for a table of labels, which leave its columns to be filled in."""
    separator = TABLE_SUFFIXES[Path(table).suffix.lower()]
    columns = "image: COLUMN_OF_PATHS, label: COLUMN_OF_CLASSES"
    return f"  title: {json.dumps(title)}\n  table: {{file: {json.dumps(table)}, separator: {separator}, {columns}}}"


def read_folder_card(folder: Path) -> Card:
    """Read the card.yaml, or card.yml, of a folder of images; without one, the folder's name is the title.

    Raises:
        UserError: there are both, or the card is wrong, or has a source, where it lies beside its images.
    """
    present = [path for name in FOLDER_CARDS if (path := folder / name).exists()]
    if len(present) > 1:
        raise UserError(f"{folder}: has both {' and '.join(FOLDER_CARDS)}; remove one")
    if not present:
        return Card(title=folder.resolve().name)
    (path,) = present
    card = validate(Card, load_yaml(path), path)
    if card.source is not None:
        raise UserError(f"{path}: has a source, but lies beside images; remove the source, or move the card")
    return card
