"""Decode an image file to pixels of one size, and to what tells whether two images are the same."""

import hashlib
import io
import re
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Pixels = NDArray[np.uint8]
IMAGE_SUFFIXES = {
    ".avif", ".bmp", ".gif", ".jfif", ".jif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif",
    ".tiff", ".webp",
}  # fmt: skip
"""Of files that are taken for images, in lower case."""
SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")

# Pillow warns of an image that would take over 256 MiB (Image.MAX_IMAGE_PIXELS); here it is refused, undecoded.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


IN_MEMORY = re.compile(r" ?<_io\.BytesIO object at 0x[0-9a-f]+>")  # what Pillow calls a file that was read before
MAX_BYTES = 1 << 29
"""Of a file: what the largest image that Pillow decodes takes up at 16 bits a channel, without compression."""

THUMBNAIL = 32  # height and width of what images are compared by


@dataclass(frozen=True)
class Decoded:
    """An image: pixels uint8 (size, size, channels), 0–255; `thumbnail` uint8 (32, 32, channels), averaged down from
    all pixels whatever `size` is; `content` the BLAKE2b hash, of 16 bytes, of the file.
    """

    pixels: Pixels
    thumbnail: Pixels
    content: bytes


class BadImageError(Exception):
    """A file that is not an image that can be used. The message says why."""


def _to_eight_bit(image: Image.Image) -> Image.Image:
    """Bring any mode to L or RGB. Where there is transparency, the background is black."""
    if image.mode in SIXTEEN_BIT_MODES:
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise BadImageError(f"expected 8 or 16 bits a channel, received 32 (mode {image.mode})")
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


def decode(data: bytes, size: int, channels: int) -> Decoded:
    """Decode an image, turn it as its EXIF orientation says, and resize it (without keeping the aspect ratio).

    Args:
        data: the content of the file. Of an animation the first frame counts.
        size: height and width of the result.
        channels: 1 for grey, 3 for RGB.

    Raises:
        BadImageError: not an image, truncated, with too many pixels, or with more than 16 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            ImageOps.exif_transpose(image, in_place=True)
            plain, mode = _to_eight_bit(image), "L" if channels == 1 else "RGB"
            plain = plain if plain.mode == mode else plain.convert(mode)  # to its own mode it would be copied
            # Resizing filters over the area that a pixel comes from; at the size itself it changes nothing.
            pixels = plain.resize((size, size), Image.Resampling.BILINEAR)
            thumbnail = plain.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR, reducing_gap=3.0)
    except (BadImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise what they come upon: OSError, SyntaxError, struct.error, …
        reason = " ".join(IN_MEMORY.sub("", str(error)).split()) or "no reason given"
        raise BadImageError(f"{type(error).__name__}: {reason}") from error
    return Decoded(
        np.asarray(pixels, np.uint8).reshape(size, size, channels),
        np.asarray(thumbnail, np.uint8).reshape(THUMBNAIL, THUMBNAIL, channels),
        hashlib.blake2b(data, digest_size=16).digest(),
    )
