"""How images are made square, where that is left to the data: by their shapes, which their headers say."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from statistics import median

from PIL import Image

from transfer.core.params import Square
from transfer.core.spec import Resize
from transfer.dataset.decode import upright_size
from transfer.dataset.pool import ShardImages
from transfer.dataset.shards import open_shard

NEAR = 4 / 3
"""Shapes, width by height, are alike up to this factor: what was measured stands in docs/your-data.md."""
LOOKED_AT = 1000
"""At most so many images, evenly spread over the dataset, have their shapes read."""


def resolve_resize(wanted: Square, shards: Iterable[ShardImages]) -> tuple[Resize, list[str]]:
    """Return how images are made square, and what to tell a user who has not said it.

    auto is squash if at least half of the images are within 4:3 of the median shape, else pad.
    """
    if wanted != "auto":
        return wanted, []
    shapes = list(_shapes(shards))
    middle = median(shapes or [1.0])
    alike = sum(1 / NEAR <= shape / middle <= NEAR for shape in shapes)
    resize: Resize = "squash" if 2 * alike >= len(shapes) else "pad"
    return resize, [
        f"resize: {resize}, as {alike:,} of {len(shapes):,} sampled images have about the same aspect ratio"
    ]


def _shapes(shards: Iterable[ShardImages]) -> Iterator[float]:
    """Yield width by height of each image that has a header: decoding says what is wrong with others."""
    for path, images in shards:
        with open_shard(path) as shard:
            for name in images:
                with suppress(Exception), shard.open(name) as file, Image.open(file) as image:
                    width, height = upright_size(image)
                    yield width / height
