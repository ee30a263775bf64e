"""All images that could be decoded, in parts on disk, while it is not known yet which split each belongs to."""

import math
import shutil
import tempfile
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from transfer.core.arrays import Pixels
from transfer.core.files import written_whole
from transfer.core.params import Duplicates
from transfer.core.spec import Conversion
from transfer.dataset.decode import CONTENT_BYTES, THUMBNAIL, BadImageError, Decoded, Facts, decode
from transfer.dataset.duplicates import Bits, Contents, Same, find_same, perceptual_hashes
from transfer.dataset.shards import open_shard, read_image
from transfer.records.tfrecords import Example, records_in_shard, write_shard
from transfer.workers.threads import in_order
from transfer.workers.work import Progress

AHEAD = 64  # images decoded before the writer asks for them: enough to keep every core busy, few enough to hold
HASHED = 256  # thumbnails hashed at a time
SHARDS_AHEAD = 8  # shards of records in an item of work, and that are written before anyone asks

pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps what tables of names have freed: 40 bytes an image


class ShardImages(NamedTuple):
    """A shard of data/raw, and names of images in it."""

    shard: Path
    images: Collection[str]


@dataclass(frozen=True)
class Part:
    """Images that were decoded in one go, and what was wrong with others.

    `folder` has two files, `pixels` and `thumbnails`: those of all images, one after the other. `facts` are those of
    all, `flat` counts images that show nothing, and `modes` counts Pillow's modes of the files.
    """

    folder: Path
    images: pd.Series
    contents: Contents
    perceptual: Bits
    bad: list[tuple[str, str]]
    facts: Facts
    flat: int
    modes: Counter[str]


@dataclass(frozen=True)
class DecodeShards:
    """Decode images of shards on all cores, into a part of the pool below `folder`."""

    folder: Path
    size: int
    channels: int
    conversion: Conversion

    def __call__(self, shards: Iterable[ShardImages], progress: Progress) -> Part:
        """Do so.

        Raises:
            UserError: a shard is damaged.
        """
        folder = Path(tempfile.mkdtemp(dir=self.folder))  # its own, also where the same shard is decoded twice
        names, ends, contents = bytearray(), array("q", [0]), bytearray()  # a quarter of what Python's objects take
        bad, facts, flat, modes = [], Facts(), 0, Counter[str]()
        with (folder / "pixels").open("wb") as pixels, (folder / "thumbnails").open("wb") as thumbnails:
            for image, result in (found for shard in shards for found in self._decoded(*shard)):
                progress(1)
                if isinstance(result, BadImageError):
                    bad.append((image, str(result)))
                    continue
                facts += result.facts
                if result.lost:
                    bad.append((image, result.lost))
                    continue
                flat += result.flat
                modes[result.mode] += 1
                names += image.encode()
                ends.append(len(names))
                contents += result.content
                pixels.write(result.pixels.tobytes())
                thumbnails.write(result.thumbnail.tobytes())
        mapped = _mapped(folder / "thumbnails", self.channels)
        hashes = [perceptual_hashes(mapped[start : start + HASHED]) for start in range(0, len(mapped), HASHED)]
        perceptual = np.concatenate([np.empty(0, np.uint64), *hashes])
        images = pa.LargeStringArray.from_buffers(len(mapped), pa.py_buffer(ends), pa.py_buffer(names))
        hashed = np.frombuffer(contents, f"S{CONTENT_BYTES}")
        return Part(folder, pd.Series(images, dtype="str"), hashed, perceptual, bad, facts, flat, modes)

    def _decoded(self, path: Path, images: Collection[str]) -> Iterator[tuple[str, Decoded | BadImageError]]:
        """Decode in order; for a bad image comes the reason."""
        with open_shard(path) as shard:

            def attempt(image: str) -> tuple[str, Decoded | BadImageError]:
                try:
                    return image, decode(read_image(shard, image), self.size, self.channels, self.conversion)
                except BadImageError as error:
                    return image, error

            yield from in_order(attempt, images, AHEAD)


def _mapped(thumbnails: Path, channels: int) -> Pixels:
    """Map a file of thumbnails into memory: (n, 32, 32, channels)."""
    shape = (-1, THUMBNAIL, THUMBNAIL, channels)
    empty = thumbnails.stat().st_size == 0  # which cannot be mapped
    return (np.empty(0, np.uint8) if empty else np.memmap(thumbnails, np.uint8, "r")).reshape(shape)


@dataclass(frozen=True)
class RecordShard:
    """A shard of records to write: a row of `labels` for each (see `Example`), and the file and row of its pixels."""

    place: Path
    shape: tuple[int, int, int]
    labels: pd.DataFrame
    pixels: list[tuple[Path, int]]

    def write(self) -> int:
        """Write it, and return the number of its records."""
        size = math.prod(self.shape)
        columns = (self.labels[name].tolist() for name in ("image", "label", "soft_label", "confidence"))
        examples = (
            Example(image, np.fromfile(file, np.uint8, size, offset=row * size).reshape(self.shape), *label)
            for image, *label, (file, row) in zip(*columns, self.pixels, strict=True)
        )
        with written_whole(self.place, shared=True) as part:
            write_shard(examples, part)
        return len(self.labels)


def write_records(runs: Iterable[list[RecordShard]], progress: Progress) -> int:
    """Write shards of records on all cores, and return the number of records."""
    written = 0
    for count in in_order(RecordShard.write, chain.from_iterable(runs), SHARDS_AHEAD):
        progress(count)
        written += count
    return written


class Pool:
    """The parts, as one list of images."""

    def __init__(self, parts: Sequence[Part], size: int, channels: int) -> None:
        self._folders, self._shape = [part.folder for part in parts], (size, size, channels)
        self._hashes = [(part.contents, part.perceptual) for part in parts]
        self.images = pd.concat([part.images for part in parts], ignore_index=True)
        self._starts = np.cumsum([0, *(len(part.images) for part in parts)])
        self.bad = [found for part in parts for found in part.bad]
        self.facts = sum((part.facts for part in parts), Facts())
        self.flat = sum(part.flat for part in parts)
        self.modes = sum((part.modes for part in parts), Counter[str]())

    def find_same(self, params: Duplicates) -> Same:
        """Find the duplicates among the images of the pool; once, as it lets the hashes go."""
        first, *others = [folder / "thumbnails" for folder in self._folders]
        with first.open("ab") as joined:  # all in one file, of which little is read
            for other in others:
                with other.open("rb") as source:
                    shutil.copyfileobj(source, joined)
        contents, perceptual = (np.concatenate(hashes) for hashes in zip(*self._hashes, strict=True))
        self._hashes.clear()
        return find_same(contents, perceptual, _mapped(first, self._shape[-1]), params)

    def shards(self, labels: pd.DataFrame, folder: Path) -> Iterator[RecordShard]:
        """Plan shards 00000.tfrecord, 00001.tfrecord, … of the images in a table: see `RecordShard`.

        The column `place` has the number of an image in the pool.
        """
        in_shard = records_in_shard(math.prod(self._shape))
        for number, start in enumerate(range(0, len(labels), in_shard)):
            chosen = labels.iloc[start : start + in_shard]
            parts = np.searchsorted(self._starts, chosen["place"], side="right") - 1
            rows = chosen["place"] - self._starts[parts]
            pixels = [(self._folders[part] / "pixels", row) for part, row in zip(parts, rows, strict=True)]
            yield RecordShard(folder / f"{number:05}.tfrecord", self._shape, chosen, pixels)
