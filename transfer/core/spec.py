"""The description of the records, and of how their pixels became what they are; apart from what reads them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from transfer.core.files import write_json
from transfer.core.strict import validate

Colour = tuple[int, int, int]
Resize = Literal["squash", "crop", "pad"]
"""How an image is made square: see `dataset.decode.make_square`."""
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True)
class Conversion:
    """How the images of a dataset become squares of 8 bits a channel without transparency, also where one is predicted.

    Greys of 16 bits are scaled from 0 to 2^`bit_depth` - 1 to 0 to 255; where it is None, as the dataset has none, each
    from its own depth. What is transparent shows `background`.
    """

    bit_depth: int | None = None
    background: Colour = WHITE
    resize: Resize = "squash"


@dataclass(frozen=True)
class Spec:
    """What the records of all splits have in common, and the number of images in each split.

    `bit_depth`, `background` and `resize` are how the images became what the records hold (see `Conversion`).
    """

    classes: tuple[str, ...]
    positive: str | None
    symmetry: str
    image_size: int
    channels: int
    counts: dict[str, int]
    bit_depth: int | None = None
    background: Colour = WHITE
    resize: Resize = "squash"

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
