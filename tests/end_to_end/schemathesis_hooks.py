"""Tells Schemathesis what an image is: of itself it sends noise, and sees nothing but refusals."""

import io

import schemathesis
from hypothesis import strategies as st
from PIL import Image

from transfer.serving.uploads import TYPES


def _images() -> list[bytes]:
    files = []
    for number, kind in enumerate(("PNG", "JPEG", "GIF")):
        file = io.BytesIO()
        Image.new("RGB", (20 + number, 30), (80 * number, 10, 200)).save(file, kind)
        files.append(file.getvalue())
    return files


for name in TYPES:
    schemathesis.openapi.media_type(name, st.sampled_from(_images()))
