"""Dataset cards: where images come from, their classes, how labels are read, which symmetries hold, whose they are."""

from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from transfer.errors import UserError
from transfer.params import STRICT, Float, Str, load_yaml, validate

FOLDER_CARD = "card.yaml"
Names = tuple[Str, ...]


@dataclass(frozen=True, config=STRICT)
class PackageSource:
    """Images and their table inside a pinned Python package. `folder` is where both lie."""

    package: Str
    version: Str
    folder: Str


@dataclass(frozen=True, config=STRICT)
class Table:
    """A table of labels, one row an image.

    The class comes from the column `label`, or from a probability in the column `soft_label`: the second of the two
    classes where it is greater than `threshold`. `confidence` maps values of the soft label to the weight that the
    image has in the confidence-weighted accuracy. `stratify` names the columns whose proportions every split keeps.
    """

    file: Str
    image: Str
    separator: Literal["comma", "whitespace"] = "comma"
    columns: Names | None = None
    label: Str | None = None
    soft_label: Str | None = None
    threshold: Annotated[Float, Field(ge=0, lt=1)] = 0.5
    confidence: tuple[tuple[Float, Float], ...] = ()
    stratify: Names = ()

    @model_validator(mode="after")
    def _one_source_of_labels(self) -> "Table":
        if (self.label is None) == (self.soft_label is None):
            raise ValueError(f"one of label and soft_label, received {'none' if self.label is None else 'both'}")
        if self.confidence and self.soft_label is None:
            raise ValueError("confidence to be given together with soft_label, received confidence alone")
        return self


@dataclass(frozen=True, config=STRICT)
class Card:
    """A dataset. Without `source` it is the folder that the card lies in; without `table` that folder's class folders.

    `classes` is in the order of the class numbers; left out, class folders give it, in alphabetical order. `positive`
    is the class whose F1, ROC and precision-recall are reported where there are two. `symmetry` says which views of
    an image are still images of the same class: none, mirror (left-right) or dihedral (the eight of the square).
    """

    title: Str
    licence: Str = "not stated"
    citation: Str = "not stated"
    classes: Names = ()
    positive: Str | None = None
    symmetry: Literal["none", "mirror", "dihedral"] = "none"
    channels: Literal[1, 3] = 3
    source: PackageSource | None = None
    table: Table | None = field(default=None)

    @model_validator(mode="after")
    def _consistent(self) -> "Card":
        if self.classes and (len(self.classes) < 2 or len(set(self.classes)) < len(self.classes)):
            raise ValueError(f"classes to be two or more different names, received {list(self.classes)}")
        if self.positive is not None and self.positive not in self.classes:
            raise ValueError(f"positive to be one of the classes {list(self.classes)}, received {self.positive!r}")
        if self.table is not None and not self.classes:
            raise ValueError("classes to be given, where a table holds the labels, received none")
        if self.table is not None and self.table.soft_label is not None and len(self.classes) != 2:
            raise ValueError(f"two classes, where a soft label decides, received {list(self.classes)}")
        if self.source is not None and self.table is None:
            raise ValueError("a table, where the source is a package, received none")
        return self


def read_card(dataset: Path) -> tuple[Card, Path]:
    """Read the card of a dataset: a card file, or a folder with or without a card.yaml in it.

    Returns the card and the folder that it describes (for a card file, the one it lies in).

    Raises:
        UserError: there is nothing at `dataset`, or the card is wrong.
    """
    if dataset.is_dir():
        path = dataset / FOLDER_CARD
        if not path.exists():
            return Card(title=dataset.name), dataset
        card = validate(Card, load_yaml(path), path)
        if card.source is not None:
            raise UserError(f"{path}: expected a card of the images in its own folder, received one with a source")
        return card, dataset
    if not dataset.exists():
        raise UserError(f"params.yaml: dataset: expected a card or a folder of images, received {str(dataset)!r}: none")
    card = validate(Card, load_yaml(dataset), dataset)
    if card.source is None:
        raise UserError(f"{dataset}: expected a source; to use a folder of images, give the folder itself as dataset")
    return card, dataset.parent
