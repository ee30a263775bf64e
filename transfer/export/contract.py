"""What an exported classifier takes and gives, as it is written inside each of its files."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from transfer.core.errors import UserError
from transfer.core.spec import BLACK, WHITE, Conversion, Resize
from transfer.core.strict import Byte, validate

INPUT, OUTPUT = "pixels", "probabilities"
"""Names of the tensors, in the formats that have any."""
SQUARE: dict[Resize, str] = {
    "squash": "Resize to image_size x image_size, without keeping the ratio,",
    "crop": "Crop to the largest square in the centre and resize that to image_size x image_size (ImageOps.fit)",
    "pad": (
        "Resize, keeping the ratio, until the longer side is image_size, and pad both sides with grey (128 in each "
        "channel) to image_size x image_size (ImageOps.pad)"
    ),
}
FILTER = (
    "with Pillow's BILINEAR, which filters over the area that a pixel comes from (a plain bilinear resize does not)"
)
RESIZED_BEFORE = "The model takes no other size."
SQUASHED_INSIDE = "Or leave it to the model, which does so with any height and width, to within a grey level."
SQUARES_ONLY = "The model takes any other height and width, too, but squashes them: give it squares."


def preprocessing(conversion: Conversion, resizes: bool) -> str:
    """Say in words what is to be done with an image, for a model that `resizes` it itself or does not."""
    names = {BLACK: "black", WHITE: "white"}
    background = names.get(conversion.background, f"the colour {conversion.background} (red, green, blue)")
    depth = conversion.bit_depth
    if depth is None:
        scaled = "scale greys of 16 bits to 8 from 8 bits, if no value is above 255, or else keep the upper 8"
    elif depth == 16:
        scaled = "keep the upper 8 of 16 bits"
    else:
        scaled = f"scale greys of 16 bits from 0 to {2**depth - 1} to 0 to 255, with 255 for what is above"
    inside = SQUASHED_INSIDE if conversion.resize == "squash" else SQUARES_ONLY
    return (
        "Turn the image as its EXIF orientation says; take the first frame of an animation; lay transparent pixels on "
        f"{background}; {scaled}; convert to grey (channels 1) or RGB (channels 3) as Pillow does. Give uint8, 0 to "
        f"255, of the shape (images, height, width, channels). {SQUARE[conversion.resize]} {FILTER}. "
        + (inside if resizes else RESIZED_BEFORE)
    )


@dataclass(frozen=True)
class Contract:
    """What has to be known to use a classifier.

    `model` is its name in the pipeline. `resizes` tells whether it takes images of any size, or of `image_size`
    only, and `preprocessing` says in words what is to be done with an image. `views` is the number of views (see
    `records.views`) that an image is judged by, inside. The probabilities that come out are calibrated, as the
    logits inside are divided by `temperature`. `dataset`, `licence` and `citation` are those of the images that it
    learnt from. `threshold` is that of the probability of the class `positive`, where there is such a class; see
    `evaluation.scores.operating_point`. `bit_depth`, `background` and `resize` are the fields of
    `core.spec.Conversion`; what was exported before they were written down kept the upper 8 of 16 bits, laid
    transparent pixels on black and squashed images.
    """

    model: str
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    image_size: Annotated[int, Field(ge=1, le=4096)]
    channels: Literal[1, 3]
    resizes: bool
    preprocessing: str
    views: Literal[1, 2, 4, 8]
    temperature: Annotated[float, Field(gt=0)]
    dataset: str
    licence: str
    citation: str
    bit_depth: Annotated[int, Field(ge=8, le=16)] | None = 16
    background: tuple[Byte, Byte, Byte] = BLACK
    positive: str | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    resize: Resize = "squash"

    @property
    def conversion(self) -> Conversion:
        """How images become squares of 8 bits a channel, as those that it learnt from did."""
        return Conversion(self.bit_depth, self.background, self.resize)

    def properties(self) -> dict[str, str]:
        """Return it as names and texts, which is all that some formats hold: each value as JSON."""
        return {name: json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def of_properties(cls, properties: dict[str, str], path: Path) -> "Contract":
        """Read what `properties` gave, out of all that a file holds.

        Raises:
            UserError: something is missing, or of another kind.
        """
        held = {name: properties[name] for name in (field.name for field in fields(cls)) if name in properties}
        if not held:
            raise UserError(f"{path}: no metadata in it; give a file written by the stage export")
        try:
            values = {name: json.loads(value) for name, value in held.items()}
        except ValueError as error:
            raise UserError(f"{path}: expected metadata in JSON, received: {error}") from error
        return validate(cls, values, path)
