"""What a server takes at most, so that no request, and no number of them, can take all of the machine."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a server.

    `batch` is the number of images computed at a time; `waiting` that of images that are somewhere between the first
    byte and the answer; `explanations` that of the explanations, each of which costs as much as some 170 images;
    `max_bytes` and `max_pixels` those of a request and of an image in it; `seconds` how long a request's body, and then
    its answer, may take. Memory stays below about `waiting` × `max_bytes` and what decodes an image on each core.
    """

    batch: int = 32
    waiting: int = 128
    explanations: int = 4
    max_bytes: int = 16 << 20
    max_pixels: int = 50_000_000
    seconds: float = 30.0
