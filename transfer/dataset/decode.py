"""Decode an image file to pixels of one size, and to what tells whether two images are the same."""

import hashlib
import io
import re
import warnings
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from PIL import ExifTags, Image, ImageOps

from transfer.core.arrays import Pixels
from transfer.core.spec import BLACK, WHITE, Colour, Conversion, Resize

IMAGE_SUFFIXES = {
    ".avif", ".bmp", ".gif", ".jfif", ".jif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif",
    ".tiff", ".webp",
}  # fmt: skip
"""Of files that are taken for images, in lower case."""
HEIC_SUFFIXES = {".heic", ".heif", ".hif"}
if find_spec("pillow_heif") is not None:  # an optional plug-in of Pillow
    import_module("pillow_heif").register_heif_opener()
    IMAGE_SUFFIXES |= HEIC_SUFFIXES
SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
PNG = b"\x89PNG\r\n\x1a\n"

# Pillow warns of an image that would take over 256 MiB (Image.MAX_IMAGE_PIXELS); here it is refused, undecoded.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


IN_MEMORY = re.compile(r" ?<_io\.BytesIO object at 0x[0-9a-f]+>")  # what Pillow calls a file that was read before
MAX_BYTES = 1 << 29
"""Of a file: what the largest image that Pillow decodes takes up at 16 bits a channel, without compression."""

ON_THEIR_SIDE = range(5, 9)  # EXIF's orientations of such images
THUMBNAIL = 32  # height and width of what images are compared by
CONTENT_BYTES = 16
FLAT_LEVELS = 3
"""By so many levels of 255 the pixels of an image differ at most that shows nothing: one colour, or nearly."""
COARSE = 15
"""The greatest upper byte, which is what Pillow keeps of 16-bit colours, in which at most 12 bits are used."""
TOO_COARSE = (
    "its 16-bit colours are all below 4,096 of 65,535, so that at most 16 levels would be left of them: save the image "
    "with 8 bits a channel"
)
DEPTHS = (8, 10, 12, 14, 16)
"""What cameras and scanners have, in bits, that write files of 16."""


@dataclass(frozen=True)
class Facts:
    """What decides how images become 8 bits, of one image or, added up, of many: the most bits that a 16-bit grey uses
    (0: there is none), and how many images with transparency are flat on white and on black.
    """

    bits: int = 0
    flat_on_white: int = 0
    flat_on_black: int = 0

    def __add__(self, other: "Facts") -> "Facts":
        """Of both."""
        return Facts(
            max(self.bits, other.bits),
            self.flat_on_white + other.flat_on_white,
            self.flat_on_black + other.flat_on_black,
        )

    def conversion(self, bit_depth: int | None, background: Colour | None, resize: Resize = "squash") -> Conversion:
        """Return the conversion that suits the images; what is given, and not None, stays as it is given.

        The depth is the smallest of `DEPTHS` that holds all values. The background is white, unless more images are
        flat on white than on black.
        """
        black = self.flat_on_white > self.flat_on_black
        return Conversion(bit_depth or _depth(self.bits), background or (BLACK if black else WHITE), resize)


@dataclass(frozen=True)
class Decoded:
    """An image: pixels uint8 (size, size, channels), 0–255; `thumbnail` uint8 (32, 32, channels), averaged down from
    all pixels whatever `size` is; `content` the BLAKE2b hash, of `CONTENT_BYTES`, of the file.

    `lost` says why the conversion to 8 bits left nothing of the image to see, if it did. `mode` is that of
    the file, as Pillow names it.
    """

    pixels: Pixels
    thumbnail: Pixels
    content: bytes
    facts: Facts
    lost: str
    mode: str

    @property
    def flat(self) -> bool:
        """Whether it is of one colour, or nearly."""
        return int(np.ptp(self.thumbnail, axis=(0, 1)).max()) <= FLAT_LEVELS  # which has no padding


class BadImageError(Exception):
    """A file that is not an image that can be used. The message says why."""


@dataclass(frozen=True)
class _Plain:
    """An image in mode L or RGB, and what was found on the way there: see `Decoded`."""

    image: Image.Image
    facts: Facts = Facts()
    lost: str = ""


def _depth(bits: int) -> int | None:
    return next(depth for depth in DEPTHS if bits <= depth) if bits else None


def _significant_bits(data: bytes) -> int:
    """Return what a PNG's chunk sBIT says, which stands before the pixels; 0 where there is none."""
    place, most = len(PNG), 0
    while data.startswith(PNG) and data[place + 4 : place + 8] not in (b"", b"IDAT"):
        length = int.from_bytes(data[place : place + 4])
        if data[place + 4 : place + 8] == b"sBIT":
            most = max(data[place + 8 : place + 8 + length], default=0)
        place += length + 12  # with its length, its name and its checksum
    return min(most, DEPTHS[-1])


