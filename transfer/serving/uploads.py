"""Images out of a request, and the pixels in them."""

import io
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from transfer.core.arrays import Pixels
from transfer.dataset.decode import BadImageError, decode_pixels
from transfer.export.contract import Contract

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""What is decoded: those of the pipeline's datasets, and no others of Pillow's many."""
TYPES = ("image/bmp", "image/gif", "image/jpeg", "image/png", "image/tiff", "image/webp")
UNKNOWN = ("", "application/octet-stream")
"""Types of parts that say nothing: their content does."""
FIELD = "images"
"""Name of the parts of a form."""


@dataclass(frozen=True)
class Upload:
    """An image as it came: its name, "image" where it has none, and its bytes."""

    name: str
    data: bytes


def _media_type(header: str | None) -> str:
    return (header or "").partition(";")[0].strip().lower()


async def read_uploads(request: Request, most: int) -> list[Upload]:
    """Read the images of a request: a form's files, or a body that is one.

    Raises:
        HTTPException: 400 for a form that cannot be parsed or has more than `most` files, 415 for another type, 422
            where there is no image.
    """
    kind = _media_type(request.headers.get("content-type"))
    if kind == "multipart/form-data":
        return await _form_files(request, most)
    if kind not in TYPES:
        raise HTTPException(
            415, f"expected multipart/form-data or one of {', '.join(TYPES)}, received {kind or 'none'}"
        )
    if not (data := await request.body()):
        raise HTTPException(422, "expected an image, received an empty body")
    return [Upload("image", data)]


async def _form_files(request: Request, most: int) -> list[Upload]:
    """Read the files of a form."""
    uploads = []
    async with request.form(max_files=most, max_fields=0) as form:
        for field, part in form.multi_items():
            if field != FIELD or not isinstance(part, UploadFile):
                raise HTTPException(422, f"expected files in parts named {FIELD}, received a part named {field!r}")
            kind = _media_type(part.content_type)
            if kind not in (*TYPES, *UNKNOWN):
                raise HTTPException(415, f"{part.filename}: expected one of {', '.join(TYPES)}, received {kind}")
            uploads.append(Upload(part.filename or "image", await part.read()))
    if not uploads:
        raise HTTPException(422, f"expected files in parts named {FIELD}, received none")
    return uploads


def read_pixels(upload: Upload, contract: Contract, max_pixels: int) -> Pixels:
    """Decode and resize an image as the pipeline does: uint8 (S, S, channels).

    Raises:
        BadImageError: it cannot be decoded, shows nothing in 8 bits, or has more than `max_pixels`, which is told from
            its header.
    """
    try:
        with Image.open(io.BytesIO(upload.data), formats=FORMATS) as image:
            width, height = image.size
    except UnidentifiedImageError:
        raise BadImageError(f"expected one of {', '.join(FORMATS)}, received something else") from None
    except Image.DecompressionBombError as error:
        raise BadImageError(str(error)) from None
    except Exception:  # noqa: BLE001 (a header that Pillow stumbles over: decoding says at what)
        width = height = 0
    if width * height > max_pixels:
        raise BadImageError(f"expected at most {max_pixels:,} pixels, received {width:,} x {height:,}")
    return decode_pixels(upload.data, contract.image_size, contract.channels, contract.conversion)
