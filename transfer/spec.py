"""The description of the records, without what reads them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from transfer.cost import write_json
from transfer.params import validate


@dataclass(frozen=True)
class Spec:
    """What the records of all splits have in common, and the number of images in each split.

    `bit_depth` and `background` are how the images became 8 bits a channel (see `transfer.images.Conversion`).
    """

    classes: tuple[str, ...]
    positive: str | None
    symmetry: str
    image_size: int
    channels: int
    counts: dict[str, int]
    bit_depth: int | None = None
    background: tuple[int, int, int] = (255, 255, 255)

    def write(self, path: Path) -> None:
        """Write the description as JSON."""
        write_json(asdict(self), path)

    @classmethod
    def read(cls, path: Path) -> "Spec":
        """Read what `write` wrote."""
        return validate(cls, json.loads(path.read_text(encoding="utf-8")), path)

    @property
    def positive_class(self) -> int | None:
        """Number of the class whose F1 counts; None where there are more than two classes or none is named."""
        return self.classes.index(self.positive) if self.positive and len(self.classes) == 2 else None