def _scaled(image: Image.Image, data: bytes, bit_depth: int | None) -> _Plain:
    """Scale greys of 16 bits to 8. An image by itself is of the depth that its sBIT says, or else of 8 or 16 bits.

    By sBIT a file may also say how many bits its values had before they were stretched to 16 (PNG specification,
    11.3.2.4), so that it does not hold where there are greater values. Of 16 bits the upper 8 are kept, which is what
    Pillow does with colours; it is within a level of rounding.
    """
    values = np.asarray(image).astype(np.uint32)
    low, high, said = int(values.min()), int(values.max()), _significant_bits(data)
    bits = max(high.bit_length(), said, 1)
    depth = bit_depth or (_depth(bits) if said or bits <= DEPTHS[0] else None) or DEPTHS[-1]
    top = 2**depth - 1
    eight = np.minimum(values, top)
    eight = eight >> 8 if depth == DEPTHS[-1] else (eight * 255 + top // 2) // top
    plain = Image.fromarray(eight.astype(np.uint8))
    lost = ""
    if _flat(plain) and high - low > max(FLAT_LEVELS, high // 2):
        lost = (
            f"its 16-bit values, {low:,} to {high:,}, all map to one grey level at {depth} bits: give the right "
            "bit_depth in the dataset's card, or save the image with 8 bits a channel"
        )
    return _Plain(plain, Facts(bits=bits), lost)


def _flat(image: Image.Image) -> bool:
    bands = np.array(image.getextrema()).reshape(-1, 2)
    return bool((bands[:, 1] - bands[:, 0]).max() <= FLAT_LEVELS)


def _on_background(image: Image.Image, background: Colour) -> _Plain:
    """Lay an image with transparency on a background."""
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() == (255, 255):  # as of many photographs, whose alpha channel says nothing
        return _Plain(rgba.convert("RGB"))
    on = {
        colour: Image.alpha_composite(Image.new("RGBA", rgba.size, colour), rgba).convert("RGB")
        for colour in {WHITE, BLACK, background}
    }
    flat = {colour: _flat(laid) for colour, laid in on.items()}
    lost = ""
    if flat[background] and not all(flat.values()):
        lost = (
            f"what it shows has the colour of the background, {list(background)}, that its transparent pixels are laid "
            "on: give another background in the dataset's card, or save the image without transparency"
        )
    return _Plain(on[background], Facts(0, int(flat[WHITE]), int(flat[BLACK])), lost)


def _to_eight_bit(image: Image.Image, data: bytes, conversion: Conversion) -> _Plain:
    """Bring any mode to L or RGB."""
    if image.mode in SIXTEEN_BIT_MODES:
        return _scaled(image, data, conversion.bit_depth)
    if image.mode in ("I", "F"):
        raise BadImageError(f"expected 8 or 16 bits a channel, received 32 (mode {image.mode})")
    if "A" in image.getbands() or "transparency" in image.info:
        return _on_background(image, conversion.background)
    return _Plain(image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB"))


def make_square(image: Image.Image, size: int, resize: Resize) -> Image.Image:
    """Bring an image to `size` x `size` pixels.

    Resizing filters over the area that a pixel comes from; at the size itself it changes nothing. The colour of padding
    is the middle of all values, which networks take for about 0, as the padding of their own convolutions.

    Args:
        image: in mode L or RGB.
        size: height and width of the result.
        resize: squash, without keeping the aspect ratio; crop to the largest square in the centre; or pad: scale until
            the longer side fits, and fill up with grey on both sides.
    """
    shape, filtered = (size, size), Image.Resampling.BILINEAR
    if resize == "crop":
        return ImageOps.fit(image, shape, filtered)
    return ImageOps.pad(image, shape, filtered, "gray") if resize == "pad" else image.resize(shape, filtered)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height of an image that was opened, turned as its EXIF orientation says, without decoding it."""
    # A PNG without EXIF in its header would be decoded to look for some behind its pixels.
    exif = {} if image.format == "PNG" and "exif" not in image.info else image.getexif()
    return image.size[::-1] if exif.get(ExifTags.Base.Orientation) in ON_THEIR_SIDE else image.size


def decode(data: bytes, size: int, channels: int, conversion: Conversion) -> Decoded:
    """Decode an image, turn it as its EXIF orientation says, and make it square.

    Args:
        data: the content of the file. Of an animation the first frame counts.
        size: height and width of the result.
        channels: 1 for grey, 3 for RGB.
        conversion: to 8 bits a channel without transparency, and to a square.

    Raises:
        BadImageError: not an image, truncated, with too many pixels, or with more than 16 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            source = image.mode
            sixteen = ";16" in str(image.tile)  # which the mode says of greys only
            ImageOps.exif_transpose(image, in_place=True)
            found, mode = _to_eight_bit(image, data, conversion), "L" if channels == 1 else "RGB"
            sixteen = sixteen and image.mode not in SIXTEEN_BIT_MODES
            lost = found.lost or (TOO_COARSE if sixteen and int(np.max(image.getextrema())) <= COARSE else "")
            plain = found.image
            if plain.mode != mode:  # to its own it would be copied
                plain = plain.convert(mode)
            pixels = make_square(plain, size, conversion.resize)
            thumbnail = plain.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR, reducing_gap=3.0)
    except (BadImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise what they come upon: OSError, SyntaxError, struct.error, …
        reason = " ".join(IN_MEMORY.sub("", str(error)).split()) or "no reason given"
        raise BadImageError(f"{type(error).__name__}: {reason}") from error
    return Decoded(
        np.asarray(pixels, np.uint8).reshape(size, size, channels),
        np.asarray(thumbnail, np.uint8).reshape(THUMBNAIL, THUMBNAIL, channels),
        hashlib.blake2b(data, digest_size=CONTENT_BYTES).digest(),
        found.facts,
        lost,
        source,
    )


def decode_pixels(data: bytes, size: int, channels: int, conversion: Conversion) -> Pixels:
    """Decode an image to be classified: see `decode`.

    Raises:
        BadImageError: also where the conversion leaves nothing of it to see.
    """
    decoded = decode(data, size, channels, conversion)
    if decoded.lost:
        raise BadImageError(decoded.lost)
    return decoded.pixels
