"""How images are made square, where that is left to the data: by their shapes, which their headers say."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from PIL import Image

from transfer.core.params import Square
from transfer.core.spec import Resize
from transfer.dataset.pool import ShardImages
from transfer.dataset.shards import open_shard

NEAR = 4 / 3
"""Longer by shorter side of an image that is squashed without harm: see docs/your-data.md."""
LOOKED_AT = 1000
"""At most so many images, evenly spread over the dataset, have their shapes read."""


def resolve_resize(wanted: Square, shards: Iterable[ShardImages]) -> tuple[Resize, list[str]]:
    """Return how images are made square, and what to tell a user who has not said it.

    auto is squash if at least half of the images are within 4:3, else pad.
    """
    if wanted != "auto":
        return wanted, []
    ratios = list(_ratios(shards))
    near = sum(ratio <= NEAR for ratio in ratios)
    resize: Resize = "squash" if 2 * near >= len(ratios) else "pad"
    return resize, [f"resize: {resize}, as {near:,} of {len(ratios):,} images looked at are within 4:3"]


def _ratios(shards: Iterable[ShardImages]) -> Iterator[float]:
    """Yield the longer by the shorter side of each image that has a header: decoding says what is wrong with others."""
    for path, images in shards:
        with open_shard(path) as shard:
            for name in images:
                size = None
                with suppress(Exception), shard.open(name) as file, Image.open(file) as image:
                    size = image.size
                if size is not None:
                    yield max(size) / min(size)
